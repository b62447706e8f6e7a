"The loader's promises: an epoch has every rating once, the same seed gives the same batches, no KeyError from inside"
import random, re, warnings
from collections import Counter
from decimal import Decimal
from pathlib import Path
import numpy as np, pandas as pd, pytest, torch
from fastai.collab import CollabDataLoaders, collab_learner
from fastai.tabular.all import (Callback, ItemTransform, Learner, Module, MSELossFlat, RandomSplitter, TabDataLoader,
                                load_learner, nn, set_seed)
from collab_course.loader import RatingsDL, collab_dls, ratings_range
from collab_course.training import pair_idxs, predict

pytestmark = [pytest.mark.filterwarnings(f'ignore:{o}') for o in    # all of them fastai's own
              ('The given NumPy array is not writable', 'Constructing a Categorical', 'numpy.core is deprecated')]
BS = 32

@pytest.fixture
def ratings():
    "503 ratings, no pair twice, by 40 people of 30 films (named), in columns with an index out of order"
    rng = np.random.default_rng(0)
    cells = rng.permutation(40*30)[:503]
    return pd.DataFrame(dict(user=cells//30 + 100, title=[f'film {c%30:02}' for c in cells],
                             rating=rng.integers(1, 6, 503), timestamp=cells), index=rng.permutation(503)+7)

@pytest.fixture
def dls(ratings): return collab_dls(ratings, seed=42, bs=BS, device='cpu')

class Dot(Module):
    "The smallest model with a row for each user and movie"
    def __init__(self, dls, n=3): self.u,self.i = (nn.Embedding(len(c), n) for c in dls.classes.values())
    def forward(self, x): return (self.u(x[:,0])*self.i(x[:,1])).sum(1)

def learner(dls, **kw): return Learner(dls, Dot(dls), loss_func=MSELossFlat(), **kw)
def batches(dl): return [(x.clone(), y.clone()) for x,y in dl]
def same(a, b): return len(a) == len(b) and all(torch.equal(p, q) for s,t in zip(a, b) for p,q in zip(s, t))

def named(dls, bs):
    "How often each (user, title, rating) appears in the batches `bs`"
    us,ts = dls.classes['user'],dls.classes['title']
    return Counter((us[int(u)], ts[int(t)], float(r)) for x,y in bs for (u,t),r in zip(x, y[:,0]))

def check_epochs(dls, ratings, seed=42, n=4):
    "Each of `n` epochs holds the training ratings of fastai's split, each exactly once"
    train,_ = RandomSplitter(seed=seed)(ratings)
    want = Counter((u, t, float(r)) for u,t,r in ratings.iloc[list(train)][['user','title','rating']].itertuples(index=False))
    assert set(want.values()) == {1}
    for _ in range(n): assert named(dls, dls.train) == want

# --- an epoch ---------------------------------------------------------------------------------------------------

def test_every_rating_once_an_epoch(dls, ratings):
    assert dls.train.n % BS                     # the last batch is a short one, and is not dropped
    check_epochs(dls, ratings)

def test_stock_fastai_fails_the_same_test(ratings):
    stock = CollabDataLoaders.from_df(ratings, seed=42, bs=BS, device='cpu')
    with pytest.raises(AssertionError): check_epochs(stock, ratings, n=1)
    n = len(named(stock, stock.train))
    assert .55 < n/stock.train.n < .72          # about 1 - 1/e: drawn with replacement

def test_without_replacement_stock_drops_the_last_batch(ratings):
    stock = CollabDataLoaders.from_df(ratings, seed=42, bs=BS, device='cpu', dl_type=TabDataLoader)
    with pytest.raises(AssertionError): check_epochs(stock, ratings, n=1)
    assert sum(len(y) for _,y in stock.train) == stock.train.n//BS*BS < stock.train.n

def test_the_test_notices_a_repeat_and_a_miss(dls, ratings, monkeypatch):
    order = RatingsDL.get_idxs
    for broken in (lambda o: torch.cat([o[:-1], o[:1]]), lambda o: o[:-1], lambda o: torch.cat([o, o[:1]])):
        monkeypatch.setattr(RatingsDL, 'get_idxs', lambda self: broken(order(self)))
        monkeypatch.setattr(RatingsDL, '__len__', lambda self: 99)
        with pytest.raises(AssertionError): check_epochs(dls, ratings, n=1)

def test_batch_sizes_and_types(dls):
    sizes = [len(x) for x,_ in dls.train]
    assert sizes == [BS]*(403//BS) + [403%BS] and len(dls.train) == len(sizes) and dls.train.n == 403
    for x,y in dls.train: assert (x.dtype,y.dtype,x.shape[1:],y.shape[1:]) == (torch.int64, torch.float32, (2,), (1,))

@pytest.mark.parametrize('n,bs', [(1, 64), (5, 64), (80, 16), (81, 16), (65, 64)])
def test_small_and_awkward_sizes(ratings, n, bs):
    dls = collab_dls(ratings[:n], seed=0, bs=bs, valid_pct=0, device='cpu')
    assert sum(len(y) for _,y in dls.train) == n and len(batches(dls.train)) == len(dls.train) == -(-n//bs)
    assert len(dls.valid) == 0

def test_order_differs_between_epochs(dls):
    a,b,c = (torch.cat([x for x,_ in dls.train]) for _ in range(3))
    assert not torch.equal(a, b) and not torch.equal(b, c) and not torch.equal(a, c)

def test_validation_is_whole_and_in_order(dls, ratings):
    _,valid = RandomSplitter(seed=42)(ratings)
    assert torch.cat([y for _,y in dls.valid])[:,0].tolist() == ratings['rating'].iloc[list(valid)].tolist()
    assert same(batches(dls.valid), batches(dls.valid))

def test_changing_a_batch_leaves_the_data_alone(dls, ratings):
    for dl in dls:
        for x,y in dl: x.zero_(); y.zero_()
    check_epochs(dls, ratings, n=1)
    assert all(y.min() >= 1 for _,y in dls.valid)

# --- seeds ------------------------------------------------------------------------------------------------------

def test_same_seed_same_everything(ratings):
    a = collab_dls(ratings, seed=3, bs=BS, device='cpu')
    set_seed(1)
    b = collab_dls(ratings, seed=3, bs=BS, device='cpu')
    assert same(batches(a.valid), batches(b.valid))
    for i in range(3):
        set_seed(i)                              # the state of the global generators doesn't matter
        assert same(batches(a.train), batches(b.train))

def test_other_seed_other_split_and_order(ratings):
    a,b = (collab_dls(ratings, seed=s, bs=BS, device='cpu') for s in (3, 4))
    assert list(a.valid_ds.items.index) != list(b.valid_ds.items.index)

def test_no_seed_is_random_until_the_global_one_is_set(ratings):
    def idx(): return list(collab_dls(ratings, device='cpu').valid_ds.items.index)
    assert idx() != idx()
    set_seed(5); a = idx(); set_seed(5); assert a == idx()

def test_the_drawn_seed_is_known(ratings):
    a = collab_dls(ratings, device='cpu', bs=BS)
    b = collab_dls(ratings, device='cpu', bs=BS, seed=a.train.seed)
    assert same(batches(a.valid), batches(b.valid)) and same(batches(a.train), batches(b.train))

@pytest.mark.parametrize('seed', [0, 1, 42])
def test_split_is_fastais(ratings, seed):
    for pct in (.2, .33):
        a = collab_dls(ratings, seed=seed, valid_pct=pct, device='cpu')
        b = CollabDataLoaders.from_df(ratings, seed=seed, valid_pct=pct, device='cpu')
        for p,q in ((a.train_ds, b.train_ds), (a.valid_ds, b.valid_ds)): assert list(p.items.index) == list(q.items.index)

def test_global_random_state_is_left_alone(ratings):
    def state(): return str(torch.get_rng_state().tolist()), str(np.random.get_state()), random.getstate()
    before = state()
    dls = collab_dls(ratings, seed=1, bs=BS, device='cpu')
    batches(dls.train), batches(dls.valid), dls.one_batch(), dls.train.new()
    assert before == state()
    CollabDataLoaders.from_df(ratings, seed=1, bs=BS, device='cpu')
    assert before != state()                     # fastai's reseeds the whole program

def test_drop_last_is_honoured_when_asked(ratings, dls):
    dl = collab_dls(ratings, seed=42, bs=BS, device='cpu', drop_last=True).train
    assert [len(y) for _,y in dl] == [BS]*(403//BS) == [BS]*len(dl)
    dl = dls.train.new(drop_last=True)
    assert [len(y) for _,y in dl] == [BS]*(403//BS) == [BS]*len(dl)

def test_validation_batches_are_large_unless_told(ratings):
    big = pd.concat([ratings.assign(rating=k) for k in range(20)])
    assert [len(y) for _,y in collab_dls(big, seed=1, device='cpu').valid] == [1024, 988]
    assert len(collab_dls(big, seed=1, val_bs=100, device='cpu').valid) == 21

def test_hooks_are_called(ratings, monkeypatch):
    called = []
    for n in ('before_iter', 'after_iter'): monkeypatch.setattr(RatingsDL, n, lambda self, n=n: called.append(n))
    batches(collab_dls(ratings, seed=1, device='cpu').train)
    assert called == ['before_iter', 'after_iter']

def test_new_starts_the_same_order_again(ratings):
    dls = collab_dls(ratings, seed=1, bs=BS, device='cpu')
    first,second = batches(dls.train),batches(dls.train)
    new = dls.train.new()
    assert same(first, batches(new)) and same(second, batches(new))

# --- what goes in -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize('change,words', [
    (lambda d: d[['user','title']],                         'three columns'),
    (lambda d: d[:0],                                       'empty'),
    (lambda d: d.assign(rating=d.rating.where(d.rating>1)), 'NaN'),
    (lambda d: d.assign(rating=d.rating.astype('Int64').where(d.rating>1)), 'NaN'),
    (lambda d: d.assign(rating=np.inf),                     'infinite'),
    (lambda d: d.assign(rating=d.rating.astype(str)),       'numbers, not text'),
    (lambda d: d.assign(rating=d.rating.astype(str).astype(object)), 'numbers, not text'),
    (lambda d: d.assign(rating=d.rating.astype(str).astype('category')), 'numbers, not text'),
    (lambda d: d.assign(rating=[Decimal(r) for r in d.rating]), 'numbers, not decimal'),
    (lambda d: d.assign(rating=pd.Timestamp(0)),            'numbers, not datetime64'),
    (lambda d: d.assign(rating=1e30),                       'up to 1e'),
    (lambda d: d.assign(user=d.user.where(d.user>110)),     "'user'"),
    (lambda d: d.assign(title=d.title.where(d.user>110)),   "'title'"),
    (lambda d: d.assign(title=two_kinds(d.title)),          "'title' mixes numbers, such as .*, with text"),
    (lambda d: d.assign(title=[[t] for t in d.title]),      "'title' must hold text or numbers"),
    (lambda d: d.assign(title=[(t, 1) for t in d.title]),   "'title' must hold text or numbers"),
    (lambda d: d.assign(title=d.title.replace('film 01', '#na#')), "'title' has the name '#na#'"),
    (lambda d: 'ratings.csv',                               'a pandas DataFrame .* not str'),
    (lambda d: Path('ratings.csv'),                         'a pandas DataFrame .* not PosixPath|WindowsPath'),
    (lambda d: d.values.tolist(),                           'a pandas DataFrame .* not list'),
    (lambda d: d.to_numpy(),                                'a pandas DataFrame .* not ndarray'),
    (lambda d: d.to_dict('list'),                           'a pandas DataFrame .* not dict'),
    (lambda d: d['rating'],                                 'a pandas DataFrame .* not Series'),
    (lambda d: None,                                        'a pandas DataFrame .* not NoneType'),
    (lambda d: pd.concat([d, d[['title']]], axis=1),        "More than one column is called 'title'"),
    (lambda d: d.set_axis(pd.MultiIndex.from_product([['a'], d.columns]), axis=1), 'several levels'),
])
def test_bad_tables(ratings, change, words):
    with pytest.raises(ValueError, match=words) as e: collab_dls(change(ratings), seed=1)
    assert '\n' not in str(e.value) and str(e.value).endswith('.')

def two_kinds(titles):
    "A column such as `pd.read_csv` may return for a large file that it reads in pieces"
    return pd.Series([int(t[-2:]) if k%3 else t for k,t in enumerate(titles)], titles.index, dtype=object)

@pytest.mark.parametrize('kw,words', [(dict(user_name='who'), 'who'), (dict(item_name='what'), 'what'), (dict(rating_name='stars'), 'stars'),
                                      (dict(item_name='user'), 'different'), (dict(item_name=['title']), 'not by a list'),
                                      (dict(item_name=pd.Series(['a'])), 'not by a Series'),
                                      *[(dict(valid_pct=v), 'valid_pct') for v in (1, -.1, 20, 'a', None, float('nan'))],
                                      *[(dict(bs=v), 'bs must be') for v in (0, -1, 1.5, '64', None)],
                                      *[(dict(val_bs=v), 'val_bs must be') for v in (0, 2.5)],
                                      *[(dict(seed=v), 'seed must be') for v in (-1, 1.5, 'a')]])
def test_bad_arguments(ratings, kw, words):
    with pytest.raises(ValueError, match=words) as e: collab_dls(ratings, **{'seed': 1, **kw})
    assert '\n' not in str(e.value) and str(e.value).endswith('.')

def test_unknown_keywords_are_not_swallowed(ratings):
    with pytest.raises(TypeError, match='shufle'): collab_dls(ratings, seed=1, shufle=True)

def test_numpy_numbers_are_numbers(ratings, dls):
    other = collab_dls(ratings, seed=np.int64(42), bs=np.int32(BS), valid_pct=np.float32(.2), device='cpu')
    assert same(batches(dls.train), batches(other.train)) and same(batches(dls.valid), batches(other.valid))

def test_bad_table_changes_nothing(ratings):
    before = ratings.copy()
    collab_dls(ratings, seed=1, device='cpu')
    pd.testing.assert_frame_equal(ratings, before)

def test_columns_by_name_and_fractions(ratings):
    d = ratings.assign(rating=ratings.rating-.5)[['timestamp','rating','title','user']]
    dls = collab_dls(d, 'user', 'title', 'rating', seed=42, bs=BS, device='cpu')
    assert list(dls.classes) == ['user','title']
    check_epochs(dls, d)

def arrow(kind):
    pytest.importorskip('pyarrow')
    return f'{kind}[pyarrow]'

@pytest.mark.parametrize('user,title,stars', [
    ('category', 'category', 'Int64'), (object, object, 'float64'), ('Int64', 'string', 'int8'), ('uint8', 'str', 'category'),
    ('Int16', object, object), ('int32', 'category', 'float16'), ('Int64', 'string', 'Float64'), ('arrow', 'arrow', 'arrow'),
    ('arrow', 'str', 'uint8')])
def test_kind_of_column_makes_no_difference(ratings, dls, user, title, stars):
    kinds = {'user': user, 'title': title, 'rating': stars}
    kinds = {k: arrow('string' if k == 'title' else 'int64') if v == 'arrow' else v for k,v in kinds.items()}
    other = collab_dls(ratings.astype(kinds), seed=42, bs=BS, device='cpu')
    assert {k:list(v) for k,v in dls.classes.items()} == {k:list(v) for k,v in other.classes.items()}
    assert same(batches(dls.valid), batches(other.valid)) and same(batches(dls.train), batches(other.train))

def test_likes_are_ratings(ratings, dls):
    likes = collab_dls(ratings.assign(rating=ratings.rating > 3), seed=42, bs=BS, device='cpu')
    for (x,y),(x2,y2) in zip(batches(dls.train), batches(likes.train)): assert torch.equal(x, x2) and torch.equal((y > 3).float(), y2)
    assert likes.y_range == (-.5, 1.5)

@pytest.mark.parametrize('names', [[0, 1, 2, 3], ['a b', '', 'r', None], [1.5, True, 'x', 't']])
def test_columns_may_be_called_anything(ratings, dls, names):
    other = collab_dls(ratings.set_axis(pd.Index(names, dtype=object), axis=1), seed=42, bs=BS, device='cpu')
    assert list(other.classes) == names[:2] and same(batches(dls.train), batches(other.train))

@pytest.mark.parametrize('index', [lambda n: [0]*n, lambda n: [f'r{k}' for k in range(n)], lambda n: pd.MultiIndex.from_arrays([range(n)]*2)])
def test_any_index(ratings, dls, index):
    other = collab_dls(ratings.set_axis(index(len(ratings))), seed=42, bs=BS, device='cpu')
    assert same(batches(dls.train), batches(other.train)) and same(batches(dls.valid), batches(other.valid))

# --- warnings ---------------------------------------------------------------------------------------------------

def said(f):
    "The warnings of `f` except those that fastai causes"
    with warnings.catch_warnings(record=True) as w:
        warnings.simplefilter('always')
        f()
    assert all(x.filename == __file__ for x in w if x.category is UserWarning), 'a warning points to the line that called us'
    return [str(x.message) for x in w if x.category is UserWarning and 'NumPy array' not in str(x.message)]

def test_a_good_table_warns_of_nothing(ratings): assert said(lambda: collab_dls(ratings, seed=1)) == []

@pytest.mark.parametrize('change,words', [
    (lambda d: pd.concat([d, d]),                                      '503 of 1006 rows repeat another'),
    (lambda d: pd.concat([d, d], ignore_index=True).drop(columns='timestamp'), '503 of 1006 rows repeat another'),
    (lambda d: pd.concat([d, d[:20]]),                                 '20 of 523 rows repeat another'),
    (lambda d: d.assign(timestamp=881250949 + d.timestamp)[['user','title','timestamp']],      "'timestamp'.* looks like a time stamp"),
    (lambda d: d.assign(timestamp=881250949 + d.timestamp)[['user','title','timestamp','rating']], "'timestamp'.* another is called 'rating'"),
    (lambda d: d[['user','title','timestamp','rating']],               "'timestamp'.* another is called 'rating'"),
    (lambda d: d.rename(columns={'rating': 'Stars'})[['user','title','timestamp','Stars']], "another is called 'Stars'.* rating_name='Stars'"),
])
def test_what_trains_without_complaint_and_is_nonsense(ratings, change, words):
    text, = said(lambda: collab_dls(change(ratings), seed=1))
    assert re.search(words, text) and text.endswith('.') and '\n' not in text

@pytest.mark.parametrize('change', [
    lambda d: pd.concat([d, d[:3]]),                                    # three duplicate pairs in a thousand, as in MovieLens
    lambda d: pd.concat([d, d.assign(rating=d.rating + 1)]),            # every pair twice, with different ratings
    lambda d: pd.concat([d, d.assign(timestamp=d.timestamp + 10_000)]), # rated twice, at two times
])
def test_rated_twice_is_no_accident(ratings, change): assert said(lambda: collab_dls(change(ratings), seed=1)) == []

def test_named_columns_are_not_doubted(ratings):
    stamped = ratings.assign(timestamp=881250949 + ratings.timestamp)
    assert said(lambda: collab_dls(stamped, rating_name='rating', seed=1)) == []
    assert said(lambda: collab_dls(stamped, rating_name='timestamp', seed=1)) == []

# --- names of rows ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize('kind', ['int64', 'Int64', 'str', 'string', 'category', 'category of int64', object])
def test_the_vocabulary_is_what_occurs_in_training(ratings, kind):
    train, valid = (list(rows) for rows in RandomSplitter(seed=42)(ratings))
    films = ratings['title'].str[-2:].astype(int) + 1000
    films.iloc[valid[3]] = 7 # rated once, and that in the validation set
    if 'int' not in str(kind).lower(): films = 'film ' + films.astype(str)
    in_training = sorted(set(films.iloc[train]))
    if str(kind).startswith('category'):
        films = films.astype(pd.CategoricalDtype([in_training[0]*2, *films.unique()])) # in no order, one that never occurs
    else: films = films.astype(kind)
    dls = collab_dls(ratings.assign(title=films), seed=42, bs=BS, device='cpu')
    assert list(dls.classes['title']) == ['#na#', *in_training] and len(in_training) == 30
    assert torch.cat([x for x,_ in dls.valid])[3,1] == 0
    assert (torch.cat([x for x,_ in dls.train])[:,1] > 0).all()

@pytest.mark.parametrize('kind', ['str', 'category', object])
def test_who_is_only_in_validation_is_na_and_can_be_seen(ratings, kind):
    pos = RandomSplitter(seed=42)(ratings)[1][3]
    ratings.iloc[pos, 1] = 'obscure'
    pos2 = RandomSplitter(seed=42)(ratings)[1][5]
    ratings.iloc[pos2, 0] = 9999
    dls = collab_dls(ratings.astype(dict(title=kind, user='int' if kind == 'str' else kind)), seed=42, bs=BS, device='cpu')
    x = torch.cat([x for x,_ in dls.valid])
    assert 'obscure' not in dls.classes['title'] and dls.classes['title'][0] == '#na#' and 9999 not in dls.classes['user']
    assert x[3,1] == x[5,0] == 0 and (x == 0).sum() == 2

# --- the range of the ratings -----------------------------------------------------------------------------------

@pytest.mark.parametrize('scale,want', [
    (lambda r: r, (.5, 5.5)), (lambda r: 2*r, (1, 11)), (lambda r: r/2, (.25, 2.75)), (lambda r: r > 3, (-.5, 1.5)),
    (lambda r: 10*r - 20, (-15, 35)), (lambda r: r*0 + 7, (6.5, 7.5)), (lambda r: r.where(r < 5, 1000), (-23.975, 1024.975))])
def test_the_range_is_half_a_step_wider_than_the_ratings(ratings, scale, want):
    dls = collab_dls(ratings.assign(rating=scale(ratings.rating)), seed=1)
    assert dls.y_range == pytest.approx(want)
    assert ratings_range(dls) == dls.y_range

def test_the_range_of_fastais_own_loaders(ratings):
    assert ratings_range(CollabDataLoaders.from_df(ratings, seed=1)) == (.5, 5.5)

# --- device -----------------------------------------------------------------------------------------------------

def test_batches_live_on_the_device_asked_for(ratings):
    dls = collab_dls(ratings, seed=1, bs=BS, device='meta')   # 'meta' is a device that every machine has
    for dl in dls:
        for b in dl: assert [t.device.type for t in b] == ['meta']*2
        assert [t.device.type for t in dl.tensors] == ['meta']*2     # moved once, not batch by batch

def test_default_device_is_fastais(ratings, monkeypatch):
    import fastai.data.core as core
    monkeypatch.setattr(core, 'default_device', lambda: torch.device('meta'))
    dls = collab_dls(ratings, seed=1)
    assert dls.device.type == 'meta' and dls.one_batch()[0].device.type == 'meta'

def test_to_moves_the_batches(ratings):
    dls = collab_dls(ratings, seed=1, device='cpu')
    assert dls.one_batch()[0].device.type == 'cpu'
    dls.to(torch.device('meta'))
    assert {t.device.type for dl in dls for b in dl for t in b} == {'meta'}

@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU here')
def test_on_a_gpu(ratings):
    dls = collab_dls(ratings, seed=42, bs=BS)
    check_epochs(dls, ratings)
    learn = learner(dls)
    with learn.no_bar(), learn.no_logging(): learn.fit(1)
    assert dls.one_batch()[0].is_cuda and next(learn.model.parameters()).is_cuda and len(learn.get_preds(ds_idx=0)[0]) == 403

# --- with a Learner ---------------------------------------------------------------------------------------------

def test_learner_sees_each_rating_once(dls, ratings):
    seen,learn = [],learner(dls)
    class Note(Callback):
        def before_batch(self):
            if self.training: seen.append((self.xb[0].clone(), self.yb[0].clone()))
    with learn.no_bar(), learn.no_logging(): learn.fit(1, cbs=Note())
    train,_ = RandomSplitter(seed=42)(ratings)
    assert named(dls, seen) == Counter((u, t, float(r)) for u,t,r in ratings.iloc[list(train)][['user','title','rating']].itertuples(index=False))

@pytest.mark.parametrize('use_nn', [False, True])
def test_collab_learner_learns(ratings, use_nn):
    dls = collab_dls(ratings.assign(rating=ratings.user%5 + 1), seed=1, bs=BS, device='cpu')
    set_seed(0)
    learn = collab_learner(dls, use_nn=use_nn, n_factors=5, y_range=(0, 5.5))
    with learn.no_bar(), learn.no_logging(): before = learn.validate()[0]; learn.fit_one_cycle(8, 5e-2); after = learn.validate()[0]
    assert after < before/2

def test_get_preds_in_the_order_of_the_table(dls):
    learn = learner(dls)
    with learn.no_bar(): valid,train = learn.get_preds(), learn.get_preds(ds_idx=0)
    for (preds,targs),to in ((valid, dls.valid_ds), (train, dls.train_ds)):
        x = torch.tensor(to.cats.to_numpy(np.int64, copy=True))
        assert torch.allclose(preds, learn.model(x)) and targs[:,0].tolist() == to.items['rating'].tolist()

def test_get_preds_puts_a_shuffled_loader_back_in_order(dls):
    learn = learner(dls)
    with learn.no_bar(): preds,targs = learn.get_preds(dl=dls.train)
    assert targs[:,0].tolist() == dls.train_ds.items['rating'].tolist()

def test_test_dl_with_and_without_ratings(dls, ratings):
    new = pd.DataFrame(dict(user=[100, 139, 5], title=['film 03', 'no such film', 'film 00']))
    learn = learner(dls)
    x, = dls.test_dl(new).one_batch()
    assert (x == 0).tolist() == [[False, False], [False, True], [True, False]]
    with learn.no_bar(): preds,targs = learn.get_preds(dl=dls.test_dl(new)); _,again = learn.get_preds(dl=dls.test_dl(new.assign(rating=[1, 2, 3])))
    assert targs is None and torch.allclose(preds, learn.model(x)) and again.tolist() == [[1.], [2.], [3.]]

def test_show_batch_and_results(dls, ratings, monkeypatch):
    import fastai.tabular.core as core, fastai.tabular.learner as tl
    shown = []
    for m in (core, tl): monkeypatch.setattr(m, 'display_df', shown.append)
    dls.show_batch(); dls.show_batch(unique=True)
    learn = learner(dls)
    with learn.no_bar(), learn.no_logging(): learn.show_results(max_n=5)
    assert [len(d) for d in shown] == [10, 10, 5] and 'rating_pred' in shown[2]
    known = {(u, t, r) for u,t,r in ratings[['user','title','rating']].itertuples(index=False)}
    assert all((u, t, r) in known for d in shown[:2] for u,t,r in d.itertuples(index=False))
    assert len(shown[1].drop_duplicates()) == 1

def test_lr_find_export_and_load(dls, tmp_path):
    learn = learner(dls, path=tmp_path)
    with learn.no_bar(): assert learn.lr_find(show_plot=False).valley > 0
    new = pd.DataFrame(dict(user=[100, 139], title=['film 03', 'film 00']))
    with learn.no_bar():
        learn.export()
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            other = load_learner(tmp_path/'export.pkl')
        with other.no_bar(): a,b = (l.get_preds(dl=l.dls.test_dl(new))[0] for l in (learn, other))
    assert torch.equal(a, b) and len(other.dls.train) == 0 and list(other.dls.classes) == ['user','title']
    assert torch.equal(pair_idxs(other.dls, [100], 'film 03'), pair_idxs(dls, [100], 'film 03'))

def test_batch_transforms_are_applied_and_kept(dls):
    dls.add_tfms([Tens()], 'after_batch')
    for dl in (*dls, dls.train.new(), dls.valid.new()): assert all(10 <= y.min() and y.max() <= 50 for _,y in dl)

class Tens(ItemTransform):
    "Ratings times ten"
    def encodes(self, b): return b[0],b[1]*10

# --- names ------------------------------------------------------------------------------------------------------

def test_pair_idxs_are_the_rows_of_the_embedding(dls, ratings):
    idxs = pair_idxs(dls, ratings.user, ratings.title)
    assert idxs.dtype == torch.int64 and idxs.shape == (503, 2)
    assert [(dls.classes['user'][u], dls.classes['title'][t]) for u,t in idxs.tolist()] == list(zip(ratings.user, ratings.title))

@pytest.mark.parametrize('users', [101, [101], np.array([101]), torch.tensor([101]), pd.Series([101], index=[9]), (np.int64(101),)])
def test_one_person_many_films(dls, users):
    idxs = pair_idxs(dls, users, ['film 01', 'film 02'])
    assert [dls.classes['user'][u] for u in idxs[:,0]] == [101]*2 and len(set(idxs[:,1].tolist())) == 2

def test_a_name_is_not_a_list_of_letters(dls): assert pair_idxs(dls, [101, 102], 'film 01').shape == (2, 2)

@pytest.mark.parametrize('users,items,words', [
    ([101, 9999], 'film 01', ['user', '9999', "unknown='na'"]),
    (101, ['film 01', 'nonesuch'], ['title', "'nonesuch'"]),
    ([1, 2, 3, 4, 5, 5], 'film 01', ['1, 2, 3 and 2 more']),
    (['101'], 'film 01', ["'101'", 'look like 100']),
    ([float('nan')], 'film 01', ['nan']), ([None], 'film 01', ['None']),
    ('#na#', 'film 01', ['#na#']),
])
def test_strangers_are_named(dls, users, items, words):
    for f in (pair_idxs, lambda d, *a: predict(learner(d), *a)):
        with pytest.raises(ValueError) as e: f(dls, users, items)
        assert all(w in str(e.value) for w in words) and '\n' not in str(e.value)

def test_strangers_on_request_are_row_0(dls):
    assert pair_idxs(dls, [9999, 101], ['nonesuch', 'film 01'], unknown='na')[0].tolist() == [0, 0]
    learn = learner(dls); model = learn.model
    pred = predict(learn, 9999, 'film 01', unknown='na').item()
    assert pred == pytest.approx((model.u.weight[0] @ model.i(pair_idxs(dls, 101, 'film 01')[0,1])).item())

def test_asking_twice_is_still_an_error(dls):
    pair_idxs(dls, 9999, 'film 01', unknown='na')
    with pytest.raises(ValueError): pair_idxs(dls, 9999, 'film 01')
    assert 9999 not in dls.classes['user'].o2i

def test_other_mistakes(dls):
    with pytest.raises(ValueError, match='pairs'): pair_idxs(dls, [101, 102], ['film 01']*3)
    with pytest.raises(ValueError, match='unknown must'): pair_idxs(dls, 101, 'film 01', unknown='zero')

def test_predict_is_what_the_model_says(dls, ratings):
    learn = collab_learner(dls, use_nn=True, layers=[10], y_range=(0, 5.5))   # dropout and batch norm: eval mode matters
    learn.model.train()
    got = predict(learn, ratings.user, ratings.title)
    assert learn.model.training and list(got.index) == list(zip(ratings.user, ratings.title))
    with learn.no_bar(): want,_ = learn.get_preds(dl=dls.test_dl(ratings))
    np.testing.assert_allclose(got, want[:,0], atol=1e-6)
    assert predict(learn, [], []).shape == (0,)

def test_a_failing_model_gets_its_mode_back(dls):
    class Bad(Dot):
        def forward(self, x): raise RuntimeError('no')
    learn = Learner(dls, Bad(dls), loss_func=MSELossFlat())
    with pytest.raises(RuntimeError): predict(learn, 101, 'film 01')
    assert learn.model.training
