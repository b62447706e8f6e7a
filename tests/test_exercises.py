"All questions at once: what they hide, which lines their tables reach, and how several processes share the progress file"
import inspect, json, os, re, subprocess, sys
from pathlib import Path

import coverage, pytest
from collab_course import exercises
from collab_course.exercises import engine
import mutants, wings

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(p.stem for p in (ROOT/'collab_course'/'exercises').glob('*.py') if p.stem not in mutants.NOT_CHECKERS)
NAMES = sorted(engine._definitions, key=engine._key)
COURSE = [f'q{i}' for i in range(1, 32)] + [f'r{i}' for i in range(1, 5)] + [f's{i}' for i in range(1, 4)]
FURTHER = [name for name in NAMES if name.startswith('f')]
ALL = [*COURSE, *FURTHER]


@pytest.fixture(autouse=True)
def own_progress(tmp_path, monkeypatch):
    monkeypatch.setenv('COLLAB_COURSE_PROGRESS', str(tmp_path/'progress.json'))
    monkeypatch.setattr(engine, '_waiting', [])
    monkeypatch.setattr(engine, '_news', [])


def test_all_questions_are_there():
    assert NAMES == ALL and exercises.__all__ == ['progress', *ALL]
    assert all(isinstance(getattr(exercises, n), engine.Question) for n in ALL)


def test_questions_of_further_research_are_named_after_their_chapters_and_go_on_from_a():
    numbers = {}
    for name in FURTHER:
        number, letter = re.fullmatch(r'f(\d+)([a-z])', name).groups()
        assert re.match(fr'further/{number}[a-z]?_', engine._definitions[name].chapter), name
        numbers[number] = numbers.get(number, '') + letter
    for letters in numbers.values():
        assert 'abcdefghijklmnopqrstuvwxyz'.startswith(letters), numbers
    assert FURTHER == sorted(FURTHER, key=lambda name: (engine._definitions[name].chapter, name)), 'not in the order of the chapters'


PROJECTS = [path for path in wings.FURTHER if path.stem.startswith('17')] # each has a judge or a table instead


@pytest.mark.parametrize('path', [path for path in wings.FURTHER if path not in PROJECTS], ids=wings.name_of)
def test_each_chapter_of_further_research_asks_three_questions(path):
    n_asked = len([name for name in FURTHER if engine._definitions[name].chapter == wings.name_of(path)])
    assert n_asked == 3


def test_a_question_of_further_research_is_asked_in_its_chapter_with_a_cell_for_the_answer():
    for name in FURTHER:
        d = engine._definitions[name]
        chapter = json.loads((wings.NBS/f'{d.chapter}.ipynb').read_text(encoding='utf-8'))
        cells = [''.join(cell['source']) for cell in chapter['cells']]
        at = cells.index(name)
        assert cells[at-1:at+3] == [f'### {name}', name, f'# {d.call}', f'#| echo: false\n{name}.answer(counts=False)'], name


def test_the_chapters_exist():
    assert {engine._definitions[n].chapter for n in ALL} <= set(map(wings.name_of, wings.ALL))


# --- what a question shows of itself

def secrets(d): return [d.answer, d.code, *d.hints]

@pytest.mark.parametrize('name', ALL)
def test_a_question_gives_nothing_away(name):
    q, d = getattr(exercises, name), engine._definitions[name]
    shown = [repr(q), q._repr_html_(), str(q), *dir(q), inspect.getsource(type(q)), inspect.getdoc(q), inspect.getdoc(q.check), q.check('?')._body]
    assert not [s for s in secrets(d) if any(s in x or engine._markdown.render(s) in x for x in shown)]
    assert not hasattr(q, '__dict__') and len(d.hints) >= 3 and set(dir(q)) == {'answer', 'check', 'hint'}


def test_a_hint_and_an_answer_can_be_had():
    for n in ALL:
        q, d = getattr(exercises, n), engine._definitions[n]
        assert {q.hint()._body for _ in d.hints} == set(d.hints)
        card = q.answer()
        assert d.answer in repr(card) and d.code in repr(card) and '<code' in card._repr_html_()


def test_links_in_answers_lead_to_notebooks():
    links = [(n, link) for n in ALL for link in re.findall(r'\]\(([^)]+)\)', engine._definitions[n].answer)]
    assert {n for n, _ in links} >= {'q17', 'r2', 'r3', 'r4'}
    folder = {n: (ROOT/'nbs'/engine._definitions[n].chapter).parent for n in ALL}
    assert not [(n, link) for n, link in links if '//' not in link and not (folder[n]/link).exists()]


def test_what_only_the_learner_can_judge_is_never_shown_as_checked():
    assert [n for n in ALL if not engine._definitions[n].judged] == ['r2']


# --- what the tables reach

@pytest.mark.skipif('COLLAB_COURSE_SLOW' not in os.environ, reason='takes minutes: only where COLLAB_COURSE_SLOW is set')
@pytest.mark.parametrize('name', MODULES)
def test_the_tables_reach_every_line(name, monkeypatch):
    monkeypatch.chdir(ROOT) # the module's tests run where its notebook is
    monkeypatch.setattr(engine, '_forks', lambda: False) # what runs in another process isn't seen
    before, module = dict(engine._definitions), mutants.Module(name)
    cov = coverage.Coverage(data_file=None, include=[str(module.path)], config_file=False)
    cov.start()
    try: module.baseline()
    finally:
        cov.stop()
        engine._definitions.clear(); engine._definitions.update(before)
    _, _, _, missed, _ = cov.analysis2(str(module.path))
    assert not missed, f'{module.path.name}: nothing reaches lines {missed}'


# --- the progress file

SETUP = """from collab_course.exercises import *
from collab_course.exercises import engine
for n in ('q1', 'q2'): engine.define(n, title='', chapter='', ask='', call='', check=lambda x, rng: None, hints=('',)*3, answer='', code='')
"""
def session(code, **env):
    "Code of a process in which any answer to q1 and q2 is right"
    return subprocess.Popen([sys.executable, '-c', SETUP+code], env=os.environ | {'PYTHONPATH': str(ROOT)} | env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def finish(p):
    out, err = p.communicate(timeout=900)
    assert p.returncode == 0, err
    return out

def table_in(path): return json.loads(path.read_text())

def test_sessions_side_by_side_lose_nothing(tmp_path):
    both = [session(f'for _ in range(500): {q}.check("a")\nassert not engine._news') for q in ('q1', 'q2')]
    for p in both: finish(p)
    notes = table_in(tmp_path/'progress.json')
    assert {name: note['tries'] for name, note in notes.items()} == {'q1': 500, 'q2': 500}
    assert {p.name for p in tmp_path.iterdir()} <= {'progress.json', 'progress.json.lock'}

def test_one_session_goes_on_where_another_ended(tmp_path):
    finish(session('q1.check(1)'))
    assert '2 of 38 answered' in finish(session('q2.check(1); q2.check(1); print(progress())'))
    assert table_in(tmp_path/'progress.json')['q2']['tries'] == 2

def test_a_session_that_is_killed_leaves_the_old_file_or_the_new(tmp_path):
    p = session('q1.check(1); print("go", flush=True)\nwhile True: q1.check(1)')
    p.stdout.readline(); p.kill(); p.communicate()
    assert table_in(tmp_path/'progress.json')['q1']['solved'] == 'alone'

def test_a_folder_that_cannot_be_written(tmp_path):
    folder = tmp_path/'locked'
    folder.mkdir(); folder.chmod(0o500)
    try:
        if os.access(folder, os.W_OK): pytest.skip('this user may write anywhere')
        out = finish(session('assert q1.check(1) and q2.check(1); print(progress())', COLLAB_COURSE_PROGRESS=str(folder/'progress.json')))
        assert 'this session only' in out and '2 of 38 answered' in out and not list(folder.iterdir())
    finally: folder.chmod(0o700)

def test_a_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path/'file').write_text('mine')
    out = finish(session('assert q1.check(1); print(progress())', COLLAB_COURSE_PROGRESS=str(tmp_path/'file'/'progress.json')))
    assert 'this session only' in out and '1 of 38 answered' in out and (tmp_path/'file').read_text() == 'mine'

def test_what_could_not_be_written_is_added_later_and_overwrites_nothing(tmp_path, monkeypatch):
    def full(*args): raise OSError('no space left')
    with monkeypatch.context() as m:
        m.setattr(engine, '_replace', full)
        exercises.q1.check('?')
    finish(session('q1.check(1); q1.check(1)'))  # another session, which solves it
    assert engine._load()['q1'] == {'tries': 3, 'hints': 0, 'looked': False, 'solved': 'alone'}
    exercises.q2.check('?')
    notes = table_in(tmp_path/'progress.json')
    assert (notes['q1']['tries'], notes['q1']['solved'], notes['q2']['tries']) == (3, 'alone', 1)

@pytest.mark.parametrize('text', [b'', b'{', b'[]', b'null', b'\xff\xfe', b'['*100_000, b'{"q1":' + b'['*100_000])
def test_a_damaged_file_is_set_aside(tmp_path, text):
    (tmp_path/'progress.json').write_bytes(text)
    assert 'set aside' in repr(engine.progress())
    [aside] = tmp_path.glob('progress.json.damaged-*')
    assert aside.read_bytes() == text and not (tmp_path/'progress.json').exists()
    exercises.q1.check('a')
    assert table_in(tmp_path/'progress.json')['q1']['tries'] == 1

GOOD = {'tries': 2, 'hints': 1, 'looked': False, 'solved': 'alone'}

@pytest.mark.parametrize('entry', [1, None, [], {'tries': 1}, GOOD | {'tries': '1'}, GOOD | {'stars': 5}])
def test_one_bad_entry_hides_nothing_else(tmp_path, entry):
    table = {'q1': GOOD, 'q2': entry, 'version': 3}
    (tmp_path/'progress.json').write_text('\ufeff' + json.dumps(table), encoding='utf-8')
    board = repr(engine.progress())
    assert 'set aside' not in board and re.search(r'q1 .*answered +2 +1', board)
    exercises.q3.check('?')
    notes = table_in(tmp_path/'progress.json')
    assert notes.pop('q3')['tries'] == 1 and notes == table

def test_an_error_in_reading_sets_nothing_aside(tmp_path, monkeypatch):
    (tmp_path/'progress.json').write_text(json.dumps({'q1': GOOD}))
    def fails(*args, **kw): raise OSError('input/output error')
    with monkeypatch.context() as m:
        m.setattr(Path, 'read_text', fails)
        assert 'could not be read' in repr(engine.progress())
        exercises.q2.check('?')
    assert table_in(tmp_path/'progress.json') == {'q1': GOOD}
    exercises.q2.check('?')
    notes = table_in(tmp_path/'progress.json')
    assert notes['q1'] == GOOD and notes['q2']['tries'] == 2

def test_a_damaged_file_that_cannot_be_moved_is_no_obstacle(tmp_path, monkeypatch):
    def locked(*args): raise PermissionError
    (tmp_path/'progress.json').write_text('{')
    monkeypatch.setattr(Path, 'replace', locked)
    assert exercises.q1.check('?').misconception and '0 of 38 answered' in repr(engine.progress())
    assert (tmp_path/'progress.json').read_text() == '{'

def test_a_link_stays_a_link(tmp_path):
    (tmp_path/'elsewhere').mkdir()
    (tmp_path/'progress.json').symlink_to(tmp_path/'elsewhere'/'mine.json')
    exercises.q1.check('?')
    assert (tmp_path/'progress.json').is_symlink() and 'q1' in table_in(tmp_path/'elsewhere'/'mine.json')

def test_home_is_meant_by_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path)); monkeypatch.setenv('USERPROFILE', str(tmp_path))
    monkeypatch.setenv('COLLAB_COURSE_PROGRESS', '~/course/progress.json')
    exercises.q1.check('?')
    assert 'q1' in table_in(tmp_path/'course'/'progress.json')

OF_0_1_0 = """{
 "q1": {"tries": 1, "hints": 0, "looked": false, "solved": "alone"},
 "q2": {"tries": 1, "hints": 0, "looked": false, "solved": ""},
 "q7": {"tries": 2, "hints": 1, "looked": false, "solved": "alone"},
 "q9": {"tries": 1, "hints": 0, "looked": true, "solved": "after looking"},
 "r2": {"tries": 1, "hints": 0, "looked": false, "solved": "by own judgement"},
 "q30": {"tries": 0, "hints": 1, "looked": false, "solved": ""},
 "q16": {"tries": 0, "hints": 0, "looked": true, "solved": ""}
}"""

def test_what_version_0_1_0_kept_is_still_there(tmp_path):
    (tmp_path/'progress.json').write_text(OF_0_1_0)
    board = engine.progress()
    rows = {row['question']: (row['state'], row['tries'], row['hints']) for row in board._rows}
    tried = {name: row for name, row in rows.items() if row != ('untried', 0, 0)}
    assert repr(board).startswith('4 of 38 answered\n') and 'set aside' not in repr(board)
    assert tried == {
        'q1': ('answered', 1, 0), 'q2': ('tried', 1, 0), 'q7': ('answered', 2, 1), 'q9': ('solved after looking', 1, 0),
        'q30': ('untried', 0, 1), 'r2': ('answered, by your own judgment', 1, 0)}
    links = dict(re.findall(r'<a href="(.*?)">(.*?)</a>', board._repr_html_()))
    assert links and all((ROOT/'nbs'/link).is_file() for link in links)
    exercises.q2.check('?')
    notes = json.loads((tmp_path/'progress.json').read_text())
    assert notes.pop('q2')['tries'] == 2 and notes.items() < json.loads(OF_0_1_0).items()

def test_a_folder_in_the_place_of_the_file(tmp_path):
    (tmp_path/'progress.json').mkdir()
    exercises.q1.check('a')
    assert 'set aside' in repr(engine.progress())
