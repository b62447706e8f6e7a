"Train the book's models at the book's settings on several seeds, write nbs/reproduction.csv, and compare with the book's numbers"
import argparse, warnings
from functools import partial
from pathlib import Path
import pandas as pd
from fastai.basics import set_seed
from fastai.collab import EmbeddingDotBias, EmbeddingNN
from fastai.tabular.model import emb_sz_rule
from collab_course.collab_nn import CollabNN
from collab_course.training import baseline_mse, fit, losses
from collab_course.dot_product_bias import DotProduct, DotProductBias, DotProductBiasRaw
from collab_course.loader import collab_dls, table_sizes
from collab_course.movielens import get_movielens

warnings.filterwarnings('ignore', message='The given NumPy array is not writable')
Y_RANGE = (0, 5.5) # the book's
OUT = Path(__file__).parents[2]/'nbs'/'reproduction.csv'

def wide_start(n_users, n_items):
    "A `DotProduct` that starts from factors ten times as large"
    model = DotProduct(n_users, n_items)
    for p in model.parameters(): p.data *= 10
    return model

def collab_nn(n_users, n_items):
    "A `CollabNN` with the widths that fastai recommends"
    return CollabNN(n_users, n_items, (emb_sz_rule(n_users), emb_sz_rule(n_items)), Y_RANGE)

def embedding_nn(n_users, n_items):
    "fastai's net with two hidden layers"
    sizes = [(n, emb_sz_rule(n)) for n in (n_users, n_items)]
    return EmbeddingNN(sizes, [100,50], y_range=Y_RANGE)

def embedding_dot_bias(n_users, n_items):
    "fastai's dot product"
    return EmbeddingDotBias(50, n_users, n_items, y_range=Y_RANGE)

models = { # name: (what the book reports, model from the two table sizes, weight decay)
    'DotProduct': (0.884, DotProduct, 0.01),
    'DotProduct, started at σ=0.1': (None, wide_start, 0.01),
    'DotProduct, 0 to 5.5': (0.878, partial(DotProduct, y_range=Y_RANGE), 0.01),
    'DotProductBias': (0.893, partial(DotProductBias, y_range=Y_RANGE), 0.01),
    'DotProductBias, wd=0.1': (0.823, partial(DotProductBias, y_range=Y_RANGE), 0.1),
    'DotProductBias from raw parameters, wd=0.1': (
        0.824, partial(DotProductBiasRaw, y_range=Y_RANGE), 0.1),
    'collab_learner': (0.822, embedding_dot_bias, 0.1),
    'CollabNN': (0.867, collab_nn, 0.01),
    'EmbeddingNN [100, 50]': (0.865, embedding_nn, 0.1),
}

def runs(ratings, seed):
    "One row for each baseline and model on the split of `seed`"
    dls = collab_dls(ratings, seed=seed, bs=64)
    for name,mse in baseline_mse(dls).items():
        yield name, None, seed, None, mse
    for name,(book,make,wd) in models.items():
        set_seed(seed)
        last = losses(fit(dls, make(*table_sizes(dls)), lr=5e-3, wd=wd)).iloc[-1]
        yield name, book, seed, last['train'], last['valid']

def main():
    "Run from the command line"
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--seeds', type=int, nargs='+', default=[42, 0, 1, 2, 3])
    p.add_argument('--out', type=Path, default=OUT)
    a = p.parse_args()
    data = get_movielens()
    print(data)
    rows = [r for seed in a.seeds for r in runs(data.ratings, seed)]
    df = pd.DataFrame(rows, columns=['model','book','seed','train','valid']).round(4)
    df.to_csv(a.out, index=False)
    print(df.groupby(['model','book'], sort=False, dropna=False)['valid'].agg(['mean','min','max','count']).round(3).to_string())

if __name__ == '__main__': main()
