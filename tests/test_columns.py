"Models with columns: what they look up, new names, and a clear error for what isn't possible"
import numpy as np
import pandas as pd
import pytest
import torch
from fastai.basics import set_seed

from collab_course.bootstrapping import fold_in, recommend
from collab_course.dot_product_bias import DotProductBias
from collab_course.everyone import recommend_many
from collab_course.further.column_tools import (
    Columns, TESTS, fit_quickly, kinds_of, pairs_in_order, with_new_rows)
from collab_course.further.columns import (
    ColumnsNN, FactorizationMachine, TwoTowers, Wide, WideAndDeep, collapse)
from collab_course.loader import collab_dls
from collab_course.named_models import NamedModel
from collab_course.training import fit, predict

pytestmark = pytest.mark.filterwarnings('ignore:The given NumPy array is not writable')
MODELS = [FactorizationMachine, ColumnsNN, Wide, WideAndDeep, TwoTowers]
DOT = [FactorizationMachine, TwoTowers]
WIDTH = {kind: {} if kind is Wide else {'n_factors': 8} for kind in MODELS}


@pytest.fixture(scope='module')
def frames():
    rng = np.random.default_rng(0)
    users = pd.DataFrame({
        'age': rng.integers(10, 70, 30), 'job': rng.choice(['cook', 'baker', None], 30),
        'member': rng.random(30) < .5}, index=range(1, 31))
    items = pd.DataFrame({'year': rng.integers(1950, 1999, 20).astype(float)},
                         index=[f'movie {k:02}' for k in range(20)])
    return users, items


@pytest.fixture(scope='module')
def dls(frames):
    "Ratings by 25 of the users of 15 of the movies; cooks like old movies"
    users, items = frames
    rng = np.random.default_rng(1)
    df = pd.DataFrame({'user': rng.integers(1, 26, 1500),
                       'title': items.index[rng.integers(0, 15, 1500)]})
    cook = np.where(df['user'].map(users['job']) == 'cook', 1, -1)
    old = np.where(df['title'].map(items['year']) < 1975, 1, -1)
    df['rating'] = np.clip(np.round(3 + cook*old + .5*rng.normal(size=1500)), 1, 5).astype(int)
    return collab_dls(df.drop_duplicates(['user', 'title']), valid_pct=0, seed=0, bs=32, device='cpu')


@pytest.fixture(scope='module')
def learned(frames, dls):
    "One trained model of each kind"
    def train(kind):
        set_seed(0)
        model = kind.from_dls(dls, users=frames[0], items=frames[1], **WIDTH[kind])
        return fit_quickly(model, dls, .05, epochs=15)
    return {kind: train(kind) for kind in MODELS}


def refused(f, *words):
    "`f` raises a `ValueError` that has `words`"
    with pytest.raises(ValueError) as e:
        f()
    for word in words:
        assert word in str(e.value), e.value


@pytest.mark.parametrize('kind', MODELS)
def test_a_prediction_does_not_depend_on_the_rest_of_the_batch(learned, kind):
    model = learned[kind].model
    x = torch.tensor([[1, 2], [3, 4], [0, 0], [25, 15]])
    alone = torch.cat([model(row[None]) for row in x])
    assert model(x).shape == (4, 1)
    assert torch.allclose(model(x), alone, atol=1e-5)


@pytest.mark.parametrize('kind', MODELS)
def test_a_new_user_gets_what_the_columns_say(learned, frames, kind):
    "The planted link holds for users and movies without ratings"
    users, items = frames
    new_users, new_items = users.loc[26:], items.iloc[15:]
    new_users = new_users.assign(job=['cook', 'baker']*2 + ['cook'])
    new_items = new_items.assign(year=[1950., 1955, 1990, 1995, 1998])
    learn = with_new_rows(learned[kind], new_users, new_items)
    pairs = [(26, new_items.index[0]), (27, new_items.index[0]),
             (26, new_items.index[4]), (27, new_items.index[4])]
    cook_old, baker_old, cook_new, baker_new = predict(learn, *zip(*pairs))
    assert cook_old > baker_old + .5 and cook_new < baker_new - .5


@pytest.mark.parametrize('kind', MODELS)
def test_new_rows_change_nothing_for_old_names(learned, frames, kind):
    users, items = frames
    before = predict(learned[kind], 3, list(items.index[:5]))
    learn = with_new_rows(learned[kind], users.loc[26:], items.iloc[15:])
    assert np.allclose(before, predict(learn, 3, list(items.index[:5])))
    assert len(learned[kind].dls.classes['user']) == 26 # the model that was given is unchanged


@pytest.mark.parametrize('kind', MODELS)
def test_fit_and_recommend_take_the_model(frames, dls, kind):
    learn = fit(dls, kind.from_dls(dls, users=frames[0], items=frames[1], **WIDTH[kind]), epochs=1)
    assert recommend(learn, user=3, ratings=dls.ratings.head(5)).notna().all()
    assert kind.from_dls(dls, **WIDTH[kind])(torch.tensor([[1, 1]])).isfinite().all() # no columns at all


def test_no_argument_is_ignored(dls):
    assert FactorizationMachine.from_dls(dls, 7).users.ids.shape[1] == 8
    with pytest.raises(TypeError, match='n_factors'):
        Wide.from_dls(dls, 7) # which has no factors
    refused(lambda: FactorizationMachine.from_dls(dls, 2.5), 'n_factors', 'whole number')


def test_without_columns_the_machine_is_a_dot_product_with_biases(dls):
    set_seed(0)
    model = FactorizationMachine.from_dls(dls, 4)
    dot = DotProductBias.from_dls(dls, 4)
    with torch.no_grad():
        model.users.slopes.zero_() # the row that all users share
        model.items.slopes.zero_()
        for mine, factors, bias in ((model.users, dot.user_factors, dot.user_bias),
                                    (model.items, dot.item_factors, dot.item_bias)):
            mine.ids.copy_(torch.cat([bias.weight, factors.weight], dim=1))
    x = dls.train.tensors[0][:50].cpu()
    assert torch.allclose(model(x), dot(x), atol=1e-6)


@pytest.mark.parametrize('kind', DOT)
def test_a_collapsed_model_predicts_the_same_and_does_everything(learned, frames, kind):
    learn = with_new_rows(learned[kind], frames[0].loc[26:])
    plain = collapse(learn)
    names = [*range(1, 31)], ['movie 03']*30
    assert np.allclose(predict(learn, *names), predict(plain, *names), atol=1e-5)
    assert type(plain.model) is DotProductBias
    assert fold_in(plain, {'movie 01': 4.}).notna().all(axis=None)
    known = pd.DataFrame({'user': [1], 'title': ['movie 01'], 'rating': [3]})
    assert len(recommend_many(plain, [1, 30], known, n=3)) == 6


def test_pairs_within_a_side_collapse_too(frames, dls):
    set_seed(0)
    model = FactorizationMachine.from_dls(dls, 4, users=frames[0], items=frames[1], within=True)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(std=.3)
    learn = NamedModel.from_dls(model, dls)
    assert np.allclose(predict(learn, 3, 'movie 02'), predict(collapse(learn), 3, 'movie 02'), atol=1e-5)


def test_missing_and_unknown_values_are_average(frames):
    users, _ = frames
    columns = Columns(users, users.index)
    strange = pd.DataFrame({'age': [np.nan], 'job': ['spy'], 'member': [False]})
    codes, numbers = columns.encode(strange)
    assert codes.tolist() == [[0]] and numbers.tolist() == [[1, 0, 0]]
    assert abs(columns.numbers[:,1].mean()) < 1e-5
    whole = pd.DataFrame({'year': pd.array([1990, None, 1992], dtype='Int64'),
                          'kind': pd.Categorical(['a', 'b', 'a'])}, index=list('xyz'))
    columns = Columns(whole, list('zyx'))
    assert columns.codes.flatten().tolist() == [1, 2, 1]
    assert columns.numbers[1,1] == 0 and columns.numbers[0,1] > 0


def test_a_constant_column_and_a_table_of_one_row_are_fine():
    one = pd.DataFrame({'age': [30], 'sex': ['F']}, index=['Ada'])
    columns = Columns(one, ['Ada'])
    assert columns.numbers.tolist() == [[1, 0]] and columns.sizes == [2]


@pytest.mark.parametrize('frame, words', [
    (None, 'DataFrame'), ([[1]], 'DataFrame'), ({'age': [1]}, 'DataFrame')])
def test_columns_must_be_a_table(frame, words):
    refused(lambda: Columns(frame, [1]), words)


def test_bad_tables_are_refused_with_the_reason(learned, frames):
    users, items = frames
    learn = learned[FactorizationMachine]
    refused(lambda: Columns(pd.concat([users, users]), [1]), 'more than one row')
    refused(lambda: Columns(users.set_axis(users.index.astype(str)), users.index), 'index')
    refused(lambda: Columns(users.assign(age=np.inf), users.index), 'finite')
    refused(lambda: with_new_rows(learn, users), 'not new')
    refused(lambda: with_new_rows(learn, users.loc[26:, ['age']]), "'job' is missing")
    refused(lambda: with_new_rows(learn, 'Ada'), 'DataFrame')
    refused(lambda: collapse(learned[Wide]), 'dot product')
    refused(lambda: FactorizationMachine.from_dls(None), 'collab_dls')


def test_other_models_are_refused(dls):
    plain = NamedModel.from_dls(DotProductBias.from_dls(dls, 4), dls)
    refused(lambda: with_new_rows(plain, pd.DataFrame(index=[99])), 'no columns')
    refused(lambda: collapse(plain), 'columns')


def test_pairs_are_counted_as_by_two_loops():
    rng = np.random.default_rng(0)
    users, ratings, preds = rng.integers(0, 9, 60), rng.integers(1, 6, 60), rng.integers(0, 4, 60)
    right, pairs = np.zeros(9), np.zeros(9)
    for i in range(60):
        for j in range(60):
            if users[i] == users[j] and ratings[i] > ratings[j]:
                pairs[users[i]] += 1
                right[users[i]] += .5 + .5*np.sign(preds[i] - preds[j])
    counts = pairs_in_order(users, ratings, preds)
    assert counts['right'].tolist() == right.tolist() and counts['pairs'].tolist() == pairs.tolist()
    assert not len(pairs_in_order(['Ada', 'Ben'], [3, 3], [1., 2])) # nobody has a pair


def test_splits_hold_names_out_and_test_nothing_twice():
    rng = np.random.default_rng(0)
    ratings = pd.DataFrame({'user': rng.integers(0, 60, 3000), 'title': rng.integers(0, 40, 3000)})
    ratings['rating'] = 3
    tested = []
    for k in range(3):
        kinds = kinds_of(ratings, k)
        train = ratings[kinds == 'train']
        for test, name in (('new users', 'user'), ('new items', 'title')):
            assert not set(ratings.loc[kinds == test, name]) & set(train[name])
        tested.append(kinds.isin(TESTS))
    assert not (tested[0] & (tested[1] | tested[2])).any()
    assert (kinds_of(ratings, 1) == kinds_of(ratings, 1)).all()
