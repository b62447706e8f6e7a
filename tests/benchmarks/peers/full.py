"""Train one model on many ratings and print, as a line of JSON for each budget, its time, error and memory

    python full.py METHOD FOLDER PENALTY BUDGET...

BUDGET is a number of sweeps or epochs, in rising order. FOLDER has arrays as .npy files: users, items (codes) and halves (stars times two) of `train_` and `valid_`, and
`sizes.npy`, the numbers of users and items. A method takes the training ratings and a penalty (or more settings, as in 0.01+2), and returns a function that trains for n more sweeps and returns one that
predicts. Libraries are imported, and compiled, before the clock starts. The ratings of every second user are to choose with, and those of the others to report."""
import contextlib, json, re, sys, time
from pathlib import Path
from types import SimpleNamespace
import numpy as np

N_FACTORS, THREADS = 32, 2

def load(folder, part):
    "The ratings of a part, mapped into memory"
    columns = {name: np.load(Path(folder)/f'{part}_{name}.npy', mmap_mode='r') for name in ('users', 'items', 'halves')}
    n_users, n_items = np.load(Path(folder)/'sizes.npy').tolist()
    return SimpleNamespace(**columns, n_users=n_users, n_items=n_items)

def few(n=2000):
    "A few ratings, for what a library does only once, such as compiling"
    rng = np.random.default_rng(0)
    key = np.sort(rng.choice(50*80, n, replace=False))
    return SimpleNamespace(users=(key//80).astype(np.int32), items=(key % 80).astype(np.int32), halves=rng.integers(1, 11, n).astype(np.uint8), n_users=50, n_items=80)

def stars(ratings): return ratings.halves*np.float32(.5)

def in_pieces(predict, ratings):
    "Predictions, a million at a time"
    pieces = [slice(at, at + 10**6) for at in range(0, len(ratings.users), 10**6)]
    return np.concatenate([predict(np.asarray(ratings.users[p]), np.asarray(ratings.items[p])) for p in pieces])

def from_tables(mean, user_bias, item_bias, users, items):
    "A function that predicts from biases and factors; a bias alone where the factors are unknown (NaN)"
    def predict(u, i):
        return mean + user_bias[u] + item_bias[i] + np.nan_to_num(np.einsum('nk,nk->n', users[u], items[i]))
    return predict


# --- the course

def means():
    "Mean, and a bias for each user and each item"
    from collab_course.further.growth import fit_biases
    def fit(train, l2): return lambda n: fit_biases(coded(train), l2, n).predict
    return fit

def coded(train):
    "The ratings as the course's functions take them"
    from collab_course.further.millions import CodedRatings
    return CodedRatings(*(np.asarray(c) for c in (train.users, train.items, train.halves)), np.arange(train.n_users), np.arange(train.n_items))

def sweeps(engine, by_direction=False):
    def load():
        from collab_course.further.directions import RelevanceSweeps
        from collab_course.further.sweeps import Sweeps
        kind = RelevanceSweeps if by_direction else Sweeps
        def fit(train, l2, constant=0.):
            state = kind(coded(train), N_FACTORS, l2, engine=engine, constant=constant)
            def more(n):
                for _ in range(n): state.step()
                return state.tables.predict
            return more
        return fit
    return load

def adamw():
    from collab_course.further.growth import fit_slices
    def fit(train, wd): return lambda n: fit_slices(coded(train), N_FACTORS, epochs=n, wd=wd, progress=False).predict
    return fit

def spark():
    import tempfile
    from collab_course.further.machines import spark_als, spark_missing, spark_tables, start_spark, read_ratings, write_ratings
    if spark_missing(): raise ImportError(spark_missing())
    from collab_course.further.growth import fit_biases
    session, folder = start_spark(f'local[{THREADS}]', memory='8g'), Path(tempfile.mkdtemp())
    def fit(train, l2):
        def more(n):
            ratings = coded(train)
            base = fit_biases(ratings, l2)
            path = write_ratings(ratings, folder/str(len(train.users)), offset=base.predict(ratings.users, ratings.items))
            found = spark_tables(spark_als(read_ratings(session, path), N_FACTORS, l2, n), train.n_users, train.n_items)
            fit.extra = children_memory
            return from_tables(base.mean, base.users[:,0], base.items[:,0], found.users[:,1:], found.items[:,1:])
        return more
    return fit


# --- other libraries

def cornac():
    from cornac.data import Dataset
    from cornac.models import MF
    def fit(train, l2, lr):
        def more(n):
            names = {k: k for k in range(train.n_users)}, {k: k for k in range(train.n_items)}
            data = Dataset(train.n_users, train.n_items, *names, (np.asarray(train.users, int), np.asarray(train.items, int), stars(train)), seed=0)
            m = MF(k=N_FACTORS, max_iter=n, learning_rate=lr, lambda_reg=l2, num_threads=THREADS, seed=0).fit(data)
            return from_tables(m.global_mean, m.u_biases, m.i_biases, m.u_factors, m.i_factors)
        return more
    return fit

def frame(train):
    "The ratings as a table"
    import pandas as pd
    return pd.DataFrame({'user': train.users, 'item': train.items, 'rating': stars(train)})

def lenskit():
    from lenskit.als import BiasedMFScorer
    from lenskit.data import from_interactions_df
    def fit(train, l2):
        def more(n):
            data = from_interactions_df(frame(train), user_col='user', item_col='item', rating_col='rating')
            m = BiasedMFScorer(epochs=n, embedding_size=N_FACTORS, regularization=l2)
            m.train(data)
            def rows(table, ids, size):
                res = np.zeros((size, *np.shape(table)[1:]), np.float32)
                res[ids] = np.nan_to_num(np.asarray(table))
                return res
            user, item = m.users.ids(), m.items.ids()
            biases, factors = (m.bias.user_biases, m.bias.item_biases), (m.user_embeddings, m.item_embeddings)
            tables = [rows(t, ids, size) for t, ids, size in zip((*biases, *factors), (user, item)*2, (train.n_users, train.n_items)*2)]
            return from_tables(float(m.bias.global_bias), *tables)
        return more
    return fit

def surprise():
    import surprise as lib
    def fit(train, l2):
        def more(n):
            data = lib.Dataset.load_from_df(frame(train), lib.Reader(rating_scale=(.5, 5))).build_full_trainset()
            m = lib.SVD(n_factors=N_FACTORS, n_epochs=n, reg_all=l2, random_state=0).fit(data)
            def rows(table, to_inner, size):
                res = np.zeros((size, *table.shape[1:]), np.float32)
                inner = np.array([[raw, to_inner(raw)] for raw in range(size) if knows(to_inner, raw)])
                res[inner[:,0]] = table[inner[:,1]]
                return res
            def knows(to_inner, raw):
                try: return to_inner(raw) >= 0
                except ValueError: return False
            of = (data.to_inner_uid, train.n_users), (data.to_inner_iid, train.n_items)
            tables = [rows(t, *of[side]) for t, side in ((m.bu, 0), (m.bi, 1), (m.pu, 0), (m.qi, 1))]
            return from_tables(data.global_mean, *tables)
        return more
    return fit

def implicit():
    "It ranks items and predicts no stars, so it has a time and no error"
    from scipy.sparse import csr_matrix
    from implicit.als import AlternatingLeastSquares
    def fit(train, l2):
        def more(n):
            table = csr_matrix((stars(train), (train.users, train.items)), (train.n_users, train.n_items))
            model = AlternatingLeastSquares(factors=N_FACTORS, iterations=n, regularization=l2, num_threads=THREADS, random_state=0)
            model.fit(table, show_progress=False)
            return lambda u, i: np.full(len(u), np.nan)
        return more
    return fit

def each(settings, budgets):
    "The same budgets for each setting"
    return dict.fromkeys(settings, budgets)

METHODS = { # name: (environment, how to load it, does a training go on?, {penalty: budgets})
    'biases alone': ('course', means, False, each([.05], [10])),
    'ALS by direction': ('course', sweeps('numba', by_direction=True), True, each(['0.005+2', '0.01+1', '0.01+2', '0.01+3', '0.02+2', '0.02+4'], [4, 5, 6, 8])),
    'ALS, compiled': ('course', sweeps('numba'), True, each([.035, .05, .07], [2, 5, 10])),
    'ALS, torch': ('course', sweeps('torch'), True, each([.05], [2, 5, 10])),
    'AdamW': ('course', adamw, False, each([.3, .4], [5, 10])),
    'Spark ALS, after biases': ('course', spark, False, each([.05], [10])),
    'lenskit BiasedMF': ('lenskit', lenskit, False, each([.05, .07], [5, 10])),
    'cornac MF': ('peers', cornac, False, { # half the learning rate needs about twice the epochs
        '0.025+0.005': [45, 90], '0.02+0.0025': [90], '0.025+0.0025': [90, 180], '0.03+0.0025': [90], '0.025+0.00125': [180], '0.025+0.000625': [360]}),
    'Surprise SVD': ('peers', surprise, False, each([.02], [10, 20])),
    'implicit ALS': ('peers', implicit, False, each([.01], [5]))}

def peak_memory(pid='self'):
    "The most memory that a process has had, in MB (Linux only)"
    try: return int(re.search(r'VmHWM:\s+(\d+)', Path(f'/proc/{pid}/status').read_text())[1])*1024/1e6
    except (OSError, TypeError): return float('nan')

def children_memory():
    "The same for the processes that this one has started and that still run, such as Java's"
    parents = {}
    for status in Path('/proc').glob('[0-9]*/stat'):
        with contextlib.suppress(OSError): parents[int(status.parent.name)] = int(status.read_text().rsplit(')', 1)[1].split()[1])
    me, found = int(Path('/proc/self').resolve().name), []
    below = {me}
    while below:
        below = {pid for pid, parent in parents.items() if parent in below}
        found += below
    return float(np.nansum([peak_memory(pid) for pid in found]))

def main(method, folder, penalty, *budgets):
    "Train, predict, and print the numbers"
    _, load_method, goes_on, _ = METHODS[method]
    if METHODS[method][0] == 'course':
        import torch
        torch.set_num_threads(THREADS)
    fit, penalties, budgets = load_method(), [float(p) for p in penalty.split('+')], [int(b) for b in budgets]
    fit(few(), *penalties)(1)
    train, valid = load(folder, 'train'), load(folder, 'valid')
    before, done, took = peak_memory(), 0, 0
    start = time.perf_counter()
    more = fit(train, *penalties)
    for budget in budgets:
        predict = more(budget - done)
        took += time.perf_counter() - start
        memory = peak_memory() + (fit.extra() if hasattr(fit, 'extra') else 0)
        error = (np.clip(in_pieces(predict, valid), .5, 5) - stars(valid))**2
        to_choose = valid.users % 2 == 0
        rmse = {name: float(error[rows].mean()**.5) for name, rows in (('rmse_choose', to_choose), ('rmse', ~to_choose))}
        print(json.dumps(dict(budget=budget, seconds=took, mb=memory, imports_mb=before) | rmse), flush=True)
        done, start = budget if goes_on else 0, time.perf_counter()
        if not goes_on and budget != budgets[-1]: raise SystemExit('A training that does not go on takes one budget.')

if __name__ == '__main__': main(*sys.argv[1:])
