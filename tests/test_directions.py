"Directions of a model, and a penalty for each: equal predictions, the planted number, and what plain solutions say"
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from collab_course.further import sweeps
from collab_course.further.directions import RelevanceSweeps, directions, relevance_als
from collab_course.further.sweeps import Side, Sweeps, Tables, solve_batches, solve_loop, sweep_als, tables_rmse

ENGINES = ['torch'] + ['numba']*(sweeps.numba is not None)


def planted(k=3, n_users=400, n_items=300, share=.25, noise=.3, seed=0):
    "Ratings from k directions; user 5 and item 7 have none"
    rng = np.random.default_rng(seed)
    known = rng.random((n_users, n_items)) < share
    known[5], known[:,7] = False, False
    users, items = known.nonzero()
    p, q = (rng.normal(0, 1, (n, k)) for n in (n_users, n_items))
    stars = 2.75 + (p[users]*q[items]).sum(1)*1.2/k**.5 + rng.normal(0, noise, len(users))
    halves = (2*stars).round().clip(1, 10).astype(np.uint8)
    return SimpleNamespace(users=users.astype(np.int32), items=items.astype(np.int32), halves=halves, n_users=n_users, n_items=n_items)


def counts(train):
    return np.bincount(train.users, minlength=train.n_users), np.bincount(train.items, minlength=train.n_items)


def random_tables(n_users=50, n_items=40, k=4, seed=0):
    rng = np.random.default_rng(seed)
    users, items = ((rng.normal(size=(n, 1 + k)) @ rng.normal(size=(1 + k, 1 + k))).astype(np.float32) for n in (n_users, n_items))
    return Tables(3., users, items)


@pytest.mark.parametrize('k', [1, 4, 45]) # 45 factors are more than there are items
def test_turned_factors_predict_the_same(k):
    tables = random_tables(k=k)
    rng = np.random.default_rng(1)
    user_counts, item_counts = rng.integers(0, 30, 50), rng.integers(0, 30, 40)
    turned, strengths = directions(tables, user_counts, item_counts)
    users, items = (x.ravel() for x in np.indices((50, 40)))
    # a row without ratings has no weight, so a direction that only it uses can be lost
    rated = (user_counts[users] > 0) & (item_counts[items] > 0)
    scale = np.abs(tables.predict(users, items)).max()
    np.testing.assert_allclose(turned.predict(users, items)[rated], tables.predict(users, items)[rated], atol=2e-5*scale)
    assert len(strengths) == k and (np.diff(strengths) <= 0).all() and strengths.min() >= 0
    if k < 40:
        for rows, weight in ((turned.users, user_counts), (turned.items, item_counts)):
            of_rows = rows[:,1:].T*weight @ rows[:,1:]/weight.sum()
            np.testing.assert_allclose(of_rows, np.diag(strengths), atol=1e-4*strengths[0])


def test_strengths_do_not_depend_on_how_the_factors_are_turned():
    tables, rng = random_tables(), np.random.default_rng(2)
    weights = rng.integers(1, 30, 50), rng.integers(1, 30, 40)
    mix = rng.normal(size=(4, 4))
    mixed = Tables(3., np.c_[tables.users[:,:1], tables.users[:,1:] @ mix].astype(np.float32),
                   np.c_[tables.items[:,:1], tables.items[:,1:] @ np.linalg.inv(mix).T].astype(np.float32))
    np.testing.assert_allclose(directions(mixed, *weights)[1], directions(tables, *weights)[1], rtol=1e-3)
    ones = [[1]*len(rows) for rows in (tables.users, tables.items)] # lists will do
    values = np.linalg.svd(tables.users[:,1:] @ tables.items[:,1:].T)[1][:4]/(50*40)**.5
    np.testing.assert_allclose(directions(tables, *ones)[1], values, rtol=1e-4)


@pytest.mark.parametrize('users, items, says', [
    (np.ones(49), np.ones(40), 'each of the 50'), (np.ones(50), np.ones(41), 'each of the 40'), (np.zeros(50), np.ones(40), 'must be ratings'),
    (np.ones(50), np.full(40, np.nan), 'numbers of ratings'), (np.r_[-1, np.ones(49)], np.ones(40), 'numbers of ratings')])
def test_counts_are_checked(users, items, says):
    with pytest.raises(ValueError, match=says): directions(random_tables(), users, items)


def test_damaged_tables_are_refused():
    tables = random_tables()
    tables.users[3,2] = np.nan
    with pytest.raises(ValueError, match='NaN'): directions(tables, np.ones(50), np.ones(40))


def test_tables_without_factors_have_no_strength():
    nothing = Tables(3., np.zeros((5, 3), np.float32), np.zeros((4, 3), np.float32))
    turned, strengths = directions(nothing, np.ones(5), np.ones(4))
    assert strengths.max() < 1e-20 and not turned.users.any() and not turned.items.any()


@pytest.mark.parametrize('engine', ENGINES)
def test_a_scaled_sweep_is_one_with_a_penalty_for_each_number(engine):
    train = planted(share=.03)
    als = RelevanceSweeps(train, 4, .02, engine=engine, constant=1.5, plain=1)
    als.step()
    before, scale = als.tables, np.asarray(als.scale)
    als.step()
    penalty = 1/scale.astype(float)**2
    x = before.items.astype(float).copy()
    x[:,0] = 1
    rows = np.zeros_like(before.users, dtype=float)
    for u in np.unique(train.users):
        rated = train.items[train.users == u]
        y = train.halves[train.users == u]/2 - before.mean - before.items[rated,0]
        gram = x[rated].T @ x[rated] + np.diag(penalty)*(1.5 + .02*len(rated))
        rows[u] = np.linalg.solve(gram, x[rated].T @ y)
    # the second half of the step turned the factors, but with the same users' rows, its predictions are the same
    plain = RelevanceSweeps(train, 4, .02, engine=engine, constant=1.5, start=before)
    plain.scale = als._place(scale)
    users = plain._solve(plain.by_user, als._place(before.items))
    np.testing.assert_allclose(np.asarray(users), rows, atol=2e-4)


def halves_of(share=.2, **settings):
    "A training and a validation part"
    train, valid = planted(**settings), planted(**settings)
    held = np.random.default_rng(5).random(len(train.users)) < share
    for part, rows in ((train, ~held), (valid, held)):
        for name in ('users', 'items', 'halves'):
            setattr(part, name, getattr(part, name)[rows])
    return train, valid


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('limit', [6, 8, 12, 24])
def test_any_limit_that_is_high_enough_leaves_the_planted_directions(limit, seed):
    "Without plain sweeps first, the penalty would switch off some of them before they have found anything"
    train, valid = halves_of(k=6, share=.12, noise=.4)
    found = relevance_als(train, limit, .02, 2., sweeps=12, seed=seed, engine='torch')
    strengths = directions(found, *counts(train))[1]
    assert (strengths > .01*strengths[0]).sum() == 6


@pytest.mark.parametrize('engine', ENGINES)
def test_it_finds_the_planted_number_and_a_smaller_error(engine):
    train, valid = halves_of()
    found = relevance_als(train, 12, .01, 1., sweeps=12, engine=engine)
    strengths = directions(found, *counts(train))[1]
    assert (strengths > .01*strengths[0]).sum() == 3
    best = min(tables_rmse(sweep_als(train, 12, l2, 12, engine=engine), valid) for l2 in (.01, .02, .05, .1, .2))
    assert tables_rmse(found, valid) < best - .01


@pytest.mark.parametrize('engine', ENGINES)
def test_a_constant_is_added_to_the_penalty(engine):
    "Where all rows have equally many ratings, it is the same as a larger part for each of them"
    n = 12
    codes = np.arange(n*n)
    train = SimpleNamespace(users=(codes//n).astype(np.int32), items=(codes % n).astype(np.int32), n_users=n, n_items=n,
                            halves=np.random.default_rng(0).integers(1, 11, n*n).astype(np.uint8))
    by_count = sweep_als(train, 2, .2, 5, engine=engine)
    both = sweep_als(train, 2, .1, 5, engine=engine, constant=.1*n)
    only = sweep_als(train, 2, 0, 5, engine=engine, constant=.2*n)
    for other in (both, only):
        np.testing.assert_allclose(other.users, by_count.users, atol=1e-5)
    assert np.abs(sweep_als(train, 2, .2, 5, engine=engine, constant=1.).users - by_count.users).max() > .001


@pytest.mark.parametrize('engine', ENGINES)
def test_stopped_and_continued_is_nearly_the_same(engine):
    train = planted()
    unbroken = relevance_als(train, 6, sweeps=8, engine=engine)
    first = relevance_als(train, 6, sweeps=5, engine=engine)
    second = RelevanceSweeps(train, 6, engine=engine, start=first)
    for _ in range(3): second.step()
    preds = (t.predict(train.users, train.items) for t in (unbroken, second.tables))
    np.testing.assert_allclose(*preds, atol=1e-3)


def test_what_it_refuses():
    train = planted(share=.02)
    with pytest.raises(ValueError, match='plain must be'): RelevanceSweeps(train, 3, plain=0)
    for bad in (dict(l2=0., constant=0.), dict(l2=-1.), dict(constant=-1.), dict(constant=float('nan')), dict(n_factors=0),
                dict(sweeps=0), dict(engine='jax')):
        with pytest.raises(ValueError, match='must be'): relevance_als(train, **bad)
    with pytest.raises(ValueError, match='other users'):
        RelevanceSweeps(train, 3, engine='torch', start=random_tables())
    with pytest.raises(ValueError, match='must be'): Sweeps(train, 3, 0.)
