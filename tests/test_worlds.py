"make worlds: what it finds in a small notebook, and what it leaves out"
import nbformat
import pytest

import worlds

FAILS = """
from collab_course.movielens import get_movielens
data = get_movielens()
assert 'seed 3.' in (data.path/'README').read_text()
---
x = 3
assert x < 2 # this fails, and what follows is tried all the same
y = 4
assert y == x + 1
assert all(n < 3 for n in range(x + 1))
---
#| eval: false
1/0
---
def check(n):
    assert n < 2, 'too large'
for n in range(x):
    check(n)
---
no_such_name
---
from fastcore.test import test_eq
test_eq(x, 4)
"""
STOPS = """
no_such_name
---
assert 1 < 2
"""


@pytest.fixture
def notebook(tmp_path):
    "A function that writes a notebook, its cells named a, b, ..."
    def write(name, source):
        cells = []
        for name_of_cell, code in zip('abcdefgh', source.strip().split('\n---\n')):
            cells.append(nbformat.v4.new_code_cell(code, id=name_of_cell))
        path = tmp_path/f'{name}.ipynb'
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        return path
    return write


def test_all_failing_assertions_are_found_with_their_values(notebook, capsys):
    paths = [notebook('fails', FAILS), notebook('stops', STOPS)]
    found = worlds.run(paths, [3])
    first_lines = [f.message.splitlines()[0] for f in found]
    assert [(f.notebook, f.seed, f.cell, f.error) for f in found] == [
        ('fails', 3, 'b', 'AssertionError'), ('fails', 3, 'b', 'AssertionError'),
        ('fails', 3, 'd', 'AssertionError'), ('fails', 3, 'f', 'AssertionError'),
        ('stops', 3, 'a', 'NameError')]
    assert first_lines[:3] == ['assert 3 < 2', 'assert False', 'too large']
    assert 'assert 2 < 2' in found[2].message and '3\n4' in found[3].message
    assert found[0].code == 'assert x < 2' and found[3].code == 'test_eq(x, 4)'
    assert 'fails: 4 failed, then 1 other errors' in capsys.readouterr().out


@pytest.mark.parametrize('found', [[], [worlds.Failure('a', 1, 'b', 'c', 'AssertionError', 'd')]])
def test_the_exit_status_says_whether_something_failed(found, monkeypatch, capsys):
    monkeypatch.setattr('sys.argv', ['worlds.py', '--seeds', '1'])
    monkeypatch.setattr(worlds, 'run', lambda paths, seeds: found)
    if not found:
        return worlds.main()
    with pytest.raises(SystemExit, match='1'):
        worlds.main()
    assert 'a, seed 1, cell b: c' in capsys.readouterr().out


def test_the_notebooks_with_ratings_are_run():
    names = [worlds.name_of(path) for path in worlds.notebooks()]
    assert {'05_weight_decay', 'index', 'side/loader', 'exercises/09_research', 'exercises/10_all'} <= set(names)
    assert 'glossary' not in names and len(set(names)) == len(names)
