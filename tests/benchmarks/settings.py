"""Find the learning rate and the weight decay that suit each batch size, and write nbs/side/speed_settings.csv

The choice is made for each of the splits u1 to u5 by itself, from its training file alone: a tenth of the file is held out, twice. All decays are trained side
by side with `fit_many`."""
import argparse, itertools, warnings
from pathlib import Path
import pandas as pd, torch
from collab_course.loader import collab_dls
from collab_course.many_models import fit_many
from collab_course.movielens import get_movielens

warnings.filterwarnings('ignore', message='The given NumPy array is not writable')
FILE = Path(__file__).resolve().parents[2]/'nbs'/'side'/'speed_settings.csv'
SIZES = 256, 512, 1024, 2048
RATES = .5, .7, 1. # times 0.01 at a batch size of 512, and in proportion to its square root
DECAYS = .2, .3, .4, .5, .6
SPLITS, FOLDS = ('u1', 'u2', 'u3', 'u4', 'u5'), (0, 1)

def rate(factor, bs):
    "A learning rate, rounded to two digits"
    return float(f'{.01*factor*(bs/512)**.5:.2g}')

def errors(train, fold, bs, lr):
    "MSE of each decay after five epochs, on the tenth of `train` that belongs to `fold`"
    torch.manual_seed(fold)
    dls = collab_dls(train, 'user', 'movie', 'rating', seed=fold, valid_pct=.1, bs=bs)
    _, history = fit_many(dls, DECAYS, lr=lr, y_range=(0, 5.5))
    return history[-1,1]

def tune(sizes):
    "A row for each split, batch size, learning rate and decay, with the mean of the errors"
    data = get_movielens()
    for bs, split, factor in itertools.product(sizes, SPLITS, RATES):
        train, lr = data.split(split)[0], rate(factor, bs)
        found = sum(errors(train, fold, bs, lr) for fold in FOLDS)/len(FOLDS)
        print(split, bs, lr, found.numpy().round(4), flush=True)
        yield from (dict(split=split, bs=bs, lr=lr, wd=wd, mse=mse) for wd, mse in zip(DECAYS, found.tolist()))

def main():
    "Run from the command line"
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--sizes', type=int, nargs='+', default=SIZES)
    a = p.parse_args()
    torch.set_num_threads(1)
    table = pd.DataFrame(tune(a.sizes)).round({'mse': 5})
    best = table.loc[table.groupby(['bs', 'split'])['mse'].idxmin()].reset_index(drop=True)
    FILE.write_text(best.to_csv(index=False))
    print(best.to_string())

if __name__ == '__main__': main()
