"settings.ini declares every package that the code imports"
import ast
import importlib.util
import json
import re
import sys
from configparser import ConfigParser
from importlib.metadata import PackageNotFoundError, metadata, packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DISTRIBUTIONS = packages_distributions()
PLACES = ['collab_course', 'nbs', 'docs', 'scripts', 'tests']
BENCHMARKS = ROOT/'tests'/'benchmarks'
ours = {path.stem for place in ('docs', 'scripts', 'tests') for path in (ROOT/place).glob('*.py')} | {'peers', 'bench_peers'}


def declared(*keys):
    "The distributions that these keys of settings.ini name"
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini', encoding='utf-8')
    found = ' '.join(config['DEFAULT'][key] for key in keys).split()
    return {normal(re.match(r'[\w.-]+', requirement)[0]) for requirement in found}


OPTIONAL_KEYS = 'further_requirements', 'spark_requirements'
BROUGHT = {'llvmlite', 'polars-runtime-32', 'py4j', 'hf-xet', 'huggingface-hub'} # by optional packages


def normal(name):
    "The normalized name of a distribution"
    return re.sub(r'[-_.]+', '-', name).lower()


OPTIONAL = declared(*OPTIONAL_KEYS)


def code(path):
    "The Python in a file or a notebook, without IPython's commands"
    text = path.read_text(encoding='utf-8')
    if path.suffix == '.py':
        return text
    cells = [''.join(cell['source']) for cell in json.loads(text)['cells']
             if cell['cell_type'] == 'code']
    return re.sub(r'^(\s*)[%!].*', r'\1pass', '\n'.join(cells), flags=re.MULTILINE)


def is_optional(node):
    "Does the code go on without what it tries to import here?"
    return isinstance(node, ast.Try) and any(ast.unparse(handler.type or node) == 'ImportError' for handler in node.handlers)


def imported(source):
    "The packages that `source` imports, at the top or anywhere below, and can't do without"
    tree = ast.parse(source)
    optional = {part for node in ast.walk(tree) if is_optional(node) for part in node.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef): # what it imports is needed only if it is called
            optional |= {part for part in ast.walk(node) if set(map(normal, packages(part))) & OPTIONAL}
    for node in ast.walk(tree):
        if node not in optional:
            yield from packages(node)


def packages(node):
    "The packages that a node imports"
    if isinstance(node, ast.Import):
        yield from (alias.name.split('.')[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and not node.level:
        yield node.module.split('.')[0]


def in_their_own_environments():
    "The packages that the benchmarks install apart from the course, from `NEEDS` in bench_peers.py"
    [needs] = [ast.literal_eval(node.value) for node in ast.parse(code(BENCHMARKS/'bench_peers.py')).body
               if isinstance(node, ast.Assign) and node.targets[0].id == 'NEEDS']
    return {re.match(r'[\w-]+', name)[0].removeprefix('scikit-') for names in needs.values() for name in names}


def undeclared(path, names):
    "The packages that a file imports and that are neither Python's, nor ours, nor in a distribution in `names`"
    known = sys.stdlib_module_names | ours | {'collab_course'}
    if path.parent == BENCHMARKS/'peers':
        known |= in_their_own_environments()
    return sorted({name for name in imported(code(path))
                   if name not in known and not names & set(map(normal, DISTRIBUTIONS.get(name, [])))})


@pytest.mark.parametrize('place', PLACES)
def test_every_import_is_declared(place):
    keys = ['requirements'] if place == 'collab_course' else ['requirements', *OPTIONAL_KEYS, 'dev_requirements']
    paths = [path for path in sorted((ROOT/place).rglob('*')) if path.suffix in ('.py', '.ipynb')
             and '.ipynb_checkpoints' not in path.parts]
    found = {path.relative_to(ROOT).as_posix(): undeclared(path, declared(*keys)) for path in paths}
    assert paths and {path: names for path, names in found.items() if names} == {}


def test_pins_suit_each_patch_release_of_their_python():
    "Debian 12, for one, has Python 3.11.2, for which a package that wants 3.11.5 can't be installed"
    text = (ROOT/'constraints.txt').read_text(encoding='utf-8')
    minor = re.match(r'# Python (\d+\.\d+):', text)[1]
    if minor != '%d.%d' % sys.version_info[:2]:
        pytest.skip(f'the pins are for Python {minor}')
    wanted, missing = {}, set()
    for line in text.splitlines()[1:]:
        name, pinned, _ = line.partition('==')
        if pinned:
            try:
                wanted[line] = metadata(name)['Requires-Python'] or ''
            except PackageNotFoundError:
                missing.add(normal(name))
    assert missing <= OPTIONAL | BROUGHT
    assert len(wanted) > 100
    too_late = rf'>=\s*{re.escape(minor)}\.[1-9]'
    assert {line: want for line, want in wanted.items() if re.search(too_late, want)} == {}


def imported_from_the_course(path):
    "Module and name of each `from collab_course… import …` in a script"
    found = [node for node in ast.walk(ast.parse(code(path))) if isinstance(node, ast.ImportFrom) and not node.level]
    return [(node.module, alias.name) for node in found if node.module.split('.')[0] == 'collab_course' for alias in node.names]


SCRIPTS = sorted(path for folder in ('tests', 'scripts', 'docs') for path in (ROOT/folder).rglob('*.py'))


@pytest.mark.parametrize('path', SCRIPTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_script_imports_from_the_course_exists(path):
    "No test runs the benchmarks, so nothing else would notice that a function has moved"
    def exists(module, name):
        return name == '*' or hasattr(importlib.import_module(module), name) or importlib.util.find_spec(f'{module}.{name}')
    assert not [found for found in imported_from_the_course(path) if not exists(*found)]
