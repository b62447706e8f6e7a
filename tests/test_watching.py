"Watches are split by time, metrics of lists agree with libraries, and the baselines do what they say"
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array, csr_matrix
from sklearn.linear_model import Ridge
from sklearn.metrics import average_precision_score, ndcg_score, precision_score, recall_score
from sklearn.metrics.pairwise import cosine_similarity
from test_models import refused

from collab_course.further.watching import (
    best_unseen, ease, ease_weights, item_knn, item_similarities, latest_watches, list_metrics,
    list_metrics_by_user, popularity, recent_popularity, split_watches)

N_USERS, N_ITEMS = 40, 60


@pytest.fixture(scope='module')
def watches():
    "Few time stamps, so that many are equal; some pairs are there twice"
    rng = np.random.default_rng(0)
    n = 900
    table = pd.DataFrame({'who': rng.integers(0, N_USERS, n), 'what': rng.integers(0, N_ITEMS, n)})
    table['what'] = 'movie ' + table['what'].astype(str).str.zfill(2)
    table['when'] = pd.Timestamp('2020-01-01') + pd.to_timedelta(rng.integers(0, 200, n), 'D')
    return table


@pytest.fixture(scope='module')
def split(watches):
    return split_watches(watches, time_name='when')


def random_case(seed, n_users=30, n_items=25, k=7):
    "Scores without ties, and sparse tables of what was seen and of what is relevant"
    rng = np.random.default_rng(seed)
    scores = rng.random((n_users, n_items))
    seen = rng.random(scores.shape) < .3
    relevant = (rng.random(scores.shape) < .2) & ~seen
    relevant[0] = False # this user has nothing relevant
    return scores, csr_matrix(seen.astype(float)), csr_matrix(relevant.astype(float)), k


# --- the split

def test_parts_are_disjoint_and_complete(watches, split):
    parts = [split.train, split.valid, split.test]
    whole = pd.concat(parts)
    assert not whole.duplicated(['who', 'what']).any()
    assert len(whole) == len(watches.drop_duplicates(['who', 'what']))
    for part in parts:
        assert part.equals(part.sort_values(['who', 'when', 'what'], kind='stable'))
        assert list(part.columns) == ['who', 'what', 'when']


def test_each_user_goes_from_train_to_valid_to_test(split):
    for before, after in (('train', 'valid'), ('valid', 'test')):
        last = getattr(split, before).groupby('who')['when'].max()
        first = getattr(split, after).groupby('who')['when'].min()
        assert (first >= last.reindex(first.index)).all() and len(first) == len(split.users)


def test_shares(split):
    n = pd.concat([split.train, split.valid, split.test]).groupby('who').size()
    assert (split.test.groupby('who').size() == (.2*n + 1e-9).astype(int).clip(lower=1)).all()
    assert (split.valid.groupby('who').size() == (.1*n + 1e-9).astype(int).clip(lower=1)).all()


def test_equal_times_are_in_the_order_of_the_items_whatever_the_order_of_rows(watches, split):
    other = split_watches(watches.sample(frac=1, random_state=1), time_name='when')
    for part in ('train', 'valid', 'test'):
        pd.testing.assert_frame_equal(getattr(other, part), getattr(split, part))
    same = watches.assign(when=0)
    by_name = split_watches(same, time_name='when')
    last = by_name.train.groupby('who')['what'].max()
    assert (by_name.test.groupby('who')['what'].min() > last).all()


def test_a_pair_counts_once_when_it_was_first_watched(watches):
    first = watches.groupby(['who', 'what'])['when'].min()
    parts = split_watches(watches, time_name='when')
    whole = pd.concat([parts.train, parts.valid, parts.test]).set_index(['who', 'what'])['when']
    assert whole.sort_index().equals(first.sort_index())


@pytest.mark.parametrize('shares', [(.1, .2), (.45, .45), (.1, .85), (0, .2), (.1, 0), (0, 0)])
@pytest.mark.parametrize('n', [1, 2, 3, 4, 30])
def test_every_user_keeps_a_watch_for_training(n, shares):
    table = pd.DataFrame({'user': 1, 'title': range(n), 'timestamp': range(n)})
    parts = split_watches(table, *shares)
    sizes = [len(parts.train), len(parts.valid), len(parts.test)]
    assert sizes[0] >= 1 and sum(sizes) == n
    for size, share in zip(sizes[1:], shares):
        assert (size > 0) == (share > 0 and n > sum(share > 0 for share in shares))


def test_the_matrix_has_a_one_for_each_watch(split):
    X = split.matrix('train', 'valid')
    assert isinstance(X, csr_matrix) and X.dtype == np.float32
    assert X.shape == (len(split.users), len(split.items)) and (X.data == 1).all()
    assert X.sum() == len(split.train) + len(split.valid)
    row = split.train.iloc[5]
    assert X[split.users.get_loc(row['who']), split.items.get_loc(row['what'])] == 1
    assert split.matrix().sum() == split.matrix('train', 'valid', 'test').sum()
    assert split.matrix('train', 'train').max() == 1
    assert not split.matrix('test').multiply(X).nnz


def test_names_are_sorted_and_keep_their_kind(split):
    assert split.users.is_monotonic_increasing and split.users.name == 'who'
    assert split.items.is_monotonic_increasing and split.items.name == 'what'
    assert pd.api.types.is_integer_dtype(split.users)


def test_bad_tables_get_a_sentence(watches, split):
    refused(lambda: split_watches(5), 'DataFrame')
    refused(lambda: split_watches(watches), 'timestamp')
    refused(lambda: split_watches(watches, item_name='title', time_name='when'), 'title')
    refused(lambda: split_watches(watches.head(0), time_name='when'), 'empty')
    refused(lambda: split_watches(watches.assign(when='soon'), time_name='when'), 'when', 'date')
    refused(lambda: split_watches(watches.assign(when=pd.NaT), time_name='when'), 'when')
    refused(lambda: split_watches(watches.assign(what=np.nan), time_name='when'), 'what')
    refused(lambda: split_watches(watches, .5, .5, time_name='when'), 'less than 1')
    refused(lambda: split_watches(watches, -.1, time_name='when'), 'valid')
    refused(lambda: split.matrix('training'), 'training')


# --- lists

def test_lists_hold_the_best_unseen_items():
    scores, seen, _, k = random_case(0)
    lists = best_unseen(scores, seen, k)
    for u, row in enumerate(lists):
        left = np.flatnonzero(seen.toarray()[u] == 0)
        assert row.tolist() == left[np.argsort(-scores[u, left], kind='stable')][:k].tolist()


def test_ties_are_in_the_order_of_the_items():
    seen = csr_matrix(np.array([[0, 1, 0, 0], [0, 0, 0, 0]]))
    assert best_unseen(np.ones((2, 4)), seen, 3).tolist() == [[0, 2, 3], [0, 1, 2]]


def test_a_list_ends_where_no_item_is_left():
    seen = csr_matrix(np.array([[1, 0, 1], [0, 0, 0]]))
    scores = np.array([[3., 2, 1], [-np.inf, 1, 2]])
    assert best_unseen(scores, seen, 3).tolist() == [[1, -1, -1], [2, 1, -1]]
    assert scores[0, 0] == 3 # the input isn't changed
    assert best_unseen(scores, seen, 10).shape == (2, 3)


def test_bad_scores_get_a_sentence():
    scores, seen, *_ = random_case(0)
    refused(lambda: best_unseen(scores[:, 1:], seen), 'shape')
    refused(lambda: best_unseen(np.full_like(scores, np.nan), seen), 'NaN')
    refused(lambda: best_unseen(scores, seen, k=0), 'k must')


# --- metrics

@pytest.mark.parametrize('k', [1, 7, 25])
@pytest.mark.parametrize('seed', range(3))
def test_metrics_agree_with_scikit_learn(seed, k):
    scores, seen, relevant, _ = random_case(seed)
    seen = csr_matrix(seen.multiply(0)) if k == 25 else seen
    ours = list_metrics_by_user(best_unseen(scores, seen, k), relevant, seen)
    for u, row in ours.iterrows():
        left = seen.toarray()[u] == 0
        truth, preds = relevant.toarray()[u, left] > 0, scores[u, left]
        listed = np.zeros(len(preds), bool)
        listed[np.argsort(-preds, kind='stable')[:k]] = True
        assert row['precision'] == pytest.approx(precision_score(truth, listed))
        assert row['recall'] == pytest.approx(recall_score(truth, listed))
        assert row['nDCG'] == pytest.approx(ndcg_score([truth], [preds], k=k))
        if k == 25: # scikit-learn has no MAP at k
            assert row['MAP'] == pytest.approx(average_precision_score(truth, preds))


@pytest.mark.parametrize('k', [1, 7])
def test_metrics_agree_with_implicit(k):
    evaluation = pytest.importorskip('implicit.evaluation')

    class Fixed:
        "A model for `implicit` that recommends lists which are known"
        def __init__(self, lists):
            self.lists = lists

        def recommend(self, users, *_, N, **__):
            return self.lists[users, :N].astype(np.int32), None

    scores, seen, relevant, _ = random_case(4)
    lists = best_unseen(scores, seen, k)
    theirs = evaluation.ranking_metrics_at_k(
        Fixed(lists), seen, relevant, K=k, show_progress=False, num_threads=1)
    ours = list_metrics_by_user(lists, relevant, seen)
    assert theirs['ndcg'] == pytest.approx(ours['nDCG'].mean())
    assert theirs['map'] == pytest.approx(ours['MAP'].mean())
    n_relevant = np.diff(relevant.indptr)[ours.index]
    hits, best = ours['precision'].sum()*k, np.minimum(n_relevant, k).sum()
    assert theirs['precision'] == pytest.approx(hits/best) # of all users together, at most 1


def test_the_course_has_one_precision_recall_and_ndcg():
    from collab_course.evaluation import ranking_metrics
    scores, seen, relevant, k = random_case(5)
    lists = best_unseen(scores, seen, k)
    ours = list_metrics_by_user(lists, relevant, seen)
    wanted = relevant.toarray()[ours.index] > 0
    of_evaluate = ranking_metrics(np.take_along_axis(wanted, lists[ours.index], axis=1), wanted.sum(axis=1))
    np.testing.assert_allclose(ours[of_evaluate.columns], of_evaluate)


def test_map_by_hand():
    lists = np.array([[0, 1, 2, 3]])
    relevant, seen = csr_matrix([[1, 0, 1, 0, 1]]), csr_matrix((1, 5))
    assert list_metrics(lists, relevant, seen)['MAP'] == pytest.approx((1 + 2/3)/3)
    few = list_metrics(lists[:, :2], relevant, seen) # three are relevant, two can be listed
    assert few['MAP'] == pytest.approx(1/2) and few['recall'] == pytest.approx(1/3)


def test_coverage_and_novelty_by_hand():
    seen = csr_matrix([[1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]])
    lists = np.array([[2, -1], [1, 2], [3, 2], [1, -1]])
    relevant = csr_matrix([[0, 0, 1, 0, 0], [0]*5, [0]*5, [0]*5])
    metrics = list_metrics(lists, relevant, seen)
    assert metrics['coverage'] == 3/5 # also of users who have nothing relevant
    novelty = [-np.log2(1/4)]*4 + [-np.log2(2/4)]*2
    assert metrics['novelty'] == pytest.approx(np.mean(novelty))
    assert metrics['precision'] == 1/2 and metrics['recall'] == metrics['nDCG'] == 1


def test_users_without_a_relevant_item_are_left_out():
    scores, seen, relevant, k = random_case(1)
    lists = best_unseen(scores, seen, k)
    by_user = list_metrics_by_user(lists, relevant, seen)
    assert 0 not in by_user.index and by_user.index.is_unique
    assert list_metrics(lists, relevant, seen)['recall'] == by_user['recall'].mean()
    none = list_metrics(lists, csr_matrix(relevant.shape), seen)
    assert none[['precision', 'recall', 'nDCG', 'MAP']].isna().all() and none['coverage'] > 0


def test_seen_items_are_no_candidates_even_if_relevant():
    seen, lists = csr_matrix([[1, 0, 0]]), np.array([[1]])
    assert list_metrics(lists, csr_matrix([[1, 1, 0]]), seen)['recall'] == 1
    refused(lambda: list_metrics(np.array([[0]]), csr_matrix([[1, 1, 0]]), seen), 'seen')


def test_bad_lists_get_a_sentence():
    scores, seen, relevant, k = random_case(2)
    lists = best_unseen(scores, seen, k)
    refused(lambda: list_metrics(lists[:-1], relevant, seen), 'row')
    refused(lambda: list_metrics(lists, relevant[:, :-1], seen), 'column')
    refused(lambda: list_metrics(lists + 100, relevant, seen), 'below 25')
    refused(lambda: list_metrics(lists.astype(float), relevant, seen), 'item numbers')
    refused(lambda: list_metrics(lists[:, [0, 0]], relevant, seen), 'twice')


# --- baselines

def test_popularity_counts_users(split):
    scores, X = popularity(split.matrix('train')), split.matrix('train').toarray()
    assert (scores == X.sum(axis=0)).all() and scores.shape == X.shape


@pytest.mark.parametrize('days', [0, 20, 1000])
def test_recent_popularity_counts_up_to_the_last_watch_of_the_user(split, days):
    scores = recent_popularity(split, days, ('train', 'valid'))
    known = pd.concat([split.train, split.valid])
    for u, user in enumerate(split.users):
        now = known.loc[known['who'] == user, 'when'].max()
        window = known[(known['when'] <= now) & (known['when'] >= now - pd.Timedelta(days=days))]
        count = window['what'].value_counts(sort=False).reindex(split.items).fillna(0)
        assert scores[u].tolist() == count.tolist()


def test_recent_popularity_takes_numbers_as_time(watches):
    days = (watches['when'] - watches['when'].min()).dt.days
    dates, numbers = (split_watches(watches.assign(when=when), time_name='when')
                      for when in (watches['when'], days))
    assert (recent_popularity(dates, 30) == recent_popularity(numbers, 30)).all()


def test_item_knn_agrees_with_scikit_learn(split):
    X = split.matrix('train')
    cosine = cosine_similarity(X.T.toarray())
    np.fill_diagonal(cosine, 0)
    np.testing.assert_allclose(item_knn(X, N_ITEMS, 0), X @ cosine, atol=1e-5)
    one = item_knn(X[:1], 1, 0)
    assert (one >= 0).all()


def test_item_knn_keeps_the_nearest_and_shrinks():
    X = csr_matrix(np.array([[1, 1, 0], [1, 1, 0], [1, 0, 1], [0, 0, 1]], dtype=float))
    cosine = np.array([[0, 2/6**.5, 0], [2/6**.5, 0, 0], [1/6**.5, 0, 0]])
    # each column keeps one neighbor: items 1, 0 and 0
    cosine[:, 2] = [1/6**.5, 0, 0]
    cosine[2, 0] = 0
    np.testing.assert_allclose(item_knn(X, 1, 0), X.toarray() @ cosine, atol=1e-8)
    assert (item_knn(X, 2, 10) < item_knn(X, 2, 0) + 1e-12).all()


def test_ease_is_a_ridge_regression_of_each_item_on_the_others(split):
    X = split.matrix('train').toarray().astype(float)
    B = ease_weights(csr_array(X), 5.)
    for j in (0, 7, 31):
        others = np.delete(np.arange(N_ITEMS), j)
        ridge = Ridge(alpha=5., fit_intercept=False, solver='cholesky').fit(X[:, others], X[:, j])
        np.testing.assert_allclose(B[others, j], ridge.coef_, atol=1e-8)
    assert (B.diagonal() == 0).all()
    np.testing.assert_allclose(ease(csr_matrix(X), 5.), X @ B, atol=1e-8)


@pytest.mark.parametrize('share', [.01, .3, 1])
@pytest.mark.parametrize('parts', [['train'], ['train', 'valid']])
def test_latest_watches_are_the_last_ones(split, share, parts):
    latest = latest_watches(split, share, parts).toarray()
    known = pd.concat([getattr(split, part) for part in parts])
    known = known.sort_values(['who', 'when', 'what'], kind='stable')
    for u, user in enumerate(split.users):
        own = known.loc[known['who'] == user, 'what'].tolist()
        last = own[-int(np.ceil(share*len(own) - 1e-9)):]
        assert set(split.items[latest[u] > 0]) == set(last)
    if share == 1:
        assert (latest == split.matrix(*parts).toarray()).all()


def test_scores_are_what_was_watched_times_the_weights(split):
    X = split.matrix('train')
    np.testing.assert_allclose(item_knn(X, 9, 3), X @ item_similarities(X, 9, 3), atol=1e-8)
    assert ((item_similarities(X, 9, 3) > 0).sum(axis=0) <= 9).all()


def test_items_with_the_same_watchers_tie(split):
    X = split.matrix('train').toarray()
    X[:, 41] = X[:, 17]
    for scores in (ease(csr_matrix(X), 20.), item_knn(csr_matrix(X), N_ITEMS, 5)):
        neither = (X[:, 17] == 0)
        assert (scores[neither, 17] == scores[neither, 41]).all()


def test_bad_settings_get_a_sentence(split):
    X = split.matrix('train')
    refused(lambda: ease(X, 0), 'l2')
    refused(lambda: ease(X, -1), 'l2')
    refused(lambda: item_knn(X, 0), 'n_neighbors')
    refused(lambda: item_knn(X, 5, -1), 'shrink')
    refused(lambda: recent_popularity(split, -1), 'days')
    refused(lambda: latest_watches(split, 0), 'share')
    refused(lambda: latest_watches(split, 1.5), 'share')
    refused(lambda: latest_watches(split, .5, 'training'), 'training')
    refused(lambda: recent_popularity(split, 30, ('training',)), 'training')
