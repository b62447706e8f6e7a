"How `make browser` finds a browser: what it tries, in which order, and that it announces each step"
import os, re, shutil, subprocess, sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LAUNCH = '''
import os
from pathlib import Path

class Error(Exception): pass

class Browser:
    def close(self): pass

class Chromium:
    def launch(self, executable_path='', channel='own', **options):
        name = Path(executable_path).name or channel
        if name in os.environ['STARTS'].split(): return Browser()
        if not Path(os.environ['FOLDER'], name + ' starts').exists(): raise Error(name)
        return Browser()

class Playwright:
    chromium = Chromium()
    def __enter__(self): return self
    def __exit__(self, *_): pass

sync_playwright = Playwright
'''

STAND_IN = '''
if read answer; then echo "was told $answer" >> "$FOLDER/log"; fi
echo "$0 $*" >> "$FOLDER/log"
'''

PLAYWRIGHT_MAIN = '''
import os, subprocess, sys
command = ['sh', '-c', os.environ['STAND_IN'], 'playwright', *sys.argv[1:]]
subprocess.run(command, env=os.environ | {'PATH': os.defpath})
if os.environ['DOWNLOAD'] == 'works': open(os.path.join(os.environ['FOLDER'], 'own starts'), 'w')
sys.exit(os.environ['DOWNLOAD'] == 'fails')
'''

APT_GET = '''#!/bin/sh
''' + STAND_IN.replace('$0', 'apt-get') + '''
[ "$APT" = works ] || exit 1
case "$*" in *install*)
    printf '#!/bin/sh\\n' > "$FOLDER/bin/chromium"; /bin/chmod +x "$FOLDER/bin/chromium"
    : > "$FOLDER/chromium starts";;
esac
'''

DOWNLOADS = [r'No browser was found .* Downloading ', 'playwright install chromium-headless-shell']
INSTALLS = ['Installing .* apt-get install chromium', 'apt-get .*update', 'apt-get .*install .*chromium']
SKIPS = ['The tests that need a browser will be skipped: ']


def executable(path, text):
    "Write an executable file"
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def make_browser(tmp_path):
    "The lines that the script and the stand-ins for Playwright and apt-get print, in order"
    (tmp_path/'bin').mkdir()
    (tmp_path/'playwright').mkdir()
    (tmp_path/'playwright'/'__init__.py').touch()
    (tmp_path/'playwright'/'sync_api.py').write_text(LAUNCH)
    (tmp_path/'playwright'/'__main__.py').write_text(PLAYWRIGHT_MAIN)
    executable(tmp_path/'bin'/'apt-get', APT_GET)

    def run(root=False, starts='', download='fails', apt='works'):
        code = f'import browser; browser.is_root = lambda: {root}; browser.main()'
        path = os.pathsep.join(map(str, (tmp_path, ROOT/'scripts')))
        env = dict(PATH=str(tmp_path/'bin'), PYTHONPATH=path, FOLDER=str(tmp_path),
                   STAND_IN=STAND_IN, STARTS=starts, DOWNLOAD=download, APT=apt)
        with (tmp_path/'log').open('a') as log:
            subprocess.run([sys.executable, '-c', code], env=os.environ | env, input='yes\n'*9,
                           text=True, stdout=log, stderr=subprocess.STDOUT, check=True, timeout=600)
        return (tmp_path/'log').read_text().splitlines()

    run.folder = tmp_path
    return run


def are(lines, patterns):
    "Whether each line matches its pattern"
    return len(lines) == len(patterns) and all(map(re.match, patterns, lines))


@pytest.mark.parametrize('starts', ['own', 'chrome'])
def test_a_browser_that_starts_is_taken_without_a_word(make_browser, starts):
    assert make_browser(root=True, starts=starts) == []


def test_a_browser_on_the_path_is_taken_without_a_word(make_browser):
    executable(make_browser.folder/'bin'/'chromium', '#!/bin/sh\n')
    assert make_browser(root=True, starts='chromium') == []


@pytest.mark.parametrize('root', [True, False])
def test_the_download_that_needs_no_root_comes_first(make_browser, root):
    lines = make_browser(root, download='works')
    assert are(lines, DOWNLOADS), lines


@pytest.mark.parametrize('download', ['fails', 'does not start'])
def test_root_installs_a_package_when_the_download_is_of_no_use(make_browser, download):
    lines = make_browser(root=True, download=download)
    assert are(lines, DOWNLOADS + INSTALLS), lines


def test_nobody_else_installs_a_package(make_browser):
    lines = make_browser(root=False)
    assert are(lines, DOWNLOADS + SKIPS), lines


def test_root_elsewhere_has_no_apt_get(make_browser):
    (make_browser.folder/'bin'/'apt-get').unlink()
    lines = make_browser(root=True)
    assert are(lines, DOWNLOADS + SKIPS), lines


def test_no_browser_at_all_is_one_line_and_no_failure(make_browser):
    lines = make_browser(root=True, apt='fails')
    assert are(lines, DOWNLOADS + INSTALLS + SKIPS), lines
    assert lines[-1].endswith('-m playwright install chromium-headless-shell')


def test_tests_are_skipped_with_a_sentence_where_no_browser_starts(make_browser, tmp_path):
    shutil.copy(ROOT/'tests'/'conftest.py', tmp_path)
    (tmp_path/'test_page.py').write_text('def test_page(browser): pass')
    path = os.pathsep.join(map(str, (tmp_path, ROOT/'scripts')))
    env = dict(PATH=str(tmp_path/'bin'), PYTHONPATH=path, FOLDER=str(tmp_path), STARTS='')
    command = [sys.executable, '-m', 'pytest', '-q', '-rs', '-p', 'no:cacheprovider', tmp_path]
    done = subprocess.run(command, env=os.environ | env, capture_output=True, text=True)
    *_, why, last = done.stdout.splitlines()
    assert why.startswith('SKIPPED') and 'no Chromium or Chrome starts' in why
    assert '1 skipped' in last
