"""Make .venv, or bring it up to date, with everything the course needs. Does nothing when it already is.

Needs only the standard library, and no syntax newer than Python 3.6, so that an old one can be told that it is too old.
"""
import sys

OLDEST, NEWEST = (3, 10), (3, 14)
if not OLDEST <= sys.version_info[:2] <= NEWEST:
    sys.exit('The course needs Python 3.%d to 3.%d, and this is Python %d.%d. '
             'Name another one, for example: make study PYTHON=python3.12' % (OLDEST[1:] + NEWEST[1:] + sys.version_info[:2]))

import hashlib, os, platform, re, shutil, subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NO_NETWORK = re.compile(r'NewConnectionError|NameResolutionError|ConnectTimeout|ProxyError|ConnectionResetError|Retrying \(Retry')


def pins(root):
    "What fixes versions for pip: all of constraints.txt if it was made for the Python at hand, else its PyTorch alone"
    file = root/'constraints.txt'
    if not file.exists(): return []
    text = file.read_text()
    made_for = re.match(r'# Python (\d+\.\d+)', text)
    if made_for and made_for[1] == '%d.%d' % sys.version_info[:2]: return ['-c', str(file)]
    return re.findall(r'^torch(?:vision)?==.+', text, re.MULTILINE)


def wanted(root):
    "What the environment is made from: first the Python and the place, which can't be changed later, then the versions"
    parts = [root/o for o in ('settings.ini', 'setup.py', 'pyproject.toml', 'constraints.txt')]
    digest = hashlib.sha256(b'\0'.join(o.read_bytes() for o in parts if o.exists())).hexdigest()
    return [f'{platform.python_version()} {sys.base_prefix} {root}', digest]


def pip(python, args):
    "Run pip with its progress on one line of a terminal; its exit status and what it said"
    said = []
    with subprocess.Popen([python, '-m', 'pip', 'install', '--no-input', *args], text=True, errors='replace',
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as p:
        for line in p.stdout:
            said.append(line.rstrip())
            if sys.stdout.isatty(): print('\r\033[K' + said[-1].strip()[:78], end='', flush=True)
    if sys.stdout.isatty(): print('\r\033[K', end='')
    return p.returncode, said


def trouble(said):
    "Why pip failed, in one sentence"
    if any(NO_NETWORK.search(o) for o in said):
        return "The packages can't be downloaded: no answer from the network. Once it is back, run the same command again."
    return '\n'.join([o for o in said if o.strip()][-15:] + ["pip could not install the packages: see its last lines above."])


def main(root=ROOT):
    env, want = root/'.venv', wanted(root)
    stamp = env/'made-from'
    have = stamp.read_text().splitlines() if stamp.exists() else []
    if have == want: return

    try: import ensurepip, venv
    except ImportError: sys.exit("This Python lacks its venv module. On Debian and Ubuntu: sudo apt install python%d.%d-venv" % sys.version_info[:2])
    fresh = have[:1] != want[:1]
    print('Installing what the course needs into .venv: a few minutes the first time.', flush=True)
    # Without the stamp an environment counts as unfinished: whatever stops us from here on, the next try starts anew.
    stamp.unlink(missing_ok=True)
    if fresh:
        shutil.rmtree(env, ignore_errors=True)
        venv.create(env, with_pip=True, symlinks=os.name != 'nt')
    python = env/('Scripts/python.exe' if os.name == 'nt' else 'bin/python')
    status, said = pip(python, [*pins(root), '-e', f'{root}[dev]'])
    if status:
        if fresh: shutil.rmtree(env)
        else: stamp.write_text('\n'.join(have))  # pip replaces nothing before it has everything
        sys.exit(trouble(said))
    stamp.write_text('\n'.join(want))


if __name__ == '__main__':
    try: main()
    except KeyboardInterrupt: sys.exit(130)
