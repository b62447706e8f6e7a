"Time the training of the book's model in turns: with fastai's loader (without replacement), with `collab_dls`, and with `fit_many` and `fit_fast`"
import argparse, statistics as st, time, warnings
import torch
from fastai.basics import Learner, MSELossFlat, set_seed
from fastai.collab import CollabDataLoaders
from fastai.tabular.all import TabDataLoader
from collab_course.training import losses, mse
from collab_course.dot_product_bias import DotProductBias
from collab_course.loader import collab_dls, table_sizes
from collab_course.many_models import fit_many
from collab_course.movielens import get_movielens
from collab_course.speed import fit_fast

warnings.filterwarnings('ignore', message='The given NumPy array is not writable')

def stock(ratings, seed, bs):
    return CollabDataLoaders.from_df(
        ratings, item_name='title', seed=seed, bs=bs, dl_type=TabDataLoader)

def ours(ratings, seed, bs): return collab_dls(ratings, seed=seed, bs=bs)

variants = { # name: (loaders, batch size, learning rate, weight decay, loss)
    'fastai, bs=64':                  (stock, 64, 5e-3, .1, MSELossFlat()),
    'ours, bs=64, loss of fastai':    (ours,  64, 5e-3, .1, MSELossFlat()),
    'ours, bs=64':                    (ours,  64, 5e-3, .1, mse),
    'ours, bs=256, loss of fastai':   (ours, 256, 7e-3, .3, MSELossFlat()),
    'ours, bs=256':                   (ours, 256, 7e-3, .3, mse),
    'ours, bs=512':                   (ours, 512, 1e-2, .4, mse),
}

def train(dls, seed, epochs, lr, wd, loss):
    "Seconds that `fit_one_cycle` takes, and the valid MSE it ends with"
    set_seed(seed)
    learn = Learner(dls, DotProductBias(*table_sizes(dls), y_range=(0,5.5)), loss_func=loss)
    with learn.no_bar(), learn.no_logging():
        start = time.perf_counter()
        learn.fit_one_cycle(epochs, lr, wd=wd)
    return time.perf_counter()-start, losses(learn)['valid'].iloc[-1]

def train_many(dls, seed, epochs, lr, wd):
    "The same with `fit_many`"
    set_seed(seed)
    start = time.perf_counter()
    _, errors = fit_many(dls, wd, epochs=epochs, lr=lr, y_range=(0,5.5))
    return time.perf_counter()-start, errors[-1,1].item()

def train_fast(dls, seed, epochs, lr, wd):
    "The same with `fit_fast`"
    set_seed(seed)
    model = DotProductBias(*table_sizes(dls), y_range=(0,5.5))
    start = time.perf_counter()
    fit_fast(dls, model, epochs, lr, wd)
    took = time.perf_counter()-start
    with torch.no_grad(): errors = [((model(x) - y)**2).flatten() for x, y in dls.valid]
    return took, torch.cat(errors).mean().item()

loops = { # name: (function, batch size, learning rate, weight decay)
    'fit_many, bs=256': (train_many, 256, 7e-3, .3),
    'fit_many, bs=512': (train_many, 512, 1e-2, .4),
    'fit_fast, bs=256': (train_fast, 256, 7e-3, .3),
    'fit_fast, bs=512': (train_fast, 512, 1e-2, .4),
}

def main():
    "Run from the command line"
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--epochs', type=int, default=5)
    p.add_argument('--seeds', type=int, nargs='+', default=[42, 0, 1], help='every variant runs once for each')
    p.add_argument('--threads', type=int, default=1, help='of torch')
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    data = get_movielens()
    runs = {name: [] for name in (*variants, *loops)}
    for seed in a.seeds:
        for name,(make,bs,*how) in variants.items(): runs[name].append(train(make(data.ratings, seed, bs), seed, a.epochs, *how))
        for name,(how,bs,lr,wd) in loops.items(): runs[name].append(how(ours(data.ratings, seed, bs), seed, a.epochs, lr, wd))
    print(f'{data}; torch {torch.__version__}, {a.threads} thread(s), {a.epochs} epochs, seeds {a.seeds}')
    print(f"{'':30}{'median s':>9}  {'times as fast (min-max)':24}{'valid MSE (min-max)'}")
    base = [secs for secs,_ in runs['fastai, bs=64']]
    for name,rs in runs.items():
        secs, err = zip(*rs)
        faster = [b/s for b,s in zip(base, secs)]
        print(f'{name:30}{st.median(secs):9.1f}  {st.median(faster):5.1f} ({min(faster):.1f}-{max(faster):.1f}){"":9}{st.mean(err):.4f} ({min(err):.4f}-{max(err):.4f})')

if __name__ == '__main__': main()
