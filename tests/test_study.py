"A learner's copy of the notebooks: an update brings newer versions and never overwrites the learner's work"
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT/'scripts'))
import study

CHAPTER = '04_model.ipynb'
NEWER = '04_model.new.ipynb'


def write(path, *sources, outputs=()):
    "Write a notebook with these code cells, each with the same outputs"
    cells = [{'cell_type': 'code', 'execution_count': len(outputs) or None, 'id': f'c{i}',
              'metadata': {}, 'outputs': list(outputs), 'source': source.splitlines(keepends=True)}
             for i, source in enumerate(sources)]
    nb = {'cells': cells, 'metadata': {}, 'nbformat': 4, 'nbformat_minor': 5}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(nb))


def printed(text):
    "The outputs of a cell that prints `text`"
    return [{'output_type': 'stream', 'name': 'stdout', 'text': [text]}]


def run_all(path):
    "Change in a notebook what running it in JupyterLab changes"
    write(path, *code(path), '', outputs=printed('3'))


def code(path):
    "The sources of a notebook's cells"
    return [''.join(cell['source']) for cell in json.loads(path.read_text())['cells']]


@pytest.fixture
def course(tmp_path):
    "A folder with a course of three notebooks and a style sheet"
    write(tmp_path/'nbs'/CHAPTER, '1 + 2', 'fit()')
    write(tmp_path/'nbs'/'side'/'plots.ipynb', 'plot()')
    write(tmp_path/'nbs'/'exercises'/'00_engine.ipynb', 'check()')
    (tmp_path/'nbs'/'course.mplstyle').write_text('font.size: 10\n')
    return tmp_path


@pytest.fixture
def begun(course):
    "The same folder after the first copy"
    update(course)
    return course


def update(root):
    "The sentences that study.py prints"
    return study.Study(root).update()


def tree(folder):
    "The bytes of all files in a folder except the record"
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob('*') if path.is_file() and path.name != study.RECORD}


def test_the_first_copy_is_the_whole_tree(course):
    (course/'nbs'/'.ipynb_checkpoints').mkdir()
    (course/'nbs'/'.ipynb_checkpoints'/CHAPTER).write_text('{}')
    [sentence] = update(course)
    assert 'study/' in sentence
    copied = {CHAPTER, 'side/plots.ipynb', 'exercises/00_engine.ipynb', 'course.mplstyle'}
    assert set(tree(course/'study')) == copied
    before = tree(course/'study')
    assert update(course) == [] and tree(course/'study') == before


def test_the_courses_own_notebooks_are_copied_byte_for_byte(tmp_path):
    shutil.copytree(ROOT/'nbs', tmp_path/'nbs', ignore=shutil.ignore_patterns('.*', '__*'))
    update(tmp_path)
    assert tree(tmp_path/'study') == tree(tmp_path/'nbs')
    names = {'index.ipynb', 'course.mplstyle', 'exercises/00_engine.ipynb'}
    assert names <= set(tree(tmp_path/'study'))


def test_a_copy_that_was_only_run_gives_way_to_a_newer_chapter(begun):
    run_all(begun/'study'/CHAPTER)
    write(begun/'nbs'/CHAPTER, '1 + 2', 'fit(wd=0.4)')
    assert update(begun) == []
    assert tree(begun/'study') == tree(begun/'nbs')


def test_what_was_computed_stays_while_the_chapter_is_the_same(begun):
    run_all(begun/'study'/CHAPTER)
    before = tree(begun/'study')
    write(begun/'nbs'/CHAPTER, '1 + 2', 'fit()', outputs=printed('4'))
    assert update(begun) == [] and tree(begun/'study') == before


def test_a_newer_chapter_goes_beside_a_changed_copy_once(begun):
    write(begun/'study'/CHAPTER, '1 + 2', 'fit(mine)')
    mine = (begun/'study'/CHAPTER).read_bytes()
    write(begun/'nbs'/CHAPTER, '1 + 2', 'fit(wd=0.4)')
    [sentence] = update(begun)
    assert CHAPTER in sentence and f'study/{NEWER}' in sentence
    assert (begun/'study'/CHAPTER).read_bytes() == mine
    assert code(begun/'study'/NEWER) == ['1 + 2', 'fit(wd=0.4)']
    assert update(begun) == []
    (begun/'study'/NEWER).unlink()
    assert update(begun) == [] and not (begun/'study'/NEWER).exists()
    write(begun/'nbs'/CHAPTER, '1 + 2', 'fit(wd=0.1)')
    assert len(update(begun)) == 1 and code(begun/'study'/NEWER)[1] == 'fit(wd=0.1)'
    assert (begun/'study'/CHAPTER).read_bytes() == mine


def test_an_untouched_newer_version_is_replaced_by_the_next(begun):
    write(begun/'study'/CHAPTER, 'mine')
    for version in ('second', 'third'):
        write(begun/'nbs'/CHAPTER, version)
        assert len(update(begun)) == 1
    assert code(begun/'study'/NEWER) == ['third'] and code(begun/'study'/CHAPTER) == ['mine']
    assert len(tree(begun/'study')) == 5


def test_a_newer_version_that_was_changed_is_not_overwritten_either(begun):
    write(begun/'study'/CHAPTER, 'mine')
    write(begun/'nbs'/CHAPTER, 'second')
    update(begun)
    write(begun/'study'/NEWER, 'second and mine')
    write(begun/'nbs'/CHAPTER, 'third')
    [sentence] = update(begun)
    assert 'study/04_model.new.new.ipynb' in sentence
    assert code(begun/'study'/'04_model.new.new.ipynb') == ['third']
    assert code(begun/'study'/NEWER) == ['second and mine']
    assert code(begun/'study'/CHAPTER) == ['mine']


@pytest.mark.parametrize('how', ['rename', 'delete', 'replace'])
def test_switching_to_the_newer_version(begun, how):
    copy, newer = begun/'study'/CHAPTER, begun/'study'/NEWER
    write(copy, 'mine')
    write(begun/'nbs'/CHAPTER, 'second')
    update(begun)
    if how == 'rename':
        copy.rename(begun/'study'/'old.ipynb')
    elif how == 'delete':
        copy.unlink()
    else:
        newer.replace(copy)
    assert update(begun) == []
    assert code(copy) == ['second'] and not newer.exists()
    assert (begun/'study'/'old.ipynb').exists() == (how == 'rename')
    write(begun/'nbs'/CHAPTER, 'third')
    assert update(begun) == [] and code(copy) == ['third']


def test_a_changed_copy_is_left_alone_while_there_is_nothing_newer(begun):
    write(begun/'study'/CHAPTER, 'mine')
    before = tree(begun/'study')
    assert update(begun) == [] and tree(begun/'study') == before


def test_other_files_are_kept_in_the_same_way(begun):
    (begun/'study'/'course.mplstyle').write_text('font.size: 20\n')
    (begun/'nbs'/'course.mplstyle').write_text('font.size: 11\n')
    assert len(update(begun)) == 1
    assert (begun/'study'/'course.mplstyle').read_text() == 'font.size: 20\n'
    assert (begun/'study'/'course.new.mplstyle').read_text() == 'font.size: 11\n'


def test_the_learners_own_notebooks_stay(begun):
    write(begun/'study'/'mine.ipynb', 'mine')
    write(begun/'study'/'later.ipynb', 'also mine')
    write(begun/'nbs'/'later.ipynb', "the course's")
    [sentence] = update(begun)
    assert 'study/later.new.ipynb' in sentence
    assert code(begun/'study'/'mine.ipynb') == ['mine']
    assert code(begun/'study'/'later.ipynb') == ['also mine']
    assert code(begun/'study'/'later.new.ipynb') == ["the course's"]


def test_what_the_learner_deletes_comes_back(begun):
    (begun/'study'/CHAPTER).unlink()
    assert update(begun) == [] and tree(begun/'study') == tree(begun/'nbs')


@pytest.mark.parametrize('changed', [True, False])
def test_a_chapter_that_moved(begun, changed):
    moved = begun/'nbs'/'side'/'model.ipynb'
    (begun/'nbs'/CHAPTER).rename(moved)
    if changed:
        write(begun/'study'/CHAPTER, 'mine')
    else:
        run_all(begun/'study'/CHAPTER)
    news = update(begun)
    assert code(begun/'study'/'side'/'model.ipynb') == code(moved)
    assert (begun/'study'/CHAPTER).exists() == changed and len(news) == changed
    assert all(f'study/{CHAPTER} stays' in sentence for sentence in news)
    assert update(begun) == [] and (begun/'study'/CHAPTER).exists() == changed


@pytest.mark.parametrize('text', ['{"04', '[]', '', 'é'.encode('latin-1')])
def test_with_a_damaged_record_nothing_is_overwritten(begun, text):
    write(begun/'study'/CHAPTER, 'mine')
    write(begun/'nbs'/'side'/'plots.ipynb', 'newer')
    record = begun/'study'/study.RECORD
    record.write_bytes(text if isinstance(text, bytes) else text.encode())
    damaged, *beside = update(begun)
    assert study.RECORD in damaged and len(beside) == 2
    assert code(begun/'study'/CHAPTER) == ['mine']
    assert code(begun/'study'/'side'/'plots.ipynb') == ['plot()']
    assert code(begun/'study'/'side'/'plots.new.ipynb') == ['newer']
    assert update(begun) == []


def test_without_a_record_what_was_computed_stays(begun):
    run_all(begun/'study'/CHAPTER)
    before = tree(begun/'study')
    (begun/'study'/study.RECORD).unlink()
    assert update(begun) == [] and tree(begun/'study') == before
    write(begun/'nbs'/CHAPTER, 'second')
    assert update(begun) == [] and code(begun/'study'/CHAPTER) == ['second']


@pytest.mark.parametrize('newer', [True, False])
@pytest.mark.parametrize('text', ['{"cells": [', '[]', '{"cells": [{}]}', '{"cells": 3}', b'\xff'])
def test_what_is_no_notebook_is_not_overwritten(begun, text, newer):
    broken = text if isinstance(text, bytes) else text.encode()
    (begun/'study'/CHAPTER).write_bytes(broken)
    if newer:
        write(begun/'nbs'/CHAPTER, 'newer')
    news = update(begun)
    assert (begun/'study'/CHAPTER).read_bytes() == broken
    assert (begun/'study'/NEWER).exists() == newer
    assert f"study/{CHAPTER} can't be read" in news[0] and len(news) == 1 + newer


def test_a_notebook_of_the_course_that_cannot_be_read_is_not_copied(begun):
    (begun/'nbs'/CHAPTER).write_text('<<<<<<< HEAD\n{}')
    before = tree(begun/'study')
    [sentence] = update(begun)
    assert f'git checkout nbs/{CHAPTER}' in sentence and tree(begun/'study') == before


def test_an_interrupted_copy_is_taken_up_again(begun, monkeypatch):
    write(begun/'nbs'/CHAPTER, 'second')
    write(begun/'nbs'/'side'/'plots.ipynb', 'second')

    def stopped(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as m, pytest.raises(KeyboardInterrupt):
        m.setattr(study.os, 'replace', stopped)
        update(begun)
    assert code(begun/'study'/CHAPTER) == ['1 + 2', 'fit()']
    assert update(begun) == []
    for name in (CHAPTER, 'side/plots.ipynb'):
        assert code(begun/'study'/name) == ['second']


def test_git_does_not_see_the_copy():
    command = ['git', 'check-ignore', 'study/index.ipynb']
    asked = subprocess.run(command, cwd=ROOT, capture_output=True)
    if asked.returncode == 128:
        pytest.skip('not a git checkout')
    assert asked.returncode == 0


def test_the_script_says_what_it_did(course):
    (course/'scripts').mkdir()
    script = course/'scripts'/'study.py'
    script.write_bytes((ROOT/'scripts'/'study.py').read_bytes())
    write(course/'study'/CHAPTER, 'mine')
    command = [sys.executable, '-I', script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f'study/{NEWER}' in done.stdout and len(done.stdout.splitlines()) == 1
