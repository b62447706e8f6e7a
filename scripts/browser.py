"""Find a browser for the tests that look at what a learner sees, or get one where that can be done.

`make browser` runs this file: it says what it is about to do, asks nothing and never fails.
tests/conftest.py starts the same browser.
"""
import os, shutil, subprocess, sys
from contextlib import contextmanager
from itertools import product

START = 120_000  # milliseconds, for a busy machine
NAMES = ('chromium', 'chromium-browser', 'google-chrome')
DOWNLOAD = [sys.executable, '-m', 'playwright', 'install', 'chromium-headless-shell']
APT_OPTIONS = ['Acquire::Retries=0', 'Acquire::http::Timeout=10', 'Acquire::https::Timeout=10']


class NoBrowser(Exception):
    "Says what is missing, and how to get it"


class NoPlaywright(NoBrowser):
    "Without Playwright no browser is of use"


def is_root():
    "Does an administrator run this, on a system that has one by this name?"
    return hasattr(os, 'geteuid') and os.geteuid() == 0


def browsers():
    "Arguments of Playwright's `launch`: the system's, Playwright's own, a Chrome elsewhere"
    paths = filter(None, map(shutil.which, NAMES))
    return [*({'executable_path': path} for path in paths), {}, {'channel': 'chrome'}]


@contextmanager
def launched():
    "The first browser that starts, as Playwright's `Browser`"
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise NoPlaywright('Playwright is missing. To install it: make env') from None
    sandbox = [False] if is_root() else [True, False]  # root can't have one, nor can some containers
    with sync_playwright() as p:
        for boxed, browser in product(sandbox, browsers()):
            try:
                found = p.chromium.launch(chromium_sandbox=boxed, timeout=START, **browser)
            except Error:
                continue
            try:
                yield found
            finally:
                found.close()
            return
        raise NoBrowser(f'no Chromium or Chrome starts. To get one: {" ".join(DOWNLOAD)}')


def why_none():
    "None if a browser starts, else the `NoBrowser` that says why"
    try:
        with launched():
            return None
    except NoBrowser as e:
        return e


def run(command, **env):
    "Did `command` succeed? It is neither heard nor can it ask anything."
    quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return subprocess.run(command, env=os.environ | env, **quiet).returncode == 0


def download():
    "Let Playwright download its own Chromium, which gives up soon where no server answers"
    print('No browser was found for the tests that need one. '
          "Downloading Playwright's own (about 100 MB; no root needed).", flush=True)
    return run(DOWNLOAD, PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT='10000')


def install():
    "Install Debian's package, where root runs this on such a system"
    if not is_root() or not shutil.which('apt-get'):
        return False
    print("Installing Debian's package chromium, as root: apt-get install chromium.", flush=True)
    apt = ['apt-get', *(word for option in APT_OPTIONS for word in ('-o', option))]
    env = {'DEBIAN_FRONTEND': 'noninteractive'}
    run([*apt, 'update'], **env)
    return run([*apt, 'install', '-y', '--no-install-recommends', 'chromium'], **env)


def main():
    "Try one way after the other until a browser starts"
    missing = why_none()
    for get in (download, install):
        if missing and not isinstance(missing, NoPlaywright) and get():
            missing = why_none()
    if missing:
        print(f'The tests that need a browser will be skipped: {missing}')


if __name__ == '__main__':
    main()
