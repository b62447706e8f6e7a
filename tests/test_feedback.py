"Alternating least squares on tables of all kinds, and on ratings with names"
import numpy as np
import pandas as pd
import pytest

from collab_course.bootstrapping import recommend
from collab_course.training import predict
from collab_course.als import als
from collab_course.simulation import diversity, gini, greedy, simulate, unsure
from collab_course.feedback import cap_ratings, enthusiasts, sprinkle, thompson

USERS = pd.Index([7, 3, 5, 9], name='reader')
BOOKS = pd.Index(['d', 'a', 'c'], name='book')
STARS = np.array([[5, np.nan, 1], [4, 2, np.nan], [np.nan, 1, 3], [5, 3, 1]])
TABLE = pd.DataFrame(STARS, USERS, BOOKS)
LOVED = pd.Series({'a': False, 'c': True, 'd': True})


def fitted(ratings, **kwargs):
    return als(ratings, n_factors=2, **kwargs).predict()


def test_a_pivot_of_a_long_table_keeps_its_names():
    long = TABLE.stack().rename('rating').reset_index()
    preds = fitted(long.pivot(index='reader', columns='book', values='rating'))
    assert preds.shape == (4, 3)
    assert (preds.index.name, preds.columns.name) == ('reader', 'book')
    assert preds.index.tolist() == sorted(USERS) and preds.columns.tolist() == sorted(BOOKS)
    assert preds.notna().all(axis=None)
    assert preds.loc[7, 'd'] > preds.loc[5, 'a'] # 5 stars, and 1


@pytest.mark.parametrize('kind', ['Float64', 'Int64', 'float32', object])
def test_all_kinds_of_columns_give_the_same(kind):
    np.testing.assert_allclose(fitted(TABLE.astype(kind)), fitted(TABLE), rtol=1e-5)


@pytest.mark.parametrize('table', [STARS, STARS.astype('float32'), STARS.tolist()])
def test_without_names_in_no_names_out(table):
    preds = fitted(table)
    assert isinstance(preds, np.ndarray)
    np.testing.assert_allclose(preds, fitted(TABLE).to_numpy(), rtol=1e-5)


def test_a_user_without_ratings_gets_what_is_liked_on_average():
    preds = fitted(np.r_[STARS, np.full((1, 3), np.nan)])
    assert np.isfinite(preds).all()
    model = als(np.r_[STARS, np.full((1, 3), np.nan)], n_factors=2)
    np.testing.assert_allclose(model.users[4], 0)
    np.testing.assert_allclose(preds[4], model.mean + model.items[:,0], rtol=1e-5)


def test_the_named_model_predicts_the_same_by_name():
    factors = als(TABLE, n_factors=2)
    named, preds = factors.named(), factors.predict()
    assert named.dls.cat_names == ['reader', 'book']
    for user in USERS:
        for book in BOOKS:
            assert predict(named, user, book).item() == pytest.approx(preds.loc[user, book], abs=1e-4)
    best = recommend(named, answers={'d': 5}, n=2)
    assert set(best.index) == {'a', 'c'}


def test_without_names_there_is_no_named_model():
    with pytest.raises(ValueError, match='give als a DataFrame'):
        als(STARS, n_factors=2).named()


def test_weights_with_names_are_aligned():
    weight = pd.DataFrame([[1., 2, 3], [4, 5, 6], [7, 8, 9], [1, 1, 1]], USERS, BOOKS)
    turned = weight.loc[sorted(USERS), sorted(BOOKS)]
    expected = fitted(STARS, weight=weight.to_numpy())
    np.testing.assert_allclose(fitted(TABLE, weight=turned), expected, rtol=1e-5)


@pytest.mark.parametrize('shared', [False, True])
def test_a_sample_keeps_names_and_spreads_around_the_prediction(shared):
    model = als(TABLE, n_factors=2)
    assert model.sample(seed=1, shared=shared).equals(model.sample(seed=1, shared=shared))
    draws = [model.sample(.1, shared, seed) for seed in range(400)]
    assert draws[0].index.equals(USERS) and draws[0].columns.equals(BOOKS)
    np.testing.assert_allclose(np.mean(draws, axis=0), model.predict(), atol=.02)
    np.testing.assert_allclose(np.std(draws, axis=0), model.doubt(.1), rtol=.25)


def test_one_draw_of_the_items_is_shared_by_the_users():
    model = als(STARS, n_factors=0)
    for shared in (False, True):
        draws = np.stack([model.sample(.1, shared, seed) for seed in range(400)])
        together = np.corrcoef(draws[:,0,0], draws[:,3,0])[0,1]
        assert (together > .2) == shared


def test_a_warm_start_goes_on_and_a_restart_does_not():
    truth = np.random.default_rng(0).normal(3, 1, (8, 40))
    warm, fresh = (simulate((truth, truth), greedy, rounds=3, start=3, n_factors=2, l2=1., restart=restart)
                   for restart in (False, True))
    assert not warm.iloc[2].equals(fresh.iloc[2])


TWO_LEVELS = pd.concat({'rating': TABLE}, axis=1)
BAD = {
    'nothing known': (np.full((2, 2), np.nan), {}, 'nothing to learn'),
    'nothing at all': (pd.DataFrame(), {}, 'nothing to learn|users x items'),
    'weights of 0': (STARS, {'weight': 0.}, 'nothing to learn'),
    'one row': (STARS[0], {}, 'users x items'),
    'text': (TABLE.astype(object).replace(5, 'good'), {}, 'must be numbers'),
    'an array of text': (np.array([['a', 'b']]), {}, 'must be numbers'),
    'infinite': (TABLE.replace(5, np.inf), {}, 'finite'),
    'two levels': (TWO_LEVELS, {}, 'several levels'),
    'another shape of weights': (STARS, {'weight': np.ones(2)}, 'do not go with'),
    'negative weights': (STARS, {'weight': -1.}, 'not negative'),
    'weights of others': (TABLE, {'weight': TABLE.rename(index={7: 8})}, 'users x items'),
    'no penalty': (STARS, {'l2': 0.}, 'l2'),
    'no penalty on biases': (STARS, {'l2_bias': 0}, 'l2_bias'),
    'a penalty of NaN': (STARS, {'l2_bias': np.nan}, 'l2_bias must be a number'),
    'a penalty of text': (STARS, {'l2': '8'}, 'l2 must be a number'),
    'half a sweep': (STARS, {'sweeps': 2.5}, 'sweeps must be a whole number'),
    'no sweep': (STARS, {'sweeps': 0}, 'sweeps must be a whole number'),
    'start with other items': (STARS, {'start': als(STARS[:,:2], 2)}, 'other items'),
    'start in another order': (TABLE, {'start': als(TABLE[['a', 'c', 'd']], 2)}, 'other items'),
}


@pytest.mark.parametrize('name', BAD)
def test_what_als_cannot_use_gets_a_sentence(name):
    ratings, kwargs, sentence = BAD[name]
    with pytest.raises(ValueError, match=sentence) as caught:
        fitted(ratings, **kwargs)
    assert '\n' not in str(caught.value)


def test_enthusiasts_keep_the_items_names():
    fans = enthusiasts(TABLE, LOVED, 6)
    assert fans.columns.equals(BOOKS) and fans.index.name == 'reader'
    assert fans.index.is_unique and not set(fans.index) & set(USERS)
    assert (fans[['c', 'd']] == 5).all(axis=None)
    assert set(fans['a'].dropna()) <= set(TABLE['a'].dropna())
    assert len(pd.concat([TABLE, fans])) == 10


@pytest.mark.parametrize('kind', ['single-minded', 'all-round', 'honest'])
def test_enthusiasts_with_and_without_names_are_the_same(kind):
    expected = fitted(TABLE)
    turned = expected.loc[sorted(USERS), sorted(BOOKS)]
    named = enthusiasts(TABLE, LOVED, 3, kind, turned)
    plain = enthusiasts(STARS, LOVED[BOOKS].to_numpy(), 3, kind, expected.to_numpy())
    assert isinstance(plain, np.ndarray)
    np.testing.assert_array_equal(named, plain)


def test_enthusiasts_give_the_highest_rating_of_the_data():
    assert enthusiasts(2*TABLE, LOVED, 3)['d'].tolist() == [10, 10, 10]


@pytest.mark.parametrize('items, kwargs, sentence', [
    (LOVED[['a', 'c']], {}, 'True or False'), ([True, False], {}, 'True or False'),
    (['a'], {}, 'True or False'), (LOVED, {'kind': 'mad'}, 'kind is'),
    (LOVED, {'kind': 'honest'}, 'expected')])
def test_what_enthusiasts_cannot_use_gets_a_sentence(items, kwargs, sentence):
    with pytest.raises(ValueError, match=sentence):
        enthusiasts(TABLE, items, 2, **kwargs)


def test_a_cap_keeps_names_and_ratings():
    capped = cap_ratings(TABLE.astype('Int64'), 1)
    assert capped.index.equals(USERS) and capped.columns.equals(BOOKS)
    assert (capped.count(axis=1) == 1).all()
    left = capped.notna()
    assert (capped.where(left) == TABLE.where(left))[left].sum().sum() == 4
    np.testing.assert_array_equal(cap_ratings(STARS, 1), capped)
    assert TABLE.equals(cap_ratings(TABLE, 3))
    with pytest.raises(ValueError, match='at least 1'):
        cap_ratings(TABLE, 0)


def test_lists_of_names_are_as_good_as_lists_of_numbers():
    assert diversity([['a', 'b'], ['b', 'c']]) == diversity([[0, 1], [1, 2]]) == .5
    for lists in ([['a']], ['a', 'b'], []):
        with pytest.raises(ValueError, match='two lists'):
            diversity(lists)


FULL = np.arange(12.).reshape(3, 4)
NO_SIZE = {
    'factors of text': (lambda: als(STARS, n_factors='5'), 'n_factors must be'),
    'half a factor': (lambda: als(STARS, n_factors=2.5), 'n_factors must be'),
    'half a rating': (lambda: cap_ratings(TABLE, 2.5), 'most must be'),
    'a cap of text': (lambda: cap_ratings(TABLE, '2'), 'most must be'),
    'fewer than nobody': (lambda: enthusiasts(TABLE, LOVED, -1), 'n must be'),
    'half an enthusiast': (lambda: enthusiasts(TABLE, LOVED, 1.5), 'n must be'),
    'a share of text': (lambda: sprinkle('a tenth'), 'part must be'),
    'a share of NaN': (lambda: sprinkle(np.nan), 'part must be'),
    'a dose of text': (lambda: unsure('1'), 'dose must be'),
    'a dose of NaN': (lambda: unsure(np.nan), 'dose must be'),
    'a sampling dose of text': (lambda: thompson('1'), 'dose must be'),
    'a negative sampling dose': (lambda: thompson(-1), 'dose must be'),
    **{f'{name} of 1.5': (lambda name=name: simulate((FULL, FULL), unsure(1), **{name: 1.5}),
                          f'{name} must be') for name in ('rounds', 'shown', 'watched', 'start')},
}


@pytest.mark.parametrize('what', NO_SIZE)
def test_what_is_no_size_gets_a_sentence(what):
    call, sentence = NO_SIZE[what]
    with pytest.raises(ValueError, match=f'^{sentence}'):
        call()


@pytest.mark.parametrize('expected', [
    TABLE.fillna(3.).rename(index={7: 8}), TABLE.fillna(3.)[['a', 'c']], TABLE,
    np.full((4, 2), 3.), np.full((4, 3), 'three'), 3.])
def test_predictions_of_others_get_a_sentence(expected):
    with pytest.raises(ValueError, match='a prediction for each user and item'):
        enthusiasts(TABLE, LOVED, 2, 'honest', expected)


@pytest.mark.parametrize('counts', [[], [0, 0], [1, -1], [1, np.nan], [1, np.inf]])
def test_what_has_no_gini_gets_a_sentence(counts):
    with pytest.raises(ValueError, match='not negative'):
        gini(counts)


def test_the_loop_can_be_repeated_and_takes_tables():
    rng = np.random.default_rng(0)
    truth = pd.DataFrame(3 + rng.normal(size=(8, 40)))
    world = truth.round(), truth
    runs = [simulate(world, choose, rounds=3, shown=4, n_factors=2, start=3)
            for choose in (unsure(1), unsure(1), sprinkle(.5, shown=4), thompson(1))]
    assert runs[0].index.tolist() == [0, 1, 2] and runs[0].equals(runs[1])
    assert runs[2]['coverage'].is_monotonic_increasing and not runs[0].equals(runs[2])
    assert not runs[0].equals(runs[3])
    with pytest.raises(ValueError, match='without holes'):
        simulate((truth.where(truth > 3), truth), unsure(1))
    with pytest.raises(ValueError, match='same users and items'):
        simulate((truth, truth.T), unsure(1))


@pytest.mark.parametrize('listen', [True, False])
def test_with_the_loop_cut_as_many_ratings_are_learned(listen):
    counts = []

    def choose(model, known, rng):
        counts.append(set(known.sum(axis=1)))
        return model.predict()

    truth = np.random.default_rng(0).normal(3, 1, (8, 40))
    simulate((truth, truth), choose, rounds=3, shown=4, watched=2, start=3, listen=listen)
    assert counts == [{3}, {5}, {7}]
