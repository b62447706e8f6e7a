"""Time and error of the course's models and of other libraries on u1 to u5, and write nbs/side/speed_runs.csv

Each training is a process of its own, with one thread; all methods take turns on each split. The other libraries are installed in environments of their own, in
build/peers, because some need other versions than the course. What can't be installed is named and left out."""
import argparse, collections, json, os, platform, re, subprocess, sys, tempfile, venv
from pathlib import Path
import numpy as np, pandas as pd, torch
from collab_course.further.column_tools import movielens_columns
from collab_course.movielens import get_movielens
from peers.one import METHODS

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT/'nbs'/'side'/'speed_runs.csv'
TABLE = ROOT/'nbs'/'further'/'benchmark_runs.csv'
BUDGETS = { # of the rows of TABLE
    'item mean': 1, 'item + user': 1, 'Surprise SVD': 20, 'Surprise KNNBaseline': 1, 'CollabNN': 5, 'cornac MF': 20, 'Surprise SVD++': 20,
    'lenskit BiasedMF': 10, 'ALS': 6, 'fit_fast, bs=512': 5, 'fit_fast, tuned, bs=512': 5, 'fit_fast, tuned, bs=256': 5, 'myFM': 100,
    'myFM, with columns': 100}
NEEDS = {'peers': ['scikit-surprise', 'cornac', 'implicit', 'myfm', 'scikit-learn', 'setuptools<81'], 'lenskit': ['lenskit']}
ONE_THREAD = {f'{name}_NUM_THREADS': '1' for name in ('OMP', 'OPENBLAS', 'MKL', 'RAYON', 'NUMBA', 'LK')}
SPLITS = 'u1', 'u2', 'u3', 'u4', 'u5'

def environment(name):
    "The Python of the environment `name`, or None if something can't be installed"
    if name == 'course': return sys.executable
    home = ROOT/'build'/'peers'/name
    python = home/'bin'/'python'
    if not (home/'ready').exists():
        venv.create(home, with_pip=True, clear=True)
        if name == 'lenskit': # it needs PyTorch, and takes the course's
            site = next(home.glob('lib/python*/site-packages'))
            (site/'course.pth').write_text(str(Path(torch.__file__).parents[1]))
        done = subprocess.run([python, '-m', 'pip', 'install', '--quiet', *NEEDS[name]], capture_output=True, text=True)
        if done.returncode: return print(f'{name}: not installed. {done.stderr.strip()[-300:]}')
        (home/'ready').touch()
    return python

def as_arrays(data, split):
    "User and movie numbers from 0, and ratings; and for each number, what is known about the user or movie"
    train, test = data.split(split)
    both = pd.concat([train, test])
    (users, user_names), (items, titles) = pd.factorize(both['user']), pd.factorize(both['movie'])
    titles = data.movies.set_index('movie').loc[titles, 'title']
    of_users, of_items = movielens_columns(data)
    of_users = pd.get_dummies(of_users.loc[user_names, ['age group', 'sex', 'occupation']])
    of_items = pd.get_dummies(of_items.loc[titles].drop(columns='year'))
    table = np.column_stack([users, items, both['rating']]).astype(float)
    return dict(train=table[:len(train)], test=table[len(train):], user_columns=of_users.to_numpy(float), item_columns=of_items.to_numpy(float))

def run(python, method, budget, file):
    "Time, error and memory of one training, or None if it fails"
    command = [python, ROOT/'tests'/'benchmarks'/'peers'/'one.py', method, str(budget), file]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | ONE_THREAD)
    if done.returncode: return print(f'{method}: {done.stderr.strip()[-300:]}')
    return json.loads(done.stdout.strip().splitlines()[-1])

def measure(splits, methods, only={}):
    "A row for each training; `only` has the budget of a method that isn't to be run with all of its budgets"
    pythons = {name: environment(name) for name in sorted({METHODS[m][0] for m in methods})}
    data = get_movielens()
    with tempfile.TemporaryDirectory() as folder:
        for split in splits:
            file = Path(folder)/f'{split}.npz'
            np.savez(file, **as_arrays(data, split))
            for method in methods:
                where, _, budgets = METHODS[method]
                if method in only: budgets = [only[method]]
                for budget in budgets if pythons[where] else []:
                    if found := run(pythons[where], method, budget, f'{file}'): yield dict(method=method, budget=budget, split=split) | found

def with_older(runs, file):
    "`runs`, and those of `file` that weren't repeated"
    key = ['method', 'budget', 'split']
    older = pd.read_csv(file) if file.exists() else runs.head(0)
    return pd.concat([older, runs]).drop_duplicates(key, keep='last')

def summary(runs, yardstick='fit_fast, bs=512'):
    "Medians over the splits, compared with `yardstick` split by split"
    by = runs.groupby(['method', 'budget'], sort=False)
    fast = runs[runs['method'] == yardstick].set_index('split')['computing']
    ratio = (runs['computing']/runs['split'].map(fast)).groupby([runs['method'], runs['budget']], sort=False)
    res = pd.DataFrame({'seconds': by['computing'].median(), 'x fit_fast': ratio.median(), 'from': ratio.min(), 'to': ratio.max(),
        'RMSE': by['rmse'].mean(), 'MB': by['mb'].max()})
    return res.round({'seconds': 2, 'x fit_fast': 2, 'from': 2, 'to': 2, 'RMSE': 4, 'MB': 0})

def to_equal_error(table, target='fastai, bs=64'):
    "The least budget of each method with an RMSE of at most that of `target`"
    enough = table[table['RMSE'] <= table.loc[target, 'RMSE'].iloc[0]].reset_index()
    return enough.sort_values('seconds', kind='stable').drop_duplicates('method')

def processor():
    "The processor's name"
    info = Path('/proc/cpuinfo')
    found = re.search('model name.*: (.*)', info.read_text()) if info.exists() else None
    return found[1] if found else platform.processor()

def main():
    "Run from the command line"
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--splits', nargs='+', default=SPLITS)
    p.add_argument('--methods', nargs='+', default=list(METHODS))
    p.add_argument('--table', action='store_true', help=f"only the rows of chapter 10's table; with --write, into {TABLE.name}")
    p.add_argument('--write', action='store_true', help=f'write {FILE.name}; what was not repeated stays')
    a = p.parse_args()
    only, file = (BUDGETS, TABLE) if a.table else ({}, FILE)
    runs = pd.DataFrame(measure(a.splits, list(only) or a.methods, only))
    if a.write: file.write_text(with_older(runs, file).round({'seconds': 3, 'computing': 3, 'rmse': 5, 'mb': 0, 'imports_mb': 0}).to_csv(index=False))
    table = summary(runs)
    print(f'{get_movielens()}; {processor()}, one thread; seconds of computing\n\n{table.to_string()}')
    if 'fastai, bs=64' in set(runs['method']): print(f"\nFastest way of each method to the error of fastai at 64:\n\n{to_equal_error(table).to_string(index=False)}")

if __name__ == '__main__': main()
