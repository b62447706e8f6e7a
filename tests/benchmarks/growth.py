"""Train three methods on parts of 25 million ratings, with 8 to 128 factors, and write nbs/further/growth.csv

The parts are made in two ways: some users with all their ratings, or some ratings of all users. The penalty (or decay) of each row is tuned on a tenth of the
training ratings. Results are kept in build/growth, so that a run that was stopped goes on where it was. `--parts` and `--how` choose what to run now."""
import argparse, ctypes, itertools, json, time, warnings
from functools import cache
from pathlib import Path
import numpy as np, pandas as pd, torch
from collab_course.further.growth import fit_biases, fit_slices, list_quality, smaller
from collab_course.further.millions import CodedRatings, Truth, best_prediction, get_millions, read_coded, train_valid
from collab_course.further.sweeps import sweep_als

ROOT = Path(__file__).resolve().parents[2]
FILE, KEPT = ROOT/'nbs'/'further'/'growth.csv', ROOT/'build'/'growth'
SIZES = {'0.1': .004, '0.3': .012, '1': .04, '3': .12, '10': .4, '25': 1} # millions: share
FACTORS = 8, 16, 32, 64, 128
SEEDS = 0, 1, 2
DIGITS = {'rmse': 5, 'floor': 5, 'excess': 6, 'ndcg': 4, 'ndcg_se': 4, 'seconds': 2, 'mb': 0, 'penalty': 4}
PENALTIES = {'ALS': .1, 'AdamW': .3, 'biases': .2} # to begin with
FIT = {
    'ALS': lambda train, k, penalty, seed: sweep_als(train, k, penalty, sweeps=8, seed=seed),
    'AdamW': lambda train, k, penalty, seed: fit_slices(train, k, wd=penalty, seed=seed, progress=False),
    'biases': lambda train, k, penalty, seed: fit_biases(train, penalty)}

@cache
def everything(folder):
    "All ratings, and what they are drawn from"
    ratings = read_coded(folder)
    made = json.loads((Path(folder)/'generated.json').read_text())
    return ratings, Truth(made['n_ratings'], made['seed'])

@cache
def parts(folder, share, how, seed):
    "Training ratings, validation ratings and their best predictions"
    ratings, truth = everything(folder)
    train, valid = train_valid(smaller(ratings, share, how, seed) if share < 1 else ratings)
    users = valid.user_ids[valid.users] - 1
    items = np.searchsorted(truth.item_ids, valid.item_ids)[valid.items]
    best, sd = (np.concatenate(x) for x in zip(*[best_prediction(truth, users[s:s + 500_000], items[s:s + 500_000]) for s in range(0, len(users), 500_000)]))
    return train, valid, best.astype(np.float32), float((sd**2).mean())

def status(name):
    "A line of the memory report of this process, in MB (Linux)"
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1])*1024/1e6 for line in lines if line.startswith(name))

def measured(fit):
    "What `fit` returns, seconds, and the highest memory above that before, in MB"
    ctypes.CDLL(None).malloc_trim(0) # memory that is free isn't held any more
    Path('/proc/self/clear_refs').write_text('5')
    before, start = status('VmRSS'), time.perf_counter()
    res = fit()
    return res, time.perf_counter() - start, status('VmHWM') - before

def errors(tables, valid, best):
    "RMSE, and the mean squared distance from the best predictions, in pieces"
    total = np.zeros(2)
    for at in range(0, len(valid), 2**20):
        piece = slice(at, at + 2**20)
        preds = tables.predict(valid.users[piece], valid.items[piece]).clip(.5, 5)
        for i, target in enumerate((valid.halves[piece]*.5, best[piece])):
            total[i] += np.square(preds - target, dtype=float).sum()
    return np.sqrt(total[0]/len(valid)), total[1]/len(valid)

@cache
def warm_up(method, k):
    "Train on a few ratings, so that what is compiled is compiled, and a clock starts afterwards"
    codes, ids = np.arange(1000, dtype=np.int32), np.arange(1, 1001)
    FIT[method](CodedRatings(codes, codes, np.full(1000, 7, np.uint8), ids, ids), k, .1, 0)

def kept(name, f):
    "The result of `f`, or what it was in an earlier run"
    file = KEPT/f'{name}.json'
    if not file.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(f()))
    return json.loads(file.read_text())

def tuned(folder, size, how, method, k):
    "The best penalty on a tenth of the training ratings; the grid grows as long as the best is at its edge"
    if float(size) > 3: k = min(k, 16) # more factors take the penalty of 16 there
    def tune():
        train, *_ = parts(folder, SIZES[size], how, 0)
        rest, held_out = train_valid(train, seed=1)
        tried = {}
        def rmse(penalty):
            if penalty not in tried:
                tried[penalty] = errors(FIT[method](rest, k, penalty, 0), held_out, held_out.stars)[0]
            return tried[penalty]
        sizes = list(SIZES)
        before = sizes[sizes.index(size) - 1] if size != sizes[0] else None
        start = tuned(folder, before, 'users' if size == '25' else how, method, k)[0] if before else PENALTIES[method]
        grid = [start/1.5, start, start*1.5]
        while True:
            best = min(grid, key=rmse)
            if best == grid[0]: grid.insert(0, grid[0]/1.5)
            elif best == grid[-1]: grid.append(grid[-1]*1.5)
            else: return best, tried
    return kept(f'tuned-{size}-{how}-{method}-{k}', tune)

def row(folder, size, how, seed, method, k, penalty, threads):
    "One line of the table"
    train, valid, best, noise = parts(folder, SIZES[size], how, seed)
    warm_up(method, k)
    tables, seconds, mb = measured(lambda: FIT[method](train, k, penalty, seed))
    rmse, excess = errors(tables, valid, best)
    lists = list_quality(tables, train, valid)['nDCG']
    return {
        'how': how, 'millions': size, 'seed': seed, 'method': method, 'n_factors': k, 'n': len(train), 'n_users': train.n_users, 'n_items': train.n_items,
        'penalty': penalty, 'rmse': rmse, 'floor': noise**.5, 'excess': excess, 'ndcg': lists.mean(), 'ndcg_se': lists.sem(), 'seconds': seconds,
        'mb': mb + train.nbytes/1e6, 'threads': threads}

def write():
    "Write the table"
    rows = [json.loads(file.read_text()) for file in sorted(KEPT.glob('row-*.json'))]
    table = pd.DataFrame(rows).sort_values(['how', 'n', 'seed', 'method', 'n_factors'], kind='stable')
    table.round(DIGITS).to_csv(FILE, index=False)

def measure_again(folder, threads):
    "The rows for more and more users in the file, with the penalties that they have, measured again"
    table = pd.read_csv(FILE, dtype={'millions': str})
    for i, old in table[(table['how'] == 'users') & (table['seed'] == 0)].iterrows():
        new = row(folder, old['millions'], 'users', 0, old['method'], old['n_factors'], old['penalty'], threads)
        print(*old[['millions', 'method', 'n_factors', 'rmse', 'seconds', 'mb']], '->', *(round(new[name], 4) for name in ('rmse', 'seconds', 'mb')), flush=True)
        table.loc[i, list(new)] = list(new.values())
    table.round(DIGITS).to_csv(FILE, index=False)

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--folder', help='of the ratings')
    parser.add_argument('--sizes', nargs='*', default=list(SIZES))
    parser.add_argument('--how', nargs='*', default=['users', 'ratings'])
    parser.add_argument('--methods', nargs='*', default=list(FIT))
    parser.add_argument('--factors', nargs='*', type=int, default=FACTORS)
    parser.add_argument('--seeds', nargs='*', type=int, default=SEEDS)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--again', action='store_true', help='only measure those rows of the file again that show time and memory')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.filterwarnings('ignore', message='overflow encountered')
    folder = args.folder or get_millions()
    if args.again:
        measure_again(folder, args.threads)
        raise SystemExit
    for size, how, seed, method in itertools.product(args.sizes, args.how, args.seeds, args.methods):
        if size == '25' and (how == 'ratings' or seed): continue # all of them, in either way
        several = FACTORS if how == 'users' and not seed else (16,)
        for k in [k for k in args.factors if k in several] if method != 'biases' else (0,):
            penalty = tuned(folder, size, how, method, k)[0]
            found = kept(f'row-{size}-{how}-{seed}-{method}-{k}', lambda: row(folder, size, how, seed, method, k, penalty, args.threads))
            print(size, how, seed, method, k, *(f'{found[name]:.4f}' for name in ('penalty', 'rmse', 'excess', 'ndcg', 'seconds', 'mb')), flush=True)
    write()
