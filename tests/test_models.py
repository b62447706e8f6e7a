"The models' promises: any scale, any kind of name, and a clear error for what isn't possible"
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.collab import CollabDataLoaders, EmbeddingNN, collab_learner
from fastai.basics import mae, set_seed
from torch import nn

from collab_course.collab_nn import CollabNN
from collab_course.training import baseline_mse, fit, losses, mse, predict
from collab_course.dot_product_bias import DotProduct, DotProductBias, DotProductBiasRaw
from collab_course.named_models import NamedModel, as_dot_product_bias, model_from_tables
from collab_course.loader import collab_dls, table_sizes
from collab_course.many_models import ManyModels, decay_, fit_many, one_cycle
from collab_course.speed import fit_fast

pytestmark = [pytest.mark.filterwarnings(f'ignore:{o}') for o in  # fastai's own
              ('The given NumPy array is not writable', 'Constructing a Categorical')]
MODELS = [DotProduct, DotProductBias, DotProductBiasRaw, CollabNN]


def table(n=3000, n_users=60, n_items=40, seed=0):
    "Ratings from 1 to 5 without duplicate pairs; users and items differ in a bias"
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, n_users, n), rng.integers(0, n_items, n)
    biases = rng.normal(size=n_users)[user] + rng.normal(size=n_items)[item]
    raw = 3 + .7*biases + .5*rng.normal(size=n)
    df = pd.DataFrame({
        'user': user + 1, 'title': [f'film {k:02}' for k in item],
        'rating': np.clip(np.round(raw), 1, 5).astype(int)})
    return df.drop_duplicates(['user','title']).reset_index(drop=True)


@pytest.fixture(scope='module')
def ratings():
    return table()


@pytest.fixture(scope='module')
def dls(ratings):
    return collab_dls(ratings, seed=0, bs=128, device='cpu')


@pytest.fixture(scope='module')
def learn(dls):
    set_seed(0)
    return fit(dls, DotProductBias.from_dls(dls, 5), lr=2e-2)


def said(f):
    "The result of `f`, and its warnings"
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter('always')
        res = f()
    found = [w for w in found if w.category is UserWarning and 'NumPy array' not in str(w.message)]
    assert all(w.filename == __file__ for w in found), 'a warning points to the line that called us'
    return res, [str(w.message) for w in found]


def refused(f, *words):
    "`f` raises a `ValueError` of one sentence or two that has `words`"
    with pytest.raises(ValueError) as e:
        f()
    text = str(e.value)
    assert '\n' not in text and text.endswith('.')
    for word in words:
        assert word in text, text


# --- scales

SCALES = {
    'stars': (lambda r: r, (0, 5.5)), '1 to 10': (lambda r: 2*r, (0, 11)),
    'half stars': (lambda r: r/2, (0, 3)), '-10 to 10': (lambda r: 5*(r - 3), (-11, 11)),
    'counts': (lambda r: 3**r, (0, 260)), 'percent': (lambda r: 20*r, (0, 110)),
    'shares': (lambda r: (r - 1)/4, (-.1, 1.1)), 'likes': (lambda r: r > 3, (-.1, 1.1))}


@pytest.mark.parametrize('name', SCALES)
def test_the_range_comes_from_the_ratings(ratings, name):
    scale, right = SCALES[name]
    dls = collab_dls(ratings.assign(rating=scale(ratings['rating'])), seed=0, bs=128, device='cpu')

    def valid_mse(y_range=None):
        kwargs = {} if y_range is None else {'y_range': y_range}
        set_seed(0)
        by_fit = losses(fit(dls, DotProductBias.from_dls(dls, 5, **kwargs), 8, 2e-2, .1))['valid'].iloc[-1]
        set_seed(0)
        many = fit_many(dls, .1, epochs=8, lr=2e-2, n_factors=5, **kwargs)[1][-1,1,0].item()
        return by_fit, many

    (got, warned), good, mean = said(valid_mse), valid_mse(right), baseline_mse(dls)['mean']
    assert not warned
    for mse, at_best in zip(got, good):
        assert mse < 1.1*at_best and mse < .7*mean


@pytest.mark.parametrize('model', MODELS)
def test_a_range_that_is_too_narrow_is_mentioned_once(ratings, model):
    wide = collab_dls(ratings.assign(rating=2*ratings['rating']), seed=0, device='cpu')
    learn, (text,) = said(lambda: fit(wide, model.from_dls(wide, 5, y_range=(0,5.5)), 1))
    assert text == "Ratings from 2 to 10 do not fit into the model's range, 0 to 5.5."
    assert predict(learn, 1, 'film 01').item() <= 5.5
    for y_range in ((0,11), (2,10), None):
        assert said(lambda: fit(wide, model.from_dls(wide, 5, y_range=y_range), 1))[1] == []


def test_fit_many_mentions_it_too(ratings):
    wide = collab_dls(ratings.assign(rating=2*ratings['rating']), seed=0, device='cpu')
    _, (text,) = said(lambda: fit_many(wide, .4, epochs=1, y_range=(3,11)))
    assert text == "Ratings from 2 to 10 do not fit into the model's range, 3 to 11."


def test_the_range_of_fastais_nets_is_known(ratings, dls):
    net = EmbeddingNN([(n, 5) for n in table_sizes(dls)], [10], y_range=(0,4))
    learn, (text,) = said(lambda: fit(dls, net, 1))
    assert text.endswith("range, 0 to 4.") and learn.opt.hypers[0]['wd'] == .4


@pytest.mark.parametrize('model', MODELS)
def test_decay_is_for_models_with_a_range(dls, model):
    def wd(y_range, **kwargs):
        return fit(dls, model.from_dls(dls, 5, y_range=y_range), 1, **kwargs).opt.hypers[0]['wd']
    assert [wd((0,6)), wd(None), wd((0,6), wd=0), wd(None, wd=.1)] == [.4, 0, 0, .1]


# --- what was recorded, and the baselines

def columns(dls, **kwargs):
    learn = collab_learner(dls, n_factors=3, y_range=(0,5.5), **kwargs)
    with learn.no_bar(), learn.no_logging():
        learn.fit(2)
    return learn, losses(learn)


def test_metrics_are_recorded(dls):
    learn, found = columns(dls, metrics=mae)
    assert list(found) == ['train','valid','mae'] and list(found.index) == [1, 2]
    x, y = dls.valid.tensors
    with torch.no_grad():
        error = learn.model.eval()(x) - y[:,0]
    assert found['mae'].iloc[-1] == pytest.approx(error.abs().mean().item(), abs=1e-4)
    assert found['valid'].iloc[-1] == pytest.approx((error**2).mean().item(), abs=1e-4)
    assert list(columns(dls, metrics=[mae, mae])[1]) == ['train','valid','mae','mae']


def test_whatever_the_recorder_is_told_to_record(dls):
    learn = collab_learner(dls, n_factors=3, y_range=(0,5.5), metrics=mae)
    learn.recorder.add_time, learn.recorder.train_metrics = False, True
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
    assert list(losses(learn)) == ['train','train_mae','valid','valid_mae']
    assert losses(learn).notna().all(axis=None)


def test_losses_without_a_validation_set(ratings):
    nothing_held_out = collab_dls(ratings, seed=0, valid_pct=0, device='cpu')
    for kwargs in ({}, {'metrics': mae}):
        found = columns(nothing_held_out, **kwargs)[1]
        assert found['train'].notna().all() and found['valid'].round(3).isna().all()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert baseline_mse(nothing_held_out).isna().all()
    assert fit_many(nothing_held_out, .4, epochs=1)[1][0,1].isnan().all()


@pytest.mark.parametrize('n', [1, 2, 3, 4, 5, 20])
def test_tiny_tables(ratings, n):
    dls = collab_dls(ratings.head(n), seed=0, device='cpu')
    learn = fit(dls, DotProductBias.from_dls(dls, 3), 2)
    found = losses(learn)
    assert list(found) == ['train','valid'] and found['train'].notna().all()
    assert found['valid'].notna().all() == (n >= 5)
    user, title = dls.classes['user'][1], dls.classes['title'][1]
    assert .5 <= predict(learn, user, title).item() <= 5.5
    assert fit_many(dls, [0,.4], epochs=3)[1].shape == (3, 2, 2)


@pytest.mark.parametrize('column', ['user','title'])
def test_one_user_or_one_item(ratings, column):
    one = ratings[ratings[column] == ratings[column].iloc[0]]
    dls = collab_dls(one, seed=0, bs=8, device='cpu')
    learn = fit(dls, DotProductBias.from_dls(dls, 3), 10, lr=5e-2)
    baselines = baseline_mse(dls)
    assert baselines[{'user': 'user mean', 'title': 'item mean'}[column]] == pytest.approx(baselines['mean'])
    assert losses(learn)['train'].iloc[-1] < losses(learn)['train'].iloc[0]


def test_baselines_from_loaders_and_from_tables(ratings, dls):
    train, valid = (ratings.loc[dl.items.index] for dl in dls)
    want = baseline_mse(train, valid)
    assert list(want.index) == ['mean','user mean','item mean','item + user']
    assert want['mean'] == pytest.approx(((valid['rating'] - train['rating'].mean())**2).mean())
    assert want['item + user'] < want.drop('item + user').min()
    stock = CollabDataLoaders.from_df(ratings, seed=0)
    for same in (baseline_mse(dls), baseline_mse(stock)):
        np.testing.assert_allclose(same, want)
    names = {'user': 'who', 'title': 'what', 'rating': 'stars'}
    renamed = (t.rename(columns=names).astype({'who': 'category', 'what': 'category'}) for t in (train, valid))
    np.testing.assert_allclose(baseline_mse(*renamed, 'who', 'what', 'stars'), want)
    mixed = train.astype({'user': 'Int64', 'rating': 'Int8'}), valid.astype({'title': 'string', 'rating': float})
    np.testing.assert_allclose(baseline_mse(*mixed), want)
    np.testing.assert_allclose(baseline_mse(train[::-1], valid.sample(frac=1, random_state=0)), want)


def test_strangers_get_the_mean():
    train = pd.DataFrame({'user': [1,1,2], 'title': ['A','B','A'], 'rating': [5,3,1]})
    valid = pd.DataFrame({'user': [9], 'title': ['Z'], 'rating': [4]})
    assert baseline_mse(train, valid).tolist() == [1]*4


def test_baselines_of_something_else(ratings, dls, learn):
    refused(lambda: baseline_mse(ratings), 'collab_dls')
    refused(lambda: baseline_mse(learn), 'collab_dls')
    refused(lambda: baseline_mse(dls.train, dls.valid), 'DataFrame')
    refused(lambda: baseline_mse(ratings, ratings.rename(columns={'title': 'x'})), "['title']")
    refused(lambda: baseline_mse(ratings.assign(rating='5'), ratings), 'must hold numbers')


# --- predictions

@pytest.mark.parametrize('ask', [
    lambda us, ts: (us, ts), lambda us, ts: (tuple(us), iter(ts)), lambda us, ts: ((u for u in us), ts),
    lambda us, ts: (torch.tensor(us), np.array(ts)), lambda us, ts: (np.array(us), np.array(ts, dtype=object)),
    lambda us, ts: (pd.Series(us, index=[7]*len(us)), pd.Series(ts)),
    lambda us, ts: (pd.Series(us, dtype='Int64'), pd.Series(ts, dtype='string')),
    lambda us, ts: (pd.Series(us).astype('category'), pd.Series(ts).astype('category')),
    lambda us, ts: (pd.Index(us), dict.fromkeys(ts)), lambda us, ts: ([float(u) for u in us], ts),
    lambda us, ts: (range(us[0], us[0] + len(us)), ts)])
def test_names_in_any_form(dls, learn, ask):
    users, titles = [3, 4, 5], ['film 03', 'film 01', 'film 02']
    rows = [[dls.classes['user'].o2i[u], dls.classes['title'].o2i[t]] for u, t in zip(users, titles)]
    with torch.no_grad():
        want = learn.model(torch.tensor(rows))[:,0]
    got = predict(learn, *ask(users, titles))
    assert list(got.index) == list(zip(users, titles)) and list(got.index.names) == ['user','title']
    np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize('model', MODELS)
def test_one_name_and_many(dls, model):
    learn = fit(dls, model.from_dls(dls, 3), 1)
    titles = ['film 03', 'film 01']
    one = [predict(learn, 3, t).item() for t in titles]
    for user in (3, [3], np.int64(3), torch.tensor(3), torch.tensor([3]), pd.Series([3])):
        assert predict(learn, user, titles).tolist() == pytest.approx(one, rel=1e-5)
    assert predict(learn, titles and [3, 4], 'film 03').index.tolist() == [(3, 'film 03'), (4, 'film 03')]
    for users, items in (([], []), ([], 'film 03'), (3, [])):
        empty = predict(learn, users, items)
        assert len(empty) == 0 and list(empty.index.names) == ['user','title']


def test_names_that_are_none(learn, dls):
    refused(lambda: predict(learn, '3', 'film 03'), "user '3'", 'look like 1')
    refused(lambda: predict(learn, None, 'film 03'), 'None')
    refused(lambda: predict(learn, [[3]], 'film 03'), 'one flat list')
    refused(lambda: predict(learn, np.array([[3, 4]]), 'film 03'), 'one flat list')
    refused(lambda: predict(learn, {'a': 1}.items(), [['film 03']]), "('a', 1)")
    refused(lambda: predict(learn, [3, 4], ['film 03']*3), 'pairs')
    refused(lambda: predict(learn, 3, 'film 03', unknown=None), 'unknown must')
    refused(lambda: predict(learn.model, 3, 'film 03'), 'DotProductBias has no names')
    refused(lambda: predict(fit_many(dls, .4, epochs=1), 3, 'film 03'), 'tuple has no names')
    many = NamedModel.from_dls(fit_many(dls, [0,.4], epochs=1)[0], dls)
    refused(lambda: predict(many, 3, 'film 03'), 'many[0]')
    assert predict(learn, [None, float('nan'), pd.NA, 3.5], 'film 03', unknown='na').nunique() == 1


def test_a_row_as_fastai_predicts_it(ratings, learn):
    row = ratings.iloc[0]
    want = predict(learn, row['user'], row['title']).item()
    for form in (row, row.to_dict(), ratings.head(1)):
        assert learn.predict(form) == want
    refused(lambda: learn.predict(ratings.head(2)), 'One row at a time')
    for form in ({'user': 1}, [1, 'film 01'], (1, 'film 01'), None, 1):
        refused(lambda: learn.predict(form), "'user' and 'title'")
    refused(lambda: learn.predict({'user': 999, 'title': 'film 01'}), '999')


# --- one shape for all models

def shapes(dls):
    "A model of each kind that has a dot product, with random numbers"
    sizes = table_sizes(dls)
    set_seed(1)
    models = [DotProduct(*sizes, 4), DotProduct(*sizes, 4, (0,6)), DotProductBias(*sizes, 4),
              DotProductBias(*sizes, 4, (0,6)), DotProductBiasRaw(*sizes, 4, (-1,7)), DotProductBias(*sizes, 0),
              collab_learner(dls, n_factors=4, y_range=(0,6)).model, collab_learner(dls, n_factors=4).model,
              ManyModels(*sizes, 3, 4, y_range=(0,6))[1], ManyModels(*sizes, 3, 4, bias=[True,False,True])[1],
              ManyModels(*sizes, 3, 4)[-1]]
    for model in models:
        for p in model.parameters():
            p.data = torch.randn_like(p)
    return models


def test_every_model_with_a_dot_product_can_be_had_as_one(dls):
    x, _ = dls.valid.one_batch()
    for model in shapes(dls):
        for learn in (model, NamedModel.from_dls(model, dls)):
            same = as_dot_product_bias(learn)
            assert type(same) is DotProductBias
            torch.testing.assert_close(same(x)[:,0], model(x).reshape(-1), rtol=1e-4, atol=1e-4)
        before = same(x)
        for p in model.parameters():
            p.data.zero_()
        assert torch.equal(same(x), before), 'it is a copy'


def test_a_net_says_that_it_has_none(dls):
    for model in (CollabNN.from_dls(dls, 3), collab_learner(dls, use_nn=True), nn.Linear(2, 1), None,
                  ManyModels(*table_sizes(dls), 2)):
        refused(lambda: as_dot_product_bias(model), 'has no dot product')


def test_many_models_are_single_ones_side_by_side(dls):
    many, hist = fit_many(dls, [0,.4], n_factors=3)
    x, y = dls.valid.tensors
    for k, model in enumerate(many):
        learn = NamedModel.from_dls(model, dls)
        assert model.y_range == (.5, 5.5) and predict(learn, 3, 'film 03').between(.5, 5.5).all()
        with torch.no_grad():
            assert ((model(x) - y)**2).mean().item() == pytest.approx(hist[-1,1,k].item(), abs=1e-5)
    with pytest.raises(IndexError):
        many[2]


@pytest.mark.parametrize('y_range', [(.5, 5.5), None])
def test_fast_training_is_the_plain_loop(ratings, y_range):
    def start():
        dls = collab_dls(ratings, seed=0, bs=128, device='cpu')
        set_seed(0)
        return dls, DotProductBias.from_dls(dls, 5, y_range=y_range)
    dls, plain = start()
    opt, cycle = one_cycle(plain, 2e-2, 3*len(dls.train))
    for _ in range(3):
        for x, y in dls.train:
            opt.zero_grad()
            mse(plain(x), y).backward()
            decay_(plain.parameters(), .3, opt.param_groups[0]['lr'])
            opt.step()
            cycle.step()
    fast = fit_fast(*start(), epochs=3, lr=2e-2, wd=.3).model
    x = dls.valid.tensors[0]
    torch.testing.assert_close(fast(x), plain(x), atol=1e-4, rtol=0)


@pytest.mark.parametrize('y_range', [(.5, 5.5), None])
def test_fast_training_in_a_learner_is_that_of_fit(ratings, y_range):
    def train(function, **kwargs):
        dls = collab_dls(ratings, seed=0, bs=128, device='cpu')
        set_seed(0)
        return function(dls, DotProductBias.from_dls(dls, 5, y_range=y_range), epochs=3, wd=.3, **kwargs)
    plain, fast = train(fit), train(fit_fast, callbacks=True)
    x = plain.dls.valid.tensors[0]
    torch.testing.assert_close(fast.model(x), plain.model(x), atol=1e-4, rtol=0)
    np.testing.assert_allclose(losses(fast), losses(plain), atol=1e-4)
    before = fast.model.user_bias.weight.clone()
    with fast.no_bar(), fast.no_logging(): fast.fit_one_cycle(1, 1e-2)
    assert not torch.equal(fast.model.user_bias.weight, before) # it can be trained further


def test_a_model_from_tables():
    users, items = np.array([[0, 0, 0], [1, 2, 3]]), [[0, 0, 0], [4, 5, 6.]]
    learn = NamedModel(model_from_tables(users, items), ['Ann'], ['Fargo'], 'person', 'film')
    assert predict(learn, 'Ann', 'Fargo').item() == 1 + 4 + 2*5 + 3*6
    assert list(predict(learn, 'Ann', 'Fargo').index.names) == ['person','film']
    assert repr(learn) == 'DotProductBias of 1 users and 1 items'
    frames = [pd.DataFrame(t) for t in (users, items)]
    assert predict(NamedModel(model_from_tables(*frames), ['Ann'], ['Fargo']), 'Ann', 'Fargo').item() == 33
    refused(lambda: model_from_tables([[1,2]], [[1,2,3]]), 'equal width')
    refused(lambda: model_from_tables([1,2], [1,2]), 'equal width')
    refused(lambda: model_from_tables(users, items, y_range=(5,1)), 'y_range')


def test_names_must_fit_the_model(dls, learn, ratings):
    users, items = (list(dls.classes[name])[1:] for name in dls.cat_names)
    named = NamedModel(learn.model, (u for u in users), pd.Series(items))
    assert predict(named, users, 'film 03').equals(predict(learn, users, 'film 03'))
    refused(lambda: NamedModel(learn.model, users[1:], items), '61 rows, but 60')
    refused(lambda: NamedModel(learn.model, users, [*items, 'one more']), '41 rows, but 42')
    refused(lambda: NamedModel(learn.model, [*users[1:], users[1]], items), 'different from each other')
    refused(lambda: NamedModel(learn.model, [*users[1:], '#na#'], items), '#na#')
    refused(lambda: NamedModel(learn.model, [*users[1:], float('nan')], items), 'text or numbers')
    refused(lambda: NamedModel(learn.model, [*users[1:], []], items), 'text or numbers')
    refused(lambda: NamedModel(learn.model, users, items, 'title', 'title'), "'title' for both")
    refused(lambda: NamedModel(learn, users, items), 'not RatingsLearner')
    refused(lambda: NamedModel.from_dls(learn.model, ratings), 'not DataFrame')
    refused(lambda: NamedModel.from_dls(learn.model, collab_dls(ratings.head(90), seed=0)), 'rows, but')


# --- what can't be trained

@pytest.mark.parametrize('kwargs,words', [
    *[({'epochs': v}, 'epochs must be a whole number') for v in (0, -1, 1.5, '5', None)],
    *[({'lr': v}, 'lr must be a number') for v in (-1, 'a', None, [1e-2], float('nan'))],
    *[({'wd': v}, 'wd must be') for v in (-1, 'a', float('nan'), float('inf'))]])
def test_settings_that_make_no_sense(dls, kwargs, words):
    refused(lambda: fit(dls, DotProductBias.from_dls(dls, 3), **kwargs), words)
    refused(lambda: fit_many(dls, **{'wd': .4, **kwargs}), words)


@pytest.mark.parametrize('y_range', [5, (5,1), 'ab', '15', (0,1,2), (0,float('nan')), (0,float('inf')), (3,3), [None,5]])
def test_ranges_that_are_none(dls, y_range):
    refused(lambda: fit(dls, DotProductBias.from_dls(dls, 3, y_range=y_range), 1), 'y_range must be')
    refused(lambda: fit_many(dls, .4, y_range=y_range), 'y_range must be')


@pytest.mark.parametrize('y_range', [[0, 6], np.array([0, 6]), torch.tensor([0, 6]), (np.int64(0), 6.)])
def test_two_numbers_are_a_range(dls, y_range):
    learn, warned = said(lambda: fit(dls, DotProductBias.from_dls(dls, 3, y_range=y_range), 1))
    assert not warned and 0 < predict(learn, 3, 'film 03').item() < 6


@pytest.mark.parametrize('n_factors', [-1, 2.5, '5', None])
def test_widths_that_are_none(dls, n_factors):
    refused(lambda: DotProductBias.from_dls(dls, n_factors), 'n_factors must be')
    refused(lambda: fit_many(dls, .4, n_factors=n_factors), 'n_factors must be')


@pytest.mark.parametrize('wd', [None, 'a', [], [.1, -1], [[.1, .2]], np.ones((2,2,2)), [[.1], [.2, .3]]])
def test_decays_that_are_none(dls, wd):
    refused(lambda: fit_many(dls, wd, n_factors=3), 'wd must be', 'row of 4')


def test_decays_in_any_form(dls):
    for wd in (.4, [.4], np.array([.4, 0]), torch.tensor([.4]), pd.Series([.4, 1]), (w for w in (.4, .5)), (.4,),
               torch.full((2,4), .4), np.full((1,1), .4)):
        set_seed(0)
        many, _ = fit_many(dls, wd, epochs=1, n_factors=3)
        first = many.users[:,0].norm(dim=0)
        assert len(many) in (1, 2)
    set_seed(0)
    none, _ = fit_many(dls, 0, epochs=1, n_factors=3)
    assert (first < none.users[:,0].norm(dim=0)).all()
    refused(lambda: fit_many(dls, .4, bias=[True, False]), '1 models')


def test_things_in_the_wrong_place(ratings, dls, learn):
    model = DotProductBias.from_dls(dls, 3)
    refused(lambda: fit(ratings, model), 'dls must be what collab_dls returns, not DataFrame')
    refused(lambda: fit(model, dls), 'dls must be', 'not DotProductBias')
    refused(lambda: fit(dls.train, model), 'dls must be', 'not RatingsDL')
    refused(lambda: fit(dls, DotProductBias), 'the class DotProductBias')
    refused(lambda: fit(dls, learn), 'torch Module', 'not RatingsLearner')
    refused(lambda: fit(dls, None), 'torch Module', 'not NoneType')
    refused(lambda: fit_many(ratings, .4), 'dls must be', 'not DataFrame')
    refused(lambda: DotProductBias.from_dls(ratings), 'dls must be', 'not DataFrame')
    for nothing_trained in (learn.model, collab_learner(dls), None, NamedModel.from_dls(learn.model, dls)):
        refused(lambda: losses(nothing_trained), 'a trained Learner')


@pytest.mark.parametrize('model', MODELS)
def test_the_forgotten_row_for_strangers(ratings, dls, model):
    n_users, n_items = ratings['user'].nunique(), ratings['title'].nunique()
    refused(lambda: fit(dls, model(n_users, n_items + 1, 3)), '60 rows, but 61', 'table_sizes')
    refused(lambda: fit(dls, model(n_users + 1, n_items, 3)), '40 rows, but 41', 'table_sizes')
    fit(dls, model(n_users + 1, n_items + 1, 3), 1)


def test_no_batch_is_complete(ratings):
    few = collab_dls(ratings, seed=0, bs=10_000, drop_last=True, device='cpu')
    refused(lambda: fit(few, DotProductBias.from_dls(few, 3)), 'smaller bs')
    refused(lambda: fit_many(few, .4), 'smaller bs')


def test_training_without_the_last_batch(ratings):
    dls = collab_dls(ratings.assign(rating=3), seed=0, bs=500, drop_last=True, device='cpu')
    assert dls.train.n % 500
    _, hist = fit_many(dls, 0, epochs=1, lr=0, n_factors=3, y_range=(0,5))
    assert hist[0,0,0].item() == pytest.approx(.25, abs=.01)    # 3 stars, 2.5 predicted: .25 in each batch
    assert losses(fit(dls, DotProductBias.from_dls(dls, 3)))['train'].notna().all()


@pytest.mark.parametrize('n_steps', range(1, 8))
def test_trainings_of_a_few_steps(ratings, n_steps):
    dls = collab_dls(ratings, seed=0, bs=-(-1376//n_steps), device='cpu')
    assert len(dls.train) == n_steps
    many, hist = fit_many(dls, .4, epochs=1, n_factors=3)
    assert hist.isfinite().all() and len(many) == 1
