"Crosstabs and their plots for ratings on any scale and names of any kind; maps with readable labels"
import warnings
from itertools import combinations

import matplotlib
import adjustText
import numpy as np
import pandas as pd
import pytest

from collab_course.crosstab import rating_counts, top_crosstab
from collab_course.plots import label_points, plot_crosstab

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # after the choice of a backend

pytestmark = pytest.mark.filterwarnings('error')


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close('all')


@pytest.fixture
def ratings():
    rng = np.random.default_rng(0)
    pairs = rng.permutation(20*15)[:200]
    return pd.DataFrame({'user': pairs//15, 'title': [f'film {k:02}' for k in pairs % 15],
                         'rating': rng.integers(1, 6, 200)})


def texts(ax):
    return [text.get_text() for text in ax.texts]


# --- tables

def test_columns_go_by_place_or_by_name(ratings):
    usual = top_crosstab(ratings, 6, 4)
    other = ratings.rename(columns={'user': 'userId', 'title': 'name', 'rating': 'stars'})
    by_place = top_crosstab(other, 6, 4)
    by_name = top_crosstab(other[['stars', 'name', 'userId']], 6, 4, 'userId', 'name', 'stars')
    np.testing.assert_array_equal(by_place, usual)
    np.testing.assert_array_equal(by_name, usual)
    assert (by_place.index.name, by_place.columns.name) == ('userId', 'name')


@pytest.mark.parametrize('kinds', [{'user': str}, {'title': 'category', 'user': 'category'},
                                   {'rating': 'Int64'}, {'rating': 'Float64', 'user': 'Int64'}])
def test_columns_of_other_kinds_give_the_same_numbers(ratings, kinds):
    got, usual = top_crosstab(ratings.astype(kinds), 30, 30), top_crosstab(ratings, 30, 30)
    assert (got.dtypes == float).all() and got.shape == usual.shape
    got = got.set_axis(got.index.astype(int), axis=0).set_axis(got.columns.astype(str), axis=1)
    np.testing.assert_array_equal(got.loc[usual.index, usual.columns], usual)
    assert len(plot_crosstab(got).texts) == len(ratings)


@pytest.mark.parametrize('change, says', [
    (lambda r: r.to_numpy(), 'DataFrame'), (lambda r: r[['user', 'title']], 'three columns'),
    (lambda r: pd.concat([r, r[['title']]], axis=1), "'title'"),
    (lambda r: r.assign(rating=r['rating'].astype(str)), 'numbers')])
def test_a_bad_table_is_refused_in_a_sentence(ratings, change, says):
    with pytest.raises(ValueError, match=says) as e:
        top_crosstab(change(ratings))
    assert '\n' not in str(e.value)


@pytest.mark.parametrize('call', [lambda r: rating_counts(r, 'movie'), lambda r: top_crosstab(r, item_name='movie')])
def test_a_column_that_is_not_there_is_named(ratings, call):
    with pytest.raises(ValueError, match="'movie'"):
        call(ratings)


@pytest.mark.parametrize('arguments, says', [
    ({'n_users': 0}, 'at least 1'), ({'n_items': -1}, 'at least 1'),
    ({'item_name': 'user'}, 'different'), ({'user_name': 'rating'}, 'different')])
def test_what_is_no_crosstab_is_refused(ratings, arguments, says):
    with pytest.raises(ValueError, match=says):
        top_crosstab(ratings, **arguments)


# --- the plot of a table

@pytest.mark.parametrize('scale', [lambda r: 2*r, lambda r: r - 3, lambda r: r/5, lambda r: 137*r, lambda r: r*1e9])
def test_colors_cover_the_scale_of_the_data(ratings, scale):
    table = top_crosstab(ratings.assign(rating=scale(ratings['rating'])))
    ax = plot_crosstab(table)
    low, high = np.nanmin(table), np.nanmax(table)
    assert ax.images[0].get_clim() == (low, high)
    assert plot_crosstab(table, y_range=(low - 1, high)).images[0].get_clim() == (low - 1, high)


@pytest.mark.parametrize('numbers, written', [
    ([137., 1096, 250_000, 5, -2, 0], ['137', '1,096', '250,000', '5', '-2', '0']),
    ([3, 3.64, -2, .0456, 12.34], ['3.0', '3.6', '-2.0', '0.0', '12.3']),
    ([.5, -.0456, 0], ['0.50', '-0.05', '0.00']), ([2e-7, 0], ['0.00000020', '0.00000000']),
    ([250_000, .5], ['250,000', '0'])])
def test_numbers_are_written_out_in_one_format(numbers, written):
    assert texts(plot_crosstab(pd.DataFrame([numbers]))) == written


@pytest.mark.parametrize('scale', [1, 100, -1])
def test_text_contrasts_with_its_cell(scale):
    ax = plot_crosstab(pd.DataFrame([np.arange(11.)*scale]))
    image = ax.images[0]
    for value, text in zip(image.get_array().ravel(), ax.texts):
        luminance = np.dot(image.cmap(image.norm(value))[:3], (.299, .587, .114))
        assert text.get_color() == ('w' if luminance < .5 else 'k')
    assert {text.get_color() for text in ax.texts} == {'w', 'k'}


def test_any_names_will_do():
    names = ['$\\frac$', 1.5, None, ('a', 2), 'x'*40, True]
    table = pd.DataFrame(np.ones((6, 6)), index=names, columns=names)
    ax = plot_crosstab(table)
    ax.figure.canvas.draw()
    for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
        assert [label.get_text() for label in labels] == [
            '$\\frac$', '1.5', 'None', "('a', 2)", 'x'*23 + '…', 'True']


def test_years_are_left_out_unless_only_they_differ():
    def shown(*names):
        ax = plot_crosstab(pd.DataFrame([np.arange(len(names))], columns=list(names)))
        return [label.get_text() for label in ax.get_xticklabels()]
    assert shown('Solaris (1972)', 'Matrix, The (1999)') == ['Solaris', 'Matrix']
    assert shown('Solaris (1972)', 'Solaris (2002)') == ['Solaris (1972)', 'Solaris (2002)']
    assert shown('Group (A)', 'Group (B)') == ['Group (A)', 'Group (B)']


def framed(ax):
    return {(round(p.get_y() + .46), round(p.get_x() + .46)) for p in ax.patches}


def test_a_frame_goes_by_labels():
    table = pd.DataFrame([[1., 2], [3, 4], [5, 6]], list('abc'), list('xy'))
    frame = table > 4.5
    want = {(2, 0), (2, 1)}
    for given in (frame, frame.iloc[::-1, ::-1], frame.to_numpy(), frame.to_numpy().tolist()):
        assert framed(plot_crosstab(table, frame=given)) == want
    for given in (frame.rename(index={'a': 'z'}), frame[:2], [[True]]):
        with pytest.raises(ValueError, match='frame'):
            plot_crosstab(table, frame=given)


@pytest.mark.parametrize('table', [
    pd.DataFrame([[np.nan]]), pd.DataFrame([[3, None]]), pd.DataFrame([[2., 2]]), np.eye(2),
    pd.DataFrame([[3, None]]).convert_dtypes(), pd.DataFrame([[np.inf, 1, 2]])])
def test_tables_at_the_edge_are_drawn(table):
    ax = plot_crosstab(table)
    ax.figure.canvas.draw()
    assert len(ax.texts) == np.isfinite(pd.DataFrame(table).to_numpy(float, na_value=np.nan)).sum()


@pytest.mark.parametrize('table, says', [(pd.DataFrame(), 'no cells'), (pd.DataFrame([['good']]), 'numbers')])
def test_what_is_no_table_of_numbers_is_refused(table, says):
    with pytest.raises(ValueError, match=says):
        plot_crosstab(table)


# --- a map

def crowd(seed, n=40):
    "A map of `n` points, most of them in the middle, and their labels"
    rng = np.random.default_rng(seed)
    xy = rng.normal(size=(n, 2))
    fig, ax = plt.subplots(figsize=(9, 7.5), layout='constrained')
    ax.scatter(*xy.T, s=12)
    ax.margins(.12)
    return ax, xy, ['A title of so many words'[:k] for k in rng.integers(4, 24, n)]


@pytest.mark.parametrize('seed', range(3))
def test_no_label_covers_another(seed):
    ax, xy, labels = crowd(seed)
    before = [ax.text(*point, label, fontsize=7) for point, label in zip(xy, labels)]
    ax.figure.canvas.draw()
    assert overlaps(before) > 2, 'the test is too easy'
    for text in before:
        text.remove()
    found = label_points(ax, xy, labels)
    ax.figure.canvas.draw()
    assert [text.get_text() for text in found] == labels and overlaps(found) == 0
    distance = [np.abs(text.get_window_extent().get_points().mean(axis=0) - point).max()
                for text, point in zip(found, ax.transData.transform(xy))]
    assert max(distance) < 200, 'a label stays near its point'


def overlaps(found):
    boxes = [text.get_window_extent() for text in found]
    return sum(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_the_map_is_the_same_each_time():
    one, two = ([text.get_position() for text in label_points(*crowd(0))] for _ in range(2))
    assert one == two


def test_no_room_is_a_warning():
    fig, ax = plt.subplots(figsize=(2, 2))
    with pytest.warns(UserWarning, match='No room'):
        label_points(ax, np.full((20, 2), .5), ['a long label']*20)


def test_labels_wider_than_the_axes_are_no_trouble(monkeypatch):
    said = []
    for how in ('warn', 'warning'):
        monkeypatch.setattr(adjustText.logger, how, said.append, raising=False)
    fig, ax = plt.subplots(figsize=(.9, .6))
    label_points(ax, [[.5, .5]]*2, ['a name that is wider than the axes']*2)
    assert not said


def test_labels_of_other_kinds():
    fig, ax = plt.subplots()
    assert label_points(ax, np.empty((0, 2)), []) == []
    found = label_points(ax, pd.DataFrame([[.2, .2], [.7, .7]]), ['$\\frac$', 7])
    fig.canvas.draw()
    assert [text.get_text() for text in found] == ['$\\frac$', '7']
    for xy, labels in ((np.zeros((2, 2)), ['a']), (np.zeros(2), ['a', 'b']), ([[0, np.nan]], ['a'])):
        with pytest.raises(ValueError):
            label_points(ax, xy, labels)
