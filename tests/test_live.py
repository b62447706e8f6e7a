"Estimates from chosen ratings, and tests on users who click"
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from collab_course.further.live import (
    compare_groups, examination, simulate_visits, team_draft, users_needed)
from collab_course.further.missing import (
    choice_probs, choosing_world, count_propensities, factor_propensities, ips_estimates, star_propensities)

NAMES = pd.Index([7, 3, 5], name='reader'), pd.Index(['d', 'a', 'c', 'b'], name='book')
TABLE = pd.DataFrame([[5, np.nan, 1, 2], [4, 2, np.nan, np.nan], [np.nan, 1, 3, np.nan]], *NAMES)


# --- chosen ratings

def samples(p):
    "All samples of independent pairs with propensities `p`, and their probabilities"
    for seen in product([False, True], repeat=len(p)):
        seen = np.array(seen)
        yield seen, np.prod(np.where(seen, p, 1 - p))


def test_ips_is_right_on_average_over_all_samples_and_the_naive_mean_is_not():
    errors, p = np.array([.2, 4., 1., 9., 2.5]), np.array([.9, .3, .7, .05, 1.])
    ips = naive = 0
    for seen, chance in samples(p):
        if seen.sum() > 1: # a single value has no standard error
            found = ips_estimates(errors[seen], 1/p[seen], n=5)['estimate']
            ips += chance*found['IPS']
        else:
            ips += chance*(errors[seen]/p[seen]).sum()/5
        naive += chance*(errors[seen].mean() if seen.any() else 0)
    assert ips == pytest.approx(errors.mean())
    assert naive < errors.mean() - 1


def test_a_pair_that_is_never_observed_is_missing_from_the_estimate():
    errors, p = np.array([1., 2., 6.]), np.array([.5, .5, 0])
    ips = sum(chance*(errors[seen]/p[seen]).sum()/3 for seen, chance in samples(p) if chance)
    assert ips == pytest.approx(1) # the sum of the others, divided by all three
    with pytest.raises(ValueError, match='propensity of 0'):
        with np.errstate(divide='ignore'):
            ips_estimates(errors, 1/p)


def test_equal_weights_change_nothing_but_the_sum():
    found = ips_estimates([1, 2, 6], [4, 4, 4], n=12)
    np.testing.assert_allclose(found['estimate'], 3)
    np.testing.assert_allclose(found['effective n'], 3)
    assert found['se']['SNIPS'] == pytest.approx(np.std([1, 2, 6])/3**.5)


@pytest.mark.parametrize('kind', ['IPS', 'SNIPS'])
def test_standard_errors_cover_the_truth_about_as_often_as_they_say(kind):
    rng = np.random.default_rng(0)
    values, p = rng.exponential(size=3000), rng.uniform(.2, 1, 3000)
    covered = 0
    for _ in range(300):
        seen = rng.random(3000) < p
        found = ips_estimates(values[seen], 1/p[seen], 3000).loc[kind]
        covered += abs(found['estimate'] - values.mean()) < 1.96*found['se']
    assert covered >= 280


def test_clipping_lowers_the_effect_of_large_weights():
    values, weight = [1., 1., 9.], [1., 1., 50.]
    free, clipped = (ips_estimates(values, weight, 52, clip)['estimate'] for clip in (None, 5))
    assert clipped['SNIPS'] < free['SNIPS'] and clipped['IPS'] < free['IPS']
    assert clipped['naive'] == free['naive']


@pytest.mark.parametrize('values, weight, n', [
    ([1, 2], [1], None), ([1, np.nan], [1, 1], None), ([1, 2], [1, -1], None), ([1, 2], [0, 0], None),
    ([1], [1], None), ([1, 2], [1, 1], 1), ([[1, 2]], [[1, 1]], None)])
def test_what_makes_no_sense_is_refused(values, weight, n):
    with pytest.raises(ValueError):
        ips_estimates(values, weight, n)


def test_weights_with_names_are_aligned():
    values, weight = pd.Series([1., 2, 6], list('abc')), pd.Series([1., 2, 5], list('abc'))
    pd.testing.assert_frame_equal(ips_estimates(values, weight[::-1], 8), ips_estimates(values, weight, 8))
    with pytest.raises(ValueError, match='same index'):
        ips_estimates(values, weight.rename({'a': 'z'}))


def test_choices_add_up_to_what_each_user_can_be_expected_to_choose():
    rng = np.random.default_rng(0)
    wish, n = 3*rng.normal(size=(6, 40)), np.array([1, 2, 5, 10, 20, 35])
    p = choice_probs(wish, n)
    np.testing.assert_allclose(p.sum(axis=1), n, rtol=1e-6)
    assert ((0 < p) & (p <= 1)).all()
    order = wish.argsort(axis=1, kind='stable')
    assert (np.diff(np.take_along_axis(p, order, axis=1), axis=1) >= 0).all()
    with pytest.raises(ValueError, match='fewer than 40'):
        choice_probs(wish, np.full(6, 40))


def test_a_world_is_the_same_for_the_same_seed_and_its_users_prefer_what_they_like():
    sizes = dict(n_users=60, n_items=90, n_watched=10)
    world, again = choosing_world(3, **sizes), choosing_world(3, **sizes)
    np.testing.assert_array_equal(world.propensity, again.propensity)
    assert np.average(world.would, weights=world.propensity) > world.would.mean() + .3
    by_stars = choosing_world(3, by_stars=(.1, .1, .1, 1, 1), **sizes)
    np.testing.assert_allclose(by_stars.propensity[world.would >= 4], world.propensity[world.would >= 4])
    np.testing.assert_allclose(by_stars.propensity[world.would < 4], .1*world.propensity[world.would < 4], rtol=1e-5)


@pytest.mark.parametrize('f', [count_propensities, factor_propensities])
def test_propensities_keep_names_and_are_the_same_for_arrays(f):
    found = f(TABLE)
    assert found.index.equals(NAMES[0]) and found.columns.equals(NAMES[1])
    assert ((found > 0) & (found < 1)).all(axis=None)
    np.testing.assert_allclose(f(TABLE.to_numpy()), found)


def test_counts_give_the_right_propensities_if_nothing_else_matters():
    rng = np.random.default_rng(0)
    p = np.outer(rng.uniform(.1, 1, 300), rng.uniform(.05, .4, 200))
    known = np.where(rng.random(p.shape) < p, 3., np.nan)
    found = count_propensities(known)
    assert abs(found/p - 1).mean() < .25
    assert found.sum() == pytest.approx((~np.isnan(known)).sum(), rel=.1)


def test_factors_find_a_taste_that_counts_miss():
    rng = np.random.default_rng(0)
    mine = np.add.outer(np.arange(200) % 2, np.arange(100) % 2) != 1 # even users choose even items
    known = np.where(rng.random(mine.shape) < np.where(mine, .4, .02), 3., np.nan)
    by_factors, by_counts = factor_propensities(known), count_propensities(known)
    assert by_factors[mine].mean() > 3*by_factors[~mine].mean()
    assert by_counts[mine].mean() < 1.2*by_counts[~mine].mean()


def test_stars_give_the_right_propensities_if_nothing_else_matters():
    rng = np.random.default_rng(0)
    would = rng.integers(1, 6, (300, 200))
    p = pd.Series([.02, .02, .05, .1, .3], range(1, 6))
    known = np.where(rng.random(would.shape) < p.to_numpy()[would - 1], would, np.nan)
    found = star_propensities(known, would[0])
    np.testing.assert_allclose(found, p, rtol=.5)
    with pytest.raises(ValueError, match='no rating of'):
        star_propensities(known, [3, 4])


# --- tests on users

def test_examination_falls_with_the_place():
    np.testing.assert_allclose(examination(4), [1, 1/2, 1/3, 1/4])
    np.testing.assert_allclose(examination(3, 0), 1)
    with pytest.raises(ValueError):
        examination(0)


def test_clicks_have_the_expected_mean_in_the_first_visit():
    appeal = np.tile([.9, .5, .3, .8], (20_000, 1))
    clicks = simulate_visits(np.zeros(appeal.shape, int), appeal, np.ones(20_000, int), k=3, seed=0)
    assert clicks.mean() == pytest.approx((appeal[0, :3]*examination(3)).sum(), abs=.02)


def test_a_clicked_item_makes_room_for_the_next_one_and_visits_end():
    always = np.ones((2, 3))
    clicks = simulate_visits([[0, 1, 2]]*2, always, [3, 1], k=1, steepness=0)
    np.testing.assert_array_equal(clicks, [[1, 1, 1], [1, np.nan, np.nan]])
    many = simulate_visits([[0, 1, 2]]*2, always, [5, 5], k=1)
    np.testing.assert_array_equal(many[0], [1, 1, 1, 0, 0]) # nothing is left
    with pytest.raises(ValueError, match='for each user'):
        simulate_visits([[0, 1]], always, [1, 1])


def drafts(first, second, k, n=2000):
    return [team_draft(first, second, k, seed) for seed in range(n)]


def test_a_draft_is_fair():
    "Swapping the two recommenders swaps the teams, and the same list twice is a draw at each place"
    same = np.array([is_first for _, is_first in drafts('ABCDEF', 'ABCDEF', 5)])
    assert all(binomtest(int(n), len(same)).pvalue > .001 for n in same.sum(axis=0))
    pairs = same[:, :4].reshape(len(same), 2, 2)
    assert (pairs.sum(axis=2) == 1).all() # one pick each in every round
    places = [np.mean([np.array(is_first) for _, is_first in drafts(*lists, 6)], axis=0)
              for lists in (('ABCDEF', 'XBYAZC'), ('XBYAZC', 'ABCDEF'))]
    np.testing.assert_allclose(places[0] + places[1], 1, atol=.06)


def test_a_draft_shows_each_item_once_and_keeps_the_order_of_each_team():
    for shown, is_first in drafts('ABCDEFGH', 'HGBAXYZC', 6, 50):
        assert len(set(shown)) == 6 and sum(is_first) == 3
        for team, order in ((True, 'ABCDEFGH'), (False, 'HGBAXYZC')):
            picked = [item for item, first in zip(shown, is_first) if first == team]
            assert picked == sorted(picked, key=order.index)


def test_a_draft_goes_on_with_one_list_and_refuses_to_invent_items():
    shown, is_first = team_draft('A', 'ABCD', k=4)
    assert sorted(shown) == list('ABCD') and sum(is_first) <= 1
    with pytest.raises(ValueError, match='only 2'):
        team_draft('AB', 'BA', k=3)


def test_groups_are_compared_as_by_scipy():
    from scipy.stats import ttest_ind
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 400), rng.normal(.1, 2, 300)
    found = compare_groups(a, pd.Series(b))
    assert found['difference'] == pytest.approx(b.mean() - a.mean())
    assert found['p'] == pytest.approx(ttest_ind(a, b, equal_var=False).pvalue, abs=.002)
    assert compare_groups([1, 1], [1, 1])['p'] == 1 and compare_groups([1, 1], [2, 2])['p'] == 0
    for bad in ([1], [1, np.nan], [[1, 2]]):
        with pytest.raises(ValueError):
            compare_groups(bad, [1, 2])


def test_one_test_in_twenty_is_a_false_alarm_and_peeking_makes_more():
    rng = np.random.default_rng(0)
    a, b = rng.exponential(size=(2, 1000, 300))
    looks = [[compare_groups(x[:n], y[:n])['p'] < .05 for n in range(30, 301, 30)] for x, y in zip(a, b)]
    once, peeking = np.array(looks)[:, -1], np.any(looks, axis=1)
    assert binomtest(int(once.sum()), len(once), .05).pvalue > .001
    assert binomtest(int(peeking.sum()), len(peeking), .05).pvalue < 1e-6


def test_a_test_of_the_needed_size_has_the_power_that_was_asked_for():
    n = users_needed(2, .5, power=.9)
    rng = np.random.default_rng(0)
    found = [compare_groups(rng.normal(0, 2, n), rng.normal(.5, 2, n))['p'] < .05 for _ in range(1000)]
    assert binomtest(sum(found), 1000, .9).pvalue > .001
    assert users_needed(1, .1) == pytest.approx(4*users_needed(1, .2), rel=.01)
    assert users_needed(1, -.1) == users_needed(1, .1)
    for bad in ({'effect': 0}, {'effect': 1, 'alpha': 0}, {'effect': 1, 'power': 1}):
        with pytest.raises(ValueError):
            users_needed(1, **bad)
