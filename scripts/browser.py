"""Find or install a browser for the tests that check what a learner sees

`make browser` runs this file. It announces what it is about to do, asks no questions and never
fails. tests/conftest.py starts the same browser.
"""
import os
import shutil
import subprocess
import sys

from playwright.sync_api import Error, sync_playwright

START = 120_000  # time limit in milliseconds, long enough for a busy machine
DOWNLOAD = [sys.executable, '-m', 'playwright', 'install', 'chromium-headless-shell']
APT = ['apt-get', '-o', 'Acquire::Retries=0', '-o', 'Acquire::http::Timeout=10']
MISSING = f'no Chromium or Chrome starts. To get one: {" ".join(DOWNLOAD)}'


def launch(playwright):
    "The first of the system's Chromium, Playwright's own and Chrome that starts, or None"
    system = shutil.which('chromium')
    for where in [{'executable_path': system}] * bool(system) + [{}, {'channel': 'chrome'}]:
        try:
            return playwright.chromium.launch(timeout=START, **where)
        except Error:
            continue


def starts():
    "Whether any browser starts"
    with sync_playwright() as playwright:
        found = launch(playwright)
        if found:
            found.close()
        return found is not None


def run(command):
    "Run `command` without output or questions; without a network it gives up soon"
    env = {'PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT': '10000', 'DEBIAN_FRONTEND': 'noninteractive'}
    quiet = dict.fromkeys(('stdin', 'stdout', 'stderr'), subprocess.DEVNULL)
    subprocess.run(command, env=os.environ | env, **quiet)


def is_root():
    "Whether root runs this script (never on Windows)"
    return hasattr(os, 'geteuid') and os.geteuid() == 0


def main():
    "Try one way after another until a browser starts"
    if starts():
        return
    print('No browser was found for the tests that need one. '
          "Downloading Playwright's own (about 100 MB; no root needed).", flush=True)
    run(DOWNLOAD)
    if not starts() and is_root() and shutil.which('apt-get'):
        print("Installing Debian's package, as root: apt-get install chromium.", flush=True)
        run([*APT, 'update'])
        run([*APT, 'install', '-y', '--no-install-recommends', 'chromium'])
    if not starts():
        print(f'The tests that need a browser will be skipped: {MISSING}')


if __name__ == '__main__':
    main()
