"Models of watches: equations against direct solutions and autograd, negatives that are none, names in and out, seeds"
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array
from test_models import refused

from collab_course.bootstrapping import recommend
from collab_course.everyone import recommend_many
from collab_course.evaluation import evaluate
from collab_course.further.positives import (
    bpr_loss, fit_sampled, fit_softmax, fit_weighted_als, logistic_loss, sample_negatives, score_table, softmax_loss,
    weighted_half_step)
from collab_course.interpretation import similar_items
from collab_course.named_models import NamedModel
from collab_course.collab_nn import CollabNN

FITS = {'logistic': lambda w, **kw: fit_sampled(w, logistic_loss, **kw), 'bpr': lambda w, **kw: fit_sampled(w, bpr_loss, **kw),
        'popular': lambda w, **kw: fit_sampled(w, logistic_loss, 2, 1, True, **kw), 'softmax': fit_softmax, 'als': fit_weighted_als}


def watches(n_users=40, n_items=30, seed=0):
    "Two groups of users, each with movies of its own"
    rng = np.random.default_rng(seed)
    group_u, group_i = np.arange(n_users) % 2, np.arange(n_items) % 2
    chance = np.where(group_u[:, None] == group_i, .45, .05)
    user, item = np.nonzero(rng.random(chance.shape) < chance)
    table = pd.DataFrame({'viewer': [f'u{u:02}' for u in user], 'show': [f's{i:02}' for i in item], 'when': 0})
    return table.sample(frac=1, random_state=seed)


@pytest.fixture(scope='module')
def table():
    return watches()


def sparse(table):
    return csr_array(pd.crosstab(table['viewer'], table['show']).to_numpy(float))


# --- weighted least squares

@pytest.mark.parametrize('alpha', [0, 1, 40])
def test_a_half_step_is_the_weighted_ridge_regression_of_all_items(table, alpha):
    X = sparse(table)
    items = np.random.default_rng(1).normal(size=(X.shape[1], 4))
    users = weighted_half_step(X, items, alpha, l2=.7)
    for row, target in zip(users, X.toarray()):
        weight = 1 + alpha*target
        direct = np.linalg.solve((items.T*weight) @ items + .7*np.eye(4), (items.T*weight) @ target)
        np.testing.assert_allclose(row, direct, rtol=1e-8, atol=1e-10)


def test_each_half_step_lowers_the_loss(table):
    X, rng = sparse(table), np.random.default_rng(0)
    items, losses = rng.normal(size=(X.shape[1], 3)), []
    def loss(users, items):
        error = (1 + 2*X.toarray())*(X.toarray() - users @ items.T)**2
        return error.sum() + .5*(users**2).sum() + .5*(items**2).sum()
    for _ in range(4):
        users = weighted_half_step(X, items, 2, .5)
        losses.append(loss(users, items))
        items = weighted_half_step(X.T.tocsr(), users, 2, .5)
        losses.append(loss(users, items))
    assert (np.diff(losses) < 1e-9).all()


@pytest.mark.filterwarnings('ignore')
def test_implicit_solves_the_same_equations(table):
    als = pytest.importorskip('implicit.als')
    X = sparse(table)
    model = als.AlternatingLeastSquares(
        factors=5, regularization=.3, alpha=3, iterations=3, use_cg=False, num_threads=1, random_state=0, dtype=np.float64)
    model.fit(X.tocsr().astype(np.float64), show_progress=False)
    items = weighted_half_step(X.T.tocsr(), model.user_factors, alpha=2, l2=.3) # its weight of a watch is alpha, ours 1 + alpha
    np.testing.assert_allclose(items, model.item_factors, rtol=1e-4, atol=1e-5)


# --- losses

def test_the_gradient_of_bpr_is_one_minus_the_probability():
    watched, others = torch.randn(5, 1, requires_grad=True), torch.randn(5, 3)
    grad, = torch.autograd.grad(bpr_loss(watched, others), watched)
    by_hand = -(1 - torch.sigmoid(watched - others)).sum(dim=1, keepdim=True)/15
    torch.testing.assert_close(grad, by_hand)


def test_bpr_with_one_negative_is_a_softmax_of_two():
    scores = torch.randn(7, 2)
    two = torch.nn.functional.cross_entropy(scores, torch.zeros(7, dtype=torch.int64))
    torch.testing.assert_close(bpr_loss(scores[:, :1], scores[:, 1:]), two)
    watched = torch.zeros(7, 2, dtype=torch.bool)
    watched[:, 0] = True
    torch.testing.assert_close(softmax_loss(scores, watched), two)


def test_the_logistic_loss_is_binary_cross_entropy_per_watch():
    watched, others = torch.randn(4, 1), torch.randn(4, 3)
    target = torch.cat([torch.ones(4, 1), torch.zeros(4, 3)], dim=1)
    bce = torch.nn.functional.binary_cross_entropy_with_logits(torch.cat([watched, others], dim=1), target)
    torch.testing.assert_close(logistic_loss(watched, others), 4*bce)


# --- negatives

@pytest.mark.parametrize('power', [0., .5, 1.])
def test_negatives_were_not_watched_and_have_the_frequencies_asked_for(power):
    rng = np.random.default_rng(0)
    seen = torch.tensor(rng.random((20, 15)) < .4)
    weight = torch.arange(15.)**power # the first is never drawn unless power is 0
    users = torch.arange(20).repeat(2000)
    negatives = sample_negatives(seen, users, 3, weight, seed=1)
    assert negatives.shape == (40_000, 3) and not seen[users[:, None], negatives].any()
    count = torch.bincount(negatives[users == 5].flatten(), minlength=15)
    expected = weight*~seen[5]
    np.testing.assert_allclose(count/count.sum(), expected/expected.sum(), atol=.025)
    assert torch.equal(negatives, sample_negatives(seen, users, 3, weight, seed=1))
    assert not torch.equal(negatives, sample_negatives(seen, users, 3, weight, seed=2))


def test_a_user_who_has_seen_everything_gets_a_sentence(table):
    refused(lambda: sample_negatives(torch.ones(2, 3, dtype=torch.bool), torch.tensor([0]), 1, torch.ones(3)), 'seen')
    everything = pd.DataFrame({'viewer': 'me', 'show': table['show'].unique()})
    refused(lambda: fit_sampled(pd.concat([table, everything])), 'every item')


# --- models

@pytest.mark.parametrize('name', FITS)
def test_names_go_in_and_out_and_taste_is_learned(table, name):
    learn = FITS[name](table[['viewer', 'show']], n_factors=4)
    assert isinstance(learn, NamedModel) and learn.dls.cat_names == ['viewer', 'show']
    users, items = (pd.Index(sorted(table[column].unique()), name=column) for column in ('viewer', 'show'))
    scores = score_table(learn, users, items)
    same = (np.arange(len(users)) % 2)[:, None] == np.arange(len(items)) % 2
    seen = pd.crosstab(table['viewer'], table['show']).to_numpy() > 0
    assert scores.to_numpy()[same & ~seen].mean() > scores.to_numpy()[~same & ~seen].mean() + .01
    best = recommend(learn, user='u03', ratings=table, n=3)
    assert not set(best.index) & set(table.loc[table['viewer'] == 'u03', 'show'])
    assert best.index[0] == scores.loc['u03'][~seen[3]].idxmax()
    many = recommend_many(learn, ratings=table, n=3)
    assert list(many['u03'].index) == list(best.index)
    assert len(similar_items(learn, 's01')) > 0
    test = pd.DataFrame({'viewer': ['u03', 'u04'], 'show': best.index[:2], 'watch': 1})
    assert 0 <= evaluate(learn, test, 5, 1, table)['nDCG@5'] <= 1


@pytest.mark.parametrize('name', FITS)
def test_a_seed_repeats_and_changes_nothing_else(table, name):
    before = torch.random.get_rng_state()
    a, b, c = (FITS[name](table, n_factors=3, seed=seed).model.item_factors.weight for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert torch.equal(before, torch.random.get_rng_state())
    again = FITS[name](pd.concat([table, table.iloc[:9]]), n_factors=3).model.item_factors.weight
    assert torch.equal(a, again) # a pair that is watched twice counts once


def test_the_correction_adds_the_log_of_the_watches(table):
    plain, corrected = (fit_sampled(table, logistic_loss, 2, 1, correct, n_factors=3, epochs=2) for correct in (False, True))
    added = corrected.model.item_bias.weight - plain.model.item_bias.weight
    count = table.groupby('show').size().sort_index().to_numpy()
    np.testing.assert_allclose(added[1:, 0].detach(), np.log(count), atol=1e-5)
    assert added[0] == 0


def test_items_that_a_model_does_not_know_come_last(table):
    learn = fit_weighted_als(table, n_factors=3)
    scores = score_table(learn, ['u01', 'u00'], ['new', 's02', 's01'])
    assert list(scores.index) == ['u01', 'u00'] and np.isneginf(scores['new']).all()
    net = NamedModel.from_dls(CollabNN(41, 31, 4), learn.dls)
    scores = score_table(net, ['u01', 'u00'], ['new', 's02', 's01'])
    assert np.isneginf(scores['new']).all() and np.isfinite(scores[['s02', 's01']]).all(axis=None)


@pytest.mark.parametrize('fit', [fit_sampled, fit_softmax, fit_weighted_als])
def test_bad_input_gets_a_sentence(table, fit):
    refused(lambda: fit(table[['viewer']]), 'column')
    refused(lambda: fit(table.iloc[:0]))
    refused(lambda: fit(table.assign(show=None)), 'show')
    refused(lambda: fit(table, n_factors=0), 'n_factors')
    refused(lambda: fit([1, 2]))
    name = 'l2' if fit is fit_weighted_als else 'lr'
    refused(lambda: fit(table, **{name: -1}), name)
    refused(lambda: fit_weighted_als(table, l2=0), 'l2')
