"Two stages: an index that may skip items but never invents one, distances for dot products, and honest sessions"
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from collab_course.further.two_stages import InvertedFile, augment, in_new_sessions, item_vectors, rerank


def some_vectors(n=400, n_factors=6, seed=0):
    "Vectors of very different lengths"
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, n_factors))*rng.lognormal(size=(n, 1))


def best(vectors, query, k=10):
    return (-vectors @ query).argsort(kind='stable')[:k]


QUERIES = some_vectors(20, seed=1)


@pytest.mark.parametrize('n_clusters', [1, 7, 400])
def test_an_index_with_all_clusters_searched_is_exact(n_clusters):
    vectors = some_vectors()
    index = InvertedFile(vectors, n_clusters)
    for query in QUERIES:
        found, compared = index.search(query, n_probe=n_clusters)
        assert compared == len(vectors)
        np.testing.assert_array_equal(found, best(vectors, query))


def test_each_item_is_in_one_cluster():
    index = InvertedFile(some_vectors(), 20)
    np.testing.assert_array_equal(np.sort(index.items), np.arange(400))
    assert index.start[0] == 0 and index.start[-1] == 400 and (np.diff(index.start) >= 0).all()


def test_more_clusters_find_more_and_what_is_found_is_in_order():
    vectors = some_vectors()
    index = InvertedFile(vectors, 20)
    recalls = []
    for n_probe in (1, 4, 20):
        found = [index.search(query, 10, n_probe)[0] for query in QUERIES]
        for query, items in zip(QUERIES, found):
            assert (np.diff(vectors[items] @ query) <= 0).all() and len(np.unique(items)) == len(items) <= 10
        recalls.append(np.mean([np.isin(best(vectors, query), items).mean() for query, items in zip(QUERIES, found)]))
    assert recalls[0] < recalls[1] < recalls[2] == 1


def test_an_index_is_the_same_each_time():
    one, two = (InvertedFile(some_vectors(), 20, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.items, two.items)


@pytest.mark.parametrize('vectors', [np.ones(5), np.full((4, 2), np.nan), np.empty((0, 3))])
def test_an_index_needs_a_table_of_numbers(vectors):
    with pytest.raises(ValueError, match='table of finite numbers'):
        InvertedFile(vectors)


def test_an_index_says_what_is_wrong_with_its_numbers():
    vectors = some_vectors(10)
    with pytest.raises(ValueError, match='at most 10 clusters'):
        InvertedFile(vectors, 11)
    for name in ('k', 'n_probe'):
        with pytest.raises(ValueError, match=name):
            InvertedFile(vectors).search(QUERIES[0], **{name: 0})


def test_the_nearest_augmented_vectors_have_the_largest_dot_products():
    vectors = some_vectors()
    longer = augment(vectors)
    np.testing.assert_allclose(np.linalg.norm(longer, axis=1), np.linalg.norm(vectors, axis=1).max())
    for query in QUERIES:
        distance = ((longer - np.r_[query, 0])**2).sum(axis=1)
        np.testing.assert_array_equal(distance.argsort(kind='stable')[:10], best(vectors, query))


def watches():
    rng = np.random.default_rng(0)
    return csr_matrix((rng.random((60, 40)) < .3).astype(np.float32))


def test_item_vectors_come_as_close_to_the_table_as_any_of_their_rank():
    X = watches()
    vectors = item_vectors(X, 5)
    sizes = np.linalg.svd(X.toarray(), compute_uv=False)
    error = ((X.toarray() - X @ vectors @ vectors.T)**2).sum()
    assert error == pytest.approx((sizes[5:]**2).sum(), rel=1e-4)


@pytest.mark.parametrize('n_factors', [0, 40, 2.5])
def test_item_vectors_refuse_an_impossible_size(n_factors):
    with pytest.raises(ValueError, match='n_factors'):
        item_vectors(watches(), n_factors)


def test_rerank_sorts_each_row_and_keeps_the_order_of_ties():
    lists = rerank([[5, 3, 9], [1, 2, 4]], [[.1, .7, .3], [2, 2, 3]])
    assert lists.tolist() == [[3, 9, 5], [4, 1, 2]]
    with pytest.raises(ValueError, match='scores'):
        rerank([[1, 2]], [[1, 2, 3]])


def frame(*rows):
    return pd.DataFrame(rows, columns=['user', 'title', 'timestamp'])


@pytest.mark.parametrize('as_time', [lambda minutes: pd.Timestamp('2001-01-01') + pd.Timedelta(minutes=minutes), lambda minutes: 60*minutes])
def test_a_session_goes_on_without_a_long_break(as_time):
    known = frame((1, 'a', as_time(0)), (2, 'a', as_time(0)))
    later = frame((1, 'b', as_time(50)), (1, 'c', as_time(100)), (1, 'd', as_time(200)), (2, 'e', as_time(61)), (2, 'f', as_time(62)))
    assert in_new_sessions(known, later).tolist() == [False, False, True, True, True]
    assert in_new_sessions(known, later[::-1]).tolist() == [True, True, True, False, False]
    assert in_new_sessions(known, later, hours=2).tolist() == [False]*5
