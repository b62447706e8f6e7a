"""A browser for the tests that look at what a learner sees. Where none can be had they are skipped.

As a script (`make browser`): says what is missing and exits with 1, or says nothing.
"""
import os, shutil, sys
from contextlib import contextmanager
from itertools import product

import pytest

SOMEWHERE = [{'executable_path': path} for path in map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome')) if path]
BROWSERS = [*SOMEWHERE, {}, {'channel': 'chrome'}]  # the system's, Playwright's own, a Chrome installed elsewhere
SANDBOX = [False] if hasattr(os, 'geteuid') and os.geteuid() == 0 else [True, False]  # root can't have one, nor can some containers


class NoBrowser(Exception):
    "Says what is missing, and how to get it"


@contextmanager
def launched():
    "The first browser that starts, as Playwright's `Browser`"
    try: from playwright.sync_api import Error, sync_playwright
    except ImportError: raise NoBrowser('Playwright is missing. To install it: make env, or pip install -e ".[dev]"') from None
    with sync_playwright() as p:
        for sandbox, browser in product(SANDBOX, BROWSERS):
            try: found = p.chromium.launch(chromium_sandbox=sandbox, **browser)
            except Error: continue
            try: yield found
            finally: found.close()
            return
        raise NoBrowser('no Chromium or Chrome that starts. To get one: .venv/bin/playwright install chromium')


@pytest.fixture(scope='session')
def browser():
    "Playwright's `Browser`, for `new_page` or `new_context`"
    try:
        with launched() as found: yield found
    except NoBrowser as e: pytest.skip(str(e))


if __name__ == '__main__':
    try:
        with launched(): pass
    except NoBrowser as e: sys.exit(f'The tests in a browser will be skipped: {e}')
