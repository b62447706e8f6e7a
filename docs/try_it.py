"""The page `Try it`: rate movies, and the browser folds you into a trained model

docs/build.py writes what `page` returns into the site. The model, how far its predictions were off
for users that it had never seen, and the map are computed here. docs/try_it.js does the rest in
the browser, with the numbers that `data` returns. No rating of any user is among them.
"""
import base64, html, json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
import numpy as np, pandas as pd
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.decomposition import PCA
from collab_course.bootstrapping import fold_in, mean_and_offset
from collab_course.crosstab import rating_counts
from collab_course.interpretation import tables
from collab_course.movielens import get_movielens
from collab_course.named_models import NamedModel
from collab_course.new_users import NewUsers, line_up, train_quickly
from collab_course.ridge import ridge_rows, to_ratings
from collab_course.weight_decay import shrunk_means

DOCS = Path(__file__).resolve().parent
N_MOVIES, L2, STEPS = 300, 8, 4 # as in chapter 07, from the group that it tunes on
SURE = .8 # least probability of a range of stars
KNOWN = [0, 1, 2, 3, 5, 10, 20] # numbers of a new user's known ratings
N_GROUPS, GROUP, N_TEST = 3, 120, 10 # groups, new users in each of them, test ratings of each user
NAMED = 'page *Try it*' # what notebooks call this page
FRONT = ('index.ipynb', 'In this course you build', 'Or start at the other end: [rate a few movies](try_it.md), and see '
         'what a model of this course recommends to you.')


# --- the model

@dataclass
class Frozen:
    "A trained model, reduced to the movies with the most ratings, and the row to start from"
    learn: NamedModel # with all movies
    titles: pd.Index # the movies with the most ratings
    items: np.ndarray # their rows: the bias, then the factors
    prior: np.ndarray # a new user's row before the first rating

    @property
    def y_range(self): return self.learn.model.y_range

def frozen(learn, means, titles):
    "The model `learn`, reduced to `titles`; the prior is *everyone as one user* of chapter 07"
    _, items = tables(learn)
    prior = fold_in(learn, means[items.index], L2).iloc[0]
    return Frozen(learn, titles, items.loc[titles].to_numpy(float), prior.to_numpy(float))

def inputs(items):
    "The inputs of the fold-in: a 1 for the new user's bias, then the movie's factors"
    return np.c_[np.ones(len(items)), items[:,1:]]

def new_rows(model, stars):
    "The rows of new users with the ratings `stars` (users x movies), and the last matrix that was solved for each"
    return ridge_rows(inputs(model.items), stars, L2, prior=model.prior, offset=model.items[:,0],
                      y_range=model.y_range, steps=STEPS)

def predict(model, stars):
    "Predictions for new users with the ratings `stars`, and the variance of each that is due to the user's row"
    x, bias = inputs(model.items), model.items[:,0]
    rows, info = new_rows(model, stars)
    preds = to_ratings(bias + rows @ x.T, model.y_range)
    low, high = model.y_range
    slope = (preds - low)*(high - preds)/(high - low)
    return preds, slope**2*np.einsum('ik,ukl,il->ui', x, np.linalg.inv(info), x, optimize=True)

@cache
def ratings():
    "The data of this site"
    return get_movielens()

@cache
def best_known():
    "The titles with the most ratings"
    return rating_counts(ratings().ratings, 'title').index[:N_MOVIES]

@cache
def model():
    "The model of the sign-up page of chapter 07, trained on everyone"
    table = ratings().ratings
    return frozen(train_quickly(table), shrunk_means(table), best_known())


# --- how good it is for new users

@cache
def active():
    "The ratings of users with enough of them: users x movies"
    stars = ratings().ratings.pivot_table(index='user', columns='title', values='rating')[best_known()]
    return stars[stars.notna().sum(axis=1) >= N_TEST + max(KNOWN)]

@cache
def held_out():
    "Test ratings of simulated new users, and what models that never saw these users predict after some ratings"
    stars = active()
    names = np.random.default_rng(0).permutation(stars.index)[:N_GROUPS*GROUP]
    groups = np.array_split(names, N_GROUPS)
    parts = [predictions(group, users, stars.loc[users]) for group, users in enumerate(groups)]
    return pd.concat(parts, ignore_index=True)

def predictions(group, users, stars):
    "The rows of `held_out` for one group of new users"
    new = NewUsers(ratings().ratings, users, group)
    trained = frozen(new.learn, new.means, stars.columns)
    is_test, position = line_up(stars, N_TEST, group)
    user, item = np.nonzero(is_test.to_numpy())
    parts = []
    for n in KNOWN:
        known = stars.where(position < n)
        preds, variance = predict(trained, known.to_numpy())
        offset = mean_and_offset(known, new.means[stars.columns]).to_numpy()
        place = np.where(known.notna(), np.inf, -preds).argsort(axis=1, kind='stable').argsort(axis=1, kind='stable')
        parts.append(pd.DataFrame({
            'group': group, 'user': user, 'known': n, 'predicted': preds[user, item], 'variance': variance[user, item],
            'mean and offset': offset[user, item], 'place': place[user, item], 'stars': stars.to_numpy()[user, item]}))
    return pd.concat(parts)

def chances(fitted, predicted, variance):
    "The probability of each number of stars: a column each"
    noise, weight, *cuts = fitted
    sd = np.sqrt(noise + weight*np.asarray(variance))[:,None]
    at_most = expit((np.array(cuts) - np.asarray(predicted)[:,None])/sd)
    return np.diff(np.c_[np.zeros(len(sd)), at_most, np.ones(len(sd))])

def fit_chances(table):
    """The numbers for `chances` under which the stars in `table` are most likely

    They are the noise, the weight of the variance, and four cuts: an ordered logit model."""
    stars = table['stars'].round().to_numpy(int) # of a title rated twice it is the mean, which may be half a star
    def unpack(x): # positive numbers, and cuts in order
        return np.r_[np.exp(x[:2]), x[2] + np.r_[0, np.exp(x[3:]).cumsum()]]
    def loss(x):
        p = chances(unpack(x), table['predicted'], table['variance'])
        return -np.log(p[np.arange(len(stars)), stars - 1].clip(1e-9)).mean()
    return unpack(minimize(loss, [-1.5, -1, 1.5, 0, 0, 0], method='BFGS').x)

def ranges(p, sure=SURE):
    """The shortest run of stars with a probability of at least `sure` in each row of `p`

    Of several such runs, it is the likeliest. The columns are its lowest and highest stars, and its probability."""
    below = np.c_[np.zeros(len(p)), p.cumsum(axis=1)]
    found = np.full((len(p), 3), np.nan)
    for length in range(p.shape[1], 0, -1):
        runs = below[:,length:] - below[:,:-length]
        best = runs.argmax(axis=1)
        chance = runs.max(axis=1)
        found[chance >= sure - 1e-9] = np.c_[best + 1, best + length, chance][chance >= sure - 1e-9]
    return found

@cache
def checked():
    "`held_out` with the range of each prediction, fitted on the other groups, and whether the stars are in it"
    table = held_out().copy()
    for group, part in table.groupby('group'):
        fitted = fit_chances(table[table['group'] != group])
        found = ranges(chances(fitted, part['predicted'], part['variance']))
        table.loc[part.index, ['low', 'high', 'promised']] = found
    table['inside'] = table['stars'].round().between(table['low'], table['high'])
    return table

def report():
    "Errors of the model and of a baseline, and the promised and the actual share in the ranges, by known ratings"
    table = checked()
    squared = {'error': table['stars'] - table['predicted'], 'baseline': table['stars'] - table['mean and offset']}
    table = table.assign(**{name: gap**2 for name, gap in squared.items()})
    result = table.groupby('known')[['error', 'baseline', 'promised', 'inside']].mean()
    return result.assign(error=result['error']**.5, baseline=result['baseline']**.5)

def lead(known, draws=300):
    "How much lower the model's error is than the baseline's after `known` ratings, and its standard error"
    table = checked()[checked()['known'] == known]
    squared = {name: (table['stars'] - table[name])**2 for name in ('mean and offset', 'predicted')}
    by_user = table[['group', 'user']].assign(**squared).groupby(['group', 'user']).mean().to_numpy()
    def gap(rows): return -np.diff(np.sqrt(by_user[rows].mean(axis=0)))[0]
    rng = np.random.default_rng(0)
    drawn = [gap(rng.integers(len(by_user), size=len(by_user))) for _ in range(draws)]
    return gap(slice(None)), np.std(drawn)


# --- the map of chapter 06

@cache
def axes():
    """Two directions in the space of the factors, the mean movie, and the share of the variance

    The last number enlarges a visitor's place, so that new users with many ratings are spread like the movies."""
    factors, mean_stars = model().items[:,1:], shrunk_means(ratings().ratings)[best_known()]
    pca = PCA(svd_solver='full').fit(factors)
    places = pca.transform(factors)[:,:2]
    signs = np.sign([np.corrcoef(place, mean_stars)[0,1] for place in places.T])
    directions = pca.components_[:2]*signs[:,None]
    _, position = line_up(active(), N_TEST)
    rows, _ = new_rows(model(), active().where(position < max(KNOWN)).to_numpy())
    tastes = (rows - model().prior)[:,1:] @ directions.T
    def reach(points): return np.quantile(np.linalg.norm(points, axis=1), .95)
    return directions, pca.mean_, pca.explained_variance_ratio_[:2], reach(places)/reach(tastes)


# --- what the browser gets

def quantized(items):
    "`items` as 16-bit integers, and the scale of each column"
    scale = abs(items).max(axis=0)/32767
    return np.rint(items/scale).astype('<i2'), scale

def data():
    "All that docs/try_it.js needs, ready for JSON"
    rows, scale = quantized(model().items)
    directions, center, share, zoom = axes()
    noise, weight, *cuts = fit_chances(held_out())
    errors = report()
    def short(x, digits=6): return [float(f'{value:.{digits}g}') for value in np.ravel(x)]
    return {'titles': list(best_known()), 'rows': base64.b64encode(rows.tobytes()).decode(), 'scale': short(scale, 9),
            'prior': short(model().prior, 9), 'range': list(model().y_range), 'l2': L2, 'steps': STEPS,
            'noise': noise, 'weight': weight, 'cuts': cuts, 'sure': SURE, 'directions': [short(d) for d in directions],
            'center': short(center), 'zoom': float(zoom), 'share': short(share, 3),
            'known': KNOWN, 'error': short(errors['error'], 4), 'baseline': short(errors['baseline'], 4)}

def stars_in_words(low, high):
    "A range of stars, such as 4 or 5"
    if low == high: return f'{low:.0f}'
    return f'{low:.0f} or {high:.0f}' if high == low + 1 else f'{low:.0f} to {high:.0f}'

def first_list(n=10):
    "Rows of a table in HTML: what the page recommends without any ratings"
    preds, variance = (table[0] for table in predict(model(), np.full((1, N_MOVIES), np.nan)))
    best = (-preds).argsort(kind='stable')[:n]
    found = ranges(chances(fit_chances(held_out()), preds[best], variance[best]))
    cells = [(html.escape(best_known()[i]), f'{preds[i]:.1f}', f'{stars_in_words(low, high)} ({p:.0%})')
             for i, (low, high, p) in zip(best, found)]
    return '\n'.join(f"<tr><td>{'</td><td>'.join(row)}</td></tr>" for row in cells)

def report_table():
    "`report` as a table in Markdown"
    head = '| known ratings | error of this page | error of mean and offset | promised share | actual share |'
    rows = [f"| {n} | {row['error']:.3f} | {row['baseline']:.3f} | {row['promised']:.1%} | {row['inside']:.1%} |"
            for n, row in report().iterrows()]
    return '\n'.join([head, '|---:|---:|---:|---:|---:|', *rows])

def better_from():
    "A sentence on the number of ratings from which on the model's error is lower than the baseline's"
    errors = report()
    lower = (errors['error'] < errors['baseline'])[::-1].cummin()
    if not lower.iloc[0]: return "The model's error isn't lower than that of this simple baseline."
    first = lower[lower].index[-1]
    since = f'from {first} known rating{"s" if first > 1 else ""} on' if first else 'for each number of known ratings'
    return f"The model's error is lower than that of this simple baseline {since}."

def page(source_of=lambda path, words: words):
    "The page in Markdown; `source_of(path, words)` links to a file of the course"
    text = (DOCS/'try_it.md').read_text(encoding='utf-8')
    table, real = checked(), ratings().truth is None
    top = table[table['place'] < 10]
    source = ('MovieLens, where 943 people rated movies in 1997 and 1998. So you will find no newer movies here.'
              if real else
              'synthetic data, because this site was built without MovieLens. So you will recognize none of the movies.')
    values = {
        'data': json.dumps(data(), separators=(',', ':')).replace('</', '<\\/'), 'rows': first_list(),
        'report': report_table(), 'source': source, 'n': N_MOVIES, 'promised': f"{table['promised'].mean():.0%}",
        'actual': f"{table['inside'].mean():.0%}", 'top_promised': f"{top['promised'].mean():.0%}",
        'top_actual': f"{top['inside'].mean():.0%}", 'new_users': N_GROUPS*GROUP, 'share': f'{axes()[2].sum():.0%}',
        'numbers': model().items.shape[1], 'sure': f'{SURE:.0%}'}
    values |= {'script': source_of('docs/try_it.js', 'Its script')}
    values |= {'better': better_from(), 'error20': f"{report()['error'].iloc[-1]:.2f}"}
    values |= {f'lead{n}': '{:.3f} ± {:.3f} stars'.format(*lead(n)) for n in (10, 20)}
    for name, value in values.items():
        text = text.replace(f'[[{name}]]', str(value))
    return text

def link(path, cells):
    "Link to this page from the notebook at `path`: where its `cells` name the page, and from the beginning of the front page"
    front, start, sentence = FRONT
    for cell in filter(None, cells):
        if cell['cell_type'] != 'markdown': continue
        text = ''.join(cell['source']).replace(NAMED, f"page [Try it]({'../'*path.count('/')}try_it.md)")
        cell['source'] = f'{text}\n\n{sentence}' if path == front and text.startswith(start) else text
