"Chapter 16: a test for shared structure finds what was planted and nothing in noise; kriging"
import numpy as np
import pandas as pd
import pytest
from scipy.linalg import cho_factor, cho_solve

from collab_course.further.where_else import krige, permute_residuals, shared_structure


def planted(share, seed, shape=(40, 25), n_known=.6):
    "Means, noise, and one factor with a share of the variance beyond means"
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(shape[0], 1)) + rng.normal(size=shape[1])
    factor = np.outer(rng.normal(size=shape[0]), rng.normal(size=shape[1]))
    factor /= factor.std()
    table = means + share**.5*factor + (1 - share)**.5*rng.normal(size=shape)
    return np.where(rng.random(shape) < n_known, table, np.nan)


def named(table):
    rows = pd.Index([f'row {k}' for k in range(len(table))], name='row')
    return pd.DataFrame(table, rows, [f'column {k}' for k in range(table.shape[1])])


def test_planted_structure_is_found():
    for seed in range(3):
        found = shared_structure(planted(.6, seed), 2, 3, 9)
        assert found['p'] == .1 and found['gain'] > found['control, largest'] + .1
        assert found['gain'] > 3*found['standard error'] > 0


def test_gain_is_near_the_planted_share():
    found = shared_structure(planted(.5, 0, (200, 60), .8), 2, 3, 1)
    assert .4 < found['gain'] < .5


def test_noise_is_called_structure_as_often_as_stated():
    "With four controls, the lowest p-value is 0.2, so about 8 of 40 tables are expected to reach it"
    calls = [shared_structure(planted(0, seed), 2, 2, 4)['p'] <= .2 for seed in range(40)]
    assert sum(calls) <= 14


def test_different_noise_of_rows_and_columns_is_no_structure():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(60, 30))*rng.uniform(.2, 3, 30)*rng.uniform(.5, 2, (60, 1))
    assert shared_structure(table, 2, 3, 1)['gain'] < .02


def test_scale_and_shift_change_nothing():
    table = planted(.5, 0)
    want = shared_structure(table, 2, 3, 2)
    pd.testing.assert_series_equal(shared_structure(1e4*table + 7e5, 2, 3, 2), want, rtol=.02, atol=2e-3)


def test_names_are_no_obstacle_and_a_seed_repeats():
    table = planted(.5, 0)
    want = shared_structure(table, 2, 3, 2)
    pd.testing.assert_series_equal(shared_structure(named(table), 2, 3, 2), want)
    assert shared_structure(table, 2, 3, 2, seed=1)['gain'] != want['gain']


def test_empty_rows_and_columns_are_dropped():
    table = planted(.5, 0)
    wider = np.full((45, 30), np.nan)
    wider[:40,:25] = table
    pd.testing.assert_series_equal(shared_structure(wider, 2, 3, 1), shared_structure(table, 2, 3, 1))


def test_integers_and_missing_values_of_pandas():
    stars = pd.DataFrame(np.random.default_rng(0).integers(1, 6, (20, 12)))
    assert shared_structure(stars, 2, 3, 1)['gain'] < .1
    stars = stars.astype('Int64')
    stars.iloc[0, 0] = pd.NA
    assert np.isfinite(shared_structure(stars, 2, 3, 1)).all()


@pytest.mark.parametrize('table, says', [
    (np.full((9, 9), np.nan), 'at least 3 rows'),
    (np.ones((2, 50)), 'at least 3 rows'),
    (np.random.default_rng(0).normal(size=(5, 5)), '30 known cells'),
    (np.ones((9, 9)), 'Means explain every known cell'),
    (np.arange(9)[:,None] + np.arange(9.), 'Means explain every known cell'),
    (np.where(np.eye(9), np.inf, 1.), 'finite'),
    (np.ones(9), 'users x items'),
    ([['a', 'b'], ['c', 'd']], 'must be numbers')])
def test_bad_tables_are_refused_with_a_sentence(table, says):
    with pytest.raises(ValueError, match=says):
        shared_structure(table)


@pytest.mark.parametrize('name, value', [
    ('n_factors', 0), ('n_factors', 1.5), ('n_folds', 1), ('n_permutations', 0), ('seed', -1), ('seed', 'x')])
def test_bad_numbers_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        shared_structure(planted(.5, 0), **{name: value})


def test_a_control_keeps_holes_columns_and_means():
    table = planted(.5, 0, (80, 30))
    control = permute_residuals(table)
    assert np.array_equal(np.isnan(control), np.isnan(table))
    np.testing.assert_allclose(np.nanmean(control, axis=0), np.nanmean(table, axis=0), atol=.25)
    assert np.corrcoef(np.nanmean(control, axis=1), np.nanmean(table, axis=1))[0,1] > .9
    assert not np.array_equal(control, table, equal_nan=True)
    assert np.array_equal(permute_residuals(table), control, equal_nan=True)
    frame = permute_residuals(named(table))
    assert frame.index.name == 'row' and list(frame.columns) == list(named(table).columns)
    np.testing.assert_allclose(frame.to_numpy(), control, atol=1e-5)


def test_a_control_has_no_structure():
    assert shared_structure(planted(.7, 0), 2, 3, 1)['gain'] > .3
    assert shared_structure(permute_residuals(planted(.7, 0)), 2, 3, 1)['gain'] < .05


def places(rng, n):
    return 100*rng.random((n, 2))


def test_kriging_is_the_conditional_mean_of_a_gaussian_process():
    rng = np.random.default_rng(0)
    near, far = places(rng, 30), places(rng, 7)
    y = rng.normal(size=(30, 3))
    y[rng.random(y.shape) < .3] = np.nan
    got = krige(y, near, far, 20, .5)
    for column in range(3):
        known = ~np.isnan(y[:,column])
        at, values = near[known], y[known,column]
        distance = np.sqrt(((at[:,None] - at)**2).sum(axis=-1))
        to_new = np.sqrt(((far[:,None] - at)**2).sum(axis=-1))
        factor = cho_factor(np.exp(-distance/20) + .5*np.eye(len(at)))
        want = values.mean() + np.exp(-to_new/20) @ cho_solve(factor, values - values.mean())
        np.testing.assert_allclose(got[:,column], want)


def test_kriging_far_away_is_the_mean_and_without_nugget_the_value():
    rng = np.random.default_rng(0)
    near = places(rng, 30)
    y = rng.normal(size=(30, 2))
    np.testing.assert_allclose(krige(y, near, near + 1e5, 20), np.tile(y.mean(axis=0), (30, 1)))
    np.testing.assert_allclose(krige(y, near, near, 20, 1e-9), y, atol=1e-5)


def test_kriging_keeps_names():
    rng = np.random.default_rng(0)
    y = named(rng.normal(size=(30, 2)))
    new = pd.DataFrame(places(rng, 3), ['a', 'b', 'c'])
    got = krige(y, places(rng, 30), new, 20)
    assert list(got.index) == ['a', 'b', 'c'] and list(got.columns) == list(y.columns)


@pytest.mark.parametrize('change, says', [
    (dict(distance=0), 'distance'), (dict(nugget=0), 'nugget'), (dict(distance='far'), 'distance'),
    (dict(places=np.zeros((4, 2))), 'do not fit'), (dict(new_places=np.zeros((4, 3))), 'do not fit'),
    (dict(new_places=np.full((4, 2), np.nan)), 'coordinates'), (dict(values=np.full((9, 2), np.nan)), 'no known'),
    (dict(values=[['a']*2]*9), 'numbers')])
def test_bad_input_of_kriging_is_refused_with_a_sentence(change, says):
    rng = np.random.default_rng(0)
    good = dict(values=rng.normal(size=(9, 2)), places=places(rng, 9), new_places=places(rng, 4), distance=20)
    with pytest.raises(ValueError, match=says):
        krige(**{**good, **change})
