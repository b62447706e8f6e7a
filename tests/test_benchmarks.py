"Splits: every rating is in one of two parts, the test part is the one that was asked for, and bad input gets a sentence"
import numpy as np
import pandas as pd
import pytest

from collab_course.further.benchmarks import leave_out, split_by_time


def table(n=500, n_users=20, seed=0):
    "Ratings with equal times among them, and index labels that are no row numbers"
    rng = np.random.default_rng(seed)
    return pd.DataFrame({
        'user': rng.integers(0, n_users, n), 'title': rng.integers(0, 90, n), 'rating': rng.integers(1, 6, n),
        'timestamp': rng.integers(0, 40, n)}, index=rng.permutation(n) + 1000)


SPLITS = {'by time': split_by_time, 'random': leave_out, 'last': lambda ratings: leave_out(ratings, 3, 'last'),
          'block': lambda ratings: leave_out(ratings, 3, 'block')}


@pytest.mark.parametrize('name', SPLITS)
def test_each_rating_is_in_one_part_and_in_its_order(name):
    ratings = table()
    before = ratings.copy()
    train, test = SPLITS[name](ratings)
    parts = pd.concat([train, test])
    pd.testing.assert_frame_equal(parts.loc[ratings.index], ratings)
    pd.testing.assert_frame_equal(ratings, before)
    assert len(parts) == len(ratings) and len(test)
    for part in (train, test):
        assert part.index.equals(ratings.index[ratings.index.isin(part.index)])


def test_test_ratings_are_the_latest():
    ratings = table()
    train, test = split_by_time(ratings, .3)
    assert len(test) == 150
    assert train['timestamp'].max() <= test['timestamp'].min()
    train, test = leave_out(ratings, 4, 'last')
    assert (train.groupby('user')['timestamp'].max() <= test.groupby('user')['timestamp'].min()).all()
    assert (test.groupby('user').size() == 4).all()


def test_equal_times_keep_the_order_of_the_table():
    ratings = table().assign(timestamp=pd.Timestamp('2020-01-01'))
    assert split_by_time(ratings)[1].equals(ratings.iloc[400:])
    assert leave_out(ratings, 2, 'last')[1].sort_index().equals(ratings.groupby('user').tail(2).sort_index())


def test_the_seed_decides_the_random_choice():
    ratings = table()
    first, again, other = (leave_out(ratings, 3, seed=seed)[1].index for seed in (1, 1, 2))
    assert first.equals(again) and not first.equals(other)
    shares = pd.concat([leave_out(ratings, 3, seed=seed)[1]['timestamp'] for seed in range(40)])
    assert abs(shares.mean() - ratings['timestamp'].mean()) < 2 # neither early nor late ratings


def test_a_block_is_successive_and_starts_anywhere():
    ratings = table().assign(timestamp=np.random.default_rng(1).permutation(500))
    starts = set()
    for seed in range(300):
        _, test = leave_out(ratings, 5, 'block', seed=seed)
        place = ratings.groupby('user')['timestamp'].rank()[test.index].groupby(test['user'])
        assert (place.size() == 5).all() and (place.max() - place.min() == 4).all()
        starts |= set(place.min()[place.min().index == 0])
    assert starts == set(range(1, (ratings['user'] == 0).sum() - 3)) # the first and the last one, too
    assert leave_out(ratings, 5, 'block', seed=seed)[1].equals(test)


def test_users_with_few_ratings_stay_in_the_training_part():
    ratings = pd.DataFrame({'user': list('aaabbbbb'), 'timestamp': range(8)})
    train, test = leave_out(ratings, 3)
    assert set(test['user']) == {'b'} and len(test) == 3 and len(train) == 5


def test_repeated_index_labels_and_other_names_work():
    ratings = table().set_axis([7]*500).rename(columns={'user': 'who', 'timestamp': 'when'})
    assert len(split_by_time(ratings, time_name='when')[1]) == 100
    test = leave_out(ratings, 2, 'last', user_name='who', time_name='when')[1]
    assert (test.groupby('who').size() == 2).all()
    assert len(leave_out(ratings.drop(columns='when'), 2, user_name='who')[1]) == 2*ratings['who'].nunique()


@pytest.mark.parametrize('call, message', [
    (lambda r: split_by_time(r, 0), 'leaves no rating'), (lambda r: split_by_time(r, 1), 'leaves no rating'),
    (lambda r: split_by_time(r, -1), 'valid_pct must be'), (lambda r: split_by_time(r, '20%'), 'valid_pct must be'),
    (lambda r: split_by_time(r, time_name='date'), "No column 'date'"), (lambda r: split_by_time(r.to_numpy()), 'DataFrame'),
    (lambda r: split_by_time(r.assign(timestamp=np.nan)), 'is empty'), (lambda r: leave_out(r.to_numpy()), 'DataFrame'),
    (lambda r: leave_out(r, 0), 'n_test must be'), (lambda r: leave_out(r, 1.5), 'n_test must be'),
    (lambda r: leave_out(r, how='first'), "'random', 'last' or 'block'"), (lambda r: leave_out(r, user_name='name'), "No column 'name'"),
    (lambda r: leave_out(r.assign(user=np.nan)), 'is empty'), (lambda r: leave_out(r, 500), 'more than 500')])
def test_bad_input_gets_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call(table())
