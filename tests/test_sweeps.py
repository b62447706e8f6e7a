"Alternating least squares on coded ratings: both engines against a plain solution, and what they refuse"
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from collab_course.als import als
from collab_course.bootstrapping import recommend
from collab_course.further import sweeps
from collab_course.further.sweeps import Sweeps, Tables, both_sides, sweep_als, tables_rmse
from collab_course.interpretation import tables

ENGINES = ['torch'] + ['numba']*(sweeps.numba is not None)


def coded(n=3000, n_users=70, n_items=90, seed=0):
    "Ratings of long-tailed items; some users and items have none"
    rng = np.random.default_rng(seed)
    chance = 1/(np.arange(n_users*n_items)%n_items + 3)
    cells = rng.choice(n_users*n_items, n, replace=False, p=chance/chance.sum())
    cells = np.sort(cells[(cells//n_items != 5) & (cells%n_items != 7)])
    halves = rng.integers(1, 11, len(cells)).astype(np.uint8)
    users, items = (cells//n_items).astype(np.int32), (cells%n_items).astype(np.int32)
    return SimpleNamespace(users=users, items=items, halves=halves, n_users=n_users, n_items=n_items)


def plain(train, n_factors, l2, seed, n):
    "The same sweeps with NumPy's float64, a row at a time"
    mean = train.halves.mean()/2
    def solve(rows, columns, table, n_rows):
        x = table.copy()
        x[:,0] = 1
        res = np.zeros((n_rows, 1 + n_factors))
        for u in range(n_rows):
            of_row = rows == u
            if of_row.any():
                given = x[columns[of_row]]
                y = train.halves[of_row]/2 - mean - table[columns[of_row],0]
                penalty = l2*of_row.sum()*np.eye(1 + n_factors)
                res[u] = np.linalg.solve(given.T @ given + penalty, given.T @ y)
        return res
    items = sweeps.random_rows(train.n_items, n_factors, seed).astype(float)
    for _ in range(n):
        users = solve(train.users, train.items, items, train.n_users)
        items = solve(train.items, train.users, users, train.n_items)
    return users, items


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize('n_factors', [3, 16])
def test_sweeps_are_those_of_a_plain_solution(engine, n_factors):
    train = coded()
    found = sweep_als(train, n_factors, .1, 3, engine=engine, seed=4)
    for table, expected in zip((found.users, found.items), plain(train, n_factors, .1, 4, 3)):
        assert table.dtype == np.float32
        np.testing.assert_allclose(table, expected, atol=1e-4)
    assert not found.users[5].any() and not found.items[7].any() # they have no ratings


@pytest.mark.parametrize('engine', ENGINES)
def test_a_full_table_agrees_with_the_side_room(engine):
    "With all ratings known, a penalty that grows with the count is the same for all rows"
    n = 12
    halves = np.random.default_rng(0).integers(1, 11, n*n).astype(np.uint8)
    codes = np.arange(n*n)
    train = SimpleNamespace(users=(codes//n).astype(np.int32), items=(codes%n).astype(np.int32),
                            halves=halves, n_users=n, n_items=n)
    ours = sweep_als(train, 2, .2, 60, engine=engine)
    theirs = als(halves.reshape(n, n)/2, 2, l2=.2*n, l2_bias=.2*n, sweeps=60)
    preds = ours.predict(train.users, train.items).reshape(n, n)
    np.testing.assert_allclose(preds, theirs.predict(), atol=2e-3)


@pytest.mark.parametrize('engine', ENGINES)
def test_stopped_and_continued_is_the_same(engine):
    train = coded()
    unbroken = sweep_als(train, 5, .1, 4, engine=engine)
    first = sweep_als(train, 5, .1, 2, engine=engine)
    second = Sweeps(train, 5, .1, engine=engine, start=Tables(first.mean, first.users, first.items))
    second.step()
    second.step()
    assert (second.tables.users == unbroken.users).all()
    assert (second.tables.items == unbroken.items).all()


@pytest.mark.skipif(sweeps.numba is None, reason='needs numba')
def test_the_number_of_threads_changes_nothing():
    train, before = coded(), sweeps.numba.get_num_threads()
    found = []
    for n in (1, sweeps.numba.config.NUMBA_NUM_THREADS):
        sweeps.numba.set_num_threads(n)
        found.append(sweep_als(train, 4, .1, 2, engine='numba'))
    sweeps.numba.set_num_threads(before)
    assert (found[0].users == found[1].users).all() and (found[0].items == found[1].items).all()


@pytest.mark.skipif(sweeps.numba is None, reason='needs numba')
def test_only_the_order_of_a_rows_ratings_changes_the_last_digits(): # question f15f
    rng = np.random.default_rng(1)
    train = coded()
    by_user, _ = both_sides(train)
    items = sweeps.random_rows(train.n_items, 20, 0)
    def solved(side, **kwargs): return sweeps.solve_loop(side, items, 2.75, .05, **kwargs)
    def pieces(order): # the places of the users' ratings, in this order of the users
        return [np.arange(by_user.start[u], by_user.start[u + 1]) for u in order]
    def rearranged(places):
        start = np.r_[0, np.cumsum([len(p) for p in places])].astype(np.int32)
        order = np.concatenate(places)
        return sweeps.Side(start, by_user.codes[order], by_user.halves[order])
    first, users = solved(by_user), rng.permutation(train.n_users)
    for block in (1, 8, 32): assert (solved(by_user, block=block) == first).all(), block
    assert (solved(rearranged(pieces(users))) == first[users]).all()
    mixed = solved(rearranged([rng.permutation(p) for p in pieces(range(train.n_users))]))
    assert (mixed != first).any() and np.abs(mixed - first).max() < 1e-4


@pytest.mark.parametrize('budget', [1, 50, 10**6])
def test_batches_of_any_size_give_the_same(budget):
    side = sweeps.Side(*map(torch.as_tensor, both_sides(coded())[0]))
    table = torch.as_tensor(sweeps.random_rows(90, 4, 0))
    expected = sweeps.solve_batches(side, table, 2.7, .1)
    torch.testing.assert_close(sweeps.solve_batches(side, table, 2.7, .1, budget), expected,
                               atol=1e-5, rtol=1e-4)


def test_the_order_by_item_is_that_of_a_stable_sort():
    train = coded()
    by_user, by_item = both_sides(train)
    order = train.items.argsort(kind='stable')
    assert (by_item.codes == train.users[order]).all() and (by_item.halves == train.halves[order]).all()
    assert (np.diff(by_item.start) == np.bincount(train.items, minlength=train.n_items)).all()
    assert (np.diff(by_user.start) == np.bincount(train.users, minlength=train.n_users)).all()


def test_more_sweeps_lower_the_objective():
    train, errors = coded(), []
    for n in (1, 2, 5):
        found = sweep_als(train, 8, .05, n)
        squares = tables_rmse(found, train)**2*len(train.users)
        counts = [np.bincount(codes, minlength=n) for codes, n in
                  ((train.users, train.n_users), (train.items, train.n_items))]
        penalty = sum((count[:,None]*table**2).sum()
                      for count, table in zip(counts, (found.users, found.items)))
        errors.append(squares + .05*penalty)
    assert errors[0] > errors[1] > errors[2]


def test_predictions_and_names():
    train = coded()
    found = sweep_als(train, 4, .1, 2)
    u, i = train.users[:5], train.items[:5]
    by_hand = [found.mean + found.users[a,0] + found.items[b,0] + found.users[a,1:] @ found.items[b,1:]
               for a, b in zip(u, i)]
    np.testing.assert_allclose(found.predict(u, i), by_hand, rtol=1e-5)
    error = np.sqrt(np.mean((found.predict(train.users, train.items) - train.halves/2)**2))
    assert tables_rmse(found, train) == pytest.approx(error, rel=1e-6)
    titles = [f'movie {i}' for i in range(train.n_items)]
    learn = found.named(np.arange(train.n_users) + 100, titles, 'person', 'movie')
    users, items = tables(learn)
    assert users.index.name == 'person' and list(items.index) == titles
    np.testing.assert_allclose(users.to_numpy(), found.users)
    rows = torch.as_tensor(np.stack([train.users + 1, train.items + 1], axis=1), dtype=torch.long)
    with torch.no_grad(): # with the mean, which the named model has in its items' biases
        named = learn.model(rows).numpy().ravel()
    np.testing.assert_allclose(named, found.predict(train.users, train.items), rtol=1e-5)
    best = recommend(learn, answers={'movie 3': 5}, n=3, l2=.5)
    assert len(best) == 3 and 'movie 3' not in best.index


def test_predictions_of_many_pairs():
    "`predict` works in pieces of 65,536"
    rng = np.random.default_rng(0)
    found = Tables(3., *(rng.normal(size=(50, 3)).astype(np.float32) for _ in range(2)))
    users, items = rng.integers(0, 50, (2, 70_000))
    whole = found.mean + found.users[:,:1] + found.items[:,0] + found.users[:,1:] @ found.items[:,1:].T
    np.testing.assert_allclose(found.predict(users, items), whole[users, items], atol=1e-5)


def changed(**columns):
    return SimpleNamespace(**vars(coded()) | columns)


@pytest.mark.parametrize('train, says', [
    (np.zeros((3, 3)), 'coded'),
    (changed(users=coded().users[::-1]), 'grouped by user'),
    (changed(halves=coded().halves[1:]), 'for each rating'),
    (changed(users=coded().users[:0], items=coded().items[:0], halves=coded().halves[:0]), 'for each'),
    (changed(n_items=10), 'n_items'),
    (changed(n_users=10), 'n_users'),
    (changed(items=coded().items - 1), 'Codes')])
def test_what_is_not_coded_is_refused(train, says):
    with pytest.raises(ValueError, match=says):
        sweep_als(train, 2)


@pytest.mark.parametrize('bad, says', [
    (dict(l2=0), 'l2'), (dict(l2=-1), 'l2'), (dict(n_factors=0), 'n_factors'), (dict(n_factors=2.5), 'n_factors'),
    (dict(sweeps=0), 'sweeps'), (dict(engine='fortran'), 'engine')])
def test_what_makes_no_sense_is_refused(bad, says):
    with pytest.raises(ValueError, match=says):
        sweep_als(coded(), **bad)


def test_a_start_of_another_size_is_refused():
    train = coded()
    with pytest.raises(ValueError, match='another number of factors'):
        Sweeps(train, 5, start=sweep_als(train, 4, .1, 1))


def test_without_numba(monkeypatch):
    monkeypatch.setattr(sweeps, 'numba', None)
    assert Sweeps(coded(), 3).engine == 'torch'
    with pytest.raises(ValueError, match='pip install numba'):
        Sweeps(coded(), 3, engine='numba')


def test_a_device_is_a_matter_of_torch():
    assert Sweeps(coded(), 3, device='cpu').engine == 'torch'
    if sweeps.numba is not None:
        with pytest.raises(ValueError, match='another device'):
            Sweeps(coded(), 3, engine='numba', device='cuda')
