"Training on slices, checkpoints, parts of the ratings, lists, and power laws"
import os, subprocess, sys, time

import numpy as np
import pytest
import torch
from collab_course.download import DataError
from collab_course.further.growth import (
    als_training, fingerprint, fit_als, fit_biases, fit_power, fit_slices, list_quality, resumable, save_checkpoint, slice_training, smaller, spread_batches)
from collab_course.further.growth import fill_slice_grad
from collab_course.further.directions import RelevanceSweeps, relevance_als
from collab_course.further.millions import CodedRatings
from collab_course.further.sweeps import Sweeps, Tables, sweep_als, tables_rmse


def some_ratings(n=4000, n_users=200, n_items=60, seed=0):
    rng = np.random.default_rng(seed)
    cells = np.sort(rng.choice(n_users*n_items, n, replace=False))
    users, items = np.divmod(cells, n_items)
    p, q = rng.normal(size=(n_users, 3)), rng.normal(size=(n_items, 3))
    score = 3.2 + .4*(p[users]*q[items]).sum(axis=1) + .3*rng.normal(size=n)
    halves = np.clip(np.round(2*score), 1, 10).astype(np.uint8)
    return CodedRatings(users.astype(np.int32), items.astype(np.int32), halves, np.arange(n_users)*3 + 1, np.arange(n_items)*7 + 5)


TRAIN = some_ratings()


@pytest.mark.parametrize('n, bs, epoch', [(10, 3, 0), (10, 3, 4), (10, 100, 0), (1, 1, 0), (5, 1, 30), (1000, 7, 2)])
def test_batches_hold_every_rating_once(n, bs, epoch):
    batches = [np.arange(n)[batch] for batch in spread_batches(n, bs, epoch)]
    assert all(len(batch) for batch in batches)
    assert max(map(len, batches)) - min(map(len, batches)) <= 1
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(n))


def test_batches_differ_from_epoch_to_epoch_but_not_from_run_to_run():
    assert spread_batches(1000, 10, 1, 5) == spread_batches(1000, 10, 1, 5)
    assert spread_batches(1000, 10, 1, 5) != spread_batches(1000, 10, 1, 6)
    together = [{tuple(range(1000)[batch][:2]) for batch in spread_batches(1000, 10, epoch)} for epoch in (0, 1)]
    assert not together[0] & together[1]


def test_the_gradient_is_that_of_autograd():
    table = torch.nn.Parameter(torch.randn(9, 4, generator=torch.Generator().manual_seed(0)))
    users, items, y = torch.tensor([0, 0, 1, 3]), torch.tensor([5, 8, 8, 4]), torch.tensor([.5, -1., .2, .7])
    pred = (table[users,1:]*table[items,1:]).sum(1) + table[users,0] + table[items,0]
    ((pred - y)**2).mean().backward()
    wanted = table.grad.clone()
    with torch.no_grad():
        fill_slice_grad(table, users, items, y)
    torch.testing.assert_close(table.grad, wanted)


def test_adamw_is_pytorchs_on_every_step():
    "The optimizer's memory is in the state, and is really used"
    step, state, n = slice_training(TRAIN, 3, epochs=1, bs=500)
    for _ in range(n):
        step(state)
    assert state['step'] == n == 8
    assert np.abs(state['exp_avg']).max() > 0 and state['exp_avg_sq'].max() > 0
    assert tables_rmse(fit_slices(TRAIN, 3, epochs=20, bs=100, progress=False), TRAIN) < .8*tables_rmse(fit_biases(TRAIN), TRAIN)


def test_the_model_has_names():
    learn = fit_slices(TRAIN, 3, epochs=1, progress=False).named(TRAIN.user_ids, TRAIN.item_ids)
    assert learn.dls.classes['user'][1:] == list(TRAIN.user_ids)


SETTINGS = {'n_factors': 3, 'epochs': 2, 'bs': 500, 'progress': False}


@pytest.mark.parametrize('stop', [1, 7, 15])
def test_a_stopped_training_goes_on_to_the_same_end(tmp_path, stop):
    whole = fit_slices(TRAIN, **SETTINGS)
    step, state, n = slice_training(TRAIN, 3, epochs=2, bs=500)

    class Stopped(Exception):
        pass

    def stopping(state, calls=[]):
        calls.append(1)
        if len(calls) > stop:
            raise Stopped
        step(state)

    settings = {'method': 'AdamW', 'how': 'spread_batches', 'lr': .05, 'wd': .2, 'seed': 0, 'n_factors': 3, 'epochs': 2, 'bs': 500,
                'ratings': fingerprint(TRAIN)}
    path = tmp_path/'model.npz'
    with pytest.raises(Stopped):
        resumable(stopping, state, n, path, settings, seconds=0, progress=False)
    again = fit_slices(TRAIN, **SETTINGS, path=path)
    np.testing.assert_array_equal(again.users, whole.users)
    np.testing.assert_array_equal(again.items, whole.items)


def test_als_is_that_of_sweep_als():
    step, state, n = als_training(TRAIN, 3, sweeps=4, engine='torch')
    resumable(step, state, n, progress=False)
    whole = sweep_als(TRAIN, 3, sweeps=4, engine='torch')
    np.testing.assert_array_equal(state['items'], whole.items)
    np.testing.assert_array_equal(state['users'], whole.users)


CHILD = '''
import sys, numpy as np
from pathlib import Path
from collab_course.further.growth import als_training, resumable, slice_training
from collab_course.further.millions import CodedRatings
place = Path(sys.argv[1])
train = CodedRatings(**np.load(place/'train.npz'))
for name, training in (('AdamW', slice_training(train, 3, epochs=2)), ('ALS', als_training(train, 3, sweeps=100, engine='torch'))):
    step, state, n = training
    def told(state):
        print('step', flush=True)
        step(state)
    resumable(told, state, n, place/f'{name}.npz', seconds=0, progress=False)
    np.savez(place/f'{name}-end.npz', **state)
'''


def test_killed_three_times_and_still_equal(tmp_path):
    "A process is killed without warning, once in AdamW and twice in ALS, and another one takes over"
    np.savez(tmp_path/'train.npz', **{name: getattr(TRAIN, name) for name in ('users', 'items', 'halves', 'user_ids', 'item_ids')})
    rng = np.random.default_rng(1)

    def run(kill_after=None):
        args = [sys.executable, '-c', CHILD, str(tmp_path)]
        with subprocess.Popen(args, stdout=subprocess.PIPE, env=os.environ | {'OMP_NUM_THREADS': '1'}) as process:
            for steps, _ in enumerate(process.stdout, 1):
                if steps == kill_after:
                    time.sleep(.02*rng.random()) # a random moment
                    process.kill()
        return steps, process.returncode

    trainings = {'AdamW': slice_training(TRAIN, 3, epochs=2), 'ALS': als_training(TRAIN, 3, sweeps=100, engine='torch')}
    assert run(137)[1] != 0 and not (tmp_path/'AdamW-end.npz').exists()
    assert run(trainings['AdamW'][2] - 137 + 20)[1] != 0 and run(11)[1] != 0
    steps, code = run()
    assert code == 0 and steps < 100
    for name, (step, state, n) in trainings.items():
        resumable(step, state, n, progress=False)
        resumed = np.load(tmp_path/f'{name}-end.npz')
        for key, value in state.items():
            np.testing.assert_array_equal(resumed[key], value)


def test_counters_and_arrays_come_back(tmp_path):
    def step(state):
        state['sum'] += state['n']
        state['n'] += 1

    path = tmp_path/'x.npz'
    state = resumable(step, {'n': 0, 'sum': np.zeros(2)}, 5, path, progress=False)
    again = {'n': 0, 'sum': np.zeros(2)}
    assert resumable(step, again, 8, path, progress=False) is again
    assert again['n'] == 8 and type(again['n']) is int and again['sum'].tolist() == [28, 28]
    assert [file.name for file in tmp_path.iterdir()] == ['x.npz']
    with pytest.raises(DataError, match='number of steps'):
        resumable(step, state, 5, path, progress=False)


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    path = tmp_path/'model.npz'
    fit_slices(TRAIN, **SETTINGS, path=path)
    for other in ({'n_factors': 4}, {'wd': .3}, {'seed': 1}):
        with pytest.raises(DataError, match=next(iter(other)) + '=.*Pass another path, or delete'):
            fit_slices(TRAIN, **SETTINGS | other, path=path)
    with pytest.raises(DataError, match='other ratings'):
        fit_slices(some_ratings(seed=1), **SETTINGS, path=path)


ALS = {'n_factors': 5, 'engine': 'torch', 'progress': False}


@pytest.mark.parametrize('stop', [1, 2, 5])
@pytest.mark.parametrize('kind', [Sweeps, RelevanceSweeps])
def test_sweeps_go_on_to_the_same_end(tmp_path, kind, stop):
    whole = fit_als(TRAIN, sweeps=7, kind=kind, **ALS)
    fit_als(TRAIN, sweeps=stop, kind=kind, path=tmp_path/'als.npz', **ALS)
    again = fit_als(TRAIN, sweeps=7, kind=kind, path=tmp_path/'als.npz', **ALS)
    np.testing.assert_array_equal(again.users, whole.users)
    np.testing.assert_array_equal(again.items, whole.items)
    same = relevance_als(TRAIN, 5, .05, 0., 7, engine='torch') if kind is RelevanceSweeps else sweep_als(TRAIN, 5, .05, 7, engine='torch')
    np.testing.assert_array_equal(whole.users, same.users)


def test_a_checkpoint_of_other_sweeps_is_refused(tmp_path):
    path = tmp_path/'a new folder'/'als.npz'
    fit_als(TRAIN, sweeps=2, path=path, **ALS)
    for other in ({'l2': .1}, {'seed': 1}, {'constant': 1.}, {'n_factors': 4}):
        with pytest.raises(DataError, match=next(iter(other)) + '=.*Pass another path, or delete'):
            fit_als(TRAIN, sweeps=2, path=path, **ALS | other)
    with pytest.raises(DataError, match='method=Sweeps, not RelevanceSweeps'):
        fit_als(TRAIN, sweeps=2, kind=RelevanceSweeps, path=path, **ALS)
    changed = CodedRatings(TRAIN.users, TRAIN.items, 11 - TRAIN.halves, TRAIN.user_ids, TRAIN.item_ids)
    for other in (changed, some_ratings(seed=1)):
        with pytest.raises(DataError, match='other ratings'):
            fit_als(other, sweeps=2, path=path, **ALS)


def test_the_old_checkpoint_is_whole_while_a_new_one_is_written(tmp_path, monkeypatch):
    path = tmp_path/'model.npz'
    save_checkpoint(path, {'x': np.zeros(3)}, 1, {})
    before = path.read_bytes()

    def half(file, **arrays):
        file.write(before[:100])
        raise OSError('the disk is full')

    monkeypatch.setattr(np, 'savez', half)
    with pytest.raises(OSError):
        save_checkpoint(path, {'x': np.ones(3)}, 2, {})
    assert path.read_bytes() == before


def test_one_step_is_refused_because_it_would_train_nothing():
    with pytest.raises(ValueError, match='One step is too few'):
        fit_slices(TRAIN, 3, epochs=1, bs=len(TRAIN), progress=False)


def test_settings_that_are_no_dictionary_are_not_a_checkpoint(tmp_path):
    np.savez(tmp_path/'model.npz', done=1, settings='[1]')
    with pytest.raises(DataError, match='is not a checkpoint'):
        fit_als(TRAIN, sweeps=2, path=tmp_path/'model.npz', **ALS)


@pytest.mark.parametrize('spoil', [lambda b: b[:-100], lambda b: b[:40], lambda b: b'', lambda b: b'not a file', lambda b: b[:len(b)//2] + b'xx' + b[len(b)//2 + 2:]])
def test_a_damaged_checkpoint_is_refused(tmp_path, spoil):
    path = tmp_path/'model.npz'
    fit_slices(TRAIN, **SETTINGS, path=path)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match='damaged, or is not a checkpoint. Delete it'):
        fit_slices(TRAIN, **SETTINGS, path=path)


def test_a_finished_training_takes_no_step(tmp_path):
    path = tmp_path/'model.npz'
    first = fit_slices(TRAIN, **SETTINGS, path=path)
    before = path.stat().st_mtime_ns
    np.testing.assert_array_equal(fit_slices(TRAIN, **SETTINGS, path=path).users, first.users)
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize('bad', [{'n_factors': -1}, {'epochs': 0}, {'bs': 0}, {'lr': 'x'}, {'wd': None}])
def test_training_checks_its_settings(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        fit_slices(TRAIN, **bad, progress=False)


def test_biases_are_the_best_of_their_objective():
    l2 = .1
    found = fit_biases(TRAIN, l2, sweeps=100)
    left = TRAIN.stars - found.predict(TRAIN.users, TRAIN.items)
    for name in ('users', 'items'):
        codes, bias = getattr(TRAIN, name), getattr(found, name)[:,0]
        count = np.bincount(codes, minlength=len(bias))
        np.testing.assert_allclose(np.bincount(codes, left, len(bias)), l2*count*bias, atol=2e-3)
    assert found.users.shape == (200, 1)


@pytest.mark.parametrize('how', ['users', 'ratings'])
def test_a_smaller_part_is_part_of_a_larger_one(how):
    def triples(r):
        return set(zip(r.user_ids[r.users].tolist(), r.item_ids[r.items].tolist(), r.halves.tolist()))

    small, large = smaller(TRAIN, .2, how), smaller(TRAIN, .5, how)
    assert triples(small) < triples(large) < triples(TRAIN)
    assert triples(small) != triples(smaller(TRAIN, .2, how, seed=1))
    for part in (small, large):
        assert (np.diff(part.users) >= 0).all()
        assert set(part.users.tolist()) == set(range(part.n_users)) and set(part.items.tolist()) == set(range(part.n_items))
    assert triples(smaller(TRAIN, 1, how)) == triples(TRAIN)
    assert .3 < len(large)/len(TRAIN) < .7


def test_some_users_keep_all_their_ratings():
    part = smaller(TRAIN, .3)
    count = dict(zip(TRAIN.user_ids.tolist(), np.bincount(TRAIN.users).tolist()))
    assert dict(zip(part.user_ids.tolist(), np.bincount(part.users).tolist())).items() <= count.items()


@pytest.mark.parametrize('share, how', [(0, 'users'), (2, 'users'), (.5, 'movies'), (1e-9, 'ratings'), ('a', 'users')])
def test_smaller_checks_its_arguments(share, how):
    with pytest.raises(ValueError):
        smaller(TRAIN, share, how)


def test_lists_of_a_model_that_knows_all():
    "A user's relevant movies get the highest scores, so the lists are perfect"
    held = np.arange(len(TRAIN)) % 5 == 0
    train, valid = TRAIN.where(~held), TRAIN.where(held)
    users, items = np.zeros((200, 61), np.float32), np.zeros((60, 61), np.float32)
    users[valid.users, 1 + valid.items] = valid.halves
    items[:,1:] = np.eye(60)
    tables = Tables(0, users, items)
    found = list_quality(tables, train, valid, candidates=60)
    assert (found['nDCG'] == 1).all() and len(found) <= 200
    assert len(list_quality(tables, train, valid, n_users=7)) == 7
    assert list_quality(tables, train, valid, candidates=5)['nDCG'].mean() < .5
    with pytest.raises(ValueError, match='Lower relevant'):
        list_quality(tables, train, valid, relevant=5.5)


def test_a_list_holds_nothing_that_was_rated_in_training():
    "A model that gives the highest scores to what was rated in training would have empty lists"
    held = np.arange(len(TRAIN)) % 5 == 0
    train, valid = TRAIN.where(~held), TRAIN.where(held)
    users, items = np.zeros((200, 61), np.float32), np.zeros((60, 61), np.float32)
    users[train.users, 1 + train.items] = 20
    users[valid.users, 1 + valid.items] = valid.halves
    items[:,1:] = np.eye(60)
    assert (list_quality(Tables(0, users, items), train, valid, candidates=60)['nDCG'] == 1).all()


def test_a_power_law_is_found_with_its_slope():
    n = np.array([1e5, 1e6, 1e7, 1e8])
    found = fit_power(n, 3*n**-.4)
    assert found['slope'] == pytest.approx(-.4) and found['error'] < 1e-9
    noisy = fit_power(n, 3*n**-.4*[1.1, .9, 1.1, .9])
    assert .01 < noisy['error'] < .1
    with pytest.raises(ValueError, match='above 0'):
        fit_power(n, [1, 2, 0, 4])
