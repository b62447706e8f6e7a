"Skip-gram: the loss by hand and by autograd, the draws, planted synonyms, seeds, and what is refused"
import numpy as np
import pandas as pd
import pytest
import torch

from collab_course.further.words import (
    SkipGram, analogies, draw_pairs, fit_words, library_sentences, make_corpus, negative_probs,
    neighbor_overlap, pair_counts, ppmi_vectors, skip_gram_loss)
from collab_course.interpretation import neighbors


def planted(n=600, seed=0):
    "Two groups of words that are never together; x1 and x2 have the same company, and so have y1 and y2"
    rng = np.random.default_rng(seed)
    company = {'x': ['a', 'b', 'c'], 'y': ['d', 'e', 'f']}
    return [[kind + str(rng.integers(1, 3)), *rng.choice(company[kind], 2).tolist()]
            for kind in rng.choice(['x', 'y'], n)]


def test_loss_by_hand():
    scores = torch.tensor([[2., -1., .5], [0., 3., 0.]])
    by_hand = np.log1p(np.exp([-2., 0.])) + np.log1p(np.exp([[-1., .5], [3., 0.]])).sum(axis=1)
    assert skip_gram_loss(scores).item() == pytest.approx(by_hand.mean(), abs=1e-6)


def test_gradient_by_hand():
    "The gradient of a score is its probability minus the right answer"
    scores = torch.tensor([[2., -1., .5]], requires_grad=True)
    skip_gram_loss(scores).backward()
    assert torch.allclose(scores.grad, torch.sigmoid(scores.detach()) - torch.tensor([[1., 0., 0.]]))


def test_scores_are_dot_products():
    model = SkipGram(5, 3, seed=1)
    model.contexts.data[:] = torch.arange(15.).view(5, 3)
    scores = model(torch.tensor([2]), torch.tensor([[0, 4]]))
    want = model.centers[2] @ model.contexts[[0, 4]].T
    assert torch.allclose(scores[0], want)


def test_pairs_stay_in_the_window_and_in_the_sentence():
    corpus = make_corpus([list('abcdefg'), ['h'], list('ijk')], min_count=1)
    rng = np.random.default_rng(0)
    pairs = np.concatenate([draw_pairs(corpus.words, corpus.sentence, 2, rng) for _ in range(2000)])
    found = {(corpus.names[a], corpus.names[b]) for a, b in pairs}
    possible = {(a, b) for text in ('abcdefg', 'ijk') for i, a in enumerate(text)
                for j, b in enumerate(text) if 0 < abs(i - j) <= 2}
    assert found == possible
    share = pd.Series(map(tuple, pairs)).value_counts(normalize=True, sort=False)
    of_d = np.array([share[tuple(corpus.names.get_indexer(['d', other]))] for other in 'bcef'])
    assert abs(of_d/of_d.sum() - .25).max() < .03


@pytest.mark.parametrize('window', [1, 2, 10, None])
def test_counts_are_the_mean_of_draws(window):
    corpus = make_corpus([list('abca'), list('bd'), list('dcab')], min_count=1)
    rng = np.random.default_rng(0)
    total, n = np.zeros((4, 4)), 4000
    for _ in range(n):
        pairs = draw_pairs(corpus.words, corpus.sentence, window or 99, rng)
        np.add.at(total, tuple(pairs.T), 1)
    drawn = (total + total.T)/n
    if window is None: # pairs of a word with itself aren't counted there
        drawn -= np.diag(np.diag(drawn))
    assert abs(drawn/2 - pair_counts(corpus, window)).max() < .05


def test_negatives():
    assert negative_probs([1, 16], power=.75) == pytest.approx([1/9, 8/9])
    assert negative_probs([1, 16], power=0) == pytest.approx([.5, .5])
    assert negative_probs([1, 3], power=1) == pytest.approx([.25, .75])


def test_planted_synonyms_are_found():
    corpus = make_corpus(planted())
    vectors, _ = fit_words(corpus, window=3, n_factors=8, epochs=60, lr=.03)
    for found in (vectors, ppmi_vectors(corpus, n_factors=4)):
        nearest = neighbors(found, 1)[1]
        assert [nearest[name] for name in ('x1', 'x2', 'y1', 'y2')] == ['x2', 'x1', 'y2', 'y1']


def test_seeds():
    corpus = make_corpus(planted(200))
    first, again, other = (fit_words(corpus, epochs=2, seed=seed) for seed in (1, 1, 2))
    assert first[0].equals(again[0]) and first[1].equals(again[1])
    assert not first[0].equals(other[0])


def test_names_go_in_and_come_out():
    corpus = make_corpus([['b', 'a', 'rare'], ['a', 'b']], min_count=2, name='title')
    assert corpus.names.tolist() == ['a', 'b'] and corpus.names.name == 'title'
    assert corpus.words.tolist() == [1, 0, 0, 1] and corpus.sentence.tolist() == [0, 0, 1, 1]
    assert corpus.counts().tolist() == [2, 2]


def test_subsampling_leaves_out_frequent_words():
    from collab_course.further.words import keep_probs
    corpus = make_corpus([['the']*8 + ['cat', 'dog']], min_count=1)
    keep = keep_probs(corpus, .2)
    assert keep[:8] == pytest.approx(.5) and keep[8:] == pytest.approx(1)
    assert (keep_probs(corpus, None) == 1).all()


def test_analogies_on_a_perfect_parallelogram():
    vectors = pd.DataFrame({0: [1, 1, 5, 5, 9, 9], 1: [0, 3, 0, 3, 0, 3], 2: [9, 9, 5, 5, 1, 1]},
                           ['cat', 'cats', 'dog', 'dogs', 'cow', 'cows'])
    pairs = [('cat', 'cats'), ('dog', 'dogs'), ('cow', 'cows'), ('ox', 'oxen')]
    answers = analogies(vectors, pairs)
    assert len(answers) == 6 and (answers['answer'] == answers['right']).all()
    third = analogies(vectors, pairs, how='third', exclude=False)
    assert (third['answer'] == third['c']).all()
    assert len(analogies(vectors, pairs[:1])) == 0
    with pytest.raises(ValueError, match='how must be'):
        analogies(vectors, pairs, how='fourth')


def test_overlap():
    vectors = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 5)), index=[f'w{i}' for i in range(30)])
    assert (neighbor_overlap(vectors, vectors.iloc[::-1], 5) == 1).all()
    with pytest.raises(ValueError, match='same rows'):
        neighbor_overlap(vectors, vectors.iloc[1:], 5)


def test_the_library_has_sentences():
    sentences = library_sentences(5)
    assert len(sentences) > 100 and all(len(words) > 1 for words in sentences)
    assert len({tuple(words) for words in sentences}) == len(sentences)


def test_a_corpus_needs_words():
    with pytest.raises(ValueError, match='At least two words'):
        make_corpus([['a', 'b']], min_count=5)
