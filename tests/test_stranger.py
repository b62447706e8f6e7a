"The code of someone who has only read the README, for every model, on ratings of every kind"
import inspect, warnings

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.collab import CollabDataLoaders, collab_learner

from collab_course.all import *
from collab_course import all as everything
from collab_course.loader import ratings_range

pytestmark = [pytest.mark.filterwarnings(f'ignore:{o}') for o in  # fastai's own
              ('The given NumPy array is not writable', 'Constructing a Categorical')]

PROGRAM = '''
from collab_course.all import *
ratings = pd.read_csv('ratings.csv').merge(pd.read_csv('movies.csv'))
dls   = collab_dls(ratings, user_name='userId', item_name='title', rating_name='rating', seed=42)
learn = fit(dls, DotProductBias.from_dls(dls))
both  = losses(learn), baseline_mse(dls)
known = recommend(learn, user=42)
new   = recommend(learn, answers=answers)
alike = similar_items(learn, title)
users, items = tables(learn)
save_model(learn, 'm.safetensors'); model = load_model('m.safetensors')
again = recommend(model, user=42, ratings=ratings)
'''


def test_the_program_as_it_is_written(tmp_path, monkeypatch):
    data = get_movielens()
    columns = {'user': 'userId', 'movie': 'movieId'}
    ratings = data.ratings.rename(columns=columns)
    ratings[['userId', 'movieId', 'rating', 'timestamp']].to_csv(tmp_path/'ratings.csv', index=False)
    data.movies.rename(columns=columns)[['movieId', 'title']].to_csv(tmp_path/'movies.csv', index=False)
    monkeypatch.chdir(tmp_path)
    liked, disliked = rating_counts(ratings, 'title').index[:2]
    found = {'answers': {liked: 5, disliked: 2}, 'title': liked}
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        warnings.filterwarnings('ignore', message='The given NumPy array is not writable')
        set_seed(42)
        exec(PROGRAM, found)
    losses, baselines = found['both']
    assert losses['valid'].iloc[-1] < baselines.min() - .03
    seen = set(ratings.loc[ratings['userId'] == 42, 'title'])
    titles = set(ratings['title'])
    for best in (found['known'], found['new'], found['again']):
        assert len(best) == 10 and best.is_monotonic_decreasing and set(best.index) <= titles
        assert best.between(.5, 5.5).all()
    assert not seen & set(found['known'].index)
    assert not {liked, disliked} & set(found['new'].index)
    same(found['known'], found['again'])
    assert len(found['alike']) == 10 and liked not in found['alike'].index
    assert found['users'].index.name == 'userId' and found['items'].index.name == 'title'


# --- ratings of every kind

def likings(n_users=50, n_items=40, seed=0):
    "Users, items and a number around 0 for more than half of all pairs"
    rng = np.random.default_rng(seed)
    taste = rng.normal(size=(n_users, 2)) @ rng.normal(size=(n_items, 2)).T
    like = taste + rng.normal(size=(n_users, 1)) + rng.normal(size=n_items)
    user, item = np.nonzero(rng.random((n_users, n_items)) < .6)
    return user + 1, item + 101, (like/like.std())[user, item]


SCALES = {
    'stars': lambda x: np.clip(np.round(3 + x), 1, 5).astype(int),
    '1 to 10': lambda x: np.clip(np.round(5.5 + 2*x), 1, 10).astype(int),
    'half stars': lambda x: np.clip(np.round(2*(3 + x))/2, .5, 5),
    '-10 to 10': lambda x: np.clip(4*x, -10, 10),
    'counts': lambda x: np.maximum(1, np.round(10 + 4*x)).astype(int),
}
KINDS = {
    'int': 'int64', 'text': 'str', 'object': object, 'category': 'category', 'nullable': 'Int64',
    'string': 'string', 'int32': 'int32',
    'arrow text': 'string[pyarrow]', 'arrow int': 'int64[pyarrow]',
}
STARTED = dict(bs=64, seed=0)


def ratings_of(scale='stars', kind='int'):
    user, item, like = likings()
    table = pd.DataFrame({'who': user, 'what': item, 'score': SCALES[scale](like)})
    if kind in ('text', 'string', 'arrow text', 'category', 'object'):
        table['what'] = 'item ' + table['what'].astype(str)
    if 'arrow' in kind:
        pytest.importorskip('pyarrow')
    wanted = KINDS[kind]
    if kind in ('nullable', 'arrow int', 'int32'):
        return table.astype({'who': wanted, 'what': wanted})
    return table.astype({'who': 'str' if 'text' in kind else 'int64', 'what': wanted})


def many(dls): return NamedModel.from_dls(fit_many(dls, [0, .1], epochs=8)[0][1], dls)
def fastais(dls, **kwargs):
    learn = collab_learner(dls, n_factors=8, y_range=dls.y_range, **kwargs)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(8, 2e-2, wd=.1)
    return learn
def ours(make): return lambda dls: fit(dls, make.from_dls(dls, n_factors=8), 8, lr=2e-2, wd=.1)
def by_als(dls):
    return als(dls.ratings.pivot_table(index='who', columns='what', values='score'), 4).named()
def from_file(dls, folder):
    save_model(ours(DotProductBias)(dls), folder/'model.safetensors')
    return load_model(folder/'model.safetensors')


DOTS = {'DotProduct': ours(DotProduct), 'DotProductBias': ours(DotProductBias),
        'DotProductBiasRaw': ours(DotProductBiasRaw), "fastai's": fastais, 'many': many, 'als': by_als,
        'file': from_file}
NETS = {'CollabNN': ours(CollabNN), "fastai's net": lambda dls: fastais(dls, use_nn=True, layers=[20])}


def trained(name, ratings, folder):
    dls = collab_dls(ratings, **STARTED)
    set_seed(0)
    make = (DOTS | NETS)[name]
    return make(dls, folder) if make is from_file else make(dls)


def same(a, b):
    "The same items with the same predictions; nearly equal ones may change places"
    pd.testing.assert_series_equal(a.sort_index(), b.sort_index(), rtol=1e-4, check_index_type=False)


def walk(learn, ratings, folder):
    "Do everything that a model with a dot product can do, and return its predictions for the rated pairs"
    user, item = ratings['who'].iloc[0], ratings['what'].iloc[0]
    mine = ratings.loc[ratings['who'] == user, 'what']
    left = ratings['what'].nunique() - mine.nunique()
    best = recommend(learn, user=user, ratings=ratings, n=999)
    assert len(best) == left and not set(best.index) & set(mine)
    new = recommend(learn, answers={item: ratings['score'].max()}, n=999)
    assert len(new) == len(best) + mine.nunique() - 1 and item not in new.index
    alike = similar_items(learn, item, n=5)
    assert len(alike) == 5 and item not in alike.index and alike.is_monotonic_decreasing
    users, items = tables(learn)
    assert set(users.index) == set(ratings['who']) and set(items.index) == set(ratings['what'])
    assert list(users.columns) == list(items.columns) == ['bias', *range(len(users.columns) - 1)]
    save_model(learn, folder/'again.safetensors')
    back = load_model(folder/'again.safetensors')
    same(recommend(back, user=user, ratings=ratings, n=999), best)
    same(recommend(back, answers={item: ratings['score'].max()}, n=999), new)
    return predict(learn, ratings['who'], ratings['what'])


@pytest.mark.parametrize('scale', SCALES)
@pytest.mark.parametrize('name', DOTS)
def test_every_dot_product_on_every_scale(name, scale, tmp_path):
    ratings = ratings_of(scale)
    preds = walk(trained(name, ratings, tmp_path), ratings, tmp_path)
    targets = ratings['score'].to_numpy(float)
    error = ((preds.to_numpy() - targets)**2).mean()
    assert error < .9*targets.var(), 'it has learned something'


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('name', ['DotProductBias', "fastai's", 'file'])
def test_every_kind_of_column(name, kind, tmp_path):
    ratings = ratings_of(kind=kind)
    preds = walk(trained(name, ratings, tmp_path), ratings, tmp_path)
    plain = ratings_of()
    usual = walk(trained(name, plain, tmp_path), plain, tmp_path)
    if kind in ('int32', 'nullable', 'arrow int', 'object', 'category', 'string'):  # the same order of users
        np.testing.assert_allclose(preds.to_numpy(), usual.to_numpy(), atol=1e-4)


@pytest.mark.parametrize('scale', ['stars', '-10 to 10'])
@pytest.mark.parametrize('name', NETS)
def test_a_net_says_what_it_cannot_do(name, scale, tmp_path):
    ratings = ratings_of(scale)
    learn = trained(name, ratings, tmp_path)
    user, item = ratings['who'].iloc[0], ratings['what'].iloc[0]
    mine = set(ratings.loc[ratings['who'] == user, 'what'])
    best = recommend(learn, user=user, n=999)
    assert len(best) and not mine & set(best.index)
    for impossible in (lambda: tables(learn), lambda: similar_items(learn, item),
                       lambda: recommend(learn, answers={item: 1}), lambda: fold_in(learn, {item: 1})):
        with pytest.raises(ValueError, match='has no dot product') as e:
            impossible()
        assert '\n' not in str(e.value)


def test_fastais_own_loaders_will_do():
    ratings = ratings_of()
    dls = CollabDataLoaders.from_df(ratings, seed=0, bs=64)
    assert ratings_range(dls) == (.5, 5.5)
    learn = collab_learner(dls, n_factors=4, y_range=ratings_range(dls))
    mine = set(ratings.loc[ratings['who'] == 3, 'what'])
    assert len(mine) and not mine & set(recommend(learn, user=3, n=999).index)
    assert baseline_mse(dls)['item + user'] < baseline_mse(dls)['mean']
    assert len(losses(fit(dls, DotProductBias.from_dls(dls)))) == 5


# --- the public names

def test_what_there_is_to_import_is_little_and_documented():
    names = everything.__all__
    assert len(names) == len(set(names)) <= 33
    for name in names:
        found = getattr(everything, name)
        if getattr(found, '__module__', '').startswith('collab_course'):
            assert (inspect.getdoc(found) or '').strip(), name
