"""Train the models of nbs/further/10b_ingredients.ipynb and 10c_hundred_lines.ipynb with one ingredient after the other, and write nbs/further/hundred_lines.csv

Each training is a process of its own with one thread. It gets the ratings to predict without their stars. The weight decay is chosen for each split by
itself, on a tenth of its training ratings. Predictions are kept in build/hundred_lines, so that a run that was stopped goes on where it was."""
import argparse, itertools, json, resource, subprocess, sys, time, warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np, pandas as pd, torch
from collab_course.dot_product_bias import DotProductBias
from collab_course.further import hundred_lines as lines
from collab_course.further.benchmarks import leave_out, split_by_time
from collab_course.further.ingredients import fit_folds, fit_logits, page_shift, pages_of, rows_of, zeros_and_ones
from collab_course.loader import collab_dls
from collab_course.movielens import get_movielens
from collab_course.speed import fit_fast
from collab_course.training import mean_predictions, pair_idxs

warnings.filterwarnings('ignore', message='The given NumPy array is not writable')
ROOT = Path(__file__).resolve().parents[2]
FILE, KEPT = ROOT/'nbs'/'further'/'hundred_lines.csv', ROOT/'build'/'hundred_lines'
NAMES = ['user', 'movie', 'rating', 'timestamp']
FILES = 'u1', 'u2', 'u3', 'u4', 'u5'
SPLITS = *FILES, 'last ten', 'latest fifth'
SEEDS = 0, 1, 2
DECAYS = .06, .09, .12, .18, .25, .35, .5, .7, 1., 1.4
# What each row knows: columns of users and items, who has rated what, pages; and whether the rating is a step on a scale rather than a number
LOGITS = {'logits': '', 'logits, columns': 'columns', 'logits, columns, rated': 'columns rated'}
GIBBS = {
    'Gibbs, normal': 'normal', 'Gibbs': '', 'Gibbs, columns': 'columns', 'Gibbs, columns, rated': 'columns rated',
    'Gibbs, columns, rated, pages': 'columns rated pages'}
SAMPLED = 'Gibbs, columns, rated', 'Gibbs, columns, rated, pages'
THREE_SEEDS = 'DotProductBias', 'folds', *SAMPLED

def frames_of(known):
    "Columns of the users and of the movies, none if they aren't `known`"
    users, items = zeros_and_ones(get_movielens())
    return (users, items) if 'columns' in known else (users[[]], items[[]])

def components(known):
    "How much is known of who has rated what"
    return 100 if 'rated' in known else 0

def parts(data, split):
    "Training ratings and test ratings"
    ratings = data.ratings[NAMES]
    if split == 'last ten': return leave_out(ratings, how='last')
    if split == 'latest fifth': return split_by_time(ratings)
    return [part[NAMES] for part in data.split(split)]

class Normal(lines.SampledRatings):
    "Ratings as numbers with normal noise; the first cut holds one over its size"
    def forward(self, x, pages=()):
        total = 0
        for users, items, cuts, *shifts in zip(*self.tables):
            mean = lines.scores(users, items, *x.T) + sum(s[page] for s, page in zip(shifts, pages))
            total = total + (self.middle + mean/cuts[0]).clip(self.levels[0], self.levels[-1])
        return (total/len(self.tables[0]))[:,None].float()

def normal_scores(mean, level, cuts):
    "Instead of `draw_scores`: the ratings in units of their noise, which is at the most likely size"
    far = (level - level.double().mean())
    a, b = (far**2).sum(), (far*mean).sum()
    scale = (b + (b**2 + 4*len(mean)*a)**.5)/(2*a)
    cuts = cuts.clone()
    cuts[0] = scale
    return (far*scale).float(), cuts

def sample(train, known, pages, seed):
    "A sampled model"
    if 'normal' not in known: return lines.sample_ratings(train, *frames_of(known), pages, seed=seed, n_components=components(known))
    lines.draw_scores, lines.SampledRatings = normal_scores, Normal
    model = lines.sample_ratings(train, *frames_of(known), pages, seed=seed, n_components=components(known))
    model.middle = train['rating'].mean()
    return model

def best_decay(train, known, split):
    "The decay with the lowest error on a tenth of the training ratings"
    kept = KEPT/f'decay-{known}-{split}.json'
    if not kept.exists():
        held_out = train.sample(frac=.1, random_state=0)
        rest, (users, items) = train.drop(held_out.index), frames_of(known)
        x = torch.stack(rows_of(held_out, users, items), dim=1)
        tried = {wd: fit_logits(rest, users, items, wd=wd, n_components=components(known)) for wd in DECAYS}
        kept.write_text(json.dumps({wd: ((predicted(model, x) - held_out['rating'])**2).mean()**.5 for wd, model in tried.items()}))
    found = json.loads(kept.read_text())
    return float(min(found, key=found.get))

def predicted(model, *inputs):
    "Predictions as an array"
    with torch.no_grad(): return model(*inputs)[:,0].numpy()

def of_the_course(train, asked, seed):
    "Predictions of `DotProductBias` with the course's settings, and of the means"
    torch.manual_seed(seed)
    dls = collab_dls(train, *NAMES[:3], valid_pct=0, seed=seed)
    model = fit_fast(dls, DotProductBias.from_dls(dls, y_range=(0, 5.5))).model.eval()
    with torch.no_grad():
        for table in (model.user_factors, model.item_factors, model.user_bias, model.item_bias): table.weight[0] = table.weight[1:].mean(dim=0)
        preds = model(pair_idxs(dls, asked['user'], asked['movie'], 'na'))[:,0].numpy()
    means = mean_predictions(train, asked.assign(rating=0), *NAMES[:3])['item + user'].to_numpy()
    return {'DotProductBias': preds.clip(1, 5), 'item + user': means.clip(1, 5)}

def predictions(name, split, seed):
    "Predictions of the test ratings by one or two models, from everything but their stars"
    train, test = parts(get_movielens(), split)
    asked = test.drop(columns='rating')
    if name == 'DotProductBias': return of_the_course(train, asked, seed), None
    known = {**LOGITS, **GIBBS}.get(name, 'columns rated pages')
    users, items = frames_of(known)
    x = torch.stack(rows_of(asked, users, items), dim=1)
    gaps = (10, 3600) if name in GIBBS and 'pages' in known else (10,)
    ours, theirs = ([pages_of(table, train, gap) for gap in gaps] for table in (train, asked))
    if 'pages' not in known: ours, theirs = (), ()
    if name in GIBBS: return {name: predicted(sample(train, known, ours, seed), x, theirs)}, None
    wd = best_decay(train, known, split)
    if name in LOGITS:
        return {name: predicted(fit_logits(train, users, items, wd=wd, n_components=components(known), seed=seed), x)}, wd
    model, residuals = fit_folds(train, users, items, wd=wd, seed=seed)
    preds = predicted(model, x)
    return {'folds': preds, 'folds, pages': preds + page_shift(residuals, *ours, *theirs)}, wd

def worker(name, split, seed):
    "Train in this process, keep the predictions, and print time and memory"
    torch.set_num_threads(1)
    get_movielens()
    start = time.process_time()
    found, wd = predictions(name, split, seed)
    seconds = time.process_time() - start
    mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*1024/1e6
    KEPT.mkdir(parents=True, exist_ok=True)
    for key, preds in found.items(): np.save(KEPT/f'{key}-{split}-{seed}.npy', preds)
    facts = dict(seconds=round(seconds, 1), mb=round(mb), models=list(found), wd=wd)
    (KEPT/f'{name}-{split}-{seed}.json').write_text(json.dumps(facts))

def train_all(jobs, n):
    "Run the jobs that have no result yet, `n` at a time"
    def run(job):
        name, split, seed = job
        if (KEPT/f'{name}-{split}-{seed}.json').exists(): return
        subprocess.run([sys.executable, __file__, '--worker', name, split, str(seed)], check=True)
        print(*job, (KEPT/f'{name}-{split}-{seed}.json').read_text()[:60], flush=True)
    with ThreadPoolExecutor(n) as pool: list(pool.map(run, jobs))

def groups(data, split):
    "Stars and users of the test ratings, and which ratings belong to each group that is looked at"
    train, test = parts(data, split)
    returns = test['user'].isin(train['user'])
    masks = {split: returns | True}
    if split == 'latest fifth': masks.update({'latest, returning users': returns, 'latest, new users': ~returns})
    return test['rating'], test['user'], masks

def standard_error(squared, users, times=1000):
    "Of the difference between the RMSE of two models, from groups of users that are drawn with replacement"
    by_user = squared.groupby(users.to_numpy())
    sums, counts = by_user.sum().to_numpy(), by_user.size().to_numpy()
    drawn = np.random.default_rng(0).multinomial(len(counts), np.full(len(counts), 1/len(counts)), size=times)
    errors = (drawn @ sums/(drawn @ counts)[:,None])**.5
    return (errors[:,0] - errors[:,1]).std()

def table(jobs):
    "A row for each model, split or group, and seed, with the standard error of the gain over `DotProductBias`"
    data, rows = get_movielens(), []
    tested = {split: groups(data, split) for split in SPLITS}
    def add(name, split, seed, preds, **facts):
        stars, users, masks = tested[split]
        squared = pd.DataFrame({'of the course': np.load(KEPT/f'DotProductBias-{split}-{seed}.npy'), 'this': preds}, stars.index)
        squared = squared.sub(stars, axis=0)**2
        for group, mask in masks.items():
            se = standard_error(squared[mask], users[mask])
            rows.append(dict(model=name, split=group, seed=seed, rmse=squared.loc[mask, 'this'].mean()**.5, gain_se=se, **facts))
    for name, split, seed in jobs:
        facts = json.loads((KEPT/f'{name}-{split}-{seed}.json').read_text())
        for model in facts['models']: add(model, split, seed, np.load(KEPT/f'{model}-{split}-{seed}.npy'), seconds=facts['seconds'], mb=facts['mb'], wd=facts['wd'])
    facts = {(row['model'], row['split'], row['seed']): row for row in rows}
    for split, seed in itertools.product(SPLITS, SEEDS):
        for name, pair in (('average', ('folds', SAMPLED[0])), ('average, pages', ('folds, pages', SAMPLED[1]))):
            preds = sum(np.load(KEPT/f'{model}-{split}-{seed}.npy') for model in pair)/2
            both = [facts[model, split, seed] for model in pair]
            add(name, split, seed, preds, seconds=sum(row['seconds'] for row in both), mb=max(row['mb'] for row in both))
    return pd.DataFrame(rows).round({'rmse': 5, 'gain_se': 5})

def main():
    "Run from the command line"
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--worker', nargs=3, help=argparse.SUPPRESS)
    p.add_argument('--processes', type=int, default=1)
    a = p.parse_args()
    if a.worker: return worker(*a.worker[:2], int(a.worker[2]))
    names = ['DotProductBias', *LOGITS, 'folds', *GIBBS]
    jobs = [(name, split, seed) for seed in SEEDS for name in names for split in SPLITS
            if not seed or name in THREE_SEEDS]
    train_all(jobs, a.processes)
    found = table(jobs)
    FILE.write_text(found.to_csv(index=False))
    found['split'] = found['split'].where(~found['split'].isin(FILES), 'u1 to u5')
    print(found.pivot_table('rmse', 'model', 'split', sort=False).round(4).to_string())

if __name__ == '__main__': main()
