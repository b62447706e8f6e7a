"A browser for the tests that look at what a learner sees. Where none can be had they are skipped."
import sys
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

sys.path.append(str(Path(__file__).resolve().parents[1]/'scripts'))
import browser as browsers


@pytest.fixture(scope='session')
def browser():
    "Playwright's `Browser`, for `new_page` or `new_context`"
    with sync_playwright() as playwright:
        found = browsers.launch(playwright)
        if not found:
            pytest.skip(browsers.MISSING)
        yield found
        found.close()
