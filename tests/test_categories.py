"Categorical columns, which may have unused categories, give the same results as plain columns"
import warnings

import numpy as np, pandas as pd, pytest
from collab_course.crosstab import rating_counts, top_crosstab
from collab_course.training import baseline_mse
from collab_course.weight_decay import shrunk_means


@pytest.fixture
def plain():
    rng = np.random.default_rng(0)
    return pd.DataFrame({'user': rng.integers(1, 40, 500), 'title': [f'Film {i}' for i in rng.integers(1, 60, 500)], 'rating': rng.integers(1, 6, 500)})

@pytest.mark.parametrize('f', [lambda r: rating_counts(r, 'user'), lambda r: rating_counts(r, 'title'), lambda r: top_crosstab(r, 9, 7).stack(),
                               lambda r: baseline_mse(r[:20], r[20:]), lambda r: shrunk_means(r, l2=0), lambda r: shrunk_means(r, 'user')])
def test_categories_are_like_plain_columns(plain, f):
    categories = plain.astype({'user': 'category', 'title': 'category'})
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        got, want = (f(r[plain['user'] < 20]) for r in (categories, plain))
    assert list(got.index) == list(want.index)
    np.testing.assert_allclose(got.to_numpy(), want.to_numpy())
