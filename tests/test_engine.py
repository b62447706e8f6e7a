"Whatever an answer does, the learner's session stays as it is, and no check keeps anyone waiting"
import json, os, sys, time
from pathlib import Path

import psutil, pytest
from jupyter_client import KernelManager
from collab_course.exercises import engine

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='elsewhere a check has no process of its own')
PATIENCE = 120  # seconds, on a machine that is busy with other things


class Session:
    "A Jupyter kernel in which the exercises are imported"
    def __init__(self, folder):
        self.progress = folder/'progress.json'
        env = os.environ | {'COLLAB_COURSE_PROGRESS': str(self.progress), 'PYTHONPATH': str(ROOT)}
        self.manager = KernelManager(kernel_name='python3')
        self.manager.start_kernel(env=env, cwd=str(folder))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)
        self.run('from collab_course.exercises import *\nfrom collab_course.exercises.engine import judge\nimport builtins, itertools, os, re, sys, time\n'
                 'import numpy as np, pandas as pd, torch\nimport matplotlib.pyplot as plt\n%matplotlib inline')

    def start(self, code): return self.client.execute(code)

    def outputs(self, request):
        "What a cell shows, in messages, until the kernel is idle again"
        shown, end = [], time.monotonic() + PATIENCE
        while True:
            message = self.client.get_iopub_msg(timeout=max(1, end - time.monotonic()))
            if message['parent_header'].get('msg_id') != request: continue
            if message['msg_type'] == 'status' and message['content']['execution_state'] == 'idle': return shown
            shown.append(message)

    def run(self, code):
        "The text that a cell shows"
        shown = self.outputs(self.start(code))
        errors = [m['content'] for m in shown if m['msg_type'] == 'error']
        assert not errors, errors
        return ''.join(m['content'].get('text', '') + m['content'].get('data', {}).get('text/plain', '') for m in shown)

    def children(self):
        "Processes that the kernel has started and that still run"
        process = psutil.Process(self.manager.provisioner.pid)
        return [p for p in process.children(recursive=True) if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]

    def interrupted(self, code, in_process=True):
        "The names of the exceptions that a cell ends with when it is interrupted, and what else it shows"
        request, end = self.start(code), time.monotonic() + PATIENCE
        while in_process and not self.children():
            assert time.monotonic() < end
            time.sleep(.05)
        time.sleep(.3 if in_process else 1)
        self.manager.interrupt_kernel()
        shown = self.outputs(request)
        errors = [m['content']['ename'] for m in shown if m['msg_type'] == 'error']
        return errors, [m for m in shown if m['msg_type'] in ('execute_result', 'display_data')]

    def notes(self): return json.loads(self.progress.read_text()) if self.progress.exists() else {}

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture(scope='module')
def kernel(tmp_path_factory):
    session = Session(tmp_path_factory.mktemp('kernel'))
    yield session
    session.close()


HANDED_OVER = {'q25': 'Endless', 'q31': 'Endless', 'q13': 'Endless', 'q15': 'Endless', 'r4': 'Endless'}
VALUES = {'q2', 'q4', 'q11', 'q14', 'q19', 'q24', 'q29', 'r2', 's3', 'f12a', 'f13d', 'f13h', 'f15a', 'f15d',
          'f15j', 'f15n', 'f15q'}  # answered with values, of which none is called
CODE = sorted((name for name, d in engine._definitions.items() if not d.inert and name not in VALUES), key=engine._key)
ENDLESS = '''
class Endless:
    def __new__(cls, *args, **kw):
        while True: pass
def endless(*args, **kw):
    while True: pass
'''

@pytest.mark.parametrize('name', CODE)
def test_an_interrupted_check_has_no_verdict(kernel, name):
    kernel.run(ENDLESS)
    n = len(engine.inspect.signature(engine._definitions[name].check).parameters) - 1
    answer = HANDED_OVER.get(name, 'endless')
    before = kernel.notes()
    errors, shown = kernel.interrupted(f'{name}.check({", ".join([answer]*n)})')
    assert errors == ['KeyboardInterrupt'] and not shown
    assert kernel.notes() == before and not kernel.children()


@pytest.mark.parametrize('answer', ['lambda a, b: time.sleep(60)', 'lambda a, b: sum(itertools.count())', 'lambda a, b: 9**9**8'])
def test_what_does_not_return_to_python_can_be_interrupted(kernel, answer):
    before = kernel.notes()
    errors, shown = kernel.interrupted(f'q7.check({answer})')
    assert errors == ['KeyboardInterrupt'] and not shown
    assert kernel.notes() == before and not kernel.children()


STATE = '''
def state():
    import gc, warnings
    return [torch.get_default_dtype(), torch.is_anomaly_enabled(), dict(os.environ), os.getcwd(), sys.getrecursionlimit(),
            list(sys.path), gc.isenabled(), gc.get_threshold(), pd.get_option('display.max_rows'), sys.excepthook, sys.displayhook,
            dict(vars(builtins)) | {'_': 0}, dict(vars(np)), sys.stdout, sys.stderr, sys.stdin, warnings.filters[:],
            torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), plt.get_fignums(), torch.get_num_threads()]
before = state()
'''
SPOILS = ['torch.set_default_dtype(torch.float64)', 'torch.autograd.set_detect_anomaly(True)', "os.environ.update(HOME='x')", "os.chdir('/')",
          'sys.setrecursionlimit(50)', 'sys.path.clear()', '__import__("gc").disable()', "pd.set_option('display.max_rows', 1)",
          "setattr(sys, 'excepthook', None)", "setattr(builtins, 'print', None)", "setattr(np, 'isclose', lambda *args, **kw: True)",
          "setattr(sys, 'stdout', None)", 'np.random.seed(0)', "plt.plot([1]) and plt.show()", "os.system('echo noise')",
          "os._exit(0)", "[0]*10**10", "os.kill(os.getpid(), 9)", "[[] for _ in iter(int, 1)]"]

@pytest.mark.parametrize('spoil', SPOILS)
def test_a_session_stays_as_it_is(kernel, spoil):
    kernel.run(STATE)
    request = kernel.start(f'v = judge(q7, lambda a, b: {spoil}, limit=2)\nprint(bool(v), [i for i, (x, y) in enumerate(zip(before, state())) if x != y])')
    shown = kernel.outputs(request)
    said = ''.join(m['content']['text'] for m in shown if m['msg_type'] == 'stream')
    assert said.split('\r')[-1] == 'False []\n'
    assert not [m for m in shown if m['msg_type'] in ('display_data', 'error')]


HOSTILE = {
    "raises SystemExit when asked for its text": 'class E(Exception):\n    def __str__(self): raise SystemExit',
    'raises KeyboardInterrupt when asked for its text': 'class E(Exception):\n    def __str__(self): raise KeyboardInterrupt',
    'never comes to the end of its text': 'class E(Exception):\n    def __str__(self):\n        while True: pass',
    'hides its traceback': "class E(Exception):\n    __traceback__ = property(lambda self: 1/0)",
    'has a type without a name': 'class M(type):\n    __name__ = property(lambda cls: 1/0)\nclass E(Exception, metaclass=M): pass'}

@pytest.mark.parametrize('what', HOSTILE)
def test_an_exception(kernel, what):
    text = kernel.run(f'{HOSTILE[what]}\ndef f(a, b): raise E\nv = judge(q7, f, limit=1)\nprint(bool(v), v.misconception)')
    assert text.split('\r')[-1].strip() == ('False too-slow' if 'never' in what else 'False raises')


def test_a_timeout_of_the_learners_own_is_no_timeout_of_ours(kernel):
    text = kernel.run('def f(a, b): raise TimeoutError("mine")\nv = q7.check(f)\nprint(v.misconception, "mine" in repr(v))')
    assert text.strip() == 'raises True'


def test_a_regular_expression_that_never_ends(kernel):
    text = kernel.run("v = judge(q7, lambda a, b: re.match('(a|aa)+$', 'a'*60 + 'b'), limit=1)\nprint(v.misconception)")
    assert text.split('\r')[-1].strip() == 'too-slow'


# --- in a thread, where a process can't be had

@pytest.fixture
def in_threads(kernel):
    kernel.run('from collab_course.exercises import engine\nforks, engine._forks = engine._forks, lambda: False')
    yield kernel
    kernel.run('engine._forks = forks')


@pytest.mark.parametrize('answer', ['lambda a, b: time.sleep(2)', 'endless'])
def test_an_interrupted_check_in_a_thread_has_no_verdict(in_threads, answer):
    in_threads.run(ENDLESS + 'import threading')
    before, threads = in_threads.notes(), in_threads.run('print(threading.active_count())')
    errors, shown = in_threads.interrupted(f'q7.check({answer})', in_process=False)
    assert errors == ['KeyboardInterrupt'] and not shown and in_threads.notes() == before
    assert in_threads.run('time.sleep(3)\nprint(threading.active_count())') == threads


def test_a_thread_tells_the_same(in_threads):
    text = in_threads.run('a, b = q7.check(lambda a, b: sum(x*y for x, y in zip(a, b))), q7.check(lambda a, b: 1)\nprint(bool(a), bool(b))')
    assert text.strip() == 'True False'
