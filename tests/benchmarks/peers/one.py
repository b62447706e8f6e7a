"""Train one model on one split, and print its time, error and memory as JSON

    python one.py METHOD BUDGET FILE

BUDGET is a number of epochs, sweeps or samples. FILE is an .npz, named after the split, with the arrays `train` and `test`: user and movie numbers from 0, and
ratings; and `user_columns` and `item_columns`, a row of zeros and ones for each number. Each method takes such an array and a budget, and returns a function that predicts. Libraries are imported before the clock starts, and each call is a
process of its own, so that the memory is that of one method."""
import json, re, sys, time
from pathlib import Path
import numpy as np, pandas as pd

COLUMNS = ['user', 'item', 'rating']
SETTINGS = Path(__file__).resolve().parents[3]/'nbs'/'side'/'speed_settings.csv'
SPLIT = Path(sys.argv[-1]).stem # such as u1

def frame(ratings): return pd.DataFrame(ratings, columns=COLUMNS).astype({'user': int, 'item': int})

def pairs(ratings): return ratings[:,:2].astype(int)


# --- the course

def means(column):
    "A column of `mean_predictions`"
    def load():
        from collab_course.training import mean_predictions
        def fit(train, budget): return lambda test: mean_predictions(frame(train), frame(test), *COLUMNS)[column].to_numpy()
        return fit
    return load

def named(train, bs):
    "Loaders with all ratings of `train`"
    from collab_course.loader import collab_dls
    return collab_dls(frame(train), seed=0, bs=bs, valid_pct=0)

def by_name(learn):
    "A function that predicts with a trained model"
    from collab_course.training import predict
    return lambda test: predict(learn, *pairs(test).T.tolist(), unknown='na').to_numpy()

def stock_fastai():
    "As in the book"
    from fastai.basics import Learner, MSELossFlat, set_seed
    from fastai.collab import CollabDataLoaders
    from fastai.tabular.all import TabDataLoader
    from collab_course.dot_product_bias import DotProductBias
    from collab_course.loader import table_sizes
    def fit(train, budget):
        set_seed(0)
        dls = CollabDataLoaders.from_df(frame(train), valid_pct=0, bs=64, dl_type=TabDataLoader)
        learn = Learner(dls, DotProductBias(*table_sizes(dls), y_range=(0, 5.5)), loss_func=MSELossFlat())
        with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(budget, 5e-3, wd=.1)
        return by_name(learn)
    return fit

def least_squares():
    from collab_course.als import als
    def fit(train, budget): return by_name(als(frame(train).pivot(index='user', columns='item', values='rating'), sweeps=budget).named())
    return fit

def net():
    from fastai.basics import set_seed
    from collab_course.collab_nn import CollabNN
    from collab_course.training import fit as train_net
    def fit(train, budget):
        set_seed(0)
        dls = named(train, 512)
        return by_name(train_net(dls, CollabNN.from_dls(dls, y_range=(0, 5.5)), epochs=budget))
    return fit

def tuned(bs, split):
    "Learning rate and decay that were tuned on the training file of `split`"
    table = pd.read_csv(SETTINGS).set_index(['bs', 'split'])
    return table.loc[(bs, split), ['lr', 'wd']].to_dict()

def ours(function, bs=512, is_tuned=False, **kwargs):
    "`fit` or `fit_fast`, with the default settings or tuned ones"
    def load():
        from fastai.basics import set_seed
        from collab_course import dot_product_bias, speed, training
        train_model = {'fit': training.fit, 'fit_fast': speed.fit_fast}[function]
        settings = tuned(bs, SPLIT) if is_tuned else {}
        def fit(train, budget):
            set_seed(0)
            dls = named(train, bs)
            model = dot_product_bias.DotProductBias.from_dls(dls, y_range=(0, 5.5))
            return by_name(train_model(dls, model, epochs=budget, **settings, **kwargs))
        return fit
    return load


# --- other libraries

def surprise(model, epochs=True, **settings):
    "A model of Surprise; without `epochs`, the budget isn't used"
    def load():
        import surprise as lib
        def fit(train, budget):
            reader = lib.Reader(rating_scale=(1, 5))
            data = lib.Dataset.load_from_df(frame(train), reader).build_full_trainset()
            more = dict(n_epochs=budget, random_state=0) if epochs else {}
            trained = getattr(lib, model)(**more, **settings).fit(data)
            return lambda test: np.array([trained.predict(u, i).est for u, i in pairs(test).tolist()])
        return fit
    return load

def cornac(**settings):
    def load():
        from cornac.data import Dataset
        from cornac.models import MF
        def fit(train, budget):
            data = Dataset.from_uir(list(zip(*pairs(train).T.tolist(), train[:,2].tolist())), seed=0)
            trained = MF(max_iter=budget, num_threads=1, seed=0, **settings).fit(data)
            def predict(test):
                known = ((data.uid_map.get(u, -1), data.iid_map.get(i, -1)) for u, i in pairs(test).tolist())
                return np.clip([trained.score(u, i) if min(u, i) >= 0 else data.global_mean for u, i in known], 1, 5)
            return predict
        return fit
    return load

def myfm(columns=False):
    "myFM, which knows the ids, and with `columns` also those of users and movies"
    def load():
        import myfm as lib
        from scipy.sparse import csr_matrix, hstack
        from sklearn.preprocessing import OneHotEncoder
        data = np.load(sys.argv[-1])
        tables = [csr_matrix(data[name]) for name in ('user_columns', 'item_columns')]
        def fit(train, budget):
            encoder = OneHotEncoder(handle_unknown='ignore').fit(pairs(train))
            def inputs(ratings):
                own = [table[rows] for table, rows in zip(tables, pairs(ratings).T)]
                return hstack([encoder.transform(pairs(ratings)), *own*columns], format='csr')
            trained = lib.MyFMRegressor(rank=10, random_seed=0)
            trained.fit(inputs(train), train[:,2], n_iter=budget, n_kept_samples=max(1, budget//2))
            return lambda test: np.clip(trained.predict(inputs(test)), 1, 5)
        return fit
    return load

def lenskit():
    from lenskit.als import BiasedMFScorer
    from lenskit.data import ItemList, from_interactions_df
    from lenskit.logging import LoggingConfig
    def fit(train, budget):
        data = from_interactions_df(frame(train), user_col='user', item_col='item', rating_col='rating')
        trained = BiasedMFScorer(epochs=budget, embedding_size=50)
        trained.train(data)
        def predict(test):
            res = np.full(len(test), train[:,2].mean())
            for user, rows in frame(test).groupby('user').indices.items():
                found = trained(query=int(user), items=ItemList(item_ids=pairs(test)[rows,1])).scores()
                res[rows] = np.where(np.isnan(found), res[rows], found)
            return np.clip(res, 1, 5)
        return predict
    return fit

def implicit():
    "It ranks items and predicts no stars, so it has a time and no error"
    from scipy.sparse import csr_matrix
    from implicit.als import AlternatingLeastSquares
    def fit(train, budget):
        users, items = pairs(train).T
        AlternatingLeastSquares(factors=50, iterations=budget, num_threads=1, random_state=0).fit(csr_matrix((train[:,2], (users, items))), show_progress=False)
        return lambda test: np.full(len(test), np.nan)
    return fit

METHODS = { # name: (environment, how to load it, budgets)
    **{column: ('course', means(column), [1]) for column in ('item mean', 'item + user')},
    'ALS': ('course', least_squares, [6]),
    'CollabNN': ('course', net, [5]),
    'fastai, bs=64': ('course', stock_fastai, [5]),
    'fit, bs=512': ('course', ours('fit'), [5]),
    'fit_fast, bs=512': ('course', ours('fit_fast'), [5]),
    'in a Learner, bs=512': ('course', ours('fit_fast', callbacks=True), [5]),
    **{f'in a Learner, tuned, bs={bs}': ('course', ours('fit_fast', bs, True, callbacks=True), [5]) for bs in (512, 1024)},
    **{f'fit, tuned, bs={bs}': ('course', ours('fit', bs, True), [5]) for bs in (512, 1024)},
    **{f'fit_fast, tuned, bs={bs}': ('course', ours('fit_fast', bs, True), [5]) for bs in (256, 512, 1024, 2048)},
    'Surprise SVD': ('peers', surprise('SVD'), [10, 20, 40]),
    'Surprise SVD++': ('peers', surprise('SVDpp'), [10, 20]),
    'Surprise KNNBaseline': ('peers', surprise('KNNBaseline', epochs=False, verbose=False), [1]),
    'cornac MF': ('peers', cornac(), [10, 20, 40]),
    'cornac MF, 50 factors': ('peers', cornac(k=50), [10, 20, 40]),
    'myFM': ('peers', myfm(), [10, 20, 50, 100]),
    'myFM, with columns': ('peers', myfm(columns=True), [10, 100]),
    'lenskit BiasedMF': ('lenskit', lenskit, [5, 10, 20]),
    'implicit ALS': ('peers', implicit, [15])}

def peak_memory():
    "The most memory that this process has had, in MB (Linux only)"
    return int(re.search(r'VmHWM:\s+(\d+)', Path('/proc/self/status').read_text())[1])*1024/1e6

def main(method, budget, file):
    "Train, predict, and print the numbers"
    if METHODS[method][0] == 'course':
        import torch
        from fastai.basics import default_device
        torch.set_num_threads(1)
        default_device(False)
    fit, data = METHODS[method][1](), np.load(file)
    fit(data['train'][:2000], 1) # what a library does only once, such as importing its own parts
    before = peak_memory()
    start, computing = time.perf_counter(), time.process_time()
    predict = fit(data['train'], int(budget))
    took = dict(seconds=time.perf_counter() - start, computing=time.process_time() - computing)
    error = predict(data['test']) - data['test'][:,2]
    print(json.dumps(took | dict(rmse=float(np.sqrt((error**2).mean())), mb=peak_memory(), imports_mb=before)))

if __name__ == '__main__': main(*sys.argv[1:])
