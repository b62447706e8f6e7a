"Models of what comes next: no place sees a later one, padding doesn't matter, and a planted order is learned"
import numpy as np
import pandas as pd
import pytest
import torch
from fastai.basics import set_seed
from torch.nn import functional as F

from collab_course.further.sequences import (
    MeanOfHistory, NextWatch, SelfAttention, fit_next, histories, next_scores, pad, training_pairs)

KINDS = {'one block': lambda: NextWatch(20, 8, 12), 'two blocks': lambda: NextWatch(20, 8, 12, n_blocks=2),
         'no places': lambda: NextWatch(20, 8, 12, places=False), 'mean': lambda: MeanOfHistory(20, 8, 12, last=3)}


def model_of(kind):
    set_seed(0)
    model = KINDS[kind]().eval()
    with torch.no_grad():
        model.places.normal_() if kind in ('one block', 'two blocks') else None
    return model


@pytest.mark.parametrize('kind', KINDS)
@torch.no_grad()
def test_a_later_watch_changes_no_earlier_output(kind):
    model = model_of(kind)
    x = torch.randint(1, 21, (3, 12))
    for place in (0, 5, 11):
        changed = x.clone()
        changed[:, place] = x[:, place] % 20 + 1
        same = torch.isclose(model(x), model(changed), atol=1e-5).all(dim=-1)
        assert same[:, :place].all() and not same[:, place].any()


@pytest.mark.parametrize('kind', KINDS)
@torch.no_grad()
def test_nothing_before_a_short_history_changes_nothing(kind):
    model = model_of(kind)
    x = torch.randint(1, 21, (3, 5))
    torch.testing.assert_close(model(F.pad(x, (7, 0)))[:, -5:], model(x))
    assert torch.isfinite(model(torch.zeros(2, 12, dtype=torch.long))).all()


def test_attention_agrees_with_torch_and_its_rows_add_up_to_one():
    set_seed(0)
    attention, x = SelfAttention(6), torch.randn(2, 5, 6)
    known = torch.ones(2, 5, dtype=torch.bool)
    weights = attention.weights(x, known)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 5))
    assert (weights.triu(1) == 0).all()
    expected = F.scaled_dot_product_attention(attention.query(x), attention.key(x), attention.value(x), is_causal=True)
    torch.testing.assert_close(attention(x, known), expected)


def test_attention_takes_nothing_from_places_without_an_item():
    attention, x = SelfAttention(6), torch.randn(1, 5, 6)
    known = torch.tensor([[False, False, True, True, True]])
    weights = attention.weights(x, known)[0]
    assert (weights[2:, :2] == 0).all() and torch.isfinite(weights).all()


@torch.no_grad()
def test_the_mean_is_the_mean_of_the_last_watches():
    model = model_of('mean')
    x = torch.tensor([[0, 0, 4, 7, 9, 2]])
    vectors = model.items.weight
    for place, items in ((2, [4]), (3, [4, 7]), (5, [7, 9, 2])):
        torch.testing.assert_close(model.states(x)[0, place], model.norms[-1](vectors[items].mean(dim=0)))


def watches():
    "Pages of up to four watches by two users, with seconds and dates"
    seconds = [0, 0, 1, 100, 100, 300, 0, 50, 50, 51, 51]
    users = ['b']*6 + ['a']*5
    return pd.DataFrame({'user': users, 'title': list('abcdef') + list('abcde'), 'timestamp': seconds})


USERS, ITEMS = pd.Index(['a', 'b', 'c']), pd.Index(list('abcdefg'))


@pytest.mark.parametrize('dates', [False, True])
def test_histories_shuffle_pages_and_nothing_else(dates):
    frame = watches()
    if dates:
        frame['timestamp'] = pd.to_datetime(frame['timestamp'], unit='s')
    several = [histories(frame, USERS, ITEMS, seed=seed) for seed in range(30)]
    for a, b, c in several:
        assert a[0] == 1 and set(a[1:]) == {2, 3, 4, 5} and len(a) == 5
        assert set(b[:3]) == {1, 2, 3} and set(b[3:5]) == {4, 5} and b[5] == 6
        assert len(c) == 0
    assert len({tuple(b) for _, b, _ in several}) > 6
    again = histories(frame.sample(frac=1, random_state=0), USERS, ITEMS, seed=3)
    assert all((x == y).all() for x, y in zip(again, several[3]))


def test_histories_know_all_names():
    with pytest.raises(ValueError, match='missing'):
        histories(watches(), USERS, ITEMS[:3])


def test_each_watch_but_the_first_is_predicted_once():
    numbers = [np.arange(1, n + 1) for n in (0, 1, 2, 7, 11, 12)]
    x, y = training_pairs(numbers, 5)
    assert x.shape == y.shape and x.shape[1] == 5
    predicted = np.sort(y[y > 0].numpy())
    expected = np.sort(np.concatenate([history[1:] for history in numbers]))
    np.testing.assert_array_equal(predicted, expected)
    assert (y[y > 0] == x[y > 0] + 1).all() and (x[y == 0] == 0).all()


def test_pad_keeps_the_end():
    assert pad([[1, 2, 3], [4], []], 2).tolist() == [[2, 3], [0, 4], [0, 0]]


@pytest.mark.parametrize('kind', [NextWatch, MeanOfHistory])
def test_a_planted_order_is_learned(kind):
    "Everyone watches the items in a circle, from anywhere"
    rows = [(user, (user*7 + step) % 20, 100*step) for user in range(60) for step in range(15)]
    frame = pd.DataFrame(rows, columns=['user', 'item', 'time'])
    users, items = pd.Index(range(60)), pd.Index(range(20))
    set_seed(0)
    model = kind(20, 16, 10, **({'last': 1} if kind is MeanOfHistory else {}))
    fit_next(model, frame, users, items, epochs=25, lr=.02)
    found = next_scores(model, histories(frame, users, items)).argmax(axis=1)
    assert (found == (np.arange(60)*7 + 15) % 20).mean() > .9


def test_training_says_what_is_wrong():
    frame = watches().iloc[[0, 6]]
    with pytest.raises(ValueError, match='two watches'):
        fit_next(NextWatch(7), frame, USERS, ITEMS)
    with pytest.raises(ValueError, match='epochs'):
        fit_next(NextWatch(7), watches(), USERS, ITEMS, epochs=0)


def test_the_same_seed_trains_the_same_model():
    scores = []
    for _ in range(2):
        set_seed(1)
        model = fit_next(NextWatch(7, 4, 5), watches(), USERS, ITEMS, epochs=2, seed=1)
        scores.append(next_scores(model, histories(watches(), USERS, ITEMS)))
    np.testing.assert_array_equal(*scores)
