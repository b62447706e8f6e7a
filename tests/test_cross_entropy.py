"Models of the probability of each rating: probabilities add up, gradients train, and names go in and out"
import numpy as np
import pandas as pd
import pytest
import torch
from fastai.basics import set_seed
from scipy.stats import norm
from test_models import refused, table

from collab_course.bootstrapping import recommend
from collab_course.dot_product_bias import DotProductBias
from collab_course.evaluation import evaluate
from collab_course.further.cross_entropy import (
    GaussianRatings, OrdinalRatings, SoftmaxRatings, cross_entropy, distribution, fit_distribution)
from collab_course.loader import collab_dls
from collab_course.named_models import NamedModel
from collab_course.training import fit, predict

pytestmark = pytest.mark.filterwarnings('ignore:The given NumPy array is not writable')
KINDS = [(kind, shape) for kind in (SoftmaxRatings, OrdinalRatings) for shape in (False, True)]
SCALES = {'stars': lambda r: r, 'half stars': lambda r: r/2, 'likes': lambda r: r > 3, 'uneven': lambda r: 3**r}


def loaders(scale='stars'):
    ratings = table()
    return collab_dls(ratings.assign(rating=SCALES[scale](ratings['rating'])), seed=0, bs=128, device='cpu')


@pytest.fixture(scope='module')
def dls():
    return loaders()


def trained(dls, kind, shape):
    set_seed(0)
    return fit_distribution(dls, kind.from_dls(dls, 5, shape=shape), epochs=8, lr=2e-2, wd=.1)


def levels_only(learn):
    "The cross-entropy of the shares of the levels, for all pairs the same"
    y = learn.dls.train.tensors[1].flatten()
    shares = (y[:, None] == learn.model.levels).float().mean(dim=0)
    return -(shares*shares.log()).sum().item()


@pytest.mark.parametrize('scale', SCALES)
@pytest.mark.parametrize('kind,shape', KINDS)
def test_any_scale_is_learned_and_the_prediction_is_the_expected_rating(kind, shape, scale):
    dls = loaders(scale)
    learn = trained(dls, kind, shape)
    with torch.no_grad():
        probs = learn.model.log_probs(dls.valid.tensors[0]).exp()
        loss = cross_entropy(learn.model, *dls.valid.tensors).item()
    assert loss < .9*levels_only(learn)
    np.testing.assert_allclose(probs.sum(dim=1), 1, atol=1e-4)
    assert len(learn.model.levels) == len(set(dls.ratings['rating']))
    user, item = dls.classes['user'][1], dls.classes['title'][1]
    table = distribution(learn, user, [item, 'nothing'], unknown='na')
    np.testing.assert_allclose(table @ table.columns, predict(learn, user, [item, 'nothing'], 'na'), rtol=1e-4)


@pytest.mark.parametrize('kind,shape', KINDS)
def test_it_works_with_the_rest_of_the_library(dls, kind, shape):
    learn = trained(dls, kind, shape)
    best = recommend(learn, dls.classes['user'][1], n=3)
    assert best.between(1, 5).all()
    assert evaluate(learn)['RMSE'] < dls.ratings['rating'].std()
    bare = NamedModel.from_dls(learn.model, dls)
    pd.testing.assert_frame_equal(distribution(bare, 1, best.index), distribution(learn, 1, best.index))


def test_cross_entropy_is_that_of_pytorch(dls):
    model = SoftmaxRatings.from_dls(dls, 3, shape=True)
    x, y = dls.one_batch()
    ours = cross_entropy(model, x, y)
    theirs = torch.nn.functional.cross_entropy(model.log_probs(x), (y.flatten() - 1).long())
    torch.testing.assert_close(ours, theirs)


def test_the_levels_start_in_order():
    for kind in (SoftmaxRatings, OrdinalRatings):
        model, pair = kind([1, 2, 3, 4, 5], 2, 2, 3), torch.tensor([[1, 1]])
        means = []
        for bias in (-3., 0., 3.):
            model.raw.item_bias.weight.data[:] = bias
            means.append(model(pair).item())
        assert means[0] < 2 < 2.9 < means[1] < 3.1 < 4 < means[2]


def test_thresholds_stay_in_order_and_a_spread_moves_probability_to_the_ends():
    model, pair = OrdinalRatings([1, 2, 3, 4, 5], 2, 2, 3, shape=True), torch.tensor([[1, 1]])
    model.log_steps.data[:] = torch.tensor([-5., 0, 3])
    assert (model.thresholds().diff() > 0).all()
    model.log_steps.data[:] = 0
    narrow = model.log_probs(pair).exp()[0]
    model.item_shape.weight.data[:] = 1.
    wide = model.log_probs(pair).exp()[0]
    assert wide[0] > narrow[0] and wide[4] > narrow[4] and wide[2] < narrow[2]


def test_the_embeddings_decay_and_the_thresholds_do_not(dls):
    model = OrdinalRatings.from_dls(dls, 3, shape=True)
    before = model.thresholds().detach().clone()
    fit_distribution(dls, model, lr=1e-2, wd=50., epochs=2)
    assert model.raw.user_factors.weight.abs().max() < .05 and model.item_shape.weight.abs().max() < .05
    assert model.thresholds().abs().sum() > .5*before.abs().sum()


def test_a_bell_curve_is_cut_between_the_levels(dls):
    learn = fit(dls, DotProductBias.from_dls(dls, 3), epochs=1)
    model = GaussianRatings([1, 2, 3, 4, 5], learn.model, .8)
    x = dls.valid.tensors[0][:20]
    with torch.no_grad():
        mean, probs = model(x).numpy(), model.log_probs(x).exp().numpy()
    np.testing.assert_allclose(mean, learn.model(x).detach().flatten(), rtol=1e-5)
    np.testing.assert_allclose(probs[:, 1], norm.cdf((2.5 - mean)/.8) - norm.cdf((1.5 - mean)/.8), atol=1e-5)
    np.testing.assert_allclose(probs[:, 4], norm.sf((4.5 - mean)/.8), atol=1e-5)


def test_extreme_scores_give_finite_numbers():
    model, pair = OrdinalRatings([1, 2, 3], 2, 2, 1), torch.tensor([[1, 1]])
    for score in (-1e4, 1e4):
        model.raw.item_bias.weight.data[:] = score
        assert model.log_probs(pair).isfinite().all()


def test_bad_input_gets_a_sentence(dls):
    many = collab_dls(table().assign(rating=np.random.default_rng(0).normal(size=len(table()))), seed=0)
    refused(lambda: SoftmaxRatings.from_dls(many), 'different ratings')
    refused(lambda: OrdinalRatings.from_dls(collab_dls(table().assign(rating=1), seed=0)), '1 different')
    refused(lambda: SoftmaxRatings.from_dls(dls, 2.5), 'n_factors')
    refused(lambda: fit_distribution(dls, OrdinalRatings.from_dls(dls), epochs=0), 'epochs')
    refused(lambda: fit_distribution(dls, OrdinalRatings.from_dls(dls), wd=-1), 'wd')
    refused(lambda: fit_distribution(dls, OrdinalRatings), 'the class OrdinalRatings')
    learn = fit(dls, DotProductBias.from_dls(dls, 3), epochs=1)
    refused(lambda: distribution(learn, 1, 'film 01'), 'probabilities')
    refused(lambda: fit_distribution(dls, learn.model), 'probabilities')
    refused(lambda: GaussianRatings([1, 2], learn.model, 0), 'std')
