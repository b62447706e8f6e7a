"""Run the notebooks on generated worlds of other seeds, and list every assertion that fails there

    python tests/worlds.py                     # every notebook that uses ratings, seeds 1 to 5
    python tests/worlds.py nbs/05_weight_decay.ipynb --seeds 3 4

A failing cell doesn't end a run, so one run finds all failing assertions. After a failed assertion,
errors of other kinds in the same notebook are only counted, because it may have caused them.
The exit status is 1 if anything failed.
"""
import argparse
import ast
import os
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from nbdev.process import extract_directives

from collab_course.world import write_world
from wings import ALL, name_of

# With this, a failed assertion shows the values that it compared, as in pytest
EXPLAIN = """
class ExplainAsserts:
    def visit(self, tree):
        import ast
        from _pytest.assertion.rewrite import rewrite_asserts
        rewrite_asserts(tree, b'')
        for node in ast.walk(tree): # IPython gives those without an end the end of line 1
            if hasattr(node, 'lineno') and getattr(node, 'end_lineno', None) is None:
                node.end_lineno = node.lineno
        return tree

get_ipython().ast_transformers.append(ExplainAsserts())
"""


@dataclass
class Failure:
    "An error in a notebook on one world"
    notebook: str
    seed: int
    cell: str # its id
    code: str # the statement that failed, or the first line of several
    error: str # name of the exception
    message: str

    def __str__(self):
        where = f'{self.notebook}, seed {self.seed}, cell {self.cell}'
        message = self.message.replace('\n', '\n    ')
        return f'{where}: {self.code}\n    {self.error}: {message}'


# --- preparing a notebook

def notebooks() -> list:
    "Paths of the notebooks that use the ratings, some of them in the answers to questions"
    uses = re.compile(r'get_movielens|exercises\.research')
    return [path for path in ALL if uses.search(path.read_text(encoding='utf-8'))]


def is_skipped(
    cell # a code cell
) -> bool:
    "Whether `nbdev_test` leaves the cell out"
    directives = extract_directives(cell, remove=False)
    return directives.get('eval:', [''])[0].lower() == 'false' or 'notest' in directives


def is_check(statement) -> bool:
    "Whether a statement is an `assert`, or a call like `test_eq(a, b)`"
    if isinstance(statement, ast.Assert):
        return True
    call = getattr(statement, 'value', None)
    name = getattr(getattr(call, 'func', None), 'id', '')
    return isinstance(statement, ast.Expr) and name.startswith('test_')


def split_checks(
    source:str # code of a cell
) -> list: # pieces of code
    "Split the code so that each check is in a piece of its own and the next one runs even if it fails"
    try:
        statements = ast.parse(source).body
    except SyntaxError: # an IPython command
        return [source]
    groups = []
    for statement in statements:
        if not groups or is_check(statement) or is_check(groups[-1][-1]):
            groups.append([])
        groups[-1].append(statement)
    if len(groups) < 2:
        return [source]
    return [ast.unparse(ast.Module(group, [])) for group in groups]


def prepare(
    path # a notebook
):
    "The notebook at `path` with one check in each cell; the pieces of a cell keep its id"
    nb = nbformat.read(path, as_version=4)
    cells = [nbformat.v4.new_code_cell(EXPLAIN)]
    for cell in nb.cells:
        if cell.cell_type != 'code' or is_skipped(cell):
            continue
        for piece in split_checks(cell.source):
            cells.append(nbformat.v4.new_code_cell(piece, id=cell.id))
    nb.cells = cells
    return nb


# --- running it

def execute(
    nb, # as `prepare` returns it
    folder, # where it runs
    world # the folder with its ratings
) -> str: # what ended the run before its time, if anything
    "Run all cells of `nb`, whether they fail or not"
    with tempfile.TemporaryDirectory() as progress:
        env = os.environ | {
            'COLLAB_COURSE_DATA': str(world),
            'COLLAB_COURSE_PROGRESS': f'{progress}/progress.json',
        }
        client = NotebookClient(
            nb, timeout=None, kernel_name='python3', allow_errors=True,
            resources={'metadata': {'path': str(folder)}})
        try:
            client.execute(env=env)
        except DeadKernelError as e:
            return str(e)
    return ''


def first_line(code:str) -> str:
    "The first line of `code` that isn't a comment"
    lines = [line for line in code.splitlines() if line.strip() and not line.startswith('#')]
    return lines[0]


def failures(
    path, # a notebook
    seed:int,
    world # the folder of that seed's world
) -> list:
    "The errors in the notebook on a world"
    nb = prepare(path)
    ended = execute(nb, path.resolve().parent, world)
    found = []
    for cell in nb.cells:
        for output in cell.outputs:
            if output.output_type == 'error':
                line = first_line(cell.source)
                message = output.evalue
                found.append(Failure(name_of(path), seed, cell.id, line, output.ename, message))
    if ended:
        found.append(Failure(name_of(path), seed, '', '', 'ended early', ended))
    return found


def without_consequences(
    found:list # failures of one notebook, in order
) -> tuple: # failures, number of those that were left out
    "Leave out errors that aren't failed assertions but come after one"
    kept, asserted = [], False
    for failure in found:
        asserted = asserted or failure.error == 'AssertionError'
        if failure.error in ('AssertionError', 'ended early') or not asserted:
            kept.append(failure)
    return kept, len(found) - len(kept)


def run(
    paths:list, # notebooks
    seeds:list
) -> list: # failures
    "Run each notebook on each seed's world, two at a time, and print the results"
    res = []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        worlds = {seed: write_world(Path(folder)/str(seed), seed) for seed in seeds}
        jobs = [(path, seed) for seed, path in product(seeds, paths)]
        results = pool.map(lambda job: failures(*job, worlds[job[1]]), jobs)
        for (path, seed), found in zip(jobs, results):
            kept, n_more = without_consequences(found)
            more = f', then {n_more} other errors' if n_more else ''
            print(f'seed {seed} {name_of(path)}: {len(kept)} failed{more}', flush=True)
            res += kept
    return res


def main():
    "Run from the command line"
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('notebooks', type=Path, nargs='*', default=notebooks(),
                        help='default: all that use the ratings')
    parser.add_argument('--seeds', type=int, nargs='+', default=[1, 2, 3, 4, 5])
    args = parser.parse_args()
    found = run(args.notebooks, args.seeds)
    for failure in found:
        print(failure)
    if found:
        raise SystemExit(1)


if __name__ == '__main__':
    main()
