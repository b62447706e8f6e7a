"Creating .venv, importing the package, and the commands of the Makefile"
import importlib.util, os, re, shutil, subprocess, sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT/'scripts'/'setup_env.py'
FILES = 'settings.ini setup.py pyproject.toml constraints.txt README.md scripts/setup_env.py collab_course/__init__.py'.split()


@pytest.fixture
def project(tmp_path):
    "A copy of the files that setup_env.py reads"
    for file in FILES:
        (tmp_path/file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT/file, tmp_path/file)
    return tmp_path


@pytest.fixture
def setup_env(monkeypatch):
    "setup_env.py as a module with a stub for pip: `calls` are pip's arguments, `answer` is its error message, if any"
    spec = importlib.util.spec_from_file_location('setup_env', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.calls, module.made, module.answer = [], [], ''

    def run(command, **kwargs):
        assert command[1:5] == ['-m', 'pip', 'install', '--no-input']
        module.calls.append(command[5:])
        if isinstance(module.answer, BaseException): raise module.answer
        return subprocess.CompletedProcess(command, bool(module.answer), stderr=module.answer)

    def create(env, clear, **kwargs):
        module.made.append(env)
        if clear and env.exists():
            shutil.rmtree(env)
        env.mkdir(exist_ok=True)

    monkeypatch.setattr(module.subprocess, 'run', run)
    monkeypatch.setattr('venv.create', create)
    return module


def python(*args, **kwargs): return subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=900, **kwargs)


def test_nothing_is_installed_twice(setup_env, project):
    for _ in range(3): setup_env.main(project)
    assert len(setup_env.made) == len(setup_env.calls) == 1
    assert setup_env.calls[0][-2:] == ['-e', f'{project}[dev]']


@pytest.mark.parametrize('file', ['settings.ini', 'constraints.txt'])
def test_changed_versions_are_installed_into_the_same_environment(setup_env, project, file):
    setup_env.main(project)
    with (project/file).open('a') as f: f.write('\n# changed\n')
    for _ in range(2): setup_env.main(project)
    assert len(setup_env.made) == 1 and len(setup_env.calls) == 2


def test_another_python_or_place_starts_anew(setup_env, project, monkeypatch, tmp_path_factory):
    setup_env.main(project)
    (project/'.venv'/'of the old Python').touch()
    monkeypatch.setattr(setup_env.platform, 'python_version', lambda: '3.99.0')
    setup_env.main(project)
    assert len(setup_env.made) == 2 and not (project/'.venv'/'of the old Python').exists()
    moved = tmp_path_factory.mktemp('elsewhere')/'moved'
    shutil.copytree(project, moved)
    setup_env.main(moved)
    assert setup_env.made[2] == moved/'.venv'


def test_exact_versions_hold_only_for_their_python_but_that_of_pytorch_for_all(setup_env, project):
    file = project/'constraints.txt'
    versions = '\nnumpy==9.0\ntorch==9.1\ntorch-geometric==9.2\ntorchvision==9.3\n'
    file.write_text('# Python %d.%d: what' % sys.version_info[:2] + versions)
    assert setup_env.pins(project) == ['-c', str(file)]
    file.write_text('# Python 3.1: what' + versions)
    assert setup_env.pins(project) == ['torch==9.1', 'torchvision==9.3']
    setup_env.main(project)
    assert setup_env.calls[-1] == ['torch==9.1', 'torchvision==9.3', '-e', f'{project}[dev]']
    file.unlink()
    assert setup_env.pins(project) == []


def test_an_interrupted_try_leaves_nothing_in_the_way(setup_env, project):
    setup_env.answer = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt): setup_env.main(project)
    (project/'.venv'/'half a package').touch()
    setup_env.answer = ''
    setup_env.main(project)
    assert not (project/'.venv'/'half a package').exists()
    setup_env.main(project)
    assert len(setup_env.calls) == 2


def test_a_failed_first_try_leaves_nothing_in_the_way(setup_env, project):
    setup_env.answer = 'ERROR: No matching distribution found for torch'
    with pytest.raises(SystemExit, match='No matching distribution found for torch'): setup_env.main(project)
    (project/'.venv'/'half a package').touch()
    setup_env.answer = ''
    for _ in range(2): setup_env.main(project)
    assert not (project/'.venv'/'half a package').exists() and len(setup_env.made) == len(setup_env.calls) == 2


def test_a_failed_update_keeps_what_works_and_tries_again(setup_env, project):
    setup_env.main(project)
    (project/'settings.ini').open('a').write('\n# changed\n')
    setup_env.answer = 'WARNING: Retrying (Retry(total=4)) after connection broken'
    with pytest.raises(SystemExit, match='network'): setup_env.main(project)
    setup_env.answer = ''
    for _ in range(2): setup_env.main(project)
    assert len(setup_env.made) == 1 and len(setup_env.calls) == 3


def test_no_network_is_one_sentence(project):
    proxy = 'http://127.0.0.1:9'
    env = {k: v for k, v in os.environ.items() if not k.startswith('PIP_') and k.lower() not in ('no_proxy', 'all_proxy')}
    env |= dict(PIP_CONFIG_FILE=os.devnull, PIP_RETRIES='1', PIP_NO_CACHE_DIR='1', HTTP_PROXY=proxy, HTTPS_PROXY=proxy, http_proxy=proxy, https_proxy=proxy)
    r = python(project/'scripts'/'setup_env.py', env=env)
    assert r.returncode == 1 and 'no answer from the network' in r.stderr and len(r.stderr.splitlines()) == 1
    assert not (project/'.venv'/'made-from').exists()


def test_no_venv_module_is_one_sentence(project):
    (project/'broken').mkdir()
    (project/'broken'/'ensurepip.py').write_text('raise ImportError("no ensurepip here")')
    r = python(project/'scripts'/'setup_env.py', env=os.environ | {'PYTHONPATH': str(project/'broken')})
    assert r.returncode == 1 and 'lacks its venv module' in r.stderr and len(r.stderr.splitlines()) == 1
    assert not (project/'.venv').exists()


def under(*version):
    "Load setup_env.py in a Python that claims to be this version; nothing is installed"
    script = f'import runpy, sys; sys.version_info = (*{version}, 0, "final", 0); runpy.run_path({str(SCRIPT)!r}, run_name="setup_env")'
    return python('-c', script)


@pytest.mark.parametrize('version', [(3, 6), (3, 9), (3, 15), (4, 0)])
def test_too_old_or_too_new_a_python_is_one_sentence(version):
    r = under(*version)
    assert r.returncode == 1 and 'needs Python 3.10 to 3.14, and this is Python %d.%d.' % version in r.stderr and len(r.stderr.splitlines()) == 1


@pytest.mark.parametrize('minor', range(10, 15))
def test_every_python_in_the_range_is_taken(minor): assert under(3, minor).returncode == 0


def test_the_range_of_pythons_is_everywhere_the_same():
    "In setup_env.py, in settings.ini, and on the pages for learners"
    oldest, newest = re.search(r'OLDEST, NEWEST = \(3, (\d+)\), \(3, (\d+)\)', SCRIPT.read_text()).groups()
    assert f'min_python = 3.{oldest}\n' in (ROOT/'settings.ini').read_text()
    for page in ('README.md', 'nbs/index.ipynb'): assert f'Python 3.{oldest} to 3.{newest}' in (ROOT/page).read_text(), page


needs_make = pytest.mark.skipif(os.name == 'nt' or not shutil.which('make'), reason='make study needs make and a shell')


def study(*args, **env):
    "The command with which `make study` starts JupyterLab"
    env = {k: v for k, v in os.environ.items() if k not in ('DISPLAY', 'WAYLAND_DISPLAY', 'BROWSER', 'PORT', 'MAKEFLAGS', 'MAKELEVEL')} | env
    out = subprocess.run(['make', '-n', 'study', *args], cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout
    return out[out.index('jupyter lab'):]


@needs_make
def test_study_listens_here_only_on_the_port_asked_for():
    assert '--ip=127.0.0.1 --port=8888 ' in study()
    assert '--port=9000 ' in study('PORT=9000') and '--port=9001 ' in study(PORT='9001')
    assert ('--allow-root' in study()) == (os.getuid() == 0)


@needs_make
def test_study_opens_a_browser_only_where_one_can_be_seen():
    assert '--no-browser' not in study(DISPLAY=':0')
    if sys.platform == 'linux': assert '--no-browser' in study()


def test_importing_the_package_costs_next_to_nothing():
    r = python('-c', 'import sys; before = set(sys.modules); import collab_course; print(*set(sys.modules)-before)', cwd=ROOT)
    assert r.stdout.split() == ['collab_course'], r.stdout + r.stderr


def test_every_module_imports_without_the_development_tools():
    r = python(ROOT/'tests'/'smoke.py', cwd=ROOT, env=os.environ | {'PYTHONPATH': str(ROOT)})
    assert r.returncode == 0, r.stderr
