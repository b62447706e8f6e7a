"The book's models at the book's settings, over several seeds; writes nbs/reproduction.csv and prints it beside the book's numbers"
import argparse, warnings
from functools import partial
from pathlib import Path
import pandas as pd
from fastai.basics import set_seed
from fastai.collab import EmbeddingDotBias, EmbeddingNN
from fastai.tabular.model import emb_sz_rule
from collab_course.collab_nn import CollabNN
from collab_course.dot_product_bias import DotProduct, DotProductBias, DotProductBiasRaw, fit, losses, naive_mse
from collab_course.loader import collab_dls, table_sizes
from collab_course.movielens import get_movielens

warnings.filterwarnings('ignore', message='The given NumPy array is not writable')
OUT = Path(__file__).parents[2]/'nbs'/'reproduction.csv'

def wide_start(n_users, n_items):
    "A `DotProduct` that starts from factors ten times as large"
    model = DotProduct(n_users, n_items, 50)
    for p in model.parameters(): p.data *= 10
    return model

def widths(*sizes): return [(n, emb_sz_rule(n)) for n in sizes]

models = { # name: (what the book reports, model from the two table sizes, weight decay)
    'DotProduct': (0.884, partial(DotProduct, n_factors=50), None),
    'DotProduct, started at σ=0.1': (None, wide_start, None),
    'DotProduct, 0 to 5.5': (0.878, partial(DotProduct, n_factors=50, y_range=(0,5.5)), None),
    'DotProductBias': (0.893, partial(DotProductBias, n_factors=50), None),
    'DotProductBias, wd=0.1': (0.823, partial(DotProductBias, n_factors=50), 0.1),
    'DotProductBias from raw parameters, wd=0.1': (0.824, partial(DotProductBiasRaw, n_factors=50), 0.1),
    'collab_learner': (0.822, lambda u,i: EmbeddingDotBias(50, u, i, y_range=(0,5.5)), 0.1),
    'CollabNN': (0.867, lambda u,i: CollabNN(*widths(u, i)), 0.01),
    'EmbeddingNN [100, 50]': (0.865, lambda u,i: EmbeddingNN(widths(u, i), [100,50], y_range=(0,5.5)), 0.1),
}

def train_and_valid(dls, ratings): return [ratings.loc[s.items.index] for s in (dls.train.dataset, dls.valid.dataset)]

def runs(ratings, seed):
    "One row for each model and naive rule on the split of `seed`"
    dls = collab_dls(ratings, item_name='title', seed=seed)
    for name,mse in naive_mse(*train_and_valid(dls, ratings)).items(): yield name, None, seed, None, mse
    for name,(book,make,wd) in models.items():
        set_seed(seed)
        last = losses(fit(dls, make(*table_sizes(dls)), wd=wd)).iloc[-1]
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
