"Serving: lists equal those of a sort, files are checked at the door, a killed run goes on, and many fold-ins equal `fold_in`"
import json, subprocess, sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from collab_course.bootstrapping import fold_in
from collab_course.further import serving
from collab_course.further.millions import CodedRatings
from collab_course.further.serving import (
    ServedModel, best_items, fold_in_many, largest, list_everyone, only_users, open_arrays, save_served, to_int8, write_parquet)
from collab_course.named_models import NamedModel, model_from_tables

ROOT = Path(__file__).resolve().parents[1]


def coded(n_users=60, n_items=200, n=900, seed=0):
    "Ratings; the last user has none, and the first user has rated all items"
    rng = np.random.default_rng(seed)
    key = rng.choice(np.arange(n_items, (n_users - 1)*n_items), n, replace=False)
    key = np.sort(np.r_[np.arange(n_items), key])
    users, items = (key//n_items).astype(np.int32), (key % n_items).astype(np.int32)
    halves = rng.integers(1, 11, len(key)).astype(np.uint8)
    return CodedRatings(users, items, halves, 10*np.arange(n_users) + 7, 3*np.arange(n_items) + 1)


def random_tables(ratings, k=5, seed=1):
    rng = np.random.default_rng(seed)
    users, items = (rng.normal(0, .4, (n, 1 + k)).astype(np.float32) for n in (ratings.n_users, ratings.n_items))
    return SimpleNamespace(mean=3.5, users=users, items=items)


@pytest.fixture
def served(tmp_path):
    ratings = coded()
    tables = random_tables(ratings)
    save_served(tmp_path/'model.safetensors', tables, ratings, [f'Movie: {i} é' for i in range(ratings.n_items)])
    return ServedModel(tmp_path/'model.safetensors'), tables, ratings


def expected(tables, ratings):
    "All predictions, minus infinity where a rating is known"
    res = tables.mean + tables.users[:,:1] + tables.items[:,0] + tables.users[:,1:] @ tables.items[:,1:].T
    res[ratings.users, ratings.items] = -np.inf
    return res


def test_one_list_is_that_of_all_predictions(served):
    model, tables, ratings = served
    for row, preds in enumerate(expected(tables, ratings)):
        best = [i for i in (-preds).argsort(kind='stable')[:10] if preds[i] > -np.inf]
        found = model.recommend(int(ratings.user_ids[row]))
        assert [title for title, _ in found] == [f'Movie: {i} é' for i in best]
        np.testing.assert_allclose([score for _, score in found], preds[best], atol=1e-5)
    assert model.recommend(7) == [] # the user who has rated everything


@pytest.mark.parametrize('user', [8, -3, 10**9])
def test_unknown_users_get_a_sentence(served, user):
    with pytest.raises(ValueError, match='no user'):
        served[0].recommend(user)


@pytest.mark.parametrize('n', [0, -1, 201])
def test_a_list_has_at_least_one_item_and_at_most_all(served, n):
    with pytest.raises(ValueError, match='n must be'):
        served[0].recommend(17, n)


@pytest.mark.parametrize('n, block, n_blocks', [(1, 1, 1), (3, 4, 3), (10, 8, 30), (10, 64, 10)])
def test_best_items_are_those_of_a_stable_sort(n, block, n_blocks):
    rng = np.random.default_rng(block)
    for values in (rng.integers(0, 4, (40, block*n_blocks)), rng.normal(size=(40, block*n_blocks))):
        scores = torch.tensor(values, dtype=torch.float32)
        scores[rng.random(scores.shape) < .5] = -torch.inf
        items, found = best_items(scores, n, block)
        order = scores.argsort(dim=1, descending=True, stable=True)[:,:n].numpy()
        assert (items == order).all()
        assert (found == np.take_along_axis(scores.numpy(), order, 1)).all()


def test_largest_breaks_ties_in_the_order_of_the_items():
    assert largest(np.array([1., 3, 2, 3, 2, 2]), 4).tolist() == [1, 3, 2, 4]
    assert largest(np.array([1., -np.inf, 2]), 3).tolist() == [2, 0]


@pytest.mark.parametrize('n, at_once', [(10, 7), (3, 1024), (250, 16)])
def test_everyones_lists_are_those_of_one_user(served, tmp_path, n, at_once):
    model, tables, ratings = served
    lists = list_everyone(model, tmp_path/'lists.npy', n, at_once)
    assert lists.shape == (ratings.n_users, n)
    for row, preds in enumerate(expected(tables, ratings)):
        best = [i for i in (-preds).argsort(kind='stable')[:n] if preds[i] > -np.inf]
        assert lists['item'][row].tolist() == best + [-1]*(n - len(best))
        np.testing.assert_allclose(lists['predicted'][row][:len(best)], preds[best], atol=1e-5)


def test_a_killed_run_goes_on_and_does_not_repeat(served, tmp_path, monkeypatch):
    model = served[0]
    whole = np.array(list_everyone(model, tmp_path/'whole.npy', at_once=4))
    done, scorer = [], serving.Scorer.lists
    def killed(self, begin, end):
        if begin >= 40 and 'killed' not in done:
            done.append('killed')
            raise RuntimeError
        done.append(begin)
        return scorer(self, begin, end)
    monkeypatch.setattr(serving.Scorer, 'lists', killed)
    with pytest.raises(RuntimeError):
        list_everyone(model, tmp_path/'lists.npy', at_once=4)
    again = list_everyone(model, tmp_path/'lists.npy', at_once=4)
    assert (again == whole).all()
    assert (list_everyone(model, tmp_path/'lists.npy', at_once=4) == whole).all() # nothing is left to do
    assert done == [*range(0, 40, 4), 'killed', *range(32, 60, 4)] # 32 users were noted as done


def test_lists_of_another_model_are_not_mixed(served, tmp_path):
    model, tables, ratings = served
    list_everyone(model, tmp_path/'lists.npy')
    tables.items[:] = tables.items[::-1]
    save_served(tmp_path/'other.safetensors', tables, ratings)
    other = ServedModel(tmp_path/'other.safetensors')
    lists = list_everyone(other, tmp_path/'lists.npy')
    assert (lists == list_everyone(other, tmp_path/'fresh.npy')).all()
    assert len(list_everyone(other, tmp_path/'lists.npy', n=3)[0]) == 3


DAMAGE = {'half': lambda lists: lists[:len(lists)//2], 'empty': lambda lists: b'', 'header': lambda lists: lists[:50],
          'one byte': lambda lists: lists[:-1], 'zeros': lambda lists: bytes(len(lists)),
          'zero lists': lambda lists: lists[:-4000] + bytes(4000), 'gone': lambda lists: None}


@pytest.mark.parametrize('damage', DAMAGE)
@pytest.mark.parametrize('done', ['all', 'some'])
def test_damaged_lists_are_made_again(served, tmp_path, monkeypatch, damage, done):
    model, path = served[0], tmp_path/'lists.npy'
    whole = np.array(list_everyone(model, tmp_path/'whole.npy', at_once=1))
    if done == 'all':
        list_everyone(model, path, at_once=1)
    else:
        killed_after(56, model, path, monkeypatch)
    content = DAMAGE[damage](path.read_bytes())
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert (list_everyone(model, path, at_once=1) == whole).all()
    assert (np.load(path) == whole).all()


def killed_after(n, model, path, monkeypatch):
    "Lists of the first n users, one at a time, in a run that goes no further"
    scorer = serving.Scorer.lists
    def lists(self, begin, end):
        if begin == n:
            raise KeyboardInterrupt
        return scorer(self, begin, end)
    with monkeypatch.context() as patch:
        patch.setattr(serving.Scorer, 'lists', lists)
        with pytest.raises(KeyboardInterrupt):
            list_everyone(model, path, at_once=1)


@pytest.mark.parametrize('users', [-5, 'x', None, 2.5, True, 61])
def test_a_journal_that_makes_no_sense_is_not_used(served, tmp_path, users):
    model, path, journal = served[0], tmp_path/'lists.npy', tmp_path/'lists.npy.json'
    whole = np.array(list_everyone(model, path))
    journal.write_text(json.dumps(json.loads(journal.read_text()) | {'users': users}))
    assert (list_everyone(model, path) == whole).all()


def test_a_file_with_something_else_is_replaced(served, tmp_path):
    model, path = served[0], tmp_path/'lists.npy'
    whole = np.array(list_everyone(model, path))
    for other in (np.zeros((5, 10)), whole[:20], whole[:,:3].copy(), np.zeros(whole.shape, 'f8'), whole.view('<i4,<f4')):
        np.save(path, other)
        found = list_everyone(model, path)
        assert found.dtype == whole.dtype and np.array_equal(found, whole)


def test_a_journal_never_describes_the_lists_of_a_killed_run(served, tmp_path, monkeypatch):
    "Lists of one model are done, those of another are begun in the same file, and then the first are wanted again"
    model, tables, ratings = served
    path = tmp_path/'lists.npy'
    mapped = list_everyone(model, path)
    whole = np.array(mapped)
    tables.items[:] = tables.items[::-1]
    save_served(tmp_path/'other.safetensors', tables, ratings)
    killed_after(0, ServedModel(tmp_path/'other.safetensors'), path, monkeypatch)
    assert not (tmp_path/'lists.npy.json').exists()
    assert (np.load(path)['item'] == -1).all() # no list looks like one
    assert (mapped == whole).all() # a server that has mapped the old file keeps it
    assert (list_everyone(model, path) == whole).all()


def test_the_file_of_the_lists_must_be_npy(served, tmp_path):
    with pytest.raises(ValueError, match='.npy'):
        list_everyone(served[0], tmp_path/'lists.parquet')
    with pytest.raises(ValueError, match='folder'):
        list_everyone(served[0], tmp_path/'no'/'lists.npy')


def test_parquet_has_a_row_for_each_item(served, tmp_path):
    pytest.importorskip('pyarrow')
    model, _, ratings = served
    lists = list_everyone(model, tmp_path/'lists.npy')
    write_parquet(lists, tmp_path/'lists.parquet', model.user_ids, model.item_ids, at_once=7)
    table = pd.read_parquet(tmp_path/'lists.parquet')
    there = lists['item'] >= 0
    assert len(table) == there.sum() and set(table['user']) == set(ratings.user_ids[1:].tolist())
    assert table['item'].tolist() == ratings.item_ids[lists['item'][there]].tolist()
    assert table['rank'].tolist() == (np.nonzero(there)[1] + 1).tolist()
    assert not list(tmp_path.glob('*.part'))


def test_parquet_needs_the_ids_of_the_same_model(served, tmp_path):
    pytest.importorskip('pyarrow')
    model = served[0]
    lists = list_everyone(model, tmp_path/'lists.npy')
    users, items, path = model.user_ids, model.item_ids, tmp_path/'lists.parquet'
    for bad in ((lists, users[:-1], items), (lists[:-1], users, items), (lists, users, items[:50])):
        with pytest.raises(ValueError, match='ids must be those'):
            write_parquet(bad[0], path, *bad[1:])
    with pytest.raises(ValueError, match='from list_everyone'):
        write_parquet(lists['item'], path, users, items)
    with pytest.raises(ValueError, match='folder'):
        write_parquet(lists, tmp_path/'no'/'lists.parquet', users, items)
    assert not list(tmp_path.glob('*.parquet*'))
    write_parquet(lists, path, users.tolist(), items.tolist())
    assert len(pd.read_parquet(path)) == (lists['item'] >= 0).sum()


def test_a_parquet_file_is_replaced_whole_or_not_at_all(served, tmp_path, monkeypatch):
    pytest.importorskip('pyarrow')
    from pyarrow.parquet import ParquetWriter
    model, path = served[0], tmp_path/'lists.parquet'
    lists = list_everyone(model, tmp_path/'lists.npy')
    write_parquet(lists, path, model.user_ids, model.item_ids)
    before, groups, write = path.read_bytes(), [], ParquetWriter.write_table
    def fails(self, table, *args, **kwargs):
        groups.append(len(table))
        if len(groups) == 3:
            raise OSError('No space left on device')
        write(self, table, *args, **kwargs)
    monkeypatch.setattr(ParquetWriter, 'write_table', fails)
    with pytest.raises(OSError, match='No space'):
        write_parquet(lists, path, model.user_ids, model.item_ids, at_once=7)
    assert path.read_bytes() == before and not list(tmp_path.glob('*.part'))


def test_a_model_is_replaced_whole_or_not_at_all(served, monkeypatch):
    import safetensors.numpy
    model, tables, ratings = served
    before, save = model.path.read_bytes(), safetensors.numpy.save_file
    def fails(arrays, path, *args, **kwargs):
        save(arrays, path, *args, **kwargs)
        content = Path(path).read_bytes()
        Path(path).write_bytes(content[:len(content)//2])
        raise OSError('No space left on device')
    monkeypatch.setattr(safetensors.numpy, 'save_file', fails)
    with pytest.raises(OSError, match='No space'):
        save_served(model.path, tables, ratings)
    assert model.path.read_bytes() == before
    assert ServedModel(model.path).recommend(17) == model.recommend(17)
    assert not list(model.path.parent.glob('*.part'))


@pytest.mark.parametrize('kind', [np.float16, np.float64])
def test_tables_of_other_kinds_can_be_served(tmp_path, kind):
    "Rows from `fold_in_many` have 64 bits, and ids may have 16"
    ratings = coded()
    ratings.user_ids, ratings.item_ids = ratings.user_ids.astype(np.int16), ratings.item_ids.astype(np.uint32)
    tables = random_tables(ratings)
    rounded = SimpleNamespace(mean=3.5, users=tables.users.astype(kind), items=tables.items.astype(kind))
    save_served(tmp_path/'m', rounded, ratings)
    model = ServedModel(tmp_path/'m')
    assert model.users.dtype == model.items.dtype == np.float32
    model.users, model.items = rounded.users, rounded.items # as in older files
    lists = list_everyone(model, tmp_path/'lists.npy')
    for row in (1, 30, 59):
        best = expected(tables, ratings)[row].max()
        assert model.recommend(int(ratings.user_ids[row]))[0][1] == pytest.approx(best, abs=.01)
        assert lists['predicted'][row,0] == pytest.approx(best, abs=.01)


CHANGES = {'users': lambda x: x[:-1], 'items': lambda x: x[:-1], 'user_ids': lambda x: x[:-1],
           'item_ids': lambda x: x[:50], 'seen': lambda x: x[:-1], 'seen_start': lambda x: x[:-1],
           'title_text': lambda x: x[:-1], 'title_start': lambda x: x[:-1]}


@pytest.mark.parametrize('name, change', [*CHANGES.items(), ('items', lambda x: x[:,:-1]), ('users', lambda x: x[0]),
                                          ('users', lambda x: to_int8(x)[0]), ('seen', lambda x: x.astype('f4')), ('more', None)])
def test_arrays_that_do_not_fit_together_are_refused(served, tmp_path, name, change):
    from safetensors.numpy import save_file
    arrays, texts = open_arrays(served[0].path)
    arrays[name] = np.zeros(3, 'f4') if change is None else change(arrays[name])
    save_file({n: np.ascontiguousarray(array) for n, array in arrays.items()}, tmp_path/'bad', texts)
    with pytest.raises(ValueError, match='bad is not a file from save_served, or is damaged'):
        ServedModel(tmp_path/'bad')


@pytest.mark.parametrize('texts', [None, {'mean': 'abc'}, {'mean': 'nan'}])
def test_a_served_file_needs_a_mean(served, tmp_path, texts):
    from safetensors.numpy import save_file
    arrays, _ = open_arrays(served[0].path)
    save_file({n: np.ascontiguousarray(array) for n, array in arrays.items()}, tmp_path/'bad', texts)
    with pytest.raises(ValueError, match='save_served'):
        ServedModel(tmp_path/'bad')


def test_files_are_checked(served, tmp_path):
    model, tables, ratings = served
    content = model.path.read_bytes()
    for name, bad in {'cut': content[:5], 'short': content[:len(content)//2], 'text': b'hello'*99, 'empty': b'',
                      'last byte': content[:-1], 'longer': content + b'x'}.items():
        (tmp_path/name).write_bytes(bad)
        with pytest.raises(ValueError, match='damaged'):
            ServedModel(tmp_path/name)
    from safetensors.numpy import save_file
    save_file({'x': np.zeros(3, np.float32)}, tmp_path/'other')
    assert open_arrays(tmp_path/'other')[0]['x'].tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match='save_served'):
        ServedModel(tmp_path/'other')


def test_what_is_saved_is_checked(tmp_path):
    ratings = coded()
    tables, path = random_tables(ratings), tmp_path/'m.safetensors'
    with pytest.raises(ValueError, match='folder'):
        save_served(tmp_path/'no'/'m.safetensors', tables, ratings)
    with pytest.raises(ValueError, match='titles'):
        save_served(path, tables, ratings, ['one'])
    with pytest.raises(ValueError, match='larger than'):
        save_served(path, tables, CodedRatings(ratings.users, ratings.items, ratings.halves, ratings.user_ids[::-1], ratings.item_ids))
    with pytest.raises(ValueError, match='grouped by user'):
        save_served(path, tables, CodedRatings(ratings.users[::-1], ratings.items, ratings.halves, ratings.user_ids, ratings.item_ids))
    with pytest.raises(ValueError, match='codes of the items'):
        save_served(path, tables, CodedRatings(ratings.users, ratings.items + 1, ratings.halves, ratings.user_ids, ratings.item_ids))
    with pytest.raises(ValueError, match='same length'):
        save_served(path, SimpleNamespace(mean=3.5, users=tables.users, items=tables.items[:,:-1]), ratings)
    with pytest.raises(ValueError, match='NaN'):
        save_served(path, SimpleNamespace(mean=np.nan, users=tables.users, items=tables.items), ratings)
    tables.items[3, 2] = np.nan
    with pytest.raises(ValueError, match='NaN'):
        save_served(path, tables, ratings)
    assert not path.exists()


def learner(tables, ratings):
    "The tables as a model with names"
    zero = np.zeros((1, tables.users.shape[1]), np.float32)
    items = np.r_[zero, tables.items]
    items[:,0] += np.float32(tables.mean)
    model = model_from_tables(np.r_[zero, tables.users], items)
    return NamedModel(model, ratings.user_ids.tolist(), ratings.item_ids.tolist(), 'user', 'item')


@pytest.mark.parametrize('l2, at_once', [(8., 2**17), (.5, 50), ([1., 2, 3, 4, 5, 6], 1)])
def test_many_fold_ins_equal_fold_in(l2, at_once):
    ratings = coded()
    tables = random_tables(ratings)
    answers = pd.DataFrame({'user': ratings.users, 'item': ratings.item_ids[ratings.items], 'rating': ratings.stars})
    answers = answers.pivot(index='user', columns='item', values='rating')
    rows = fold_in_many(tables, ratings, np.broadcast_to(l2, (60, 6)) if np.ndim(l2) else l2, at_once=at_once)
    np.testing.assert_allclose(rows[:59], fold_in(learner(tables, ratings), answers, l2=l2), atol=2e-5)
    np.testing.assert_allclose(rows[59], tables.users.mean(axis=0), atol=1e-6) # no ratings: the prior


def test_each_user_can_have_a_penalty_and_a_prior():
    ratings = coded()
    tables = random_tables(ratings)
    penalty = np.linspace(1, 50, 60)
    prior = np.arange(6.)
    rows = fold_in_many(tables, ratings, penalty, prior)
    for user in (0, 30, 59):
        alone = only_users(ratings, np.arange(60) == user)
        np.testing.assert_allclose(rows[user], fold_in_many(tables, alone, penalty[user], prior)[0], atol=1e-9)


@pytest.mark.parametrize('change, message', [
    (dict(l2=0), 'above 0'), (dict(l2=-1.), 'above 0'), (dict(prior=[1, 2]), 'one row')])
def test_fold_in_many_checks_its_arguments(change, message):
    ratings = coded()
    with pytest.raises(ValueError, match=message):
        fold_in_many(random_tables(ratings), ratings, **change)


def test_fold_in_many_checks_the_codes():
    ratings = coded()
    tables = random_tables(ratings)
    unsorted = CodedRatings(ratings.users[::-1], ratings.items, ratings.halves, ratings.user_ids, ratings.item_ids)
    with pytest.raises(ValueError, match='grouped by user'):
        fold_in_many(tables, unsorted)
    tables.items = tables.items[:100]
    with pytest.raises(ValueError, match='codes of the items'):
        fold_in_many(tables, ratings)


def test_some_users_get_new_codes():
    ratings = coded()
    chosen = np.arange(60) % 3 == 1
    some = only_users(ratings, chosen)
    assert some.user_ids.tolist() == ratings.user_ids[chosen].tolist()
    keep = chosen[ratings.users]
    assert some.user_ids[some.users].tolist() == ratings.user_ids[ratings.users[keep]].tolist()
    assert some.items.tolist() == ratings.items[keep].tolist()
    with pytest.raises(ValueError, match='True or False'):
        only_users(ratings, np.arange(5))


def test_eight_bits_are_off_by_at_most_half_a_step():
    table = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
    table[:,2] = 0
    small, step = to_int8(table)
    assert small.dtype == np.int8 and np.abs(small[:,[0, 1, 3, 4]]).max() == 127
    assert (np.abs(small*step - table) <= .5001*step).all()
    for bad in (np.nan, np.inf):
        table[7, 1] = bad
        with pytest.raises(ValueError, match='NaN'):
            to_int8(table)


def test_a_server_imports_neither_torch_nor_pandas():
    code = 'import sys, collab_course.further.serving; print(*sys.modules)'
    found = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.split()
    assert 'numpy' in found and not {'torch', 'pandas', 'scipy', 'fastai', 'pyarrow', 'polars'} & set(found)


def test_the_benchmark_runs_on_few_ratings():
    command = [sys.executable, ROOT/'tests'/'benchmarks'/'bench_full.py', '--ratings', '20000', '--methods', 'ALS, torch']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [row] = [line.split() for line in done.stdout.splitlines() if line.startswith('ALS, torch')]
    assert .6 < float(row[-1]) < 1.1
