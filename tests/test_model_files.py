"Files of trained models: what is restored, and that damaged or forged files are refused"
import base64, importlib.util, json, random, re, struct, warnings

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.collab import CollabDataLoaders, collab_learner

from collab_course.all import *
from collab_course import model_files
from collab_course.named_models import model_from_tables

pytestmark = [pytest.mark.filterwarnings(f'ignore:{o}') for o in  # fastai's own
              ('The given NumPy array is not writable', 'Constructing a Categorical')]

# --- files as bytes: length of the header, header (JSON), numbers

def unpack(content):
    "The header of a file as a dict, and its numbers"
    size = struct.unpack('<Q', content[:8])[0]
    return json.loads(content[8:8 + size]), content[8 + size:]


def pack(header, numbers):
    "The file with this header (a dict, or JSON) and these numbers"
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack('<Q', len(text)) + text + numbers


def tensors_of(content):
    "The tensors in a file, by name: dtype, shape and bytes"
    header, numbers = unpack(content)
    header.pop('__metadata__', None)
    return {name: [o['dtype'], o['shape'], numbers[slice(*o['data_offsets'])]]
            for name, o in header.items()}


def file_with(tensors, text, digest=None):
    "A file with these tensors and this description, and by default the digest that fits them"
    header, numbers = {}, b''
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {'dtype': dtype, 'shape': shape,
                        'data_offsets': [len(numbers), len(numbers) + len(data)]}
        numbers += data
    header['__metadata__'] = {'collab_course': text, 'digest': digest or fitting(tensors, text)}
    return pack(header, numbers)


def fitting(tensors, text):
    "The digest as a forger would compute it"
    res = model_files.hashlib.sha256(text.encode(errors='replace'))
    for name in sorted(tensors):
        _, shape, data = tensors[name]
        res.update(f'{name} {tuple(shape)}'.encode(errors='replace') + data)
    return res.hexdigest()


def small(kind):
    "A model with random numbers, and names of several kinds"
    gen = torch.Generator().manual_seed(0)
    if kind == 'DotProductBias':
        model = DotProductBias(4, 3, 2, (.5, 5.5))
    else:
        model = CollabNN(4, 3, (2, 1), (0, 5), 3)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, generator=gen)
    return NamedModel(model, [1, 2.5, 30], ['Été', 'a "quoted" one'], 'who', 'what')


KINDS = ['DotProductBias', 'CollabNN']


@pytest.fixture(params=KINDS)
def saved(request, tmp_path):
    "A small model, and the bytes of its file"
    model = small(request.param)
    save_model(model, tmp_path/'small')
    return model, (tmp_path/'small').read_bytes()


def equal(a, b):
    "Whether two models have the same class, range, names, parameters and predictions"
    if type(a.model) is not type(b.model) or a.model.y_range != b.model.y_range:
        return False
    def names(m): return [(c, [(type(o), o) for o in m.dls.classes[c]]) for c in m.dls.cat_names]
    weights_a, weights_b = a.model.state_dict(), b.model.state_dict()
    return names(a) == names(b) and weights_a.keys() == weights_b.keys() and all(
        torch.equal(w, weights_b[name]) for name, w in weights_a.items())


def outcome(content, file):
    "The model in a file with this `content`, or the sentence that refuses it; any other outcome is an error"
    with open(file, 'r+b' if file.exists() else 'wb') as f:  # to begin a file anew is slow
        f.write(content)
        f.truncate()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        try:
            return load_model(file)
        except ValueError as e:
            said = str(e)
    assert said.startswith(f"{file.name} can't be loaded: ") and said.endswith('.'), said
    assert '\n' not in said and len(said) < 300, said
    return said


def refused(content, file, *words):
    said = outcome(content, file)
    assert isinstance(said, str), f'{said} was loaded'
    assert any(word in said for word in words), said
    return said


# --- damage: every byte

def test_no_changed_byte_makes_another_model(saved, tmp_path):
    model, content = saved
    n_header = 8 + struct.unpack('<Q', content[:8])[0]
    rng = random.Random(0)
    said = {}
    for at in range(len(content)):
        region = 'length' if at < 8 else 'header' if at < n_header else 'numbers'
        for new in {content[at] ^ 1, rng.randrange(256)} - {content[at]}:
            found = outcome(content[:at] + bytes([new]) + content[at + 1:], tmp_path/'damaged')
            if isinstance(found, str):
                said.setdefault(region, set()).add(found.split(': ')[1])
            else:
                assert equal(found, model), f'byte {at} changed to {new}'
    assert said['length'] == {'it is damaged, or not a safetensors file.'}
    assert len(said['header']) > 3 and any('changed since' in o for o in said['numbers'])


def test_no_cut_or_longer_file_is_loaded(saved, tmp_path):
    _, content = saved
    for n in range(len(content)):
        refused(content[:n], tmp_path/'cut', 'damaged')
    for more in (b'\0', b'{}', content):
        refused(content + more, tmp_path/'longer', 'damaged')


def test_no_random_bytes_are_loaded(tmp_path):
    rng = random.Random(0)
    for _ in range(300):
        refused(rng.randbytes(rng.randrange(300)), tmp_path/'random', 'damaged')
        refused(pack({}, rng.randbytes(9)), tmp_path/'random', 'damaged')


# --- forgery: the digest fits

def description(content): return unpack(content)[0]['__metadata__']['collab_course']


def forge(content, change):
    "The file after `change` was applied to its description, with a digest that fits"
    about = json.loads(description(content))
    text = change(about)
    text = json.dumps(about) if text is None else text
    return file_with(tensors_of(content), text)


NESTED = '['*10_000 + ']'*10_000
HALF = {} if importlib.util.find_spec('pyarrow') else {'half a character': '\ud800'} # Arrow, in which pandas then keeps text, has none
VALUES = {
    'None': None, 'true': True, 'false': False, '0': 0, '-1': -1, '1e300': 1e300,
    'text': 'ab', 'empty text': '', 'lines': 'a\nb', 'long text': 'x'*10_000,
    **HALF, 'list': [], 'lists': [[], []], 'dict': {},
    'NaN': float('nan'), 'Infinity': float('inf'), '-Infinity': -float('inf'),
    'huge': 10**400, 'beyond 64 bits': 2**64,
}


@pytest.mark.parametrize('field', ['kind', 'y_range', 'names'])
@pytest.mark.parametrize('value', VALUES)
def test_no_field_of_another_kind_is_loaded(saved, tmp_path, field, value):
    model, content = saved
    file = forge(content, lambda about: about.update({field: VALUES[value]}))
    if (field, value) == ('y_range', 'None'):  # which is right: a model without a range
        assert outcome(file, tmp_path/'forged').model.y_range is None
    else:
        words = {'kind': 'kind of model', 'y_range': 'its range', 'names': 'no names'}
        refused(file, tmp_path/'forged', words[field])


@pytest.mark.parametrize('value', VALUES)
@pytest.mark.parametrize('place', ['lower limit', 'upper limit', 'first name', 'user', 'item',
                                   'users', 'items'])
def test_no_part_of_another_kind_is_loaded(saved, tmp_path, place, value):
    model, content = saved
    value = VALUES[value]

    def change(about):
        names = about['names']
        if 'limit' in place:
            about['y_range'][place == 'upper limit'] = value
        elif place in ('users', 'items'):
            names['who' if place == 'users' else 'what'] = value
        else:
            names['what' if place == 'item' else 'who'][place != 'first name'] = value
    found = outcome(forge(content, change), tmp_path/'forged')
    number = type(value) in (int, float) and abs(value) < 2**64
    low, high = model.model.y_range
    name = number or type(value) is str
    fits = {'lower limit': number and value < high, 'upper limit': number and value > low,
            'user': name, 'item': name}
    if not fits.get(place, False):
        assert isinstance(found, str), f'{found} was loaded'
        assert any(o in found for o in ('its range', 'its names', '#na#')), found
    elif 'limit' in place:
        assert value in found.model.y_range
    else:
        column = 'who' if place == 'user' else 'what'
        assert found.dls.classes[column][1] == value and predict(found, *(
            [value, 'Été'] if place == 'user' else [1, value])).notna().all()


FORGERIES = {
    '10,000 lists': (lambda about: NESTED, 'valid JSON'),
    '10,000 dicts': (lambda about: '{"a":'*10_000 + '1' + '}'*10_000, 'valid JSON'),
    'lists for a range': (lambda about: json.dumps(about | {'y_range': 'here'}).replace(
        '"here"', NESTED), 'valid JSON'),
    'lists for a name': (lambda about: json.dumps(about).replace('2.5', NESTED), 'valid JSON'),
    'no JSON': (lambda about: 'DotProductBias', 'valid JSON'),
    'nothing': (lambda about: '', 'valid JSON'),
    'a number of 10,000 digits': (
        lambda about: json.dumps(about).replace('2.5', '9'*10_000), 'valid JSON'),
    'a number': (lambda about: '1', 'should hold'), 'null': (lambda about: 'null', 'should hold'),
    'a list': (lambda about: '["kind", "y_range", "names"]', 'should hold'),
    'no kind': (lambda about: about.pop('kind') and None, 'should hold'),
    'no range': (lambda about: about.pop('y_range') and None, 'should hold'),
    'no names': (lambda about: about.pop('names') and None, 'should hold'),
    'something more': (lambda about: about.update(more=1), 'should hold'),
    'the other kind': (lambda about: about.update(
        kind=next(k for k in KINDS if k != about['kind'])), 'it should hold these weights'),
    'a kind of Python': (lambda about: about.update(kind='Learner'), 'kind of model'),
    'two kinds': (lambda about: '{"kind": "CollabNN", ' + json.dumps(about)[1:], 'twice'),
    'a range of three': (lambda about: about['y_range'].append(6), 'its range'),
    'a range of one': (lambda about: about['y_range'].pop() and None, 'its range'),
    'the upper limit first': (lambda about: about['y_range'].reverse(), 'its range'),
    'equal limits': (lambda about: about.update(y_range=[3, 3]), 'its range'),
    'limits of text': (lambda about: about.update(y_range=['0', '5']), 'its range'),
    'a range with names': (lambda about: about.update(y_range={'0': 0, '1': 5}), 'its range'),
    'names without a column': (
        lambda about: about.update(names=list(about['names'].values())), 'no names'),
    'one column': (lambda about: about['names'].pop('who') and None, 'no names'),
    'three columns': (lambda about: about['names'].update(when=['#na#']), 'no names'),
    'one column twice': (lambda about: json.dumps(about).replace('"what"', '"who"'), 'twice'),
    'fewer users': (lambda about: about['names']['who'].pop() and None, 'should have the shape'),
    'more users': (lambda about: about['names']['who'].append('x'), 'should have the shape'),
    'fewer items': (lambda about: about['names']['what'].pop() and None, 'should have the shape'),
    'more items': (
        lambda about: about['names']['what'].extend(map(str, range(941))), 'should have the shape'),
    'users and items swapped': (lambda about: about.update(
        names=dict(reversed(about['names'].items()))), 'should have the shape'),
    'no name for strangers': (lambda about: about['names'].update(who=['a', 1, 2.5, 30]), '#na#'),
    'strangers last': (lambda about: about['names']['who'].reverse(), '#na#'),
    'strangers twice': (lambda about: about['names'].update(who=['#na#', 1, '#na#', 2]), 'twice'),
    'a name twice': (lambda about: about['names'].update(who=['#na#', 1, 2, 1]), 'twice'),
    'a number twice': (lambda about: about['names'].update(who=['#na#', 1, 2, 1.0]), 'twice'),
    'names in one text': (lambda about: about['names'].update(who='#na#'), '#na#'),
    'names as a dict': (
        lambda about: about['names'].update(who=dict.fromkeys(['#na#', '1', '2', '3'])), '#na#'),
}


@pytest.mark.parametrize('what', FORGERIES)
def test_no_forged_description_is_loaded(saved, tmp_path, what):
    _, content = saved
    change, words = FORGERIES[what]
    refused(forge(content, change), tmp_path/'forged', words)


def test_a_forged_description_that_fits_is_loaded_as_it_says(saved, tmp_path):
    "Otherwise the tests above would also pass if the forged digest never fitted"
    model, content = saved
    assert equal(outcome(forge(content, lambda about: None), tmp_path/'forged'), model)
    found = outcome(forge(content, lambda about: about.update(y_range=[0, 10])), tmp_path/'forged')
    assert found.model.y_range == (0, 10)
    wrong_digest = file_with(tensors_of(content), description(content), '0'*64)
    refused(wrong_digest, tmp_path/'forged', 'changed since')


F32 = np.dtype('<f4')
SIZES = {'F64': 8, 'F16': 2, 'BF16': 2, 'I64': 8, 'I32': 4, 'U8': 1, 'BOOL': 1, 'I8': 1, 'I16': 2,
         'U16': 2, 'U32': 4, 'U64': 8, 'F8_E4M3': 1, 'F8_E5M2': 1, 'C64': 8}


def changed_tensors(content):
    "A label and the tensors of each file that is wrong in a single tensor"
    good = tensors_of(content)
    for name, (dtype, shape, data) in good.items():
        n = int(np.prod(shape))
        def with_(*new): return good | {name: list(new)}
        yield f'{name} missing', {k: v for k, v in good.items() if k != name}
        yield f'{name} under another name', {
            k if k != name else f'{k}s': v for k, v in good.items()}
        for other in SIZES:
            yield f'{name} as {other}', with_(other, shape, bytes(n*SIZES[other]))
        yield f'{name} of no dimension', with_(dtype, [], bytes(4))
        yield f'{name} with one dimension more', with_(dtype, [1, *shape], data)
        yield f'{name} empty', with_(dtype, [0]*len(shape), b'')
        yield f'{name} taller', with_(dtype, [shape[0] + 1, *shape[1:]], bytes(4*(n + n//shape[0])))
        yield f'{name} with a huge empty shape', with_(dtype, [0, 2**60], b'')
        if len(shape) == 2 and shape[0] != shape[1]:
            yield f'{name} transposed', with_(dtype, shape[::-1], data)
        if len(shape) == 2:
            yield f'{name} with one dimension less', with_(dtype, [n], data)
            yield f'{name} wider', with_(dtype, [shape[0], shape[1] + 1], bytes(4*(n + shape[0])))
        for value in (np.nan, np.inf, -np.inf):
            numbers = np.frombuffer(data, F32).copy()
            numbers[-1] = value
            yield f'{name} with {value}', with_(dtype, shape, numbers.tobytes())
    for extra in ('extra', 'layers.4.weight', '', 'a\nb', 'x'*10_000, 'item_bias.weight.'):
        yield f'one more: {extra[:20]!r}', good | {extra: ['F32', [1], bytes(4)]}
    yield 'none at all', {}


def test_no_forged_tensor_is_loaded(saved, tmp_path):
    _, content = saved
    text = description(content)
    said = {}
    for what, tensors in changed_tensors(content):
        try:
            said[what] = refused(
                file_with(tensors, text), tmp_path/'forged', 'should', 'NaN', 'not a safetensors')
        except AssertionError as e:
            raise AssertionError(f'{what}: {e}') from None
    for part in ('hold these weights', 'have the shape', 'of 32 bits', 'NaN or infinite'):
        assert sum(part in o for o in said.values()) >= 6, part


HEADERS = {
    'nested': '{"a":'*10_000 + '1' + '}'*10_000, 'a list': '[]', 'null': 'null', 'no JSON': '{',
    'empty': '', 'text for a tensor': '{"a": "b"}', 'no metadata': '{}',
    'metadata of numbers': '{"__metadata__": {"collab_course": 1}}',
    'metadata of lists': '{"__metadata__": []}',
    'other metadata': '{"__metadata__": {"format": "pt"}}',
    'offsets reversed': '{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}',
    'offsets beyond the end': '{"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}',
    'a huge shape': '{"a": {"dtype": "F32", "shape": [4611686018427387904, 4], '
                    '"data_offsets": [0, 4]}}',
    'a negative shape': '{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
    'an unknown dtype': '{"a": {"dtype": "Q7", "shape": [1], "data_offsets": [0, 4]}}',
}


@pytest.mark.parametrize('what', HEADERS)
def test_no_forged_header_is_loaded(tmp_path, what):
    refused(pack(HEADERS[what], bytes(4)), tmp_path/'forged', 'damaged', 'no names')
    refused(pack(HEADERS[what], b''), tmp_path/'forged', 'damaged', 'no names')


def test_a_length_beyond_all_memory_is_refused(saved, tmp_path):
    _, content = saved
    for length in (2**63, 2**64 - 1, 10**8, 10**12):
        refused(struct.pack('<Q', length) + content[8:], tmp_path/'forged', 'damaged')


@pytest.mark.parametrize('error,words', [
    (PermissionError(13, 'Permission denied'), "can't be read .*Permission denied"),
    (RuntimeError('two\nlines'), 'damaged'), (AttributeError('no such dtype'), 'damaged')])
def test_no_error_of_another_version_gets_through(saved, tmp_path, monkeypatch, error, words):
    "safetensors and torch raise different errors in different versions"
    def fail(*args): raise error
    monkeypatch.setattr(model_files, 'safe_open', fail)
    assert re.search(words, refused(saved[1], tmp_path/'file', 'damaged', 'denied'))


def test_nothing_is_executed(tmp_path):
    class Bomb:
        def __reduce__(self): return pytest.fail, ('it ran',)
    torch.save(Bomb(), tmp_path/'bomb')
    refused((tmp_path/'bomb').read_bytes(), tmp_path/'forged', 'damaged')


# --- what is restored

def ratings_of(user=lambda o: o, item=str):
    rng = np.random.default_rng(0)
    u, i = np.nonzero(rng.random((12, 9)) < .8)
    return pd.DataFrame({'who': [user(o) for o in u], 'what': [item(o) for o in i],
                         'score': rng.integers(1, 6, len(u)).astype(float)})


def trained(model, dls): return fit(dls, model, epochs=1)


def fastais(dls, **kwargs):
    learn = collab_learner(dls, n_factors=3, **kwargs)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(1, 1e-2)
    return learn


MAKERS = {
    'DotProduct': lambda dls: trained(DotProduct.from_dls(dls, 3), dls),
    'DotProductBias': lambda dls: trained(DotProductBias.from_dls(dls, 3), dls),
    'DotProductBias without a range': lambda dls: trained(
        DotProductBias.from_dls(dls, 3, y_range=None), dls),
    'DotProductBiasRaw': lambda dls: trained(DotProductBiasRaw.from_dls(dls, 3), dls),
    'CollabNN': lambda dls: trained(CollabNN.from_dls(dls, (3, 2), n_act=4), dls),
    "fastai's": lambda dls: fastais(dls, y_range=(0, 5.5)),
    "fastai's without a range": lambda dls: fastais(dls),
    'one of many': lambda dls: NamedModel.from_dls(
        fit_many(dls, [0, .1], epochs=1, n_factors=3)[0][0], dls),
    'als': lambda dls: als(
        dls.ratings.pivot(index='who', columns='what', values='score'), 3).named(),
    'one from a file': lambda dls: small('DotProductBias'),
}


@pytest.mark.parametrize('name', MAKERS)
def test_what_comes_back_predicts_the_same(name, tmp_path):
    learn = MAKERS[name](small_dls())
    save_model(learn, tmp_path/'model.safetensors')
    state = torch.random.get_rng_state()
    back = load_model(tmp_path/'model.safetensors')
    assert torch.equal(state, torch.random.get_rng_state()), 'loading draws no random numbers'
    assert not back.model.training
    users, items = (list(learn.dls.classes[c])[1:] for c in learn.dls.cat_names)
    pairs = [u for u in users for _ in items], items*len(users)
    pd.testing.assert_series_equal(predict(back, *pairs), predict(learn, *pairs), rtol=1e-6)
    strangers = [predict(m, 'nobody', items[0], unknown='na').item() for m in (back, learn)]
    assert strangers[0] == pytest.approx(strangers[1], rel=1e-6)
    save_model(back, tmp_path/'again')
    assert equal(load_model(tmp_path/'again'), back)


def test_what_fastais_loaders_gave_comes_back(tmp_path):
    dls = CollabDataLoaders.from_df(ratings_of(), bs=32, seed=0)
    learn = fastais(dls, y_range=(0, 5.5))
    save_model(learn, tmp_path/'model')
    pair = learn.dls.classes['who'][1], learn.dls.classes['what'][1]
    back = load_model(tmp_path/'model')
    assert predict(back, *pair).item() == pytest.approx(predict(learn, *pair).item())


def random_model(n, y_range=None):
    return model_from_tables(torch.rand(n, 3), torch.rand(n, 3), y_range)


NAMES = {
    'int': int, 'negative': lambda o: -o, 'float': lambda o: o + .5, 'numpy int': np.int64,
    'numpy float': np.float32, 'uint64': lambda o: np.uint64(2**64 - 1 - o),
    'text': str, 'numpy text': np.str_, 'text like numbers': lambda o: f'0{o}',
    'long': lambda o: str(o)*100_000, 'odd': lambda o: f'{o}\n"\\\x00\U0001f37f' + ''.join(HALF.values()),
}


@pytest.mark.parametrize('kind', NAMES)
def test_names_come_back_as_they_were(kind, tmp_path):
    names = [NAMES[kind](o) for o in range(5)]
    model = NamedModel(random_model(6), names, names, 'who', 'what')
    save_model(model, tmp_path/'model')
    back = load_model(tmp_path/'model')
    assert list(back.dls.classes['who']) == ['#na#', *names] == list(back.dls.classes['what'])
    assert predict(back, names[2], names[1]).item() == predict(model, names[2], names[1]).item()
    assert all(type(o) in (str, int, float) for o in back.dls.classes['who'])


BAD_NAMES = {
    'date': pd.Timestamp('1998-04-22'), 'numpy date': np.datetime64(10**18, 'ns'),
    'numpy span': np.timedelta64(1, 'ns'), 'true': True, 'numpy true': np.True_,
    'pair': (1, 'a'), 'long': ('x'*10_000,), 'bytes': b'a', 'infinite': float('inf'),
    'huge': 10**4000, 'complex': 1j,
}


@pytest.mark.parametrize('name', BAD_NAMES)
def test_names_that_would_not_come_back_are_refused(name, tmp_path):
    model = NamedModel(random_model(2), [BAD_NAMES[name]], ['x'])
    with pytest.raises(ValueError, match='Only text and numbers') as e:
        save_model(model, tmp_path/'model')
    assert len(str(e.value)) < 250 and not (tmp_path/'model').exists()


@pytest.mark.parametrize('user', [pd.Timestamp, bool])
def test_a_model_trained_with_such_names_says_what_to_do(user, tmp_path):
    dls = collab_dls(ratings_of(user).drop_duplicates(['who', 'what']), seed=0)
    with pytest.raises(ValueError, match='Rename .* astype'):
        save_model(trained(DotProductBias.from_dls(dls, 3), dls), tmp_path/'model')


RANGES = {
    'numpy': (np.float32(.5), np.float64(5.5)), 'numpy ints': (np.int64(0), np.int8(5)),
    'array': np.array([0, 5.5]), 'tensor': torch.tensor([0, 5.5]), 'list': [0, 5.5],
    'negative': (-10, 10), 'none': None,
}


@pytest.mark.parametrize('kind', RANGES)
def test_ranges_come_back(kind, tmp_path):
    y_range = RANGES[kind]
    model = NamedModel(random_model(3, y_range), [1, 2], [3, 4])
    save_model(model, tmp_path/'model')
    back = load_model(tmp_path/'model')
    assert back.model.y_range == (None if y_range is None else tuple(map(float, y_range)))
    assert predict(back, 1, 3).item() == pytest.approx(predict(model, 1, 3).item())


def test_numbers_of_other_kinds_become_32_bits(tmp_path):
    model = small('CollabNN')
    want = predict(model, 1, 'Été').item()
    model.model.double()
    first = model.model.layers[0].weight
    first.data = first.data.T.contiguous().T  # the same numbers, in another order in memory
    save_model(model, tmp_path/'model')
    back = load_model(tmp_path/'model')
    assert {w.dtype for w in back.model.parameters()} == {torch.float32}
    assert predict(back, 1, 'Été').item() == pytest.approx(want)


# --- what can't be saved, and where

def with_range(kind, *y_range):
    "A named model with another range"
    model = small(kind)
    model.model.y_range = y_range
    return model


def with_other_names():
    "A named model with fewer names than rows"
    model = small('DotProductBias')
    model.dls = NamedModel(random_model(3), [1, 2], [3, 4]).dls
    return model


def diverged():
    "A named model with weights that are NaN"
    model = small('CollabNN')
    model.model.layers[0].weight.data[1, 1] = torch.nan
    return model


def small_dls(): return collab_dls(ratings_of(), bs=32, seed=0)


class OtherNN(CollabNN):
    "A net with a different `forward` has the same weights as `CollabNN`, but isn't one"


UNSAVABLE = {
    'a model without names': (lambda: small('CollabNN').model, 'NamedModel'),
    'many models': (lambda: fit_many(small_dls(), [0, 1], epochs=1), 'NamedModel'),
    'a file': (lambda: 'model.safetensors', 'NamedModel'),
    "fastai's net": (
        lambda: fastais(small_dls(), use_nn=True, layers=[4]), 'not fastai.*EmbeddingNN'),
    'another net': (lambda: NamedModel(OtherNN(3, 3, 2), [1, 2], [3, 4]), 'OtherNN'),
    'diverged': (diverged, 'layers.0.weight .* diverged'),
    'limits swapped': (lambda: with_range('DotProductBias', 5, 1), 'y_range must be'),
    'an infinite limit': (lambda: with_range('DotProductBias', 0, float('inf')), 'y_range must be'),
    'names of another model': (lambda: NamedModel(random_model(4), [1], [2]), '4 rows, but 2'),
    'limits of a net swapped': (lambda: with_range('CollabNN', 5, 1), 'its range'),
    'other names': (with_other_names, 'have the shape'),
}


@pytest.mark.parametrize('what', UNSAVABLE)
def test_what_could_not_be_loaded_is_not_saved(what, tmp_path):
    make, words = UNSAVABLE[what]
    with pytest.raises(ValueError, match=words) as e:
        save_model(make(), tmp_path/'model')
    assert '\n' not in str(e.value) and not list(tmp_path.iterdir())


def test_places(tmp_path, monkeypatch):
    model = small('DotProductBias')
    for home in ('HOME', 'USERPROFILE'):
        monkeypatch.setenv(home, str(tmp_path))
    save_model(model, '~/home.safetensors')
    assert equal(load_model('~/home.safetensors'), model)
    assert (tmp_path/'home.safetensors').is_file()
    monkeypatch.chdir(tmp_path)
    save_model(model, 'here')
    save_model(small('CollabNN'), 'here')  # over the other one
    assert equal(load_model(tmp_path/'here'), small('CollabNN'))
    for path, words in {'no/folder/model': 'There is no folder no.folder', '~': 'is not a file',
                        tmp_path: 'is not a file', 'here/model': 'There is no folder'}.items():
        with pytest.raises(ValueError, match=words):
            save_model(model, path)
    with pytest.raises(ValueError, match='is a folder'):
        load_model(tmp_path)
    with pytest.raises(FileNotFoundError, match='There is no file'):
        load_model(tmp_path/'no'/'model')


def test_more_names_than_a_file_has_room_for_are_refused(tmp_path):
    model = NamedModel(random_model(2), ['x'*100_000_000], ['y'])
    with pytest.raises(ValueError, match="can't be written") as e:
        save_model(model, tmp_path/'model')
    assert len(str(e.value)) < 300 and not list(tmp_path.iterdir())


# --- files of version 0.1.0

OLD = {
    'DotProductBias': (
        'KAIAAAAAAAB7Il9fbWV0YWRhdGFfXyI6eyJjb2xsYWJfY291cnNlIjoie1wia2luZFwiOiBcIkRvdFByb2R1Y3RCaW'
        'FzXCIsIFwieV9yYW5nZVwiOiBbMCwgNS41XSwgXCJuYW1lc1wiOiB7XCJ1c2VyXCI6IFtcIiNuYSNcIiwgMSwgMiwg'
        'M10sIFwidGl0bGVcIjogW1wiI25hI1wiLCBcIkNcIiwgXCJcXHUwMGM0IGJcIl19fSIsImRpZ2VzdCI6IjQ4NDUxYj'
        'JmOTNjNjk3ZDRmMzZjNGM2OTY4MDRmNTg3YTJlZTdhYzU1OGNkMmUwNGQxZWIyN2M4ZmE0NDhlM2MifSwiaXRlbV9i'
        'aWFzLndlaWdodCI6eyJkdHlwZSI6IkYzMiIsInNoYXBlIjpbMywxXSwiZGF0YV9vZmZzZXRzIjpbMCwxMl19LCJpdG'
        'VtX2ZhY3RvcnMud2VpZ2h0Ijp7ImR0eXBlIjoiRjMyIiwic2hhcGUiOlszLDJdLCJkYXRhX29mZnNldHMiOlsxMiwz'
        'Nl19LCJ1c2VyX2JpYXMud2VpZ2h0Ijp7ImR0eXBlIjoiRjMyIiwic2hhcGUiOls0LDFdLCJkYXRhX29mZnNldHMiOl'
        'szNiw1Ml19LCJ1c2VyX2ZhY3RvcnMud2VpZ2h0Ijp7ImR0eXBlIjoiRjMyIiwic2hhcGUiOls0LDJdLCJkYXRhX29m'
        'ZnNldHMiOls1Miw4NF19fSAgICCsXqk/KwUYPaLfkb6TrwNAiRYRvbtygD2mLES/PrSMPyBrMEB5fTM+K3huv+OzwL'
        '8nNim/lZAlvQyEkz6G+/a7YBxqv7ZWi79Qf4i+OfhBPoRHYL4='),
    'CollabNN': (
        'oAIAAAAAAAB7Il9fbWV0YWRhdGFfXyI6eyJjb2xsYWJfY291cnNlIjoie1wia2luZFwiOiBcIkNvbGxhYk5OXCIsIF'
        'wieV9yYW5nZVwiOiBudWxsLCBcIm5hbWVzXCI6IHtcInVzZXJcIjogW1wiI25hI1wiLCAxLCAyLCAzXSwgXCJ0aXRs'
        'ZVwiOiBbXCIjbmEjXCIsIFwiQ1wiLCBcIlxcdTAwYzQgYlwiXX19IiwiZGlnZXN0IjoiNDQzYzlmNzIwYzkxMWI5ZT'
        'BmNTdmZTFhMmY0ZTVmNWVmNDNmOTAwZWNjMjdmNGJlYmFmMGIyYjZmMmY5N2EzNSJ9LCJpdGVtX2ZhY3RvcnMud2Vp'
        'Z2h0Ijp7ImR0eXBlIjoiRjMyIiwic2hhcGUiOlszLDFdLCJkYXRhX29mZnNldHMiOlswLDEyXX0sImxheWVycy4wLm'
        'JpYXMiOnsiZHR5cGUiOiJGMzIiLCJzaGFwZSI6WzNdLCJkYXRhX29mZnNldHMiOlsxMiwyNF19LCJsYXllcnMuMC53'
        'ZWlnaHQiOnsiZHR5cGUiOiJGMzIiLCJzaGFwZSI6WzMsM10sImRhdGFfb2Zmc2V0cyI6WzI0LDYwXX0sImxheWVycy'
        '4yLmJpYXMiOnsiZHR5cGUiOiJGMzIiLCJzaGFwZSI6WzFdLCJkYXRhX29mZnNldHMiOls2MCw2NF19LCJsYXllcnMu'
        'Mi53ZWlnaHQiOnsiZHR5cGUiOiJGMzIiLCJzaGFwZSI6WzEsM10sImRhdGFfb2Zmc2V0cyI6WzY0LDc2XX0sInVzZX'
        'JfZmFjdG9ycy53ZWlnaHQiOnsiZHR5cGUiOiJGMzIiLCJzaGFwZSI6WzQsMl0sImRhdGFfb2Zmc2V0cyI6Wzc2LDEw'
        'OF19fSCv5pU/R/XdPun73b+4h4I/Ecjkvn1v5z6kA6u/uhhjP9yYRD9S72k9WVVlPohNDT8bLBS/+S2RPH39Bj7cwS'
        'S/L9Z5v6QTNj8hG0K/9KQIvuRK8j9ZG0dA27LqvqEGrL5O9ci/zqGdP0uDsj8=')}
OLD_PREDICTIONS = {  # of (1, 'Ä b'), (2, 'C'), (3, 'C'), (1, 'C') and (99, 'C')
    'DotProductBias': [.12692522, 1.1482348, 2.1491401, 2.4839528, 2.7349808],
    'CollabNN': [-.64358306, -1.5550152, -1.4408062, -.64358306, -4.0980501]}


@pytest.mark.parametrize('kind', KINDS)
def test_files_of_the_first_version_still_load(kind, tmp_path):
    content = base64.b64decode(OLD[kind])
    (tmp_path/'old').write_bytes(content)
    model = load_model(tmp_path/'old')
    assert type(model.model).__name__ == kind and model.dls.cat_names == ['user', 'title']
    assert list(model.dls.classes['user']) == ['#na#', 1, 2, 3]
    assert list(model.dls.classes['title']) == ['#na#', 'C', 'Ä b']
    preds = predict(model, [1, 2, 3, 1, 99], ['Ä b', 'C', 'C', 'C', 'C'], unknown='na')
    np.testing.assert_allclose(preds, OLD_PREDICTIONS[kind], rtol=1e-5)
    save_model(model, tmp_path/'new')
    assert equal(load_model(tmp_path/'new'), model)
