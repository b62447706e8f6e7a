"Getting the data when the network, the disk or the files misbehave; what a notebook cell can't show"
import io, os, subprocess, sys, threading, zipfile
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from collab_course import movielens as ml
from collab_course.movielens import DataError, check_files, download_ml100k, get_movielens, new_folder, read_movielens, read_ratings
from collab_course.world import write_world

FILES = {'u.data': b'1\t1\t5\t881250949\n', 'u.genre': b'unknown|0\n'}
SUMS = {k: (len(v), md5(v).hexdigest()) for k,v in FILES.items()}


def zipped(files, folder='ml-100k/'):
    buf = io.BytesIO()
    with zipfile.ZipFile(buf, 'w') as z:
        for name,content in files.items(): z.writestr(folder+name, content)
    return buf.getvalue()


@pytest.fixture
def server():
    "A web server on the loopback address: `server.answer(body)` sets what it sends, `server.url` is where"
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args): pass
        def do_GET(self):
            s = self.server
            s.asked += 1
            if s.wait: s.done.wait(5)
            self.send_response(s.status)
            self.send_header('Content-Length', str(len(s.body)))
            self.end_headers()
            self.wfile.write(s.body[:s.sent])

    s = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    s.url, s.asked, s.done = f'http://127.0.0.1:{s.server_port}/ml-100k.zip', 0, threading.Event()
    def answer(body=b'', status=200, sent=None, wait=False): s.body, s.status, s.sent, s.wait = body, status, sent, wait
    s.answer = answer
    threading.Thread(target=s.serve_forever, daemon=True).start()
    yield s
    s.done.set(); s.shutdown(); s.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch, server):
    "An empty cache of fastai's, and `server` in the place of GroupLens'"
    from fastai.data.external import URLs, fastai_cfg
    fastai_cfg.cache_clear()
    for var in ('http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY', 'COLLAB_COURSE_DATA'): monkeypatch.delenv(var, raising=False)
    monkeypatch.setenv('FASTAI_HOME', str(tmp_path/'home'))
    monkeypatch.setattr(URLs, 'ML_100k', server.url)
    yield tmp_path/'home'/'data'
    fastai_cfg.cache_clear()


@pytest.fixture(scope='session')
def world(tmp_path_factory): return write_world(tmp_path_factory.mktemp('worlds')/'world')


def leftovers(folder): return sorted(p.name for p in folder.iterdir())


# --- the download

def test_download_puts_in_place_what_it_checked(server, cache, tmp_path):
    server.answer(zipped(FILES | {'mku.sh': b'not asked for'}))
    path = download_ml100k(tmp_path/'d', files=SUMS)
    assert path == tmp_path/'d'/'ml-100k' and leftovers(tmp_path/'d') == ['ml-100k']
    assert {p.name: p.read_bytes() for p in path.iterdir()} == FILES


good = zipped(FILES)
@pytest.mark.parametrize('answer,words', [
    (dict(status=404), 'Not Found'),
    (dict(body=good, sent=len(good)//2), 'IncompleteRead'),
    (dict(body=good[:len(good)//2]), 'not a zip file'),
    (dict(body=b'<html>Please log in</html>'), 'not a zip file'),
    (dict(body=zipped({'u.data': FILES['u.data']})), 'u.genre'),
    (dict(body=zipped(FILES, folder='../')), 'u.data'),
    (dict(body=zipped(FILES | {'u.data': FILES['u.data'][:-3]})), 'cut off'),
    (dict(body=zipped(FILES | {'u.data': FILES['u.data'].replace(b'5', b'4', 1)})), 'other content'),
    (dict(body=good, wait=True), 'timed out'),
])
def test_a_bad_download_is_one_sentence_and_nothing_on_disk(server, cache, tmp_path, monkeypatch, answer, words):
    server.answer(**answer)
    monkeypatch.setattr(ml, 'urlopen', lambda url, timeout: ORIGINAL(url, timeout=min(timeout, .5)))
    with pytest.raises(DataError, match=words) as e: download_ml100k(tmp_path/'d', files=SUMS)
    assert server.asked == 1 and leftovers(tmp_path/'d') == [] and '\n' not in str(e.value)
ORIGINAL = ml.urlopen


def test_after_a_cut_off_download_the_next_try_starts_anew(server, cache, tmp_path):
    server.answer(good, sent=len(good)//2)
    with pytest.raises(DataError): download_ml100k(tmp_path/'d', files=SUMS)
    server.answer(good)
    assert check_files(download_ml100k(tmp_path/'d', files=SUMS), SUMS)


def test_members_can_only_land_in_the_folder(server, cache, tmp_path):
    server.answer(zipped(FILES | {'../../evil': b'x', '/abs': b'x'}))
    download_ml100k(tmp_path/'d', files=SUMS)
    assert leftovers(tmp_path/'d'/'ml-100k') == sorted(FILES) and not list(tmp_path.rglob('evil')) and not Path('/abs').exists()


def test_a_folder_that_cannot_be_written(server, cache, tmp_path):
    (tmp_path/'file').write_text('')
    with pytest.raises(DataError, match="can't be written"): download_ml100k(tmp_path/'file', files=SUMS)


def test_a_cache_that_cannot_be_written(cache, tmp_path, monkeypatch):
    (tmp_path/'file').write_text('')
    monkeypatch.setenv('FASTAI_HOME', str(tmp_path/'file'/'home'))
    with pytest.raises(DataError, match='FASTAI_HOME'): get_movielens()


# --- the four places

def test_without_a_download_a_generated_world_stands_in(server, cache, capsys):
    server.answer(status=500)
    data = get_movielens()
    assert data.truth and 'Generated world' in repr(data) and 'could not be downloaded' in capsys.readouterr().out
    assert leftovers(cache) == ['ml-100k-generated']
    get_movielens()
    assert server.asked == 1 and capsys.readouterr().out == ''
    get_movielens(retry=True)
    assert server.asked == 2


def test_named_folders_come_first(world, cache, server, monkeypatch):
    assert get_movielens(world).path == world
    monkeypatch.setenv('COLLAB_COURSE_DATA', str(world))
    assert get_movielens().path == world and server.asked == 0
    monkeypatch.setenv('COLLAB_COURSE_DATA', str(world/'nowhere'))
    with pytest.raises(DataError, match='nowhere'): get_movielens()


def real(): return Path(os.environ.get('COLLAB_COURSE_DATA') or 'nowhere')/'ml-100k'

@pytest.mark.skipif(not real().is_dir(), reason='no copy of MovieLens-100k in COLLAB_COURSE_DATA')
def test_real_data_arrives_and_replaces_the_world(monkeypatch, server, request, capsys):
    body = zipped({name: (real()/name).read_bytes() for name in ml.ml100k_files})
    cache = request.getfixturevalue('cache')
    server.answer(status=503)
    assert get_movielens().truth
    server.answer(body)
    data = get_movielens(retry=True)
    assert repr(data).startswith('MovieLens-100k') and data.truth is None and data.path == cache/'ml-100k'
    server.answer(status=503)
    assert get_movielens().truth is None and server.asked == 2
    (data.path/'u.data').write_bytes(b'1\t2\t3\t4\n')
    capsys.readouterr()
    assert get_movielens().truth and 'u.data has 8 bytes, not 1,979,173' in capsys.readouterr().out


# --- the files

@pytest.mark.parametrize('text,words', [
    ('', 'no ratings'), ('1\t2\t3\n', 'line 1: 3 columns'), ('1\t2\t3\t4\t5\n', 'line 1: 5 columns'),
    ('1\t2\t3\t4\n1\t2\tnan\t4\n', "line 2: rating is 'nan'"), ('1\t2\tgood\t4\n', "rating is 'good'"), ('1\t2\t\t4\n', "rating is ''"),
    ('1\t2\t3.5\t4\n', "'3.5', not a whole"), ('1\t2\t0\t4\n', 'rating of 0'), ('1\t2\t6\t4\n', 'rating of 6'),
    ('x\t2\t3\t4\n', "user is 'x'"), ('1\t2\t3\t99999999999999999999\n', 'timestamp'),
])
def test_bad_ratings_name_the_line(tmp_path, text, words):
    (tmp_path/'u.data').write_text(text)
    with pytest.raises(DataError, match=words) as e: read_ratings(tmp_path/'u.data')
    assert '\n' not in str(e.value)


@pytest.mark.parametrize('damage,words', [
    (lambda p: p.unlink(), 'missing'), (lambda p: p.write_bytes(p.read_bytes()[:-100]), 'cut off'),
    (lambda p: p.write_bytes(p.read_bytes().replace(b'1', b'2', 1)), 'other content'),
])
@pytest.mark.parametrize('name', ['u.data', 'u.item', 'u.user', 'u.genre'])
def test_a_damaged_folder_is_not_read(world, tmp_path, name, damage, words):
    for f in world.iterdir(): (tmp_path/f.name).write_bytes(f.read_bytes())
    damage(tmp_path/name)
    with pytest.raises(DataError, match=words) as e: read_movielens(tmp_path)
    assert name in str(e.value)


def test_a_damaged_split_is_not_read(world, tmp_path):
    for f in world.iterdir(): (tmp_path/f.name).write_bytes(f.read_bytes())
    (tmp_path/'u1.test').write_text('1\t1\t1\t1\n')
    data = read_movielens(tmp_path)
    data.split('u2')
    with pytest.raises(DataError, match='u1.test'): data.split('u1')


def test_ratings_of_unknown_films_are_refused(world):
    data = read_movielens(world)
    with pytest.raises(DataError, match='9999'): ml._add_titles(data.ratings.head(3).drop(columns='title').assign(movie=9999), data.movies)


# --- the world

def test_a_world_is_the_same_every_time(world, tmp_path):
    again = write_world(tmp_path/'again')
    assert {f.name: f.read_bytes() for f in world.iterdir()} == {f.name: f.read_bytes() for f in again.iterdir()}
    assert write_world(tmp_path/'other', seed=1).joinpath('u.data').read_bytes() != (world/'u.data').read_bytes()


def test_two_at_once_make_one_whole_world(tmp_path):
    errors = []
    def make():
        try:
            with new_folder(tmp_path/'world') as tmp: write_world(tmp)
            read_movielens(tmp_path/'world')
        except Exception as e: errors.append(e)
    threads = [threading.Thread(target=make) for _ in range(3)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert not errors and leftovers(tmp_path) == ['world']


def test_a_world_has_the_files_and_formats_of_the_original(world):
    assert set(ml.ml100k_files) <= {f.name for f in world.iterdir()}
    assert {len(l.split('|')) for l in (world/'u.item').read_text(encoding='latin-1').splitlines()} == {24}
    assert {len(l.split('\t')) for l in (world/'u.data').read_text().splitlines()} == {4}
    assert any(ord(c) > 127 for c in (world/'u.item').read_text(encoding='latin-1'))


# --- the command line

def command(**env):
    return subprocess.run([sys.executable, '-m', 'collab_course.movielens'], capture_output=True, text=True, timeout=120, env=os.environ | env)

def test_the_command_says_which_data(world):
    res = command(COLLAB_COURSE_DATA=str(world))
    assert res.returncode == 0 and res.stdout == 'Generated world (not MovieLens): 100,000 ratings of 1,682 films by 943 people\n'

def test_the_command_fails_in_one_sentence():
    res = command(COLLAB_COURSE_DATA='no/such/folder')
    assert res.returncode == 1 and res.stderr.strip().count('\n') == 0 and 'no/such/folder' in res.stderr
