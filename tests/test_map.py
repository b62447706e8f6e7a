"The minutes on the map are computed from the chapters, and no chapter takes more than an hour"
import json, re

import pytest
import wings

BOARD = '09_questionnaire'
MAP = wings.NBS/'index.ipynb'
CHAPTERS = [path.stem for path in wings.MAIN if path.stem != BOARD]


def cells(path):
    "Type and source of each cell"
    notebook = json.loads(path.read_text(encoding='utf-8'))
    return [(cell['cell_type'], ''.join(cell['source'])) for cell in notebook['cells']]


def to_read(source):
    "The number of lines to read in a code cell; 0 if it is hidden or folded"
    if re.search(r'^#\|\s*(hide|include: *false|code-fold|echo: *false)', source, re.M):
        return 0
    return sum(bool(line.strip()) and not line.lstrip().startswith('#') for line in source.splitlines())


def minutes(cells):
    "The minutes for a notebook: 150 words or 6 lines of code a minute, and 3 minutes for each question"
    words = sum(len(source.split()) for kind, source in cells if kind == 'markdown')
    code = [source for kind, source in cells if kind == 'code']
    questions = sum(bool(re.fullmatch(r'\s*([qrs]\d+|f\d+[a-z])\s*', source)) for source in code)
    return words/150 + sum(map(to_read, code))/6 + 3*questions


def on_the_map():
    "The minutes of each chapter on the map"
    text = '\n'.join(source for kind, source in cells(MAP) if kind == 'markdown')
    return {name: int(n) for name, n in re.findall(r'^\| \w+ \| \[[^]]+\]\((\w+)\.ipynb\) \|.*\| (\d+) \|$', text, re.M)}


def test_minutes_are_counted():
    code = '#| exports\nx = 1\n\n# a comment\ny = 2\n'
    text = [('markdown', 'word '*300), ('code', code*3), ('code', '#| hide\n' + code), ('code', 'q7'), ('code', '# q7.check(dot)'), ('code', 'f10b')]
    assert minutes(text) == 2 + 8/6 + 2*3
    assert to_read('#| code-fold: true\nx = 1') == to_read('#| echo: false\nq7.answer()') == 0


@pytest.mark.parametrize('name', CHAPTERS)
def test_the_map_has_the_minutes_of_each_chapter(name):
    counted = minutes(cells(wings.NBS/f'{name}.ipynb'))
    assert on_the_map()[name] == 5*round(counted/5), counted
    assert counted <= 60, counted


@pytest.mark.parametrize('path', wings.FURTHER, ids=wings.name_of)
def test_further_research_takes_at_most_an_hour_a_chapter(path):
    counted = minutes(cells(path))
    assert counted <= 60, counted


def test_only_the_board_has_no_minutes():
    assert list(on_the_map()) == CHAPTERS


EVIDENCE = [path for path in wings.SIDE if path.stem.startswith('evidence_')]


@pytest.mark.parametrize('path', EVIDENCE, ids=wings.name_of)
def test_evidence_has_a_short_version_and_its_chapter_leads_to_it(path):
    text = '\n'.join(source for _, source in cells(path))
    assert 'COLLAB_COURSE_QUICK' in text and 'default_exp' not in text
    chapters = re.findall(r'\]\(\.\./((?:further/)?\w+)\.ipynb', text)
    assert any(f'side/{path.name}' in source for name in chapters for _, source in cells(wings.NBS/f'{name}.ipynb'))


def test_ci_takes_the_short_version():
    assert 'COLLAB_COURSE_QUICK=1' in (wings.NBS.parent/'Makefile').read_text(encoding='utf-8')
