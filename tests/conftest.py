"A browser for the tests that look at what a learner sees. Where none can be had they are skipped."
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1]/'scripts'))
from browser import NoBrowser, launched


@pytest.fixture(scope='session')
def browser():
    "Playwright's `Browser`, for `new_page` or `new_context`"
    try:
        with launched() as found: yield found
    except NoBrowser as e: pytest.skip(str(e))
