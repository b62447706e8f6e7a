"""A simulated GPU for tests: its tensors are kept on the CPU, but behave as on a real device.

It refuses operations on tensors of two devices, conversion to numpy, a CPU generator for random
numbers made on the GPU and, like Apple's chips, 64-bit floats. `refused` lists all refusals,
including those whose exception was caught.
As a script, it runs all code cells of notebooks with the simulated GPU as fastai's default device.
"""
import argparse, json, linecache, os, sys, tempfile, threading, time, traceback
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

CPU, GPU = torch.device('cpu'), torch.device('mps', 0)
there = {}  # storages on the GPU by address; the weak reference keeps the address from being reused
refused = []  # messages of all refusals, with the lines that led to them

aten = torch.ops.aten
# Operations that accept tensors on two devices, and operations whose index may be on the CPU
CROSSING = {aten.copy_.default, aten.set_.source_Tensor}
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default,
            aten._index_put_impl_.default}
NO_NUMPY = (f"can't convert {GPU} device type tensor to numpy. "
            'Use Tensor.cpu() to copy the tensor to host memory first.')
NO_DOUBLE = ("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support "
             'float64. Please use float32 instead.')
TWO_DEVICES = ('Expected all tensors to be on the same device, but found at least two devices, '
               f'{GPU} and cpu!')


def refuse(error, says):
    "Record the refusal, then raise `error`"
    stack = [f for f in traceback.extract_stack()
             if f.filename != __file__ and 'site-packages' not in f.filename]
    lines = [f'{Path(f.filename).name}:{f.lineno} {f.line}' for f in stack[-6:]]
    refused.append('\n'.join([says, *lines]))
    raise error(says)

def refuse_numpy(x, *args, **kwargs): refuse(TypeError, NO_NUMPY)

def refuse_generator(kwargs):
    if kwargs.get('generator') is None: return
    refuse(RuntimeError, f"Expected a '{GPU.type}' device type for generator but found 'cpu'")


def on_gpu(x):
    try: return x.untyped_storage()._cdata in there
    except (NotImplementedError, ValueError): return False  # sparse, or of a lazy module: nothing is stored

def device_of(x): return GPU if on_gpu(x) else CPU

def put(x, device):
    "Mark the storage of `x`, which no other tensor uses yet, as stored on `device`"
    storage = x.untyped_storage()
    if device.type == CPU.type: there.pop(storage._cdata, None)
    elif storage._cdata not in there:
        if x.dtype in (torch.float64, torch.complex128): refuse(TypeError, NO_DOUBLE)
        if len(there) % 10_000 == 9_999: forget_expired()
        there[storage._cdata] = StorageWeakRef(storage)
    return x

def forget_expired():
    for address in [a for a,ref in there.items() if ref.expired()]: del there[address]

class _Move(torch.autograd.Function):
    "A copy on another device, whose gradient is moved back"
    @staticmethod
    def forward(ctx, x, device):
        ctx.home = device_of(x)
        return put(x.detach().clone(), device)
    @staticmethod
    def backward(ctx, grad): return put(grad.detach().clone(), ctx.home), None

def moved(x, device):
    "`x` itself if it is on `device`, else a copy; all tensors of a list or tuple"
    if type(x) in (tuple, list): return type(x)(moved(o, device) for o in x)
    if not isinstance(x, Tensor) or device_of(x).type == device.type: return x
    return _Move.apply(x, device)


def tensors(args):
    "All tensors among `args`, including those in lists"
    for a in args:
        if isinstance(a, Tensor): yield a
        elif isinstance(a, (list, tuple)): yield from tensors(a)

class Operations(TorchDispatchMode):
    "For every operation, including the backward pass: check the devices, and mark the result"
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = list(tensors((*args, *kwargs.values())))
        if func in CROSSING or not any(map(on_gpu, given)): return func(*args, **kwargs)
        if func in INDEXING: given = tensors((args[0], *args[2:]))
        if any(t.dim() and not on_gpu(t) for t in given):
            refuse(RuntimeError, f'{TWO_DEVICES} ({func})')
        refuse_generator(kwargs)
        res = func(*args, **kwargs)
        for t in tensors([res]): put(t, GPU)
        return res


def _to(x, *args, **kwargs):
    "`Tensor.to`"
    if args and isinstance(args[0], Tensor): args = (device_of(args[0]), args[0].dtype, *args[1:])
    copy = kwargs.pop('copy', False)
    device, dtype, *_ = torch._C._nn._parse_to(*args, **kwargs)
    device = device or device_of(x)
    if device.type not in (CPU.type, GPU.type): return x.to(device) # raises
    res = moved(x, CPU) if device.type == CPU.type else x
    if dtype is not None: res = res.to(dtype)
    res = moved(res, device)
    return x.clone() if copy and res is x else res

def _deep_copy(x, memo):
    "`Tensor.__deepcopy__`, which copies a storage without an operation"
    res = Tensor.__deepcopy__(x, memo)
    return put(res, GPU) if on_gpu(x) else res

asked = {
    Tensor.device.__get__: device_of,
    Tensor.is_mps.__get__: on_gpu,
    Tensor.is_cpu.__get__: lambda x: not on_gpu(x),
    Tensor.to: _to,
    Tensor.cpu: lambda x, *args, **kwargs: moved(x, CPU),
    Tensor.tolist: lambda x: moved(x, CPU).tolist(),
    Tensor.__deepcopy__: _deep_copy,
    torch._C._nn._parse_to: torch._C._nn._parse_to}  # it has a `device` argument, but makes nothing
refused_to_gpu = {Tensor.numpy: refuse_numpy, Tensor.__array__: refuse_numpy}

class Functions(TorchFunctionMode):
    "For Python's calls: report and change a tensor's device, make tensors on it, refuse arrays"
    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in asked: return asked[func](*args, **kwargs)
        if func in refused_to_gpu and on_gpu(args[0]): return refused_to_gpu[func](*args)
        if not isinstance(kwargs.get('device'), (str, torch.device)): return func(*args, **kwargs)
        device = torch.device(kwargs['device'])
        if device.type not in (CPU.type, GPU.type): return func(*args, **kwargs)
        if device.type == GPU.type: refuse_generator(kwargs)
        return moved(func(*args, **kwargs | {'device': CPU}), device)


@contextmanager
def pretended():
    "Simulate the GPU in this thread and in new ones, and make it fastai's default device"
    import fastai.torch_core as core
    from collab_course.exercises import engine
    has_mps, run = core._has_mps, threading.Thread.run
    def run_there(thread):
        with Functions(), Operations(): run(thread)
    core._has_mps, threading.Thread.run = (lambda: True), run_there
    forks, engine._forks = engine._forks, lambda: False  # as where a GPU is in use
    refused.clear()
    try:
        with Functions(), Operations(): yield GPU
    finally: core._has_mps, threading.Thread.run, engine._forks = has_mps, run, forks


def cells(path):
    "Sources of the code cells that `nbdev_test` runs"
    nb = json.loads(Path(path).read_text(encoding='utf-8'))
    sources = [''.join(c['source']) for c in nb['cells'] if c['cell_type'] == 'code']
    return [s for s in sources if '#| eval: false' not in s]

def run(path, lenient=False):
    "Run a notebook on the simulated GPU; if `lenient`, go on after errors and return the share of cells that failed"
    namespace, here, sources, failed = {'__name__': '__main__'}, os.getcwd(), cells(path), 0
    with pretended(), mock.patch('IPython.display.display'):  # outside Jupyter it returns no handle
        os.chdir(Path(path).parent)
        try:
            for i,source in enumerate(sources):
                name = f'{Path(path).stem}, code cell {i}'
                linecache.cache[name] = len(source), None, source.splitlines(True), name  # tracebacks show lines
                try: exec(compile(source, name, 'exec'), namespace)
                except Exception:
                    if not lenient: raise
                    failed += 1
        finally: os.chdir(here)
    return failed/len(sources)

def main():
    "Run from the command line"
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('notebooks', type=Path, nargs='+')
    a = p.parse_args()
    import matplotlib
    matplotlib.use('agg')
    with tempfile.TemporaryDirectory() as d:
        os.environ['COLLAB_COURSE_PROGRESS'] = f'{d}/progress.json'
        for path in a.notebooks:
            start = time.time()
            run(path)
            if refused: sys.exit(f'{path}:\n' + '\n\n'.join(refused))
            print(f'{path}: {time.time()-start:.0f} s', flush=True)

if __name__ == '__main__': main()
