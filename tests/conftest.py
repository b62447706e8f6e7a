"A browser and the site, for the tests that check what a learner sees; without a browser, they are skipped"
import os, subprocess, sys, time
from pathlib import Path

import pytest
from filelock import FileLock
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT/'scripts'))
import browser as browsers


@pytest.fixture(scope='session')
def browser():
    "Playwright's `Browser`"
    with sync_playwright() as playwright:
        found = browsers.launch(playwright)
        if not found:
            pytest.skip(browsers.MISSING)
        yield found
        found.close()


@pytest.fixture(scope='session')
def site(tmp_path_factory):
    "The folder of the site, newly built, once for all processes of pytest-xdist"
    if built := os.environ.get('COLLAB_COURSE_SITE'): # to test one that `make site` has built
        return Path(built).resolve()
    folder = tmp_path_factory.getbasetemp()
    if 'PYTEST_XDIST_WORKER' in os.environ:
        folder = folder.parent
    out = folder/'site'
    with FileLock(folder/'site.lock'):
        if not out.exists():
            start = time.time()
            command = [sys.executable, ROOT/'docs'/'build.py', folder/'new-site']
            done = subprocess.run(command, capture_output=True, text=True, timeout=600)
            assert done.returncode == 0, done.stderr[-3000:]
            (folder/'new-site').rename(out)
            print(f'built in {time.time()-start:.0f} s')
    return out
