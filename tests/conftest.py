"A browser for the tests that check what a learner sees; without one, they are skipped"
import sys
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

sys.path.append(str(Path(__file__).resolve().parents[1]/'scripts'))
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
