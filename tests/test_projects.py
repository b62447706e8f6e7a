"The projects' judge: leaking entries are refused, models are weighed honestly, and tables are in a stable order"
import numpy as np, pandas as pd
import pytest

from collab_course.further import projects
from collab_course.further.projects import Refused, Weighed, judge_entry, kept_size, leaderboard, race

rng = np.random.default_rng(0)
quality = rng.normal(3.3, 1, 30)
ALL = pd.DataFrame({'user': np.repeat(np.arange(40), 30), 'movie': np.tile(np.arange(30), 40)})
ALL['rating'] = (quality[ALL['movie']] + rng.normal(0, .7, len(ALL))).round().clip(1, 5)
ALL = ALL.sample(frac=1, random_state=0)
TRAIN, TEST = ALL[:900], ALL[900:]


def means(train, seed):
    by_movie = train.groupby('movie')['rating'].mean()
    return lambda pairs: pairs['movie'].map(by_movie).fillna(3)


def test_an_honest_entry_gets_the_error_that_it_has():
    preds = TEST['movie'].map(TRAIN.groupby('movie')['rating'].mean())
    assert judge_entry(means, TRAIN, TEST) == pytest.approx(((preds - TEST['rating'])**2).mean()**.5)
    assert judge_entry(means, TRAIN, TEST, mirror=False) == judge_entry(means, TRAIN, TEST)


def looks_up(train, seed):
    answers = TEST.set_index(['user', 'movie'])['rating']
    return lambda pairs: answers.loc[list(zip(pairs['user'], pairs['movie']))].to_numpy()


def means_of_everything(train, seed):
    by_movie = ALL.groupby('movie')['rating'].mean()
    return lambda pairs: pairs['movie'].map(by_movie)


def a_tenth_looked_up(train, seed):
    honest, leaking = means(train, seed), looks_up(train, seed)
    return lambda pairs: .9*honest(pairs) + .1*leaking(pairs)


LEAKS = [looks_up, means_of_everything, a_tenth_looked_up]


@pytest.mark.parametrize('entry', LEAKS)
def test_a_leaking_entry_is_refused(entry):
    assert judge_entry(entry, TRAIN, TEST, mirror=False) < judge_entry(means, TRAIN, TEST)
    with pytest.raises(Refused, match='mirrored.*other ratings, or a constant such as 3.5'):
        judge_entry(entry, TRAIN, TEST)


@pytest.mark.parametrize('scale,start', [(20, 0), (.05, -1), (1e-6, 0), (1e6, 5)])
def test_the_limits_depend_on_the_scale_of_the_numbers(scale, start):
    train, test, everything = (table.assign(rating=scale*table['rating'] + start) for table in (TRAIN, TEST, ALL))

    def plain(train, seed):
        by_movie = train.groupby('movie')['rating'].mean()
        return lambda pairs: pairs['movie'].map(by_movie)

    def leaking(train, seed):
        by_movie = everything.groupby('movie')['rating'].mean()
        return lambda pairs: pairs['movie'].map(by_movie)

    def restless(train, seed):
        predict = plain(train, seed)
        return lambda pairs: predict(pairs) + scale*.1*np.arange(len(pairs))/len(pairs)

    assert judge_entry(plain, train, test)/scale == pytest.approx(judge_entry(plain, TRAIN, TEST), rel=1e-4)
    with pytest.raises(Refused, match='mirrored'):
        judge_entry(leaking, train, test)
    with pytest.raises(Refused, match='or on chance'):
        judge_entry(restless, train, test)


def test_only_three_columns_are_handed_on():
    seen = []

    def curious(train, seed):
        seen.append(list(train))
        predict = means(train, seed)

        def ask(pairs):
            seen.append(list(pairs))
            return predict(pairs)
        return ask

    more = [table.assign(copy=table['rating']) for table in (TRAIN, TEST)]
    assert judge_entry(curious, *more) == judge_entry(means, TRAIN, TEST)
    assert set(map(tuple, seen)) == {('user', 'movie', 'rating'), ('user', 'movie')}


@pytest.mark.parametrize('change,says', [
    (lambda table: table.rename(columns={'rating': 'stars'}), 'stars'),
    (lambda table: table[['movie', 'user', 'rating']], 'begin with'),
    (lambda table: table[:0], 'no rows'),
    (lambda table: table.assign(rating=table['rating'].where(table['movie'] > 0)), 'no number in'),
    (lambda table: table.assign(rating=table['rating'].astype(str)), 'numbers')])
def test_tables_are_checked(change, says):
    with pytest.raises(ValueError, match=says):
        judge_entry(means, TRAIN, change(TEST))
    with pytest.raises(ValueError):
        judge_entry(means, change(TRAIN), TEST)


def test_predictions_by_chance_are_refused():
    noise = np.random.default_rng(0)

    def by_chance(train, seed):
        predict = means(train, seed)
        return lambda pairs: predict(pairs) + noise.normal(0, .1, len(pairs))

    with pytest.raises(Refused, match='or on chance'):
        judge_entry(by_chance, TRAIN, TEST)


def test_an_entry_never_gets_test_ratings():
    seen = []

    def curious(train, seed):
        predict = means(train, seed)

        def ask(pairs):
            seen.append((train, pairs))
            return predict(pairs)
        return ask

    judge_entry(curious, TRAIN, TEST, mirror=False)
    for train, pairs in seen:
        assert list(pairs) == ['user', 'movie'] and len(train) == len(TRAIN)
        assert list(pairs.index) == list(range(len(pairs))) # not the index of the ratings


def test_an_entry_can_not_change_the_ratings():
    before = TRAIN.copy()

    def rude(train, seed):
        predict = means(train, seed)
        train['rating'] = 0

        def ask(pairs):
            res = predict(pairs)
            pairs['movie'] = 0
            return res
        return ask

    assert judge_entry(rude, TRAIN, TEST) == judge_entry(means, TRAIN, TEST)
    pd.testing.assert_frame_equal(TRAIN, before)


@pytest.mark.parametrize('entry,says', [
    (lambda train, seed: None, 'function'),
    (lambda train, seed: lambda pairs: np.zeros(3), '3'),
    (lambda train, seed: lambda pairs: np.full(len(pairs), np.nan), 'finite'),
    (lambda train, seed: lambda pairs: np.arange(len(pairs))/len(pairs), 'depends'),
    (lambda train, seed: lambda pairs: pairs['user'].map(pairs['user'].value_counts(sort=False)), 'depends')])
def test_answers_that_break_a_rule(entry, says):
    with pytest.raises(Refused, match=says):
        judge_entry(entry, TRAIN, TEST)


def test_a_table_is_needed():
    with pytest.raises(ValueError, match='DataFrame'):
        judge_entry(means, TRAIN.to_numpy(), TEST)


# --- weighing

def test_parameters_are_counted_in_units_of_32_bits():
    kept = {'a': np.zeros((4, 3), np.float32), 'b': np.zeros(10), 'c': np.zeros(5, np.uint8), 'd': np.zeros(3, bool)}
    assert kept_size(kept).to_dict() == {'numbers': 30, 'bytes': 48 + 80 + 5 + 3, 'parameters': 34}
    assert kept_size({'mean': 3.5})['numbers'] == 1 and kept_size({})['parameters'] == 0
    for bad in ([1], {'names': np.array(['a'])}, {'objects': np.array([None, 1], dtype=object)},
                {'empty': np.zeros((0, 4160))}, {'4.16,3.5,'*40: np.zeros(1)}, {3: np.zeros(1)}):
        with pytest.raises(Refused):
            kept_size(bad)


SECRET = np.ones(1000)


def keeps(predict, **kept):
    return Weighed(lambda train, seed: (kept or {'mean': np.float32([train['rating'].mean()])}, predict))


def constant(kept, pairs):
    return kept['mean'][0] + np.zeros(len(pairs))


def test_what_is_kept_is_weighed():
    entry = keeps(constant)
    assert entry.size is None
    assert judge_entry(entry, TRAIN, TEST) == pytest.approx(TEST['rating'].std(), abs=.1)
    assert entry.size['parameters'] == 1


def uses_a_global(kept, pairs):
    return SECRET[pairs['movie']]


def calls_a_helper(kept, pairs):
    return constant(kept, pairs)


def has_a_default(kept, pairs, hidden=SECRET):
    return hidden[pairs['movie']]


def has_numbers_in_its_code(kept, pairs):
    table = np.array([1., 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,
                      21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38])
    return table[pairs['movie']]


def with_code(expression):
    space = {'np': np}
    exec(f'def predict(kept, pairs):\n    return {expression}', space)
    return space['predict']


NESTED = tuple((x/10, (x/7, x)) for x in range(20))
IN_CODE = [f"np.array({[x/10 for x in range(31)]})[pairs['movie']]",
           f"np.array([part[0] for part in {NESTED}])[pairs['movie'] % 20]",
           f"(lambda: np.array([part[0] for part in {NESTED}])[pairs['movie'] % 20])()",
           f"len(({hex(3**700)}).to_bytes(200, 'little')) + np.zeros(len(pairs))",
           f"len({'4.16,3.5,'*40!r}) + np.zeros(len(pairs))"]


@pytest.mark.parametrize('expression', IN_CODE)
def test_numbers_in_the_code_are_counted(expression):
    with pytest.raises(Refused, match='kept in arrays'):
        judge_entry(keeps(with_code(expression)), TRAIN, TEST)


def test_a_few_numbers_in_the_code_are_allowed():
    predict = with_code("kept['mean'][0] + 0*np.array([1, 2.5, (3 + 4j).real])[pairs['movie'] % 3]")
    assert np.isfinite(judge_entry(keeps(predict), TRAIN, TEST))


def test_the_largest_size_is_reported():
    entry = Weighed(lambda train, seed: ({'mean': np.full(1000 if seed == 1 else 10, 3, np.float32)}, constant))
    sizes = []
    for seed in range(3):
        judge_entry(entry, TRAIN, TEST, seed, mirror=False)
        sizes.append(entry.size['parameters'])
    assert sizes == [10, 1000, 1000]


def test_a_model_can_not_be_smuggled():
    table = np.ones(1000)
    for predict in (lambda kept, pairs: table[pairs['movie']], has_a_default, has_numbers_in_its_code, len):
        with pytest.raises(Refused):
            judge_entry(keeps(predict), TRAIN, TEST)
    for predict in (uses_a_global, calls_a_helper):
        with pytest.raises(NameError):
            judge_entry(keeps(predict), TRAIN, TEST)


def test_arrays_can_not_grow_after_weighing():
    kept = {'mean': np.float32([3])}

    def entry(train, seed):
        return kept, constant

    weighed = Weighed(entry)
    predict = weighed(TRAIN, 0)
    kept['mean'] = np.float32([5])
    assert predict(TEST)[0] == 3


# --- tables

RESULTS = pd.DataFrame({'RMSE': [.93, .91004, .95, .91001, .91006, np.nan], 'size': [3, 2, 1, 2, 9, 2]}, index=list('abcdef'))


def test_the_best_is_first_and_ties_share_a_place_in_the_order_of_entry():
    table = leaderboard(RESULTS, 'RMSE')
    assert list(table.index) == list('bdeacf')
    assert list(table['place']) == ['1', '1', '3', '4', '5', '–']
    table = leaderboard(RESULTS, 'size', digits=0)
    assert list(table.index) == list('cbdfae') and list(table['place']) == ['1', '2', '2', '2', '5', '6']


def test_the_order_does_not_depend_on_the_last_digits():
    noise = RESULTS.assign(RMSE=RESULTS['RMSE'] + 3e-7)
    pd.testing.assert_frame_equal(leaderboard(noise, 'RMSE'), leaderboard(RESULTS, 'RMSE'))


def test_entries_that_miss_the_condition_have_no_place():
    table = leaderboard(RESULTS, 'size', valid=RESULTS['RMSE'] <= .92)
    assert list(zip(table.index, table['place']))[:3] == [('b', '1'), ('d', '1'), ('e', '3')]
    assert list(table.index[3:]) == ['c', 'f', 'a'] and set(table['place'][3:]) == {'–'}


def test_the_highest_can_be_the_best():
    table = leaderboard(RESULTS, 'RMSE', highest=True)
    assert list(table.index[:2]) == ['c', 'a'] and list(table['place'][:2]) == ['1', '2']
    assert 'place' not in RESULTS


def test_a_race_takes_turns_with_another_seed_in_each_round(monkeypatch):
    order, clock = [], iter(range(100))
    monkeypatch.setattr(projects.time, 'process_time', lambda: next(clock))

    def racer(name):
        def entry(train, seed):
            order.append((name, seed))
            return lambda pairs: order.append((name, list(pairs)))
        return entry

    asked = TEST[['user', 'movie']]
    seconds = race({name: racer(name) for name in 'ab'}, TRAIN, asked, rounds=3, seed=7)
    each = [[(name, seed), (name, ['user', 'movie'])] for seed in (7, 8, 9) for name in 'ab']
    assert order == sum(each, [])
    assert seconds.shape == (3, 2) and (seconds == 1).all(axis=None)


def test_a_race_measures_the_first_prediction(monkeypatch):
    clock = [0]
    monkeypatch.setattr(projects.time, 'process_time', lambda: clock[0])

    def lazy(train, seed):
        def ask(pairs):
            clock[0] += 5
        return ask

    def busy(train, seed):
        clock[0] += 5
        return lambda pairs: None

    seconds = race({'lazy': lazy, 'busy': busy}, TRAIN, TEST[['user', 'movie']], rounds=2)
    assert (seconds == 5).all(axis=None)
