PYTHON ?= python3
PORT   ?= 8888

BIN = .venv/bin
DISPLAYED = $(or $(DISPLAY),$(WAYLAND_DISPLAY),$(BROWSER),$(filter Darwin,$(shell uname)))

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

study: data ## open your copy of the course in JupyterLab (for another port: make study PORT=9000)
	@$(BIN)/python scripts/study.py
	@JUPYTER_CONFIG_PATH=scripts $(BIN)/jupyter lab --ip=127.0.0.1 --port=$(PORT) --ServerApp.root_dir=study --LabApp.default_url=/lab/tree/index.ipynb \
	    --ServerApp.answer_yes=True $(if $(DISPLAYED),,--no-browser) $(if $(filter 0,$(shell id -u)),--allow-root)

test: data browser ## run every notebook (short versions of those with evidence), then the tests
	@export OMP_NUM_THREADS=1; COLLAB_COURSE_QUICK=1 $(BIN)/nbdev_test; notebooks=$$?; \
	    $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile tests && exit $$notebooks

browser: env ## find or install a browser for the tests that need one
	@$(BIN)/python scripts/browser.py

env: ## create .venv, or update it
	@$(PYTHON) scripts/setup_env.py

data: env ## download the ratings, or generate synthetic ones, and say which
	@$(BIN)/python -m collab_course.movielens

site: env ## build the course's website into _site
	@$(BIN)/python docs/build.py && echo "To read it: file://$(CURDIR)/_site/index.html"

links: ## update the addresses in README and the notebooks from settings.ini
	@$(PYTHON) docs/places.py

reproduce: data ## train the book's models over several seeds, and compare with the book's results
	@$(BIN)/python tests/benchmarks/reproduce.py

further: data ## run the notebooks of further research in full, in about half an hour
	@OMP_NUM_THREADS=1 $(BIN)/nbdev_test --path nbs/further

answered: data ## run every chapter with our answers to its questions filled in
	@OMP_NUM_THREADS=1 $(BIN)/python tests/answered.py

worlds: env ## run the notebooks that use ratings on five other generated worlds, and list what fails
	@OMP_NUM_THREADS=1 $(BIN)/python tests/worlds.py

mutants: data ## break the questions' checkers in many ways, and list what their tests don't notice
	@$(BIN)/python tests/mutants.py

bench: data ## time the functions that the course calls fast, and other libraries beside them
	@for f in $(filter-out %/bench_full.py,$(wildcard tests/benchmarks/bench_*.py)); do $(BIN)/python $$f || exit; done

bench-full: env ## train on 25 million ratings with our models and other libraries, side by side
	@$(BIN)/python tests/benchmarks/bench_full.py --write

freeze: env ## write the installed versions into constraints.txt
	@$(BIN)/python -c 'import sys; print("# Python %d.%d: the stored outputs come from these versions (make freeze writes this file)" % sys.version_info[:2])' > constraints.txt
	@$(BIN)/pip freeze --exclude-editable | sed 's/+.*//' >> constraints.txt

hooks: env ## let git clean and merge notebooks
	@PATH="$(CURDIR)/$(BIN):$$PATH" nbdev_install_hooks

clean: ## remove .venv and everything that was built
	rm -rf .venv build dist *.egg-info .pytest_cache _proc _site

.PHONY: help study test browser env data site links reproduce further answered worlds mutants bench bench-full freeze hooks clean
