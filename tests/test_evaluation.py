"`evaluate` agrees with scikit-learn, leaves nothing out, and says what is wrong with its input"
import numpy as np
import pandas as pd
import pytest
import torch
from fastai.basics import set_seed
from sklearn.metrics import mean_absolute_error, ndcg_score, precision_score, recall_score
from test_models import refused, table

from collab_course.dot_product_bias import DotProductBias
from collab_course.evaluation import evaluate, ranking_by_user, ranking_metrics, same_for_all
from collab_course.loader import collab_dls
from collab_course.many_models import ManyModels
from collab_course.named_models import NamedModel
from collab_course.training import fit, predict

pytestmark = pytest.mark.filterwarnings('ignore:The given NumPy array is not writable')


@pytest.fixture(scope='module')
def ratings():
    return table(900, 40, 50)


@pytest.fixture(scope='module')
def learn(ratings):
    dls = collab_dls(ratings, seed=0, bs=64, device='cpu')
    set_seed(0)
    return fit(dls, DotProductBias.from_dls(dls, 5), lr=2e-2)


@pytest.fixture(scope='module')
def test(learn):
    return learn.dls.ratings.loc[learn.dls.valid.items.index]


def rows_by_hand(learn, test, relevant):
    "Truth and predictions of all candidates of each user"
    items = list(learn.dls.classes['title'])[1:]
    train = learn.dls.ratings.drop(test.index)
    for user, own in test[test['rating'] >= relevant].groupby('user'):
        rated = set(train.loc[train['user'] == user, 'title'])
        left = [item for item in items if item not in rated]
        preds = predict(learn, user, left, unknown='na').to_numpy()
        yield np.isin(left, list(own['title'])), preds


@pytest.mark.parametrize('k', [1, 5, 10])
@pytest.mark.parametrize('relevant', [3, 5])
def test_it_agrees_with_scikit_learn(learn, test, k, relevant):
    ours, theirs = evaluate(learn, test, k, relevant), []
    for truth, preds in rows_by_hand(learn, test, relevant):
        listed = np.zeros(len(preds), bool)
        listed[np.argsort(-preds, kind='stable')[:k]] = True
        theirs.append([precision_score(truth, listed), recall_score(truth, listed),
                       ndcg_score([truth], [preds], k=k, ignore_ties=True)])
    np.testing.assert_allclose(ours.iloc[2:5].tolist(), np.mean(theirs, axis=0))
    preds = predict(learn, test['user'], test['title'], unknown='na')
    assert ours['MAE'] == pytest.approx(mean_absolute_error(test['rating'], preds))
    assert ours['RMSE'] == pytest.approx(np.sqrt(((preds.to_numpy() - test['rating'])**2).mean()))
    assert ours['users'] == len(theirs)


def test_small_pieces_give_the_same(learn, test, monkeypatch):
    import collab_course.evaluation as module
    whole, score_pairs = evaluate(learn, test), module.score_pairs
    n_items = len(learn.dls.classes['title']) - 1
    monkeypatch.setattr(module, 'PAIRS_AT_ONCE', 3*n_items)
    sizes = []
    monkeypatch.setattr(module, 'score_pairs', lambda learn, x: sizes.append(len(x)) or score_pairs(learn, x))
    pd.testing.assert_series_equal(evaluate(learn, test), whole)
    assert max(sizes[:-1]) == 3*n_items and len(sizes) > 5


def test_a_perfect_list_has_the_best_ndcg_also_if_few_items_are_relevant():
    hits = np.array([[True, True, False, False]])
    assert ranking_metrics(hits, [2]).iloc[0].tolist() == [.5, 1, 1]
    assert ranking_metrics(hits[:, ::-1], [2])['nDCG'].item() < .7


def test_ties_keep_the_order_of_the_items(learn, ratings):
    dls = learn.dls
    items = list(dls.classes['title'])[1:]
    flat = same_for_all(dls, pd.Series(1., items))
    test = pd.DataFrame({'user': 1, 'title': items[:3] + items[-3:], 'rating': 5})
    none = ratings.head(0)
    hits = evaluate(flat, test, k=3, relevant=5, ratings=none)
    assert hits['precision@3'] == 1
    assert evaluate(flat, test, k=10, relevant=5, ratings=none)['recall@10'] == .5


def test_unknown_names_count_and_lists_may_be_longer_than_the_catalog(learn, test):
    more = pd.DataFrame({'user': [1, 'x'], 'title': ['a new film', 'film 03'], 'rating': 5.})
    known_user = evaluate(learn, more.head(1).astype({'user': int}), k=1000)
    assert known_user['recall@1000'] == 0 and known_user['unknown'] == 1
    unknown_user = evaluate(learn, more.tail(1), k=1000)
    assert unknown_user['recall@1000'] == 1 and unknown_user['precision@1000'] == .001


def test_training_ratings_are_not_recommended_and_test_ratings_are(learn, ratings, test):
    everything = evaluate(learn, test, k=50, ratings=ratings)
    assert everything['recall@50'] == pytest.approx(
        evaluate(learn, test, k=50, ratings=ratings.drop(test.index))['recall@50'])
    user = test['user'].iloc[0]
    seen = ratings[ratings['user'] == user].drop(test.index, errors='ignore').head(3)
    twice = pd.concat([test, seen]) # a pair that is in both stays a candidate
    assert evaluate(learn, twice, k=50, relevant=1)['recall@50'] == 1


def test_nobody_with_a_relevant_rating_gives_nan(learn, test):
    res = evaluate(learn, test, relevant=6)
    assert res['users'] == 0 and np.isnan(res['nDCG@10']) and res['RMSE'] > 0


def test_the_metrics_are_means_over_users_and_the_model_stays_in_training(learn, test):
    learn.model.train()
    by_user = ranking_by_user(learn, test)
    assert by_user.index.name == 'user' and by_user.index.is_unique
    assert evaluate(learn, test)['nDCG@10'] == pytest.approx(by_user['nDCG'].mean())
    assert learn.model.training


def test_a_model_with_other_inputs_of_its_own_can_be_evaluated(learn, test):
    class Side(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model
            self.register_buffer('age', torch.arange(100.))

        def forward(self, x):
            return self.model(x).flatten() + self.age[x[:, 0]] # the same for all items
    side = NamedModel.from_dls(Side(learn.model), learn.dls)
    ours = evaluate(side, test, ratings=learn.dls.ratings)
    assert ours['recall@10'] == pytest.approx(evaluate(learn, test)['recall@10'], abs=.01)
    assert ours['RMSE'] > 5


def test_bad_input_gets_a_sentence(learn, ratings, test):
    bare = NamedModel.from_dls(learn.model, learn.dls)
    refused(lambda: evaluate(bare, test), 'ratings')
    refused(lambda: evaluate(bare, ratings=ratings), 'test')
    refused(lambda: evaluate(bare, test, ratings=ratings[['user', 'title']]), 'relevant')
    refused(lambda: evaluate(learn.model, test), 'names')
    refused(lambda: evaluate(learn, test, k=0), 'k must')
    refused(lambda: evaluate(learn, test, k=2.5), 'k must')
    refused(lambda: evaluate(learn, test, relevant='4'), 'relevant')
    refused(lambda: evaluate(learn, test.drop(columns='rating')), 'column')
    refused(lambda: evaluate(learn, test.assign(rating=np.nan)), 'NaN')
    refused(lambda: evaluate(learn, 5), 'DataFrame')
    many = NamedModel.from_dls(ManyModels(len(learn.dls.classes['user']), len(learn.dls.classes['title']), 2), learn.dls)
    refused(lambda: evaluate(many, test, ratings=ratings), 'single model')
    broken = same_for_all(learn.dls, pd.Series(np.inf, list(learn.dls.classes['title'])[1:]))
    refused(lambda: evaluate(broken, test, ratings=ratings), 'infinity')
