"Where the course can be read and run: the switch in settings.ini, links, hosted machines, CI"
import json, os, re, runpy, shutil, subprocess, sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'docs'))
import places

NOTEBOOKS = [p.relative_to(ROOT/'nbs').as_posix() for p in places.notebooks()]
WITH_CODE = [n for n in NOTEBOOKS if n not in ('glossary.ipynb', 'references.ipynb')]
PLACES = places.Places(ROOT)
OURS = re.compile(rf"{re.escape(PLACES.settings['user'])}[./]|kaggle\.com/kernels|mybinder\.org")
HOSTS = ['colab.research.google.com', 'kaggle.com', 'mybinder.org']


def cells(path):
    "The cells of a notebook, each with its source in one piece"
    found = json.loads(Path(path).read_text(encoding='utf-8'))['cells']
    return [cell | {'source': ''.join(cell['source'])} for cell in found]


def addresses(text):
    "The web addresses in Markdown"
    return re.findall(r'https?://[^\s)`"\\]+', text)


# --- the switch

def switch(folder, published):
    "Set `published` in the copy of the course in `folder`, and write what depends on it"
    file = folder/'settings.ini'
    text = file.read_text(encoding='utf-8')
    text = re.sub(r'^published = .*', f'published = {published}', text, flags=re.MULTILINE)
    file.write_bytes(text.encode('utf-8'))
    places.main(folder)


def files(folder):
    "The bytes of everything that depends on the switch"
    paths = [folder/'settings.ini', folder/'README.md', *(folder/'nbs').rglob('*.ipynb')]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}


@pytest.fixture(scope='module')
def published(tmp_path_factory):
    "A copy of the course that is published"
    folder = tmp_path_factory.mktemp('published')
    for name in ('settings.ini', 'README.md', 'setup.py', 'pyproject.toml'):
        shutil.copy(ROOT/name, folder)
    for name in ('nbs', 'docs'):
        shutil.copytree(ROOT/name, folder/name, ignore=shutil.ignore_patterns('.ipynb_checkpoints'))
    switch(folder, True)
    return folder


@pytest.fixture(scope='module')
def pages(published):
    "The pages that docs/build.py writes for Sphinx from that copy: name -> text"
    code = ('import sys; from pathlib import Path; sys.path.insert(0, "docs"); import build; '
            'build.write(Path("pages"))')
    env = os.environ | {'PYTHONPATH': str(ROOT)}
    done = subprocess.run([sys.executable, '-c', code], cwd=published, env=env,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = [p for p in (published/'pages').rglob('*') if p.is_file()]
    return {p.relative_to(published/'pages').as_posix(): p.read_text(encoding='utf-8') for p in found}


def test_the_files_agree_with_settings():
    assert [p.name for p, _ in places.changes(ROOT)] == [], 'make links writes them'


def test_the_switch_can_be_set_twice_and_set_back(published, tmp_path, capsys):
    shutil.copytree(published/'nbs', tmp_path/'nbs')
    for name in ('settings.ini', 'README.md'):
        shutil.copy(published/name, tmp_path)
    on = files(tmp_path)
    capsys.readouterr()
    switch(tmp_path, True)
    assert files(tmp_path) == on and capsys.readouterr().out == ''
    switch(tmp_path, False)
    off = files(tmp_path)
    assert off['README.md'] != on['README.md'] and off['nbs/index.ipynb'] != on['nbs/index.ipynb']
    switch(tmp_path, PLACES.published)
    assert files(tmp_path) == files(ROOT)


def test_nothing_pretends_to_a_place_that_does_not_exist_yet():
    if PLACES.published:
        pytest.skip('the course is published')
    texts = {name: (ROOT/name).read_text(encoding='utf-8')
             for name in ('README.md', 'CONTRIBUTING.md', 'CHANGELOG.md')}
    for path in (ROOT/'nbs').rglob('*.ipynb'):
        texts[path.relative_to(ROOT).as_posix()] = '\n'.join(cell['source'] for cell in cells(path))
    assert [(name, a) for name, text in texts.items() for a in addresses(text) if OURS.search(a)] == []
    readme = texts['README.md']
    commands = re.findall(r'^    (.+)', readme, re.MULTILINE)
    assert commands[0] == 'make study' and 'git clone' not in readme + texts['nbs/index.ipynb']
    assert not any('get_course' in text for name, text in texts.items() if name.endswith('.ipynb'))


def test_readme_and_front_page_link_to_the_places_once_they_exist(published):
    readme = (published/'README.md').read_text(encoding='utf-8')
    assert readme.index('git clone ' + PLACES.git_url) < readme.index('make study')
    links = [a for a in addresses(readme) if OURS.search(a)]
    assert PLACES.site in links
    assert [h for h in HOSTS if any(h in a and a.endswith('/nbs/index.ipynb') for a in links)] == HOSTS
    index = '\n'.join(cell['source'] for cell in cells(published/'nbs'/'index.ipynb'))
    assert {PLACES.site, PLACES.git_url + '#without-make-as-on-windows'} <= set(addresses(index))
    assert '\n## Without make, as on Windows\n' in readme
    assert 'git clone ' + PLACES.git_url in index


def kwargs_of_setup(folder, monkeypatch):
    "The arguments that setup.py in `folder` passes to setuptools"
    given = {}
    monkeypatch.setattr('setuptools.setup', given.update)
    monkeypatch.setattr('setuptools.find_packages', lambda **kwargs: [])
    runpy.run_path(str(folder/'setup.py'))
    return given


def test_the_package_names_its_home_once_it_has_one(published, monkeypatch):
    assert kwargs_of_setup(published, monkeypatch)['url'] == PLACES.git_url
    if not PLACES.published:
        assert kwargs_of_setup(ROOT, monkeypatch)['url'] is None


def test_the_citation_agrees_with_settings():
    cited = yaml.safe_load((ROOT/'CITATION.cff').read_text(encoding='utf-8'))
    kwargs = {key: cited[key] for key in ('version', 'title')}
    assert kwargs == {key: PLACES.settings[key] for key in kwargs}
    assert [author['name'] for author in cited['authors']] == [PLACES.settings['author']]
    assert cited['cff-version'] == '1.2.0' and cited['license'] == 'Apache-2.0'
    assert cited.get('repository-code') == (PLACES.git_url if PLACES.published else None)
    [movielens] = cited['references']
    for page in ('README.md', 'nbs/index.ipynb'):
        assert movielens['doi'] in (ROOT/page).read_text(encoding='utf-8')


def test_every_page_links_to_its_places_once_they_exist(pages):
    branch, root = PLACES.settings['branch'], PLACES.git_url
    on_front_page = {root, root + '#without-make-as-on-windows', PLACES.site}
    for name, text in pages.items():
        links = [a for a in addresses(text) if OURS.search(a)]
        if name == 'index.ipynb':
            links = [a for a in links if a not in on_front_page]
        paths = [re.search(rf'/{branch}(?:/|\?urlpath=lab/tree/)([^#]+)$', a)[1] for a in links]
        assert links and all((ROOT/path).is_file() for path in paths), (name, links)
        if name in WITH_CODE:
            assert set(paths) == {f'nbs/{name}'}
            assert all(any(h in a for a in links) for h in [*HOSTS, PLACES.source(f'nbs/{name}')]), name


# --- the cell

def test_each_notebook_with_code_gets_the_course_first(published):
    for name in NOTEBOOKS:
        code = [c for c in cells(published/'nbs'/name) if c['cell_type'] == 'code']
        assert [c['source'] for c in code if 'get_course' in c['source']] == [c['source'] for c in code[:1]]
        assert bool(code) == (name in WITH_CODE)
        if code:
            assert code[0]['source'].startswith('#| hide\n') and PLACES.git_url in code[0]['source']
            assert f"home='{Path('nbs', name).parent.as_posix()}'" in code[0]['source']
            assert code[0]['metadata'] == {'jupyter': {'source_hidden': True}}


DRIVER = '''
import json, os, shutil, subprocess, sys
from pathlib import Path

asked, site = [], Path(sys.argv[1])

def run(command, **kwargs):
    "Stands in for git and pip"
    asked.append(command)
    if os.environ.get('FAILS') in command:
        return subprocess.CompletedProcess(command, 1, '', 'warning: slow\\nfatal: no such host\\nnotice')
    folder = Path(command[-1])
    if command[0] == 'git':
        for name in ('nbs/course.mplstyle', 'nbs/side/loader.ipynb', 'collab_course/__init__.py'):
            (folder/name).parent.mkdir(parents=True, exist_ok=True)
            (folder/name).touch()
    else:
        shutil.copytree(folder/'collab_course', site/'collab_course')
    return subprocess.CompletedProcess(command, 0, '', '')

subprocess.run = run
source = Path(sys.argv[2]).read_text(encoding='utf-8').replace('HOME', sys.argv[3])
error = None
try:
    exec(source, {})
    import collab_course
    exec(source, {})
except Exception as e:
    error = f'{type(e).__name__}: {e}'
print(json.dumps([asked, os.getcwd(), error]))
'''


class Machine:
    "A stand-in for a hosted machine: no packages, its own working folder, and what the host sets"
    def __init__(self, folder, **env):
        self.site, self.work, self.env = folder/'site', folder/'work', env
        self.site.mkdir()
        self.work.mkdir()

    def kernel(self, cwd='.', home='nbs', **env):
        "Run the cell twice in a new kernel; return its commands, its final folder and its error"
        hosts = ('COLAB_RELEASE_TAG', 'KAGGLE_KERNEL_RUN_TYPE', 'BINDER_LAUNCH_HOST')
        own = {k: v for k, v in os.environ.items() if k not in hosts}
        own |= {'PYTHONPATH': str(self.site)} | self.env | env
        cell = ROOT/'docs'/'get_course.py'
        done = subprocess.run([sys.executable, '-S', '-c', DRIVER, self.site, cell, home],
                              cwd=self.work/cwd, env=own, capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize('host', ['COLAB_RELEASE_TAG', 'KAGGLE_KERNEL_RUN_TYPE'])
@pytest.mark.parametrize('home', ['nbs', 'nbs/side'])
def test_the_cell_gets_the_course_on_colab_and_kaggle_once(tmp_path, host, home):
    machine = Machine(tmp_path, **{host: 'x'})
    asked, cwd, error = machine.kernel(home=home)
    clone = machine.work/'collab_course'
    assert error is None and Path(cwd) == clone/home
    assert [command[0] for command in asked] == ['git', sys.executable]
    assert asked[0][1] == 'clone' and asked[0][-2:] == ['GIT_URL', str(clone)]
    assert asked[1][1:4] == ['-m', 'pip', 'install'] and asked[1][-1] == str(clone)
    assert machine.kernel(home=home) == [[], cwd, None]


def test_the_cell_tries_again_where_it_was_interrupted(tmp_path):
    machine = Machine(tmp_path, COLAB_RELEASE_TAG='x')
    asked, _, error = machine.kernel(FAILS='pip')
    assert len(asked) == 2 and error
    asked, cwd, error = machine.kernel()
    assert [command[0] for command in asked] == [sys.executable] and error is None
    assert Path(cwd) == machine.work/'collab_course'/'nbs'


def test_without_a_network_the_cell_says_what_to_switch_on(tmp_path):
    machine = Machine(tmp_path, KAGGLE_KERNEL_RUN_TYPE='Interactive')
    asked, _, error = machine.kernel(FAILS='git')
    assert len(asked) == 1 and not list(machine.work.iterdir())
    assert 'fatal: no such host\nSwitch on Internet' in error
    assert machine.kernel()[2] is None


def checkout(folder):
    "Create those parts of a checkout in `folder` that the cell uses"
    for name in ('nbs/course.mplstyle', 'nbs/side/loader.ipynb', 'collab_course/__init__.py'):
        (folder/name).parent.mkdir(parents=True, exist_ok=True)
        (folder/name).touch()


def test_the_cell_has_nothing_to_do_on_binder(tmp_path):
    machine = Machine(tmp_path, BINDER_LAUNCH_HOST='https://mybinder.org/')
    checkout(machine.work)
    shutil.copytree(machine.work/'collab_course', machine.site/'collab_course')
    for home in ('nbs', 'nbs/side'):
        assert machine.kernel(home, home) == [[], str(machine.work/home), None]
    shutil.rmtree(machine.site/'collab_course')
    asked, cwd, error = machine.kernel('nbs')
    assert len(asked) == 1 and asked[0][-1] == str(machine.work) and Path(cwd) == machine.work/'nbs'


def test_the_cell_leaves_other_machines_alone(tmp_path):
    asked, cwd, error = Machine(tmp_path).kernel()
    assert asked == [] and Path(cwd) == tmp_path/'work' and error.startswith('ModuleNotFoundError')


def test_binder_installs_what_lies_here():
    made_for = (ROOT/'constraints.txt').read_text(encoding='utf-8').split(':')[0].removeprefix('# Python ')
    assert (ROOT/'binder'/'runtime.txt').read_text(encoding='utf-8') == f'python-{made_for}\n'
    lines = (ROOT/'binder'/'requirements.txt').read_text(encoding='utf-8').splitlines()
    assert '.' in lines and '-c ../constraints.txt' in lines


# --- commands

def commands(section):
    "The commands in a section of README.md"
    text = (ROOT/'README.md').read_text(encoding='utf-8')
    part = re.search(rf'^## {re.escape(section)}\n(.*?)(?=^## )', text, re.MULTILINE | re.DOTALL)[1]
    return re.findall(r'^    (.+)', part, re.MULTILINE)


def test_extras_are_quoted_for_zsh():
    listed = subprocess.run(['git', 'ls-files'], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip('not a git checkout')
    found = []
    for name in listed.stdout.splitlines():
        if Path(name).suffix in ('.md', '.py', '.ipynb', '.yml', '') and name != 'tests/test_places.py':
            text = (ROOT/name).read_text(encoding='utf-8')
            found += re.findall(r'pip\S* install[^\n]*\[dev\][^\n]*', text)
    assert found and [f for f in found if not re.search(r'\\?"\S*\[dev\]\\?"', f)] == []


def load(name):
    "The jobs of a workflow, by name"
    return yaml.safe_load((ROOT/'.github'/'workflows'/name).read_text(encoding='utf-8'))['jobs']


def test_windows_is_tested_with_the_commands_of_the_readme():
    given = [c for c in commands('Without make, as on Windows') if 'jupyter lab' not in c]
    assert given == [step['run'] for step in load('test.yml')['windows']['steps'] if 'run' in step]
    assert len(given) == 6


def test_every_python_that_the_readme_names_is_tested():
    readme = (ROOT/'README.md').read_text(encoding='utf-8')
    first, last = re.search(r'Python 3\.(\d+) to 3\.(\d+)', readme).groups()
    assert PLACES.settings['min_python'] == f'3.{first}'
    tested = load('test.yml')['unix']['strategy']['matrix']
    assert tested['python'] == [f'3.{n}' for n in range(int(first), int(last)+1)]
    assert {'macos-latest'} == {row['os'] for row in tested['include']}


def test_the_site_is_deployed_only_when_published():
    jobs = load('site.yml')
    assert jobs['deploy']['if'] == "needs.build.outputs.published == 'True'"
    steps = jobs['build']['steps']
    upload = next(s for s in steps if 'upload-pages-artifact' in s.get('uses', ''))
    assert upload['if'] == "steps.settings.outputs.published == 'True'"
    assert all('pages' not in s.get('uses', '') or s is upload for s in steps)


@pytest.mark.skipif(os.name == 'nt', reason='runs a step in bash')
@pytest.mark.parametrize('value', ['True', 'False'])
def test_the_workflow_reads_the_switch(tmp_path, value):
    step = next(s['run'] for s in load('site.yml')['build']['steps'] if s.get('id') == 'settings')
    text = (ROOT/'settings.ini').read_text(encoding='utf-8')
    text = re.sub(r'^published = .*', f'published = {value}', text, flags=re.MULTILINE)
    (tmp_path/'settings.ini').write_text(text, encoding='utf-8')
    env = os.environ | {'GITHUB_OUTPUT': str(tmp_path/'output')}
    subprocess.run(['bash', '-euo', 'pipefail', '-c', step], cwd=tmp_path, env=env, check=True)
    assert (tmp_path/'output').read_text(encoding='utf-8') == f'published={value}\n'
