"New users and similar items: what is rated is left out, labels are aligned, bad input gets a sentence"
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.basics import set_seed
from scipy.optimize import least_squares
from sklearn.linear_model import Ridge

from collab_course.bootstrapping import fold_in, mean_and_offset, predict_rows, recommend
from collab_course.dot_product_bias import DotProductBias
from collab_course.interpretation import neighbors, tables
from collab_course.loader import collab_dls
from collab_course.named_models import NamedModel, model_from_tables
from collab_course.new_users import ask_neighbors, line_up, most_telling
from collab_course.ridge import ridge_rows
from collab_course.subspaces import cka, subspace_match
from collab_course.training import fit, predict

pytestmark = [pytest.mark.filterwarnings('error'),
              *[pytest.mark.filterwarnings(f'ignore:{o}') for o in  # fastai's own
                ('The given NumPy array is not writable', 'Constructing a Categorical')]]
N_USERS, N_ITEMS = 60, 40


def ratings_of(kind='text', n=1500):
    "Ratings from 1 to 5 by users 1 to 60 of 40 items; users and items differ in a bias"
    rng = np.random.default_rng(0)
    pairs = rng.permutation(N_USERS*N_ITEMS)[:n]
    user, item = pairs//N_ITEMS, pairs % N_ITEMS
    like = 3 + .7*rng.normal(size=N_USERS)[user] + .7*rng.normal(size=N_ITEMS)[item] + .5*rng.normal(size=n)
    names = item + 100 if kind == 'int' else [f'film {k:02}' for k in item]
    stars = np.clip(np.round(like), 1, 5).astype(int)
    return pd.DataFrame({'user': user + 1, 'title': names, 'rating': stars})


def trained(ratings):
    dls = collab_dls(ratings, seed=0, bs=128)
    set_seed(0)
    return fit(dls, DotProductBias.from_dls(dls, n_factors=5), lr=2e-2, wd=.1)


@pytest.fixture(scope='module')
def ratings(): return ratings_of()
@pytest.fixture(scope='module')
def learn(ratings): return trained(ratings)
@pytest.fixture(scope='module')
def ints(): return trained(ratings_of('int'))
@pytest.fixture
def table(ratings): return ratings.pivot(index='user', columns='title', values='rating')


def refused(f, *words):
    "Whether `f` raises a `ValueError` whose message is one line with these words"
    with pytest.raises(ValueError) as e:
        f()
    assert type(e.value) is ValueError and '\n' not in str(e.value)
    assert all(word in str(e.value) for word in words), str(e.value)


def equal(a, b, eps=1e-9):
    np.testing.assert_allclose(np.asarray(a, float), np.asarray(b, float), atol=eps, rtol=0)


# --- recommend

@pytest.mark.parametrize('kind', ['text', 'int'])
def test_nothing_rated_comes_back(kind, learn, ints):
    ratings, model = ratings_of(kind), learn if kind == 'text' else ints
    for user in (1, 30, np.int64(60), torch.tensor(5), np.array([7])):
        mine = set(ratings.loc[ratings['user'] == np.asarray(user).item(), 'title'])
        best = recommend(model, user=user, n=99)
        assert mine and not mine & set(best.index)
        assert len(best) == N_ITEMS - len(mine) and best.is_monotonic_decreasing
        equal(best, predict(model, user, best.index))


def test_a_model_without_ratings_has_to_be_told(learn, ratings):
    model = NamedModel.from_dls(learn.model, learn.dls)
    refused(lambda: recommend(model, user=3), 'ratings=', "'user'", "'title'")
    pd.testing.assert_series_equal(recommend(model, user=3, ratings=ratings), recommend(learn, user=3))
    assert len(recommend(model, user=3, ratings=ratings[ratings['user'] != 3], n=99)) == N_ITEMS
    refused(lambda: recommend(model, user=3, ratings=ratings.astype({'user': str})), "'user'", '1')
    refused(lambda: recommend(model, user=3, ratings=ratings_of('int')), "'title'", "'film 00'")
    refused(lambda: recommend(model, user=3, ratings=ratings[['user']]), "'title'")
    refused(lambda: recommend(model, user=3, ratings=ratings['title']), "'title'")


SPELLINGS = {
    'list': list, 'set': set, 'tuple': tuple, 'array': np.array, 'Series': pd.Series,
    'Index': pd.Index, 'tensor': torch.tensor, 'filter': lambda names: filter(None, names),
    'generator': lambda names: (n for n in names), 'map': lambda names: map(lambda n: n, names),
    'dict': lambda names: dict.fromkeys(names, 5),
    'category': lambda names: pd.Series(names, dtype='category'),
}


@pytest.mark.parametrize('kind', ['text', 'int'])
@pytest.mark.parametrize('spelling', SPELLINGS)
def test_exclude_takes_names_in_any_container(kind, spelling, learn, ints):
    model = learn if kind == 'text' else ints
    if kind == 'text' and spelling == 'tensor':
        pytest.skip('tensors hold no text')
    names = list(recommend(model, user=1, n=3).index)
    if kind == 'int':
        names = [int(name) for name in names]
    for given in ({'user': 1}, {'answers': {}}):
        best = recommend(model, **given, exclude=SPELLINGS[spelling](names), n=99)
        every = recommend(model, **given, n=99)
        pd.testing.assert_series_equal(best, every.drop(names))


def test_one_name_is_one_name(learn, ints):
    for model, name in ((learn, 'film 07'), (ints, 107)):
        assert name not in recommend(model, answers={}, exclude=name, n=99)
        assert len(recommend(model, answers={}, exclude=name, n=99)) == N_ITEMS - 1
    assert len(recommend(learn, answers={}, exclude=None, n=99)) == N_ITEMS


@pytest.mark.parametrize('exclude', [
    'film 7', 7, ['film 07', 'filn 08'], [107, 108], ['film 07', None], [['film 07']], np.array([True, False]),
    pd.Series([True, False]), [float('nan')], True, b'film 07'])
def test_exclude_refuses_what_is_no_name(learn, exclude):
    refused(lambda: recommend(learn, user=1, exclude=exclude), 'knows no title')


def test_exclude_refuses_rows_masks_and_numbers_as_text(learn, ints, ratings):
    mine = ratings[ratings['user'] == 1]
    refused(lambda: recommend(learn, user=1, exclude=mine), 'names of title')
    refused(lambda: recommend(learn, user=1, exclude=ratings['user'] == 1), 'knows no title')
    refused(lambda: recommend(ints, user=1, exclude=['107']), 'did you mean 107?')


def test_exclude_may_name_what_only_validation_has():
    ratings = ratings_of()
    dls = collab_dls(ratings, seed=0, bs=128)
    lonely = ratings.iloc[dls.valid.items.index[0]].to_dict() | {'title': 'rare film'}
    ratings.loc[dls.valid.items.index[0]] = lonely
    model = trained(ratings)
    assert 'rare film' not in list(model.dls.classes['title'])
    assert len(recommend(model, user=lonely['user'], exclude=['rare film'])) == 10


def test_recommend_needs_one_user_or_one_set_of_answers(learn, table):
    refused(lambda: recommend(learn), 'answers')
    refused(lambda: recommend(learn, user=1, answers={}), 'answers')
    refused(lambda: recommend(learn, user=999), '999')
    refused(lambda: recommend(learn, user='1'), "'1'")
    for several in ([1, 2], [], pd.Series([1, 2]), (3, 4)):
        refused(lambda: recommend(learn, user=several), 'one user')
    refused(lambda: recommend(learn, answers=table[:2]), 'one user')
    refused(lambda: recommend(learn, user=1, n=0), 'at least 1')
    refused(lambda: recommend(learn, user=1, l2=3.), 'l2', 'answers')
    assert len(recommend(learn, user=1, n=3)) == 3


@pytest.mark.parametrize('kind', ['text', 'int'])
def test_answers_of_a_new_user_in_any_shape(kind, learn, ints):
    model, names = (learn, ['film 03', 'film 30', 'film 31']) if kind == 'text' else (ints, [103, 130, 131])
    answers = dict(zip(names, [5, 1, np.nan]))
    best = recommend(model, answers=answers, n=99)
    assert not set(names[:2]) & set(best.index) and names[2] in best.index and len(best) == N_ITEMS - 2
    row = pd.DataFrame([answers])
    series = pd.Series(answers)
    for other in (series, row, row.convert_dtypes(), series[::-1], series.astype('Float64')):
        pd.testing.assert_series_equal(recommend(model, answers=other, n=99), best)


def test_a_list_of_everything_rated_is_empty(learn):
    every = list(tables(learn)[1].index)
    assert len(recommend(learn, answers=dict.fromkeys(every, 3))) == 0
    assert len(recommend(learn, user=1, exclude=every)) == 0


# --- fold_in

def test_columns_in_another_order_give_the_same_rows(learn, table):
    rows = fold_in(learn, table)
    assert rows.index.equals(table.index) and list(rows.columns) == list(tables(learn)[0].columns)
    shuffled = table.sample(frac=1, axis=1, random_state=0)
    equal(fold_in(learn, shuffled), rows)
    equal(fold_in(learn, table[::-1]).loc[table.index], rows)
    equal(fold_in(learn, table.convert_dtypes()), rows)
    equal(fold_in(learn, table.astype(object)), rows)
    error = predict_rows(learn, rows)[table.columns] - table
    assert np.sqrt((error**2).mean(axis=None)) < .7*table.stack().std()


def test_one_person_in_any_shape(learn, table):
    one = table.loc[7]
    want = fold_in(learn, table).loc[[7]]
    rated = one.dropna()
    for answers in (one, rated, rated.to_dict(), one.to_dict(), table.loc[[7]], rated[::-1],
                    one.astype('Int64'), rated.astype(int).astype(str).to_dict()):
        row = fold_in(learn, answers)
        assert row.shape == want.shape
        equal(row, want)


def test_no_answers_give_the_mean_user(learn, ratings):
    users, items = tables(learn)
    empty = pd.DataFrame(index=[1, 2], columns=list(items.index), dtype=float)
    for answers in ({}, pd.Series(dtype=float), empty, {'film 01': None}, pd.DataFrame(index=[5])):
        row = fold_in(learn, answers)
        equal(row, np.broadcast_to(users.mean(), row.shape), 1e-6)
    assert abs(predict_rows(learn, fold_in(learn, {})).to_numpy().mean() - ratings['rating'].mean()) < .15


@pytest.mark.parametrize('answers, words', [
    ({'film 99': 5}, ["'film 99'", 'did you mean']), ({107: 5}, ['107']), ([('film 01', 5)], ['dict', 'list']),
    (np.ones((2, 40)), ['ndarray']), ('film 01', ['str']), (None, ['dict']), ({'film 01': 'good'}, ['numbers']),
    ({'film 01': np.inf}, ['finite']), (pd.Series([5, 4], ['film 01']*2), ["'film 01'", 'more than once']),
    (pd.DataFrame({'title': ['film 01'], 'rating': [5]}), ["'title'"]), ({'film 01': [5]}, ['numbers'])])
def test_fold_in_refuses_what_it_cannot_read(learn, answers, words):
    refused(lambda: fold_in(learn, answers), *words)


@pytest.mark.parametrize('answers', [
    {'film 01': 9}, {'film 01': -3}, pd.Series({'film 01': 80., 'film 02': 20})])
def test_a_rating_outside_the_range_is_a_warning(learn, answers):
    for call in (lambda: fold_in(learn, answers), lambda: recommend(learn, answers=answers)):
        with pytest.warns(UserWarning, match='range') as found:
            call()
        assert len(found) == 1


def test_percentages_do_not_fit_stars():
    answers = {'film 01': 80, 'film 02': 35}
    users, items = (np.random.default_rng(0).normal(size=(n, 4)) for n in (6, 4))
    names = ['film 01', 'film 02', 'film 03']
    stars = NamedModel(model_from_tables(users, items, (0, 5.5)), range(5), names)
    with pytest.warns(UserWarning, match='35 to 80'):
        fold_in(stars, answers)
    fold_in(NamedModel(model_from_tables(users, items, (-5, 105)), range(5), names), answers)
    fold_in(NamedModel(model_from_tables(users, items), range(5), names), answers)


def test_a_prior_goes_by_its_labels(learn, table):
    users, _ = tables(learn)
    rows = fold_in(learn, table, prior=users)
    equal(fold_in(learn, table, prior=users[::-1]), rows)
    equal(fold_in(learn, table, prior=users[users.columns[::-1]]), rows)
    one = fold_in(learn, table.loc[7], prior=users.loc[7])
    equal(one, rows.loc[[7]])
    equal(fold_in(learn, table.loc[7], prior=users.loc[7][::-1]), one)
    equal(fold_in(learn, table.loc[7], prior=users.loc[[7]]), one)
    refused(lambda: fold_in(learn, table, prior=users[5:]), 'prior for', '1')
    refused(lambda: fold_in(learn, table, prior=users.iloc[0, 1:]), 'bias')
    refused(lambda: fold_in(learn, table, prior=np.zeros(6)), 'bias')


def test_the_penalty(learn, table):
    users, _ = tables(learn)
    mean = np.broadcast_to(users.mean(), users.shape)
    equal(fold_in(learn, table, l2=1e9), mean, 1e-5)
    far = [np.abs(fold_in(learn, table, l2=l2) - mean).to_numpy().mean() for l2 in (1, 10, 100)]
    assert far == sorted(far, reverse=True)
    only_bias = fold_in(learn, table, l2=[1] + [1e12]*5)
    equal(only_bias.drop(columns='bias'), mean[:,1:], 1e-6)
    for l2 in (0, -1, float('nan'), [1, 0, 1, 1, 1, 1]):
        refused(lambda: fold_in(learn, table, l2=l2), 'l2')
    refused(lambda: fold_in(learn, table, steps=0), 'steps')


def test_extreme_answers_stay_finite(learn):
    items = tables(learn)[1].index
    for l2 in (8, .1, .001):
        for r in (1, 5):
            rows = fold_in(learn, dict.fromkeys(items[:3], r), l2=l2)
            assert np.isfinite(rows).all(axis=None) and np.isfinite(predict_rows(learn, rows)).all(axis=None)


def test_rows_are_read_by_their_labels(learn, table):
    rows = fold_in(learn, table)
    preds = predict_rows(learn, rows)
    equal(predict_rows(learn, rows[rows.columns[::-1]]), preds)
    equal(predict_rows(learn, rows.iloc[0]), preds.iloc[[0]])
    users, items = tables(learn)
    pair = predict(learn, 5, items.index[3]).item()
    equal(predict_rows(learn, users).loc[5, items.index[3]], pair, 1e-5)
    for bad in (rows.drop(columns='bias'), rows.to_numpy(), rows.drop(columns=3)):
        refused(lambda: predict_rows(learn, bad), 'bias')


# --- ridge_rows

@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)), rng.normal(size=(6, 30))
    y[rng.random(y.shape) < .5] = np.nan
    return {'x': x, 'y': y, 'weight': rng.random(y.shape), 'prior': rng.normal(size=(6, 4)),
            'offset': rng.normal(size=30)}


def test_ridge_rows_is_sklearns_ridge(problem):
    x, y, weight, prior, offset = problem.values()
    for l2 in (.5, 20.):
        solved, info = ridge_rows(x, y, l2, weight, prior, offset)
        for k, row in enumerate(y):
            known = ~np.isnan(row)
            target = (row - offset - x @ prior[k])[known]
            theirs = Ridge(alpha=l2, fit_intercept=False).fit(x[known], target, sample_weight=weight[k,known])
            equal(solved[k], prior[k] + theirs.coef_, 1e-8)
            equal(info[k], (x[known].T*weight[k,known]) @ x[known] + l2*np.eye(4), 1e-8)


def test_ridge_rows_has_a_penalty_for_each_column(problem):
    x, y = problem['x'], problem['y']
    l2 = np.array([1., 5, 0, 100])
    for k, row in enumerate(y):
        known = ~np.isnan(row)
        want = np.linalg.solve(x[known].T @ x[known] + np.diag(l2), x[known].T @ row[known])
        equal(ridge_rows(x, y, l2)[0][k], want, 1e-8)


@pytest.mark.parametrize('y_range', [(1, 3), (-10, 10), (0, 100)])
def test_ridge_rows_with_a_sigmoid_is_the_minimum(problem, y_range):
    x, y, weight, prior, offset = problem.values()
    low, high = y_range
    y = low + (high - low)/(1 + np.exp(-y))
    l2 = 2.*(high - low)**2/30
    solved, _ = ridge_rows(x, y, l2, weight, prior, offset, y_range, steps=50)
    for k, row in enumerate(y):
        known = ~np.isnan(row)
        def residuals(theta):
            pred = low + (high - low)/(1 + np.exp(-(x @ theta + offset)[known]))
            return np.r_[weight[k,known]**.5*(pred - row[known]), l2**.5*(theta - prior[k])]
        best = least_squares(residuals, prior[k], xtol=1e-14, ftol=1e-14, gtol=1e-14)
        equal(solved[k], best.x, 1e-5)


def test_ridge_rows_takes_tables_and_whole_numbers(problem):
    x, y = problem['x'], problem['y']
    want, _ = ridge_rows(x, y, 1.)
    equal(ridge_rows(pd.DataFrame(x), pd.DataFrame(y).convert_dtypes(), 1.)[0], want)
    whole = np.arange(12).reshape(6, 2)
    equal(ridge_rows(whole, whole.T, 1, prior=.5)[0], ridge_rows(whole*1., whole.T*1., 1., prior=.5)[0])
    assert ridge_rows(x.astype(np.float32), y, 1.)[0].dtype == np.float32


def test_ridge_rows_refuses(problem):
    x, y = problem['x'], problem['y']
    refused(lambda: ridge_rows(x, y[:,:9], 1.), '(30, 4)', '(6, 9)')
    refused(lambda: ridge_rows(x, y[0], 1.), '(30,)')
    refused(lambda: ridge_rows(x, y, -1.), 'l2')
    refused(lambda: ridge_rows(x, y, 1., steps=0), 'steps')
    refused(lambda: ridge_rows(x, np.full((1, 30), np.nan), 0.), 'l2')


# --- means, neighbors

def test_mean_and_offset_by_hand():
    ratings = pd.DataFrame([[5, None, 3], [None]*3], index=['Ann', 'Bob'], columns=list('abc'))
    means = pd.Series({'c': 2., 'b': 4, 'a': 3, 'd': 1})
    preds = mean_and_offset(ratings, means, l2=1)
    want = pd.DataFrame([[3, 5, 4, 2], [2, 4, 3, 1]], ['Ann', 'Bob'], list('cbad'), dtype=float)
    pd.testing.assert_frame_equal(preds, want)
    for other in (ratings[list('bca')], ratings.convert_dtypes(), ratings.astype('Int64')):
        pd.testing.assert_frame_equal(mean_and_offset(other, means, l2=1), want)
    equal(mean_and_offset({'a': 5, 'c': 3}, means, l2=1), want.loc[['Ann']])
    equal(mean_and_offset(ratings, means, l2=0).loc['Bob'], means)


@pytest.mark.parametrize('rule', [mean_and_offset, lambda r, m: ask_neighbors(r, r, m)])
def test_rules_for_new_users_take_a_pivot(table, rule):
    means = table.mean()
    preds = rule(table, means)
    assert preds.index.equals(table.index) and preds.columns.equals(means.index)
    for other in (table.convert_dtypes(), table[table.columns[::-1]], table.astype(object)):
        equal(rule(other, means), preds)
    equal(rule(table, means[::-1])[means.index], preds)
    equal(rule(table, means.astype('Float64')), preds)
    refused(lambda: rule(table.rename(columns={'film 03': 'Film 3'}), means), "'Film 3'")
    refused(lambda: rule(table, means.to_numpy()), 'Series')
    refused(lambda: rule(table.to_numpy(), means), 'ndarray')


def test_ask_neighbors_by_hand():
    others = pd.DataFrame([[5., 1, 5], [1, 5, 1]], columns=list('abc'))
    means = pd.Series(3., index=list('abc'))
    asked = ask_neighbors(pd.DataFrame([[5., 1, np.nan], [np.nan]*3], columns=list('abc')), others, means)
    left = np.array([2, -2, 2]) - 2/11, np.array([-2, 2, -2]) + 2/11
    cosine = [np.dot([2, -2], l[:2])/np.linalg.norm([2, -2])/np.linalg.norm(l) for l in left]
    votes = np.clip(cosine, 0, None)
    equal(asked.loc[0,'c'], 3 + (votes[0]*left[0][2] + votes[1]*left[1][2])/(votes.sum() + 1))
    equal(asked.loc[1], means)
    refused(lambda: ask_neighbors(others, others, means, l2_votes=0), 'l2_votes')
    refused(lambda: ask_neighbors(others, others, means, l2=-1), 'l2')


def test_line_up(table):
    test, place = line_up(table, n_test=5)
    assert (test.sum(axis=1) == 5).all() and (np.isfinite(place) | test).equals(table.notna())
    for same, other in zip((test, place), line_up(table.convert_dtypes(), n_test=5)):
        pd.testing.assert_frame_equal(same, other)
    when = pd.DataFrame(np.arange(table.size).reshape(table.shape), table.index, table.columns)
    by_time = line_up(table, 5, when=when)[1]
    turned = when[when.columns[::-1]].convert_dtypes()
    pd.testing.assert_frame_equal(line_up(table, 5, when=turned)[1], by_time)
    for _, places in by_time.iterrows():
        assert places[np.isfinite(places)].is_monotonic_increasing
    refused(lambda: line_up(table, 99), '99')
    refused(lambda: line_up(table, 5, when=when[:5]), 'when')


def test_most_telling(learn, table):
    knows = table.notna()
    picked = most_telling(learn, knows, table.columns, 5)
    assert len(set(picked)) == 5 and set(picked) <= set(table.columns)
    assert most_telling(learn, knows[knows.columns[::-1]], iter(table.columns), 5) == picked
    assert most_telling(learn, knows, 'film 03', 1) == ['film 03']
    refused(lambda: most_telling(learn, knows, ['film 99'], 1), "'film 99'")
    refused(lambda: most_telling(learn, knows, ['film 01'], 0), '0 items')
    refused(lambda: most_telling(learn, knows.set_axis(range(N_ITEMS), axis=1), table.columns, 3), 'knows')


# --- similar items, tables





def test_neighbors_keep_names_of_any_kind():
    names = [('a', 1), ('b', 2), 'c', 4]
    rows = pd.DataFrame(np.eye(4), index=pd.Index(names, tupleize_cols=False))
    assert neighbors(rows, 3).loc[[4]].to_numpy().tolist() == [names[:3]]
    every = pd.DataFrame(np.eye(3), index=pd.Index([('a', 1), ('b', 2), ('c', 3)], tupleize_cols=False))
    assert neighbors(every, 1).iloc[0, 0] == ('b', 2)


def test_tables_make_predictions(learn, ratings):
    users, items = tables(learn)
    assert (users.index.name, items.index.name) == ('user', 'title')
    assert list(users.columns) == ['bias', 0, 1, 2, 3, 4] and len(users) == N_USERS and len(items) == N_ITEMS
    u, i = users.loc[ratings['user']], items.loc[ratings['title']]
    raw = (u.drop(columns='bias').to_numpy()*i.drop(columns='bias').to_numpy()).sum(axis=1)
    raw = raw + u['bias'].to_numpy() + i['bias'].to_numpy()
    equal(.5 + 5/(1 + np.exp(-raw)), predict(learn, ratings['user'], ratings['title']), 1e-5)


# --- several tables



def test_a_turned_table_is_the_same_to_both():
    rng = np.random.default_rng(0)
    a, other = rng.normal(size=(300, 4)), rng.normal(size=(300, 4))
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    equal([cka(a, 3*a @ turn), subspace_match(a, a @ rng.normal(size=(4, 4)))], [1, 1], 1e-6)
    equal(subspace_match(np.c_[a, a], a), 1, 1e-6) # columns that say the same count once
    assert cka(a, other) < .1 and subspace_match(a, other) < .1
