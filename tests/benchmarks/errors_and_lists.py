"""Train the models of ratings of chapters 04 to 12 on the stars of the training watches of nbs/further/13b_learning_from_watches.ipynb, and write
nbs/further/errors_and_lists.csv: the error of each model's predictions and the quality of its lists

Every model has the settings of its chapter, and its decay (or penalty) is chosen by the RMSE on the validation watches, on a grid of factors of two that is
made longer until its best value is inside, or 0. Then it is trained on training and validation watches, with five seeds, and evaluated on the test watches.
With names of models as arguments, only these are trained. Results are kept in build/errors_and_lists."""
import sys, warnings
from pathlib import Path
import numpy as np, pandas as pd, torch
from fastai.basics import default_device, set_seed
from scipy.sparse import csr_matrix
from collab_course.als import als
from collab_course.collab_nn import CollabNN
from collab_course.dot_product_bias import DotProduct, DotProductBias
from collab_course.evaluation import same_for_all
from collab_course.further import columns, cross_entropy
from collab_course.further.column_tools import fit_quickly, movielens_columns, pairs_in_order
from collab_course.further.ingredients import fit_logits, zeros_and_ones
from collab_course.further.positives import score_table
from collab_course.further.watching import best_unseen, list_metrics, split_watches
from collab_course.loader import collab_dls
from collab_course.movielens import get_movielens
from collab_course.named_models import NamedModel
from collab_course.training import fit, predict

warnings.filterwarnings('ignore', message='The given NumPy array is not writable')
ROOT = Path(__file__).resolve().parents[2]
FILE, KEPT = ROOT/'nbs'/'further'/'errors_and_lists.csv', ROOT/'build'/'errors_and_lists'
SEEDS = range(5)
GRID = .1, .2, .4, .8

def loaders(train, seed): return collab_dls(train, valid_pct=0, seed=seed, bs=1024, device='cpu')

def means(train, l2, seed, offset=False):
    "Item means, shrunk like `l2` more ratings at the mean; with `offset`, plus a shrunk mean of what the user gives above them"
    stars = train.pivot(index='user', columns='title', values='rating')
    mean = train['rating'].mean()
    items = mean + (stars - mean).sum()/(stars.notna().sum() + l2)
    users = (stars - items).sum(axis=1)/(stars.notna().sum(axis=1) + l2)
    dls = loaders(train, seed)
    learn = same_for_all(dls, items)
    if offset: learn.model.user_bias.weight.data[1:,0] = torch.tensor(users[list(dls.classes['user'])[1:]].to_numpy()).float()
    return learn

def net(kind, **kwargs):
    "A function that trains a model of ids"
    def train_it(train, wd, seed):
        dls = loaders(train, seed)
        set_seed(seed)
        model = kind.from_dls(dls, **kwargs)
        if kind is DotProduct: return fit(dls, model, wd=wd)
        return fit_quickly(model, dls, wd)
    return train_it

def logits(kind, **kwargs):
    "A function that trains a model of probabilities"
    def train_it(train, wd, seed):
        dls = loaders(train, seed)
        set_seed(seed)
        return cross_entropy.fit_distribution(dls, kind.from_dls(dls, **kwargs), wd=wd)
    return train_it

def with_columns(kind):
    "A function that trains a model of ids and columns"
    def train_it(train, wd, seed):
        users, items = movielens_columns(get_movielens())
        learn = net(kind, users=users, items=items)(train, wd, seed)
        return columns.collapse(learn) if isinstance(learn.model, columns.DotProductOfColumns) else learn
    return train_it

def star_logits(train, wd, seed):
    users, items = zeros_and_ones(get_movielens())
    items = items.join(get_movielens().movies.set_index('movie')['title']).drop_duplicates('title').set_index('title')
    return NamedModel(fit_logits(train, users, items, wd=wd, seed=seed), users.index, items.index)

def alternating(train, l2, seed):
    return als(train.pivot(index='user', columns='title', values='rating'), l2=l2, l2_bias=3, seed=seed).named()

MODELS = { # the name, the chapter, how to train it, a decay that isn't tuned, what to multiply the grid with
    'item means': ('04', means, 0, 1), 'item means, shrunk': ('05', means, None, 10),
    'item + user': ('04', lambda *args: means(*args, offset=True), 0, 1),
    'item + user, shrunk': ('05', lambda *args: means(*args, offset=True), None, 10),
    'DotProduct': ('04', net(DotProduct), None, 1), 'DotProductBias, no decay': ('04', net(DotProductBias), 0, 1),
    'DotProductBias': ('05', net(DotProductBias), None, 1), 'ALS': ('07', alternating, None, 30), 'CollabNN': ('08', net(CollabNN), None, 1),
    'five logits': ('11', logits(cross_entropy.SoftmaxRatings), None, 1), 'thresholds': ('11', logits(cross_entropy.OrdinalRatings), None, 1),
    'five logits, own shapes': ('11', logits(cross_entropy.SoftmaxRatings, shape=True), None, 1),
    'thresholds, own spreads': ('11', logits(cross_entropy.OrdinalRatings, shape=True), None, 1),
    'factorization machine': ('12', with_columns(columns.FactorizationMachine), None, 1),
    'net with columns': ('12', with_columns(columns.ColumnsNN), None, 1), 'wide and deep': ('12', with_columns(columns.WideAndDeep), None, 1),
    'two towers': ('12', with_columns(columns.TwoTowers), None, 1), 'columns and what was rated': ('10b', star_logits, None, 1)}

class Parts:
    "Ratings to learn from and to predict, and what was watched and liked"
    def __init__(self, known, held_out):
        data = get_movielens()
        split = split_watches(data.ratings)
        stars = data.ratings.sort_values('timestamp', kind='stable').drop_duplicates(['user', 'title'])
        stars = stars.set_index(['user', 'title'])['rating']
        def rated(parts):
            pairs = pd.concat([getattr(split, part) for part in parts])[['user', 'title']].reset_index(drop=True)
            return pairs.assign(rating=stars.reindex(pd.MultiIndex.from_frame(pairs)).to_numpy())
        self.users, self.items = split.users, split.items
        self.train, self.test = rated(known), rated(held_out)
        self.seen, self.watched = split.matrix(*known), split.matrix(*held_out)
        liked = self.test[self.test['rating'] >= 4]
        places = self.users.get_indexer(liked['user']), self.items.get_indexer(liked['title'])
        self.liked = csr_matrix((np.ones(len(liked)), places), shape=self.seen.shape)

    def errors(self, learn):
        "RMSE on the movies that have a training rating, and the share of each user's pairs in the right order"
        test = self.test[self.test['title'].isin(self.train['title'])]
        preds = predict(learn, test['user'], test['title']).to_numpy()
        pairs = pairs_in_order(test['user'], test['rating'], preds)
        return {'RMSE': ((preds - test['rating'])**2).mean()**.5, 'order': (pairs['right']/pairs['pairs']).mean()}

    def metrics(self, learn):
        scores = score_table(learn, self.users, self.items).to_numpy(copy=True)
        scores[:,np.asarray(self.seen.sum(axis=0)).ravel() == 0] = -np.inf # some models know movies that nobody has watched yet
        lists = best_unseen(scores, self.seen)
        watched, liked = (list_metrics(lists, relevant, self.seen) for relevant in (self.watched, self.liked))
        return {**self.errors(learn), 'watched': watched['nDCG'], 'liked': liked['nDCG'], 'novelty': watched['novelty'], 'coverage': watched['coverage']}

def tuned(train_it, parts, factor):
    "The decay with the lowest RMSE, inside its grid"
    grid, found = [factor*wd for wd in GRID], {}
    while True:
        for wd in grid:
            if wd not in found: found[wd] = parts.errors(train_it(parts.train, wd, 0))['RMSE']
        best = min(found, key=found.get)
        if best == grid[0] > 0: grid = [grid[0]/2 if grid[0] > .02*factor else 0, *grid]
        elif best == grid[-1]: grid = [*grid, grid[-1]*2]
        else: return best

def main(names):
    torch.set_num_threads(1)
    default_device(False)
    KEPT.mkdir(parents=True, exist_ok=True)
    tune, final = Parts(['train'], ['valid']), Parts(['train', 'valid'], ['test'])
    for name in names or MODELS:
        kept = KEPT/f'{name}.csv'
        if kept.exists(): continue
        chapter, train_it, wd, factor = MODELS[name]
        if wd is None: wd = tuned(train_it, tune, factor)
        rows = [{'model': name, 'chapter': chapter, 'decay': wd, 'seed': seed, **final.metrics(train_it(final.train, wd, seed))} for seed in SEEDS]
        pd.DataFrame(rows).to_csv(kept, index=False, float_format='%.5f')
        print(name, wd, pd.DataFrame(rows).iloc[:,4:].mean().round(4).to_dict(), flush=True)
    if all((KEPT/f'{name}.csv').exists() for name in MODELS):
        pd.concat([pd.read_csv(KEPT/f'{name}.csv', dtype={'chapter': str}) for name in MODELS]).to_csv(FILE, index=False)

if __name__ == '__main__':
    main(sys.argv[1:])
