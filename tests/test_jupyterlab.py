"What a learner sees after `make study`: the map, a chapter from top to bottom, a verdict, the board"
import json, os, re, shutil, signal, socket, subprocess, sys, time
from pathlib import Path

import pytest
from collab_course.download import named_folder

ROOT = Path(__file__).resolve().parent.parent
START, RUN = 300, 1200  # seconds, on a machine that is busy with other things

pytestmark = pytest.mark.skipif(os.name == 'nt' or not shutil.which('make'), reason='make study needs make and a shell')


def free_port():
    "A free port"
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def course_copy(folder):
    "The files that `make study` serves, where JupyterLab may save what it likes"
    shutil.copy(ROOT/'Makefile', folder)
    for part in ('nbs', 'scripts'): shutil.copytree(ROOT/part, folder/part, ignore=shutil.ignore_patterns('.ipynb_checkpoints'))
    return folder


def first_day(folder):
    "The environment of a first start of JupyterLab, with settings that let the tests query its notebooks"
    (folder/'config').mkdir()
    (folder/'config'/'jupyter_lab_config.json').write_text(json.dumps({'LabApp': {'expose_app_in_browser': True}}))
    own = {'JUPYTER_CONFIG_DIR': 'config', 'JUPYTER_DATA_DIR': 'data', 'IPYTHONDIR': 'ipython', 'COLLAB_COURSE_PROGRESS': 'progress.json'}
    env = {k: v for k, v in os.environ.items() if not k.startswith(('MAKE', 'MFLAGS', 'JUPYTER'))}
    if data := named_folder(): env['COLLAB_COURSE_DATA'] = str(data)  # may be relative to this course, not to its copy
    return env | {k: str(folder/v) for k, v in own.items()} | {'PYTHONPATH': str(ROOT)}


def address_in(log, server):
    "The address that JupyterLab logs once it listens"
    end = time.monotonic() + START
    while server.poll() is None and time.monotonic() < end:
        if found := re.search(r'http://127\.0\.0\.1:\d+/\S+token=\w+', log.read_text()): return found[0]
        time.sleep(.1)
    pytest.fail(f'JupyterLab did not start.\n{log.read_text()[-2000:]}')


def end(server):
    "End JupyterLab, its kernels and make, whatever state they are in"
    if server.poll() is None: os.killpg(server.pid, signal.SIGTERM)
    try: server.wait(START)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        raise


@pytest.fixture(scope='module')
def course(tmp_path_factory):
    "A copy of the course"
    return course_copy(tmp_path_factory.mktemp('course'))


@pytest.fixture(scope='module')
def address(course, tmp_path_factory):
    "The address of a JupyterLab that `make study` started on a copy of the course, with the tests' own packages"
    log = tmp_path_factory.mktemp('log')/'log'
    command = ['make', '-o', 'data', 'study', f'PORT={free_port()}', f'BIN={Path(sys.executable).parent}', 'DISPLAYED=']
    with log.open('w') as out:
        server = subprocess.Popen(command, cwd=course, env=first_day(tmp_path_factory.mktemp('home')),
                                  stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    try: yield address_in(log, server)
    finally: end(server)


def wait_for_notebook(page, name):
    "Wait until the notebook is in front and its kernel is ready"
    page.wait_for_function('''name => {
        const tab = window.jupyterapp?.shell.currentWidget
        return tab?.context?.path === name && tab.content.widgets.length && tab.sessionContext.session?.kernel?.status === 'idle'
    }''', arg=name)


@pytest.fixture(scope='module')
def lab(browser, address):
    "A page with the course as it opens; `asked` lists its requests"
    page = browser.new_page(viewport={'width': 1280, 'height': 900})
    page.set_default_timeout(START*1000)
    page.asked = []
    page.on('request', lambda request: page.asked.append(request.url))
    page.goto(address)
    wait_for_notebook(page, 'index.ipynb')
    yield page
    page.close()


@pytest.fixture(scope='module')
def chapter(lab):
    "The page after a click on the map, and Run All"
    panel(lab).get_by_role('link', name='The crosstab').click()
    wait_for_notebook(lab, '01_crosstab.ipynb')
    lab.get_by_role('menuitem', name='Run', exact=True).click()
    lab.get_by_role('menuitem', name='Run All Cells', exact=True).click()
    lab.wait_for_function('''() => {
        const code = jupyterapp.shell.currentWidget.content.widgets.map(c => c.model).filter(m => m.type === 'code' && m.sharedModel.getSource().trim())
        return code.every(m => m.executionCount) || code.some(m => m.outputs.toJSON().some(o => o.output_type === 'error'))
    }''', timeout=RUN*1000)
    return lab


def cells(page):
    "The code cells of the notebook in front: their place, source and outputs"
    return page.evaluate('''() => jupyterapp.shell.currentWidget.content.widgets
        .map((c, place) => ({place, code: c.model.type === 'code', source: c.model.sharedModel.getSource(), outputs: c.model.outputs?.toJSON()}))
        .filter(c => c.code)''')


def panel(page): return page.locator('.jp-NotebookPanel:not(.lm-mod-hidden)')


def show(page, cell):
    "Scroll to a cell, and return its element"
    page.evaluate("place => jupyterapp.shell.currentWidget.content.scrollToItem(place, 'center')", cell['place'])
    return panel(page).locator(f'.jp-Cell[data-windowed-list-index="{cell["place"]}"]')


def cell_with(page, text):
    "The element of the only code cell with this text"
    [cell] = [c for c in cells(page) if text in c['source']]
    return show(page, cell)


def run(page, cell, code=None):
    "Run a cell, after typing something else into it if `code` is given"
    cell.locator('.cm-content').click()
    if code:
        page.keyboard.press('ControlOrMeta+a')
        page.keyboard.insert_text(code)
    page.keyboard.press('Control+Enter')


def test_the_map_opens_first(lab):
    panel(lab).get_by_role('heading', name='Collaborative filtering, from the inside').wait_for()


def test_a_chapter_runs_from_top_to_bottom(chapter):
    errors = [c['source'] for c in cells(chapter) if any(o['output_type'] == 'error' for o in c['outputs'])]
    assert not errors


def test_figures_are_seen(chapter):
    figures = [c for c in cells(chapter) if '#| fig-cap:' in c['source']]
    assert figures
    for figure in figures:
        image = show(chapter, figure).locator('.jp-OutputArea-output img')
        image.wait_for()
        assert image.evaluate('async image => { await image.decode(); return image.naturalWidth }') > 100


def test_answers_stay_folded_until_they_are_opened(chapter):
    answers = [c for c in cells(chapter) if '.answer(' in c['source']]
    assert answers
    for cell in answers:
        answer = show(chapter, cell)
        title, text = answer.locator('summary'), answer.locator('details > p').first
        title.wait_for()
        answer.locator('.cm-content').wait_for(state='hidden')
        assert text.is_hidden()
        title.click()
        text.wait_for()


def test_an_answer_is_judged_and_the_board_knows(chapter):
    answer = cell_with(chapter, '# q5.check')
    run(chapter, answer, 'q5.check(lambda *args: top_crosstab(*args).fillna(0))')
    answer.get_by_role('status', name='q5: not yet').get_by_text('filled with 0').wait_for()
    run(chapter, answer, 'q5.check(top_crosstab)')
    answer.get_by_role('status', name='q5: right').wait_for()

    chapter.locator('.jp-DirListing-item', has_text='09_questionnaire.ipynb').dblclick()
    wait_for_notebook(chapter, '09_questionnaire.ipynb')
    run(chapter, cell_with(chapter, 'from collab_course.exercises import *'))
    board = cell_with(chapter, 'progress()')
    run(chapter, board)
    board.get_by_text('1 of 38 answered').wait_for()
    row = board.get_by_role('row', name='q5 ').get_by_role('cell').all_inner_texts()
    assert row == ['q5', 'A corner worth reading', 'answered', '2', '0']


def test_what_is_saved_is_the_learners_copy(chapter, course):
    before = {path: (course/path/'01_crosstab.ipynb').read_bytes() for path in ('nbs', 'study')}
    chapter.evaluate("jupyterapp.commands.execute('docmanager:save-all')")
    end = time.monotonic() + START
    while (course/'study'/'01_crosstab.ipynb').read_bytes() == before['study']:
        assert time.monotonic() < end
        time.sleep(.1)
    assert (course/'nbs'/'01_crosstab.ipynb').read_bytes() == before['nbs']


def test_nobody_was_asked_anything(lab):
    elsewhere = [url for url in lab.asked if re.match(r'(http|ws)s?://(?!127\.0\.0\.1[:/])|.*/lab/api/(news|update)', url)]
    assert not elsewhere
    assert not lab.locator('.jp-Dialog, .Toastify__toast').all_inner_texts()
