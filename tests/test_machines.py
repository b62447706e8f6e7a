"Many machines: Spark's factors and metric are ours, processes end, and what two of them compute is what one computes"
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from collab_course.further import machines
from collab_course.further.machines import (
    ShardedEmbedding, Team, als_part, average_all, batch_gradients, filled, fit_copied, half_sweeps, java_version, look_up_all, mean_tables,
    part_solver, place, read_ratings, save_sides, shipped_rows, spark_als, spark_missing, spark_rmse, spark_tables, start_spark, stop_spark, write_ratings)
from collab_course.further.millions import CodedRatings
from collab_course.further.sweeps import sweep_als, tables_rmse

SIZES = 60, 40


def some_ratings(n=900, seed=0):
    "Ratings with two factors; the last movie has none, and the last user has one"
    rng = np.random.default_rng(seed)
    pairs = rng.permutation((SIZES[0] - 1)*(SIZES[1] - 1))[:n]
    users, items = np.divmod(np.append(np.sort(pairs), (SIZES[0] - 1)*(SIZES[1] - 1)), SIZES[1] - 1)
    factors = [rng.normal(size=(size, 2)) for size in SIZES]
    halves = np.clip(np.round(7 + 2*(factors[0][users]*factors[1][items]).sum(axis=1)), 1, 10)
    return CodedRatings(users.astype(np.int32), items.astype(np.int32), halves.astype(np.uint8), np.arange(SIZES[0]) + 100,
                        np.arange(SIZES[1]) + 1000)


RATINGS = some_ratings()


def a_batch(n=64, seed=0):
    rng = np.random.default_rng(seed)
    x = np.stack([rng.integers(size, size=n) for size in SIZES], axis=1)
    return torch.from_numpy(x), torch.from_numpy(rng.normal(size=n).astype(np.float32))


@pytest.fixture(scope='module')
def team():
    with Team(2, timeout=100) as team:
        yield team


def test_a_team_answers_in_order_and_can_be_asked_again(team):
    assert team.run(place) == [(0, 2), (1, 2)]
    assert team.run(place) == [(0, 2), (1, 2)]
    assert place() == (0, 1)


@pytest.mark.parametrize('how', ['copied', 'divided'])
def test_gradients_of_two_processes_are_those_of_one(team, how):
    x, y = a_batch()
    expected = batch_gradients('one', x, y, *SIZES, n_factors=5)
    for grads in team.run(batch_gradients, how, x, y, *SIZES, n_factors=5):
        for grad, right in zip(grads, expected):
            # sums of 64 numbers in another order
            torch.testing.assert_close(grad, right, rtol=1e-5, atol=1e-7)


def test_a_user_without_ratings_in_the_batch_is_no_problem(team):
    x, y = a_batch()
    x[:,0] = 0 # all of the batch is for the first process
    expected = batch_gradients('one', x, y, *SIZES, n_factors=5)
    for grads in team.run(batch_gradients, 'divided', x, y, *SIZES, n_factors=5):
        for grad, right in zip(grads, expected):
            torch.testing.assert_close(grad, right, rtol=1e-5, atol=1e-7)


def look_up(table, idx):
    "Rows and the whole table, from a divided one"
    layer = ShardedEmbedding(table)
    return layer(idx).detach(), layer.whole(), len(layer.weight)


@pytest.mark.parametrize('idx', [[0, 6, 3, 3, 0], [5], []])
def test_a_divided_table_returns_the_rows_in_order(team, idx, monkeypatch):
    table, idx = torch.arange(14.).reshape(7, 2), torch.tensor(idx, dtype=torch.int64)
    found = team.run(look_up, table, idx)
    assert [n for _, _, n in found] == [4, 3]
    for rows, whole, _ in found:
        torch.testing.assert_close(rows, table[idx])
        torch.testing.assert_close(whole, table)


def test_als_in_two_processes_finds_the_tables_of_one(team, tmp_path):
    path = save_sides(RATINGS, tmp_path)
    mean = float(RATINGS.stars.mean(dtype=np.float64))
    expected = sweep_als(RATINGS, 4, .05, sweeps=3, engine='torch')
    for part in team.run(als_part, path, mean, n_factors=4, l2=.05, sweeps=3, engine='torch'):
        np.testing.assert_allclose(part['tables'].users, expected.users, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(part['tables'].items, expected.items, rtol=1e-3, atol=1e-4)


def solver_threads():
    "How many threads numba uses, and how many it may use"
    part_solver('numba')
    import numba
    return numba.get_num_threads(), numba.config.NUMBA_NUM_THREADS


def test_als_uses_the_threads_of_its_process(team):
    pytest.importorskip('numba')
    for threads in (2, 1):
        team.run(torch.set_num_threads, threads)
        for used, most in team.run(solver_threads):
            assert used == min(threads, most)


RATED = pd.DataFrame({'user': RATINGS.users, 'item': RATINGS.items, 'rating': RATINGS.stars})


def test_fastai_trains_each_process_on_its_half_of_a_batch(team):
    alone = fit_copied(RATED, 'one', bs=64)
    assert alone['n_rows'] == len(RATED)*4//5//64*64
    for part in team.run(fit_copied, RATED, bs=64):
        assert part['n_rows'] == alone['n_rows']/2
        np.testing.assert_allclose(part['preds'], alone['preds'], rtol=1e-3)


def test_accelerate_trains_each_process_on_its_half_of_the_ratings():
    pytest.importorskip('accelerate')
    with Team(2, timeout=100) as others:
        parts = others.run(fit_copied, RATED, 'accelerate', bs=32)
    assert [part['n_rows'] for part in parts] == [len(RATED)*4//5//64*32]*2
    np.testing.assert_array_equal(parts[0]['preds'], parts[1]['preds'])


@pytest.mark.skipif(not os.path.exists('/proc/self/io'), reason='only Linux counts what a process writes')
def test_bytes_are_as_the_formulas_say(team):
    dense = 4*33*5000
    for sent in team.run(average_all, 5000):
        assert dense <= sent['bytes'] < 1.02*dense
    for sent in team.run(look_up_all, 5000, n_lookups=3000):
        assert sent['bytes'] == pytest.approx(sent['n_touched']/2*(8 + 2*4*33), rel=.05)


def test_an_error_is_told_and_ends_the_team():
    team = Team(2, timeout=60)
    processes = list(team.processes)
    with pytest.raises(RuntimeError, match='A process failed: .*negative'):
        team.run(time.sleep, -1)
    assert not any(process.is_alive() for process in processes)
    with pytest.raises(RuntimeError, match='This team is closed'):
        team.run(place)


def test_a_team_does_not_wait_forever():
    team = Team(1, timeout=60)
    team.run(place)
    team.timeout, processes = .5, list(team.processes)
    with pytest.raises(TimeoutError, match='No answer within 0.5 seconds'):
        team.run(time.sleep, 30)
    assert not any(process.is_alive() for process in processes)


def test_a_process_that_dies_is_noticed():
    with Team(1, timeout=60) as team:
        with pytest.raises(RuntimeError, match='ended before it had an answer'):
            team.run(os._exit, 3)


def test_a_function_of_a_notebook_is_refused_before_it_is_sent(team):
    def mine():
        return 1
    mine.__module__ = '__main__'
    with pytest.raises(ValueError, match='Move mine to a file'):
        team.run(mine)
    assert team.run(place) == [(0, 2), (1, 2)] # the team still works


@pytest.mark.parametrize('n', [0, 1.5, 'two'])
def test_a_team_needs_a_number_of_processes(n):
    with pytest.raises(ValueError, match='n must be a whole number'):
        Team(n)


@pytest.mark.parametrize('says, version', [('openjdk version "17.0.15" 2025', 17), ('java version "1.8.0_372"', 8),
                                           ('openjdk version "21-ea"', 21), ('no idea', None)])
def test_javas_version_is_read(monkeypatch, says, version):
    monkeypatch.setattr(machines.shutil, 'which', lambda name, path=None: name)
    monkeypatch.setattr(machines.subprocess, 'run', lambda *args, **kwargs: SimpleNamespace(stderr=says))
    assert java_version() == version


def test_what_spark_lacks_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pyspark', None)
    assert 'pip install -e ".[spark]"' in spark_missing()
    with pytest.raises(RuntimeError, match='PySpark is missing'):
        start_spark()


@pytest.mark.parametrize('version, found', [(None, 'there is none'), (11, 'this one is Java 11')])
def test_spark_4_needs_java_17(monkeypatch, version, found):
    monkeypatch.setitem(sys.modules, 'pyspark', SimpleNamespace(__version__='4.1.0'))
    monkeypatch.setattr(machines, 'java_version', lambda: version)
    assert found in spark_missing() and 'Java 17' in spark_missing()


@pytest.mark.parametrize('master, mine', [('local[3]', True), ('spark://10.0.0.1:7077', False)])
def test_spark_gets_the_master_and_only_its_own_machine_gets_our_address_and_folder(monkeypatch, tmp_path, master, mine):
    monkeypatch.setattr(machines, 'spark_missing', lambda: None)
    monkeypatch.setattr(machines, 'launch_spark', lambda settings, path: settings)
    settings = start_spark(master, memory='3g', path=tmp_path)
    assert settings['spark.master'] == master and settings['spark.driver.memory'] == '3g'
    for name in ('spark.driver.host', 'spark.driver.bindAddress', 'spark.local.dir'):
        assert (name in settings) == mine


def test_a_row_is_shipped_to_each_block_once():
    users, items = np.array([0, 0, 0, 1, 2]), np.array([0, 2, 1, 4, 3])
    assert shipped_rows(users, items, 4, n_blocks=1) == 3
    assert shipped_rows(users, items, 4, n_blocks=2) == 4
    assert shipped_rows(users, items, 4, n_blocks=5) == 5


def test_a_log_that_is_still_written_can_be_read(tmp_path):
    stage = {'Stage Name': 'flatMap at ALS.scala:1782', 'Submission Time': 1000, 'Completion Time': 3500,
             'Accumulables': [{'Name': 'internal.metrics.shuffle.write.bytesWritten', 'Value': 2_000_000}]}
    events = [{'Event': 'SparkListenerStageCompleted', 'Stage Info': stage},
              {'Event': 'SparkListenerStageCompleted', 'Stage Info': stage | {'Stage Name': 'count at ALS.scala:1'}},
              {'Event': 'SparkListenerJobEnd'}]
    (tmp_path/'events').mkdir()
    (tmp_path/'events'/'log').write_text('\n'.join(map(json.dumps, events)) + '\n{"Event": "Spark')
    assert half_sweeps(tmp_path).to_numpy().tolist() == [[2.5, 2.]]


@pytest.mark.parametrize('ending', ['parquet', 'csv'])
def test_files_hold_all_ratings(monkeypatch, tmp_path, ending):
    if ending == 'csv':
        monkeypatch.setitem(sys.modules, 'pyarrow', None)
    else:
        pytest.importorskip('pyarrow')
    offset = np.linspace(0, 1, len(RATINGS)).astype(np.float32)
    files = sorted(write_ratings(RATINGS, tmp_path, n_pieces=3, offset=offset).iterdir())
    assert [file.name for file in files] == [f'{piece}.{ending}' for piece in range(3)]
    names = ['user', 'item', 'rating']
    monkeypatch.undo()
    tables = [pd.read_parquet(file) if ending == 'parquet' else pd.read_csv(file, names=names) for file in files]
    table = pd.concat(tables)
    np.testing.assert_array_equal(table[names[:2]], np.stack([RATINGS.users, RATINGS.items], axis=1))
    np.testing.assert_allclose(table['rating'], RATINGS.stars - offset, atol=1e-6)


def test_means_shrink_and_fill(tmp_path):
    means = mean_tables(RATINGS, 3, shrink=0)
    np.testing.assert_allclose(means.mean + means.items[:-1,0],
                               pd.Series(RATINGS.stars).groupby(RATINGS.items).mean(), rtol=1e-5)
    assert means.items[-1,0] == 0 and not means.items[:,1:].any()


@pytest.mark.skipif(spark_missing() is not None, reason='needs Spark and Java')
def test_spark_solves_our_equations_and_its_metric_is_ours(tmp_path):
    l2, held_out = .1, some_ratings(seed=1)
    held_out.items[:5] = SIZES[1] - 1 # the movie without a training rating
    spark = start_spark('local[1]', memory='1g', path=tmp_path/'with space')
    try:
        assert spark.sparkContext.master == 'local[1]'
        with pytest.raises(RuntimeError, match='running already'):
            start_spark()
        fitted = spark_als(read_ratings(spark, write_ratings(RATINGS, tmp_path/'train')), 3, l2, sweeps=4, n_blocks=2)
        tables = spark_tables(fitted, *SIZES)
        theirs = spark_rmse(fitted, read_ratings(spark, write_ratings(held_out, tmp_path/'valid')))
    finally:
        stop_spark(spark)
    assert np.isnan(tables.items[-1]).all() and not np.isnan(tables.items[:-1]).any()
    preds = tables.predict(held_out.users, held_out.items)
    known = held_out.items < SIZES[1] - 1
    np.testing.assert_array_equal(np.isnan(preds), ~known)
    assert theirs == pytest.approx(np.sqrt(np.mean((preds - held_out.stars)[known]**2)), abs=1e-5)
    for user in range(SIZES[0]): # the users are solved last: their rows belong to the items' rows
        its = RATINGS.users == user
        x, y = tables.items[RATINGS.items[its],1:].astype(float), RATINGS.stars[its]
        right = np.linalg.solve(x.T @ x + l2*len(y)*np.eye(3), x.T @ y)
        np.testing.assert_allclose(tables.users[user,1:], right, rtol=1e-3, atol=1e-3)
    complete = filled(tables, 3.5)
    assert np.isfinite(tables_rmse(complete, held_out))
    assert complete.predict(np.array([0]), np.array([SIZES[1] - 1])) == pytest.approx(3.5)


@pytest.mark.skipif(os.name == 'nt', reason='bash')
@pytest.mark.parametrize('pinned', [True, False])
def test_ci_needs_the_optional_libraries_on_the_pinned_python(tmp_path, pinned):
    root = Path(__file__).parents[1]
    text = (root/'.ci'/'run').read_text()
    install = text[text.index('# Optional libraries'):text.index('command -v java')]
    for name in ('settings.ini', 'scripts'):
        (tmp_path/name).symlink_to(root/name)
    version = '{}.{}'.format(*sys.version_info) if pinned else '3.0'
    (tmp_path/'constraints.txt').write_text(f'# Python {version}: x\ntorch==9\nnumba==9\n')
    python = tmp_path/'.venv'/'bin'/'python'
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nif [ "$2" != pip ]; then exec {sys.executable} "$@"; fi\n'
                      'echo "$@" >> calls; case "$*" in *numba*) exit 1;; esac\n')
    python.chmod(0o755)
    done = subprocess.run(['bash', '-c', f'set -euo pipefail\n{install}'], cwd=tmp_path, capture_output=True, text=True)
    calls = (tmp_path/'calls').read_text()
    assert 'not installed: numba' in done.stdout, done.stderr
    assert (done.returncode != 0) == pinned == ('-c constraints.txt' in calls) == ('pyspark' not in calls)
    assert ('torch==9' in calls) != pinned
