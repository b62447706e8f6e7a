"What a model has learned is labeled with names, and tables are compared by names, not by position"
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.basics import set_seed
from fastai.collab import CollabDataLoaders, collab_learner

from collab_course.bootstrapping import fold_in, predict_rows
from collab_course.collab_nn import CollabNN
from collab_course.training import fit, predict
from collab_course.dot_product_bias import DotProduct, DotProductBias, DotProductBiasRaw
from collab_course.named_models import NamedModel
from collab_course.interpretation import (
    consensus, neighbors, similar_items, similarities, tables, top_columns)
from collab_course.loader import collab_dls
from collab_course.many_models import fit_many
from collab_course.subspaces import chance_level, cka, subspace_match

pytestmark = [pytest.mark.filterwarnings(f'ignore:{o}') for o in # fastai's own
              ('The given NumPy array is not writable', 'Constructing a Categorical')]


def some_ratings(n=3000, n_users=60, n_items=40):
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, n_users, n), rng.integers(0, n_items, n)
    liking = 3 + .7*rng.normal(size=n_users)[users] + .7*rng.normal(size=n_items)[items]
    stars = np.clip(np.round(liking + .5*rng.normal(size=n)), 1, 5).astype(int)
    table = pd.DataFrame({'user': users + 1, 'title': [f'film {i:02d}' for i in items], 'rating': stars})
    return table.drop_duplicates(['user', 'title']).reset_index(drop=True)


RATINGS = some_ratings()
DLS = collab_dls(RATINGS, seed=0)


def by_fastai():
    learn = collab_learner(DLS, n_factors=3, y_range=(.5, 5.5))
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(1, 1e-2, wd=.1)
    return learn

def all_by_fastai():
    learn = collab_learner(CollabDataLoaders.from_df(RATINGS, seed=0, bs=512), n_factors=3, y_range=(.5, 5.5))
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(1, 1e-2, wd=.1)
    return learn

MODELS = {
    'DotProductBias': lambda: fit(DLS, DotProductBias.from_dls(DLS, 3), 1),
    'without limits': lambda: fit(DLS, DotProductBias.from_dls(DLS, 3, y_range=None), 1),
    'DotProduct': lambda: fit(DLS, DotProduct.from_dls(DLS, 3), 1),
    'DotProductBiasRaw': lambda: fit(DLS, DotProductBiasRaw.from_dls(DLS, 3), 1),
    'one of many': lambda: NamedModel.from_dls(fit_many(DLS, [0, .4], n_factors=3, epochs=1)[0][1], DLS),
    'EmbeddingDotBias': by_fastai,
    "fastai's loaders": all_by_fastai}


@pytest.fixture(scope='module', params=MODELS)
def learn(request):
    set_seed(0)
    return MODELS[request.param]()


@pytest.fixture(scope='module')
def trained():
    set_seed(0)
    return fit(DLS, DotProductBias.from_dls(DLS, 4), 20, lr=.05, wd=.1)


# --- tables

def test_tables_hold_all_that_a_prediction_needs(learn):
    users, items = tables(learn)
    assert users.index.name == 'user' and items.index.name == 'title'
    assert list(users) == list(items) == ['bias', 0, 1, 2]
    assert list(users.index) == list(learn.dls.classes['user'])[1:]
    u, i = users.loc[users.index[7]], items.loc[items.index[11]]
    raw = u['bias'] + i['bias'] + u.drop('bias') @ i.drop('bias')
    y_range = learn.model.y_range
    if y_range is not None:
        raw = y_range[0] + (y_range[1] - y_range[0])/(1 + np.exp(-raw))
    assert raw == pytest.approx(predict(learn, u.name, i.name).item(), abs=1e-4)

def test_tables_are_copies(trained):
    before = predict(trained, 1, 'film 00').item()
    for table in tables(trained):
        table[:] = 9.
    assert predict(trained, 1, 'film 00').item() == before

def test_no_tables_no_nonsense(trained):
    net = fit(DLS, CollabNN.from_dls(DLS, 3), 1)
    for f in (tables, lambda learn: similar_items(learn, 'film 00')):
        with pytest.raises(ValueError, match='CollabNN has no dot product'):
            f(net)
        with pytest.raises(ValueError, match='names'):
            f(trained.model)
        with pytest.raises(ValueError, match='no dot product'):
            f(None)


# --- similarities

@pytest.mark.parametrize('how', ['dot', 'cosine', 'euclid'])
def test_similar_items_are_the_neighbors(learn, how):
    _, items = tables(learn)
    near, sims = neighbors(items, 5, how), similarities(items, how)
    for name in items.index[[0, 9]]:
        alike = similar_items(learn, name, 5, how)
        assert list(alike.index) == list(near.loc[name]) and alike.index.name == 'title'
        assert alike.to_numpy() == pytest.approx(sims.loc[name, alike.index].to_numpy(), abs=1e-6)
        assert name not in alike.index and alike.is_monotonic_decreasing

def test_the_bias_makes_nothing_alike(trained):
    _, items = tables(trained)
    for f in (similarities, neighbors):
        pd.testing.assert_frame_equal(f(items), f(items.drop(columns='bias')))
        pd.testing.assert_frame_equal(f(items.assign(bias=9.)), f(items))

def test_similarities_keep_the_names(trained):
    _, items = tables(trained)
    sims = similarities(items)
    assert sims.index.equals(items.index) and sims.columns.equals(items.index)
    other = similarities(items[::-1])
    pd.testing.assert_frame_equal(other.loc[items.index, items.index], sims)

@pytest.mark.parametrize('index', [[3, 1, 2, 7], list('abcd'), pd.Index(list('abcd'), dtype='string'),
                                   pd.MultiIndex.from_product([[1, 2], ['x', 'y']])])
def test_neighbors_of_any_names(index):
    points = pd.DataFrame([[1., 0], [3, 2], [.3, 0], [1, .5]], index=index)
    near = neighbors(points, 3, 'euclid')
    assert near.shape == (4, 3) and near.iloc[0, 0] == points.index[3]
    assert all(set(row) == set(points.index) - {name} for name, row in zip(near.index, near.to_numpy()))

def test_neighbors_of_an_array():
    assert neighbors(np.array([[1., 0], [0, 1], [1, .1]]), 1)[1].tolist() == [2, 2, 0]
    assert neighbors(torch.tensor([[1., 0], [0, 1], [1, .1]]), 1)[1].tolist() == [2, 2, 0]

def test_ties_come_in_the_order_of_the_rows():
    same = pd.DataFrame(np.ones((30, 2)), index=range(30))
    assert neighbors(same, 29).loc[15].tolist() == [k for k in range(30) if k != 15]

@pytest.mark.parametrize('n', [0, -1, 4, 5, 10**6, 1.5, 'all', None])
def test_as_many_neighbors_as_there_are(n):
    points = pd.DataFrame(np.eye(4))
    with pytest.raises(ValueError, match='4 rows have 1 to 3 neighbors each, not'):
        neighbors(points, n)

def test_whole_numbers_of_any_kind(trained):
    _, items = tables(trained)
    for n in (np.int64(3), 3.0):
        assert neighbors(items, n).shape == (len(items), 3)
        assert len(similar_items(trained, 'film 00', n)) == 3

def test_similar_items_asked_wrongly(trained):
    for item, says in (('Film 01', "did you mean 'film 01'"), (3, 'names look like'), (None, 'knows no title'),
                       (True, 'knows no title'), (['film 01', 'film 02'], 'knows no title'), ('#na#', 'knows no title')):
        with pytest.raises(ValueError, match=says):
            similar_items(trained, item)
    for n in (0, -3):
        with pytest.raises(ValueError, match='n must be at least 1'):
            similar_items(trained, 'film 01', n)
    with pytest.raises(ValueError, match="'taste'"):
        similar_items(trained, 'film 01', how='taste')
    assert len(similar_items(trained, 'film 01', 10**6)) == len(tables(trained)[1]) - 1

@pytest.mark.parametrize('f', [similarities, neighbors, lambda x: cka(x, x), lambda x: subspace_match(x, x),
                               lambda x: chance_level(x, x, n=2)])
def test_bad_tables_get_a_sentence(f):
    for bad in (pd.DataFrame([['a'], ['b']]), pd.DataFrame([[1, np.nan], [2, 3]]), pd.DataFrame(), None,
                pd.DataFrame({0: pd.array([1, None], dtype='Int64')}), [[np.inf], [1]], np.zeros((2, 2, 2))):
        with pytest.raises(ValueError, match='The table must'):
            f(bad)


# --- tables compared by their names

@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    names = [f'film {n}' for n in rng.permutation(50)]
    first = pd.DataFrame(rng.normal(size=(50, 4)), index=names)
    return first, first @ rng.normal(size=(4, 3)) + .1*rng.normal(size=(50, 3))

MEASURES = [cka, subspace_match, lambda x, y: chance_level(x, y, n=20)]

@pytest.mark.parametrize('f', MEASURES)
def test_another_order_of_the_rows_changes_nothing(pair, f):
    x, y = pair
    for other in (y[::-1], y.sample(frac=1, random_state=0)):
        assert f(x, other) == pytest.approx(f(x, y), abs=1e-12)
        assert f(x[::-1], other) == pytest.approx(f(x[::-1], y), abs=1e-12)
    if f in MEASURES[:2]:
        assert f(x, y) > .5 and abs(f(x, y[::-1].to_numpy()) - f(x, y)) > .3

@pytest.mark.parametrize('f', MEASURES)
def test_other_rows_get_a_sentence(pair, f):
    x, y = pair
    twice = pd.concat([y, y.iloc[:1]])
    for other in (y.rename(index={'film 1': 'film 99'}), y.tail(9), y.set_axis(range(50)), twice, y.to_numpy()[:9]):
        with pytest.raises(ValueError, match='same rows'):
            f(x, other)

@pytest.mark.parametrize('f', MEASURES)
def test_arrays_go_by_their_places(pair, f):
    x, y = (t.to_numpy() for t in pair)
    assert f(x, y) == f(*pair) == f(torch.tensor(x), torch.tensor(y)) == f(pair[0], y)
    assert isinstance(f(x, y), float)

def test_names_that_occur_twice_are_fine_where_the_order_is_the_same(pair):
    x, y = (t.set_axis(['a']*50) for t in pair)
    assert cka(x, y) == cka(*pair)

def test_the_bias_is_left_out_of_the_comparison(trained):
    _, items = tables(trained)
    other = items.assign(bias=np.random.default_rng(0).normal(0, 99, len(items)))
    assert cka(items, other) == pytest.approx(1)
    assert subspace_match(items, other) == pytest.approx(1)

def test_columns_that_say_the_same_twice_are_no_other_space(pair):
    x, y = pair
    assert subspace_match(x.assign(copy=x[0]), y) == pytest.approx(subspace_match(x, y))
    assert subspace_match(x.assign(constant=3.), x[[3, 2, 1, 0]].assign(more=x[1] + x[2])) == pytest.approx(1)
    assert subspace_match(x[0], x[0]) == pytest.approx(1) == cka(x[0], x[0])

def test_rows_that_are_all_the_same_get_a_sentence():
    for f in (cka, subspace_match):
        with pytest.raises(ValueError, match='are the same'):
            f(np.ones((9, 2)), np.eye(9))

def test_a_constant_column_correlates_with_nothing(pair):
    x, y = pair
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert chance_level(x.assign(constant=1.), y, n=50) == pytest.approx(chance_level(x, y, n=50))
    with pytest.raises(ValueError, match='n must be'):
        chance_level(x, y, n=0)


# --- consensus

def test_consensus_is_what_all_give_on_average(trained):
    users, items = tables(trained)
    raw = users.drop(columns='bias') @ items.drop(columns='bias').T + items['bias']
    pd.testing.assert_series_equal(consensus(users, items), raw.mean(), check_names=False, rtol=1e-4)
    moved = users.drop(columns='bias') + 1
    moved.insert(0, 'bias', users['bias'])
    others = items.assign(bias=items['bias'] - items.drop(columns='bias').sum(axis=1))
    assert consensus(moved, others).to_numpy() == pytest.approx(consensus(users, items).to_numpy(), abs=1e-5)

def test_consensus_goes_by_labels(trained):
    users, items = tables(trained)
    turned = consensus(users[users.columns[::-1]], items[::-1])
    pd.testing.assert_series_equal(turned[items.index], consensus(users, items))
    for wrong in ((users.drop(columns='bias'), items), (users, items.drop(columns=0)), (users.to_numpy(), items)):
        with pytest.raises(ValueError, match='tables that'):
            consensus(*wrong)


# --- answers of new users, by names

def test_answers_in_another_order_say_the_same(trained):
    _, items = tables(trained)
    answers = RATINGS[RATINGS['user'] <= 9].pivot(index='user', columns='title', values='rating')
    answers = answers.reindex(columns=items.index)
    rows = fold_in(trained, answers)
    error = (predict_rows(trained, rows) - answers)**2
    for other in (answers[answers.columns[::-1]], answers.sample(frac=1, axis=1, random_state=0)):
        np.testing.assert_allclose(fold_in(trained, other), rows, atol=1e-6)
    wrong = fold_in(trained, answers.set_axis(answers.columns[::-1], axis=1))
    assert np.nanmean((predict_rows(trained, wrong) - answers)**2) > np.nanmean(error) + .2


@pytest.mark.parametrize('n_columns', [1, 7, 64, 999])
def test_top_columns_are_those_of_a_stable_sort(n_columns):
    rng = np.random.default_rng(n_columns)
    for values in (rng.normal(size=(20, n_columns)), rng.integers(0, 4, (20, n_columns)).astype(np.float32)):
        values[3] = 0
        values[4, 1:] = -np.inf
        right = np.argsort(-values, axis=1, kind='stable')
        for n in sorted({1, min(10, n_columns), n_columns}): np.testing.assert_array_equal(top_columns(values, n), right[:,:n])
