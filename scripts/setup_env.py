"""Create .venv with the packages that the course needs, or update it if something has changed.

This script needs only the standard library, and its check of the version also runs on Python 3.6.
"""
import sys

OLDEST, NEWEST = (3, 10), (3, 14)
if not OLDEST <= sys.version_info[:2] <= NEWEST:
    sys.exit('The course needs Python 3.%d to 3.%d, and this is Python %d.%d. '
             'Name another one, for example: make study PYTHON=python3.12'
             % (OLDEST[1:] + NEWEST[1:] + sys.version_info[:2]))

import os
import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = 'settings.ini', 'setup.py', 'pyproject.toml', 'constraints.txt'


def made_from(root):
    "What an environment is made from: the Python, the folder and everything that pip reads"
    texts = [(root/name).read_text(encoding='utf-8') for name in FILES if (root/name).exists()]
    return '\n'.join([f'{platform.python_version()} {sys.base_prefix} {root}', *texts])


def pins(root):
    "pip's constraints: all of constraints.txt if it is for this Python, else only PyTorch's"
    file = root/'constraints.txt'
    text = file.read_text(encoding='utf-8') if file.exists() else ''
    if text.startswith('# Python %d.%d:' % sys.version_info[:2]):
        return ['-c', str(file)]
    return [line for line in text.splitlines() if line.startswith(('torch==', 'torchvision=='))]


def main(root=ROOT):
    "Create or update the environment of the course in the folder `root`"
    env, want = root/'.venv', made_from(root)
    stamp = env/'made-from'  # written last: an environment without it is unfinished
    have = stamp.read_text(encoding='utf-8') if stamp.exists() else ''
    if have == want:
        return
    try:
        import ensurepip, venv
    except ImportError:
        sys.exit('This Python lacks its venv module. '
                 'On Debian and Ubuntu: sudo apt install python%d.%d-venv' % sys.version_info[:2])
    print('Installing the packages into .venv. The first time takes a few minutes.', flush=True)
    if have.partition('\n')[0] != want.partition('\n')[0]:
        venv.create(env, clear=True, with_pip=True, symlinks=os.name != 'nt')
    python = env/('Scripts' if os.name == 'nt' else 'bin')/'python'
    command = [python, '-m', 'pip', 'install', '--no-input', *pins(root), '-e', f'{root}[dev]']
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors='replace')
    if 'Retrying' in done.stderr and done.returncode:
        sys.exit("The packages can't be downloaded, because there is no answer from the network. "
                 'Run the same command again when you are online.')
    if done.returncode:
        sys.exit(f'{done.stderr}\npip could not install the packages. Its messages are above.')
    stamp.write_text(want, encoding='utf-8')


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
