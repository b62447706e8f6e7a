"Models of ids, columns, implicit feedback and pages: what they may know, what they draw, and what they refuse"
import numpy as np
import pandas as pd
import pytest
import torch

from collab_course.bootstrapping import recommend
from collab_course.evaluation import evaluate
from collab_course.further import hundred_lines as lines
from collab_course.further.hundred_lines import SampledRatings, sample_ratings
from collab_course.further.ingredients import (
    MeanOfModels, fit_folds, fit_logits, known_columns, page_shift, pages_of, rows_of)
from collab_course.named_models import NamedModel
from collab_course.training import predict

FEW = dict(sweeps=40, drop=20, n_factors=3, n_components=5)
NAMES = ['user', 'movie', 'rating', 'timestamp']


@pytest.fixture(scope='module')
def tables():
    "Ratings in half stars by 40 people on pages of four, whose mood moves a page; columns; a part to predict"
    rng = np.random.default_rng(0)
    users = pd.DataFrame({'old': rng.integers(0, 2, 42)}, index=[f'p{k:02}' for k in range(42)])
    items = pd.DataFrame({'year': rng.integers(0, 2, 32)}, index=range(100, 132))
    rows = pd.DataFrame([(u, i) for u in range(40) for i in rng.permutation(30)[:20]], columns=['u', 'i'])
    page = np.arange(len(rows))//4
    score = 3 + np.where(users['old'].to_numpy()[rows['u']] == items['year'].to_numpy()[rows['i']], .8, -.8)
    score = score + rng.normal(size=page.max() + 1)[page] + .3*rng.normal(size=len(rows))
    ratings = pd.DataFrame({
        'user': users.index[rows['u']], 'movie': items.index[rows['i']], 'rating': (score*2).round().clip(1, 10)/2,
        'timestamp': pd.Timestamp('1998-01-01') + pd.to_timedelta(60*page, unit='s')})
    test = ratings.sample(frac=.25, random_state=0)
    return ratings.drop(test.index), test, users, items


def pairs(ratings, users, items):
    return torch.stack(rows_of(ratings, users, items), dim=1)


def refused(f, *words):
    with pytest.raises(ValueError) as e:
        f()
    assert all(word in str(e.value) for word in words), str(e.value)


def test_known_columns(tables):
    train, _, users, items = tables
    for frame, known in zip((users, items), known_columns(train, users, items, 5)):
        assert known.shape == (1 + len(frame), 1 + frame.shape[1] + 5)
        assert (known[:,0] == 1).all() and not known[0,1:].any()
        assert (known[1:,1].numpy() == frame.iloc[:,0].to_numpy()).all()
        assert not known[-1,2:].any(), 'nothing is known about what the last one rated'
    assert [k.shape[1] for k in known_columns(train, users, items, 0)] == [2, 2]


def test_what_was_rated_is_a_summary_of_the_table(tables):
    "With all components, the dot products of rows are those of the scaled rows of the table of ones and zeros"
    train, _, users, items = tables
    known = known_columns(train, users[[]], items[[]], 1000)[0][1:,1:]
    table = pd.crosstab(train['user'], train['movie']).reindex(users.index, fill_value=0).to_numpy(float)
    table = 3*table/np.maximum(table.sum(axis=1, keepdims=True), 1)**.5
    np.testing.assert_allclose(known @ known.T, table @ table.T, atol=1e-4)


def at(*seconds, user='a'):
    time = pd.Timestamp('1998-01-01') + pd.to_timedelta(seconds, unit='s')
    return pd.DataFrame({'user': user, 'movie': range(len(seconds)), 'rating': 3, 'timestamp': time})


def test_pages():
    train = pd.concat([at(100, 0, 1, 50, 60), at(0, 55, user='b')]).set_axis(list('tuvwxyz'))
    page = pages_of(train, train, 10)
    assert page[1] == page[2] and page[3] == page[4] and len({*page.tolist()}) == 5
    asked = at(4, 30, 61, 109, 111)
    found = pages_of(asked, train, 10)
    assert found.tolist() == [page[1], -1, page[3], page[0], -1]
    assert pages_of(at(56, user='b'), train, 10).tolist() == [page[6]]
    assert pages_of(at(56, user='c'), train, 10).tolist() == [-1]
    assert pages_of(asked.iloc[::-1], train, 10).tolist() == found.tolist()[::-1]


def test_pages_of_a_row_do_not_depend_on_other_rows_to_predict(tables):
    train, test, *_ = tables
    together = pages_of(test, train)
    assert (together == torch.cat([pages_of(test.iloc[[k]], train) for k in range(len(test))])).all()
    assert (together >= 0).float().mean() > .9


def test_page_shift_leaves_the_rating_itself_out():
    "Where residuals are unrelated, no shift is found, though each rating agrees with itself"
    rng = np.random.default_rng(0)
    page = torch.tensor(np.arange(20_000)//2)
    alone = rng.normal(size=20_000)
    assert abs(page_shift(alone, page, page)).max() < .1
    moods = alone + 2*np.repeat(rng.normal(size=10_000), 2)
    shift = page_shift(moods, page, torch.cat([page[:100], torch.tensor([-1])]))
    assert np.corrcoef(shift[:100], moods[:100])[0,1] > .8 and shift[-1] == 0


def test_rows_are_drawn_from_the_posterior_of_the_regression():
    "Mean and covariance of many draws are those of the formula"
    torch.manual_seed(0)
    side = lines.Rows(torch.ones(20_000, 1), 3)
    side.precision = torch.tensor([[2., .5, 0], [.5, 3, 0], [0, 0, 1]])
    side.slopes = torch.tensor([[.3, -.2, 1.]])
    others, targets = torch.randn(6, 3), torch.randn(6)
    side.draw_rows(torch.ones(20_000, 6), targets.expand(20_000, 6), others)
    design = torch.cat([torch.ones(6, 1), others[:,1:]], dim=1)
    cov = torch.linalg.inv(design.T @ design + side.precision)
    mean = cov @ (design.T @ targets + side.precision @ side.slopes[0])
    torch.testing.assert_close(side.rows.mean(dim=0), mean, atol=.02, rtol=0)
    torch.testing.assert_close(side.rows.T.cov(), cov, atol=.02, rtol=0)


def test_prior_follows_the_rows():
    "The slopes find what the columns say, and the precision how far the rows are from it"
    torch.manual_seed(0)
    columns = torch.cat([torch.ones(3000, 1), torch.randn(3000, 1)], dim=1)
    side = lines.Rows(columns, 2)
    slopes, spread = torch.tensor([[1., -1], [.5, 0]]), torch.tensor([.2, .5])
    side.rows = columns @ slopes + torch.randn(3000, 2)*spread
    for _ in range(10):
        side.draw_prior()
    torch.testing.assert_close(side.slopes, slopes, atol=.05, rtol=0)
    torch.testing.assert_close(torch.linalg.inv(side.precision).diag()**.5, spread, atol=.03, rtol=0)


def test_raw_scores_lie_between_their_cuts():
    torch.manual_seed(0)
    level = torch.arange(5).repeat(1000)
    cuts = lines.first_cuts(level)
    assert len(cuts) == 6 and (cuts.diff() > 0).all()
    drawn, cuts = lines.draw_scores(torch.zeros(5000).double(), level, cuts)
    assert ((drawn >= cuts[level] - 1e-5) & (drawn <= cuts[level + 1] + 1e-5)).all()
    middle = drawn[level == 2]
    assert abs(middle.mean()) < .05 and middle.std() > .1


def test_shifts_are_drawn_around_the_shrunken_means():
    torch.manual_seed(0)
    page, truth = torch.arange(2000).repeat(50), .5*torch.randn(2000)
    penalty = 10.
    for _ in range(5):
        shifts, penalty = lines.draw_shifts(page, truth[page] + torch.randn(len(page)), penalty)
    assert len(shifts) == 2001 and shifts[-1] == 0
    assert abs(penalty**-.5 - .5) < .05
    assert np.corrcoef(shifts[:-1], truth)[0,1] > .9


def test_pages_help_where_a_page_has_a_mood(tables):
    train, test, users, items = tables
    ours, theirs = ([pages_of(part, train)] for part in (train, test))
    x = pairs(test, users, items)
    model = sample_ratings(train, users, items, ours, **FEW)
    error = {key: float(((model(x, pages)[:,0].numpy() - test['rating'])**2).mean())
             for key, pages in (('pages', theirs), ('none', ()))}
    assert error['pages'] < .8*error['none'] < .8*test['rating'].var()


def test_columns_help_for_a_user_without_ratings(tables):
    "Two of the users have no training ratings: one is predicted like other old ones, the other like young ones"
    train, _, users, items = tables
    model = sample_ratings(train, users.assign(old=[*users['old'][:40], 0, 1]), items, **{**FEW, 'sweeps': 200, 'drop': 100})
    old = items['year'].to_numpy() == 1
    gaps = []
    for row in (41, 42):
        preds = model(torch.tensor([(row, k + 1) for k in range(len(items))]))[:,0].numpy()
        gaps.append(preds[old].mean() - preds[~old].mean())
    assert gaps[0] < -.3 and gaps[1] > .3


@pytest.mark.parametrize('fit', [
    lambda train, users, items: sample_ratings(train, users, items, [pages_of(train, train)], **FEW),
    lambda train, users, items: fit_logits(train, users, items, bs=16, n_components=5),
    lambda train, users, items: fit_folds(train, users, items, 2, bs=16, n_components=5)[0]])
def test_each_model(tables, fit):
    "Same seed, same model; predictions within the scale, for single rows as for many; names; unknown names"
    train, test, users, items = tables
    x = pairs(test, users, items)
    model, again = (fit(train, users, items) for _ in range(2))
    with torch.no_grad():
        preds = again(x)
        assert torch.equal(preds, model(x)) and preds.shape == (len(x), 1)
        assert preds.min() >= .5 and preds.max() <= 5 and preds.std() > .1
        torch.testing.assert_close(torch.cat([model(row[None]) for row in x[:20]]), preds[:20], atol=1e-5, rtol=0)
    learn = NamedModel(model, users.index, items.index, 'user', 'movie')
    assert np.allclose(predict(learn, test['user'], test['movie']), preds[:,0], atol=1e-5)
    assert len(recommend(learn, 'p03', ratings=train[NAMES[:3]], n=5)) == 5
    assert evaluate(learn, test[NAMES[:3]], k=5, ratings=train[NAMES[:3]])['unknown'] == 0
    assert predict(learn, 'who', 'what', unknown='na').between(.5, 5).all()


def test_predictions_know_no_test_rating(tables):
    "All that is given of a test row is its user, movie and time; the same predictions if other rows are left out"
    train, test, users, items = tables
    model = sample_ratings(train, users, items, [pages_of(train, train)], **FEW)
    def preds(asked):
        return model(pairs(asked, users, items), [pages_of(asked, train)])[:,0]
    full = preds(test)
    for changed in (test.drop(columns='rating'), test.assign(rating=0.)):
        assert torch.equal(preds(changed), full)
    assert torch.allclose(preds(test.iloc[:10]), full[:10], atol=1e-6)


def test_residuals_come_from_models_that_have_not_seen_the_rating(tables):
    "Each fold is predicted by the model that was trained without it"
    train, _, users, items = tables
    models, residuals = fit_folds(train, users, items, 3, epochs=2, n_components=5)
    fold = np.random.default_rng(0).permutation(len(train)) % 3
    x = pairs(train, users, items)
    for k, model in enumerate(models.models):
        same = fit_logits(train[fold != k], users, items, epochs=2, n_components=5, seed=k)
        with torch.no_grad():
            expected = train['rating'] - same(x)[:,0].numpy()
        assert np.allclose(residuals[fold == k], expected[fold == k], atol=1e-5)
    with torch.no_grad():
        mean = sum(model(x) for model in models.models)/3
        assert torch.allclose(MeanOfModels(models.models)(x), mean, atol=1e-6)


def test_samples_are_averaged(tables):
    train, test, users, items = tables
    x = pairs(test, users, items)
    model = sample_ratings(train, users, items, **FEW)
    assert len(model.tables[0]) == FEW['sweeps'] - FEW['drop']
    each = [SampledRatings(model.levels, [sample])(x) for sample in zip(*model.tables)]
    assert torch.allclose(torch.stack(each).mean(dim=0), model(x), atol=1e-5)
    assert torch.stack(each).std(dim=0).mean() > .05


def test_hostile_input(tables):
    train, _, users, items = tables
    for fit in (sample_ratings, fit_logits):
        refused(lambda: fit(pd.concat([train, train.iloc[:1]]), users, items), 'twice')
        refused(lambda: fit(train, users.drop(index='p03'), items), "user 'p03'")
        refused(lambda: fit(train, users, items.drop(index=105)), 'movie 105')
        refused(lambda: fit(train, pd.concat([users, users.iloc[:1]]), items), 'two rows')
        refused(lambda: fit(train, users.assign(job='cook'), items), 'get_dummies')
        refused(lambda: fit(train, users.assign(old=np.nan), items), 'finite')
        refused(lambda: fit(train.assign(rating='good'), users, items), "'rating'")
        refused(lambda: fit(train.to_numpy(), users, items), 'DataFrame')
    refused(lambda: sample_ratings(train, users, items, sweeps=60, drop=60), 'sweeps')
