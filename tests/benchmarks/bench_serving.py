"Time what serves many users: imports, `fold_in`, `recommend_many` against `recommend`, and `neighbors`; print medians, spread and peak memory"
import argparse, multiprocessing, statistics as st, subprocess, sys, time
from pathlib import Path
import numpy as np, pandas as pd, torch
from collab_course.all import (
    NamedModel, collab_dls, fit_many, fold_in, get_movielens, neighbors, recommend, recommend_many, set_seed)
from peers.full import peak_memory

LIGHT = 'movielens', 'crosstab', 'als', 'simulation'
HEAVY = 'training', 'all'

def seconds(f):
    "How long a call of `f` takes"
    start = time.perf_counter()
    f()
    return time.perf_counter() - start

def show(what, times, more=''):
    "Print the median and the range of `times`"
    print(f'{what:60}{st.median(times):9.3f} s  ({min(times):.3f} to {max(times):.3f}) {more}', flush=True)

def time_imports(runs):
    "Each module in fresh processes, in turns"
    code = 'import time; start = time.perf_counter(); import collab_course.{}; print(time.perf_counter() - start)'
    def once(module): return float(subprocess.run([sys.executable, '-c', code.format(module)], capture_output=True, text=True, check=True).stdout)
    times = {module: [] for module in (*LIGHT, *HEAVY)}
    for _ in range(runs):
        for module in times: times[module].append(once(module))
    for module in times: show(f'import collab_course.{module}', times[module])

def model():
    "A trained model and its names"
    dls = collab_dls(get_movielens().ratings, item_name='title', seed=42)
    set_seed(42)
    models, _ = fit_many(dls, .4)
    learn = NamedModel.from_dls(models[0], dls)
    learn.dls.ratings = dls.ratings
    return learn

def answers(n, items, n_ratings=20, seed=0):
    "`n` new users with `n_ratings` random ratings each"
    rng = np.random.default_rng(seed)
    table = np.full((n, len(items)), np.nan, dtype=np.float32)
    for row in table: row[rng.choice(len(items), n_ratings, replace=False)] = rng.integers(1, 6, n_ratings)
    return pd.DataFrame(table, columns=items)

def time_fold_in(learn, items, runs):
    "1,000 and 100,000 new users"
    for n, k in ((1000, runs), (100_000, 1 + runs//3)):
        table = answers(n, items)
        show(f'fold_in, {n:,} new users with 20 ratings', [seconds(lambda: fold_in(learn, table)) for _ in range(k)])

def time_recommend(learn, runs):
    "A loop over all users against one call, in turns"
    users = list(learn.dls.classes['user'])[1:]
    def loop():
        for user in users: recommend(learn, user)
    loops, calls = zip(*((seconds(loop), seconds(lambda: recommend_many(learn))) for _ in range(runs)))
    ratios = [a/b for a, b in zip(loops, calls)]
    show(f'recommend, a loop over {len(users)} users', loops)
    show('recommend_many, the same users', calls, f'{st.median(ratios):.0f} times as fast ({min(ratios):.0f} to {max(ratios):.0f})')

def peak(sender, n_items):
    "Send the time of `neighbors`, and the most memory that its process had, with all imports, in MB"
    factors = pd.DataFrame(np.random.default_rng(0).normal(size=(n_items, 50)).astype('f4'))
    sender.send((seconds(lambda: neighbors(factors)), peak_memory()))

def time_neighbors(n_items=59_000):
    "All neighbors in a table as large as MovieLens 25M's, in a process of its own"
    context = multiprocessing.get_context('spawn')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=peak, args=(sender, n_items))
    process.start()
    took, memory = receiver.recv()
    process.join()
    show(f'neighbors, {n_items:,} items with 50 factors', [took], f'{memory:.0f} MB')

def main():
    "Run from the command line"
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--runs', type=int, default=5)
    a = p.parse_args()
    print(f'{get_movielens()}; torch {torch.__version__}, {torch.get_num_threads()} thread(s), {a.runs} runs in turns: median (range)')
    time_imports(a.runs)
    learn = model()
    time_fold_in(learn, list(learn.dls.classes['title'])[1:], a.runs)
    time_recommend(learn, a.runs)
    time_neighbors()

if __name__ == '__main__': main()
