"""Time, memory and error of our training and other libraries' on 25 million ratings, side by side, and write nbs/further/full_size_runs.csv

All methods have the same ratings, split, number of factors (32) and threads (2), and take turns, each in a process of its own. Penalty and number of sweeps (and cornac's learning rate) are chosen by
the validation ratings of every second user; the error is that of the others. Seconds are from arrays of codes to a trained model. What can't be installed is named and left out."""
import argparse, json, os, subprocess, sys, tempfile
from pathlib import Path
import numpy as np, pandas as pd
from collab_course.further.millions import get_millions, read_coded, train_valid
from bench_peers import environment, processor
from peers.full import METHODS, THREADS

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT/'nbs'/'further'/'full_size_runs.csv'
SLOW = {'Surprise SVD': 5_000_000} # the most ratings that it is tried with: it keeps each of them as a Python object
THREAD_LIMIT = {f'{name}_NUM_THREADS': f'{THREADS}' for name in ('OMP', 'OPENBLAS', 'MKL', 'RAYON', 'NUMBA', 'LK')}

def write_ratings(n_ratings, folder):
    "The split as arrays that any program can map"
    ratings = read_coded(get_millions(n_ratings))
    for part, columns in zip(('train', 'valid'), train_valid(ratings)):
        for name in ('users', 'items', 'halves'): np.save(folder/f'{part}_{name}.npy', getattr(columns, name))
    np.save(folder/'sizes.npy', [ratings.n_users, ratings.n_items])
    return ratings

def run(python, method, penalty, budgets, folder, limit):
    "A row for each budget, from one process; none if it fails"
    command = [python, ROOT/'tests'/'benchmarks'/'peers'/'full.py', method, folder, str(penalty), *map(str, budgets)]
    try: done = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=os.environ | THREAD_LIMIT, cwd=ROOT)
    except subprocess.TimeoutExpired: return print(f'{method}: stopped after {limit:.0f} seconds', flush=True)
    if done.returncode: return print(f'{method}: {done.stderr.strip()[-300:]}', flush=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{')]

def measure(methods, n_ratings, turns, limit):
    "A row for each method, penalty, budget and turn"
    pythons = {name: environment(name) for name in sorted({METHODS[m][0] for m in methods})}
    with tempfile.TemporaryDirectory() as folder:
        print(write_ratings(n_ratings, Path(folder)), flush=True)
        for turn in range(turns):
            for method in methods:
                where, _, goes_on, settings = METHODS[method]
                for penalty, budgets in settings.items() if pythons[where] else []:
                    for some in [budgets] if goes_on else [[b] for b in budgets]:
                        for found in run(pythons[where], method, penalty, some, folder, limit) or []:
                            row = dict(method=method, ratings=n_ratings, penalty=penalty, turn=turn) | found
                            print(row, flush=True)
                            yield row

def summary(runs):
    "Of each method: the penalty and budget with the least error for the users to choose with, then time, memory, and the other users' error"
    rows = {}
    for method, group in runs.groupby('method', sort=False):
        by = group.groupby(['penalty', 'budget']).agg(seconds=('seconds', 'median'), GB=('mb', 'max'), RMSE=('rmse', 'mean'), choose=('rmse_choose', 'mean')).reset_index()
        best = by.iloc[0 if by['choose'].isna().all() else by['choose'].argmin()]
        same = by[by['penalty'] == best['penalty']].sort_values('budget', kind='stable')
        first, last = same.iloc[0], same.iloc[-1]
        each = (last['seconds'] - first['seconds'])/(last['budget'] - first['budget']) if len(same) > 1 else first['seconds']/first['budget']
        rows[method] = {'sweeps': int(best['budget']), 's a sweep': each, 'seconds': best['seconds'], 'GB': best['GB']/1000, 'RMSE': best['RMSE']}
    return pd.DataFrame(rows).T.astype({'sweeps': int}).round({'s a sweep': 2, 'seconds': 1, 'GB': 2, 'RMSE': 4})

def main():
    "Run from the command line"
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--ratings', type=int, default=25_000_000)
    p.add_argument('--methods', nargs='+', choices=list(METHODS), help='default: all that can take so many ratings')
    p.add_argument('--turns', type=int, default=1, help='how often each training is repeated')
    p.add_argument('--limit', type=float, default=600, help='seconds after which a training is stopped')
    p.add_argument('--write', action='store_true', help=f'write {FILE.name}; what was not repeated stays')
    a = p.parse_args()
    methods = a.methods or [name for name in METHODS if a.ratings <= SLOW.get(name, a.ratings)]
    runs = pd.DataFrame(measure(methods, a.ratings, a.turns, a.limit))
    if runs.empty: return print('Nothing could be trained.')
    if a.write:
        older = pd.read_csv(FILE) if FILE.exists() else runs.head(0)
        older = older[~(older['method'].isin(set(runs['method'])) & (older['ratings'] == a.ratings))]
        pd.concat([older, runs]).round({'seconds': 2, 'mb': 0, 'imports_mb': 0, 'rmse': 5, 'rmse_choose': 5}).to_csv(FILE, index=False)
    print(f'\n{a.ratings:,} ratings, {processor()}, {THREADS} threads\n\n{summary(runs).to_string()}')

if __name__ == '__main__': main()
