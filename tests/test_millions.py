"Millions of ratings: the same on every machine, killed and resumed without loss, read the same by every library"
import errno
import hashlib
import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from collab_course.download import DataError
from collab_course.further import millions as m
from collab_course.further.memory import run_apart, side_by_side

MD5 = {5000: '1458634bf9842ab7a8de8020adde5ced', 200_000: '67583bf89e0aee75c231a3c360f0f28e'}
HOWS = [how for how in m.READERS if m.importlib.util.find_spec(how)]


def md5(file):
    return hashlib.md5(Path(file).read_bytes()).hexdigest()


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    "A folder with 200,000 synthetic ratings"
    return m.generate(tmp_path_factory.mktemp('made')/'ratings', 200_000)


# The generator

def test_the_files_are_the_same_on_every_machine(made):
    assert md5(made/'ratings.csv') == MD5[200_000]
    assert sorted(f.name for f in made.iterdir() if f.name != '.lock') == ['generated.json', 'movies.csv', 'ratings.csv']


def test_the_files_are_the_same_on_every_processor(tmp_path):
    "numpy without its fast paths gives the same bytes"
    code = f'from collab_course.further.millions import generate; generate({str(tmp_path/"r")!r}, 5000)'
    fast = [f for f in 'AVX2 FMA3 AVX512F AVX512_SKX AVX512_ICL AVX512_SPR X86_V3 X86_V4'.split() if has(f)]
    subprocess.run([sys.executable, '-c', code], check=True, env=os.environ | {'NPY_DISABLE_CPU_FEATURES': ' '.join(fast)})
    assert md5(tmp_path/'r'/'ratings.csv') == MD5[5000]


def has(feature):
    from numpy._core._multiarray_umath import __cpu_baseline__, __cpu_features__
    return __cpu_features__.get(feature) and feature not in __cpu_baseline__


def test_another_seed_gives_other_ratings(tmp_path):
    assert md5(m.generate(tmp_path/'r', 5000, seed=1)/'ratings.csv') != MD5[5000]


def test_the_size_of_pieces_changes_nothing(tmp_path, monkeypatch):
    cut = m.pieces
    monkeypatch.setattr(m, 'pieces', lambda counts: cut(counts, 700))
    assert md5(m.generate(tmp_path/'r', 5000)/'ratings.csv') == MD5[5000]


@pytest.mark.parametrize('seed', range(2))
def test_killed_at_any_moment_nothing_is_lost(tmp_path, seed):
    "A real process is killed until the file is there"
    rng, folder = np.random.default_rng(seed), tmp_path/'r'
    code = ('from collab_course.further import millions as m; cut = m.pieces; '
            f'm.pieces = lambda counts: cut(counts, 4000); print("go", flush=True); m.generate({str(folder)!r}, 200_000)')
    kills = 0
    while not (folder/'ratings.csv').exists():
        assert kills < 60, 'it never ends'
        process = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE)
        process.stdout.readline()
        try:
            process.wait(rng.uniform(.05, .4 + .02*kills))
            assert process.returncode == 0
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL) if hasattr(signal, 'SIGKILL') else process.kill()
            process.wait()
            kills += 1
        process.stdout.close()
    assert md5(m.generate(folder, 200_000)/'ratings.csv') == MD5[200_000]
    assert not list(folder.glob('*.part*'))


class PowerCut(BaseException):
    pass


class Machine:
    "Stands in for `open`, `os.fsync` and `os.replace`: the power fails before a step, and what wasn't synced is lost"
    def __init__(self, steps):
        self.left, self.files = steps, {}

    def step(self):
        if self.left <= 0:
            self.left = -1
            raise PowerCut
        self.left -= 1

    def open(self, *args, **options):
        found = open(*args, **options)
        if not found.writable():
            return found
        self.files[found.fileno()] = file = Unsynced(self, found)
        return file

    def fsync(self, number):
        self.step()
        self.files[number].sync()

    def replace(self, old, new):
        self.step()
        REPLACE(old, new)


REPLACE = os.replace


class Unsynced:
    "A file that keeps what was written until it is synced, or closed while there is power"
    def __init__(self, machine, file):
        self.machine, self.file, self.waiting = machine, file, []

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.machine.left >= 0:
            self.sync()
        self.file.close()

    def write(self, data):
        self.machine.step()
        self.waiting.append(data)
        return len(data)

    def tell(self):
        return self.file.tell() + sum(map(len, self.waiting))

    def sync(self):
        for data in self.waiting:
            self.file.write(data)
        self.file.flush()
        self.waiting = []


def each_power_cut(monkeypatch, work):
    "Call `work(number)` with a power cut before the first step, the second, ..., until it gets through without one"
    for steps in range(200):
        with monkeypatch.context() as patched:
            machine = Machine(steps)
            patched.setattr(m, 'open', machine.open, raising=False)
            patched.setattr(os, 'fsync', machine.fsync)
            patched.setattr(os, 'replace', machine.replace)
            try:
                work(steps)
                return
            except PowerCut:
                pass
        yield steps
    raise AssertionError('it never ends')


def test_without_power_before_any_step_nothing_is_lost(tmp_path, monkeypatch):
    "In each folder, the power fails once, before another step; no more than one piece is drawn again"
    cut, choose, drawn, n = m.pieces, m.Chooser.choose, [], 0
    monkeypatch.setattr(m, 'pieces', lambda counts: cut(counts, 1500))
    monkeypatch.setattr(m.Chooser, 'choose', lambda self, *part: drawn.append(part) or choose(self, *part))
    for n in each_power_cut(monkeypatch, lambda n: m.generate(tmp_path/str(n), 5000)):
        folder = m.generate(tmp_path/str(n), 5000)
        assert md5(folder/'ratings.csv') == MD5[5000], f'cut before step {n}'
        assert sorted(f.name for f in folder.iterdir() if f.name != '.lock') == ['generated.json', 'movies.csv', 'ratings.csv']
        assert len(drawn) <= len(set(drawn)) + 1 == 5, f'cut before step {n}'
        drawn.clear()
    assert n > 20


def test_a_broken_journal_means_starting_again(tmp_path):
    (tmp_path/'ratings.csv.part').write_text('nonsense'*50_000)
    for text in ('{', '[]', '{"n_ratings": 5000, "seed": 7, "recipe": 1, "pieces": 1, "bytes": 5}'):
        (tmp_path/'ratings.csv.part.json').write_text(text)
        folder = m.generate(tmp_path, 5000)
        assert md5(folder/'ratings.csv') == MD5[5000]
        (folder/'ratings.csv').rename(folder/'ratings.csv.part')


def test_a_folder_with_other_ratings_is_left_alone(tmp_path):
    m.generate(tmp_path, 5000)
    with pytest.raises(DataError, match='other ratings'):
        m.generate(tmp_path, 5000, seed=3)
    assert md5(tmp_path/'ratings.csv') == MD5[5000]


def test_two_processes_never_write_the_same_file(tmp_path):
    with m.alone_in(tmp_path), pytest.raises(DataError, match='Another process'):
        m.generate(tmp_path, 5000)


@pytest.mark.parametrize('n', [0, 4999, 2.5e7, '5000', None, 10**12])
def test_the_number_of_ratings_is_checked(tmp_path, n):
    with pytest.raises(ValueError, match='n_ratings'):
        m.generate(tmp_path, n)


def test_shape_and_truth(made):
    r, truth = m.read_coded(made), m.Truth(200_000, 0)
    assert (len(r), r.n_users, r.n_items) == (200_000, truth.n_users, truth.n_items) == (200_000, 1300, 9657)
    np.testing.assert_array_equal(r.item_ids, truth.item_ids)
    by_user, by_item = np.bincount(r.users), np.bincount(r.items)
    assert by_user.min() >= 20 and by_item.min() == 1 and by_item.max() > .6*r.n_users
    assert len(np.unique(r.users.astype(np.int64)*r.n_items + r.items)) == len(r)
    best, sd = m.best_prediction(truth, r.users, r.items)
    error = (r.stars - best)**2
    expected = (sd**2).mean()
    assert abs(error.mean() - expected) < 4*error.std()/len(r)**.5
    assert m.noise_floor(truth, r.users, r.items) == pytest.approx(expected**.5)


def test_the_full_size_is_that_of_the_real_data():
    assert m.sizes(25_000_000) == (162_541, 59_047)
    counts = m.ratings_by_user(25_000_000, 162_541, 59_047)
    assert counts.sum() == 25_000_000 and counts.min() == 20 and counts.max() == 29_544


# The reader

@pytest.mark.parametrize('how', HOWS)
def test_all_libraries_read_the_same(made, how):
    found, expected = m.read_coded(made, how), np.loadtxt(made/'ratings.csv', delimiter=',', skiprows=1)
    np.testing.assert_array_equal(found.user_ids[found.users], expected[:,0])
    np.testing.assert_array_equal(found.item_ids[found.items], expected[:,1])
    np.testing.assert_array_equal(found.stars, expected[:,2])
    assert found.users.dtype == found.items.dtype == np.int32 and found.halves.dtype == np.uint8


@pytest.mark.parametrize('how', HOWS)
@pytest.mark.parametrize('ends', ['\n', '\r\n'])
def test_the_old_format_and_any_order(tmp_path, how, ends):
    rows = ['7::1::5::978300760', '3::1193::4::978300761', '7::1193::1::978300762']
    (tmp_path/'ratings.dat').write_bytes(ends.join(rows + ['']).encode())
    (tmp_path/'movies.dat').write_bytes('1::Café (1995)::Drama\n1193::Café (1995)::War\n'.encode('latin-1'))
    found = m.read_coded(tmp_path, how)
    assert found.users.tolist() == [0, 1, 1] and found.items.tolist() == [1, 0, 1]
    assert found.halves.tolist() == [8, 10, 2] and found.user_ids.tolist() == [3, 7]
    assert m.read_titles(tmp_path, found.item_ids).tolist() == ['Café (1995) [1]', 'Café (1995) [1193]']


GOOD = 'userId,movieId,rating,timestamp\n1,2,3.5,978300760\n'


@pytest.mark.parametrize('how', HOWS)
@pytest.mark.parametrize('bad', ['1,3,', '1,3', '1,3,4.7,978300760\n', '1,3,0.0,978300760\n', '1,3,5.5,978300760\n',
                                 '1,x,4.0,978300760\n', '1,,4.0,978300760\n', '-1,3,4.0,978300760\n', '1,3,nan,978300760\n'])
def test_a_bad_line_is_named(tmp_path, how, bad):
    (tmp_path/'ratings.csv').write_text(GOOD + bad)
    with pytest.raises(DataError, match='ratings.csv, line 3: '):
        m.read_coded(tmp_path, how)


WHOLE = '7,9,4.0,978300761\n'


@pytest.mark.parametrize('how', HOWS)
@pytest.mark.parametrize('bad', ['1,3,4', '1,3,4.5', '1,3,4,', '', ' ', '1,3,4.5,99,5', '1,3,4.5,x', '1,3,4.5,"99', '"1",3,4.5,99'])
@pytest.mark.parametrize('place', ['first', 'middle', 'last', 'cut off'])
def test_all_libraries_refuse_the_same(tmp_path, how, bad, place):
    rows = {'first': [bad, WHOLE], 'middle': [WHOLE, bad, WHOLE], 'last': [WHOLE, bad], 'cut off': [WHOLE, bad]}[place]
    end = '' if place == 'cut off' else '\n'
    (tmp_path/'ratings.csv').write_text(GOOD + '\n'.join(row.strip('\n') for row in rows) + end)
    if place == 'cut off' and not bad: # nothing is missing
        assert len(m.read_coded(tmp_path, how)) == 2
        return
    number = 3 if place == 'first' else 4
    with pytest.raises(DataError, match=f'ratings.csv, line {number}: .* is not user, item, rating .0.5 to 5. and time. Get'):
        m.read_coded(tmp_path, how)


@pytest.mark.parametrize('how', HOWS)
@pytest.mark.parametrize('bad', ['+1,3,4.5,99', '1.0,3,4.5,99', '1,3,4.5 ,99', '0x1,3,4.5,99', ' 1,3,4.5,99'])
def test_other_ways_to_write_numbers_are_refused_at_the_ends(tmp_path, how, bad):
    "Libraries disagree about these; if a program writes them, then in the first line too"
    header, row = GOOD.splitlines()
    for i, lines in enumerate(([header, bad, row], [header, row, bad])):
        (tmp_path/'ratings.csv').write_text('\n'.join(lines))
        with pytest.raises(DataError, match=f'ratings.csv, line {i + 2}: '):
            m.read_coded(tmp_path, how)


@pytest.mark.parametrize('how', HOWS)
@pytest.mark.parametrize('bad', [WHOLE, 'movieId,userId,rating,timestamp\n', 'userId;movieId;rating;timestamp\n', '\n'])
def test_the_header_is_checked(tmp_path, how, bad):
    (tmp_path/'ratings.csv').write_text(bad + WHOLE)
    with pytest.raises(DataError, match='ratings.csv, line 1: .* is not the header userId,movieId,rating,timestamp. Get'):
        m.read_coded(tmp_path, how)


@pytest.mark.parametrize('how', HOWS)
@pytest.mark.parametrize('start', ['', '\ufeff'])
@pytest.mark.parametrize('end', ['\n', '\r\n'])
@pytest.mark.parametrize('last', [True, False])
def test_what_editors_add_is_accepted(tmp_path, how, start, end, last):
    "A byte order mark, other line ends, no end of the last line"
    rows = (GOOD + WHOLE).splitlines()
    (tmp_path/'ratings.csv').write_bytes((start + end.join(rows) + end*last).encode())
    (tmp_path/'movies.csv').write_bytes((start + end.join(['movieId,title,genres', '2,"Ä, The",', '9,B,']) + end*last).encode())
    found = m.read_coded(tmp_path, how)
    assert found.user_ids.tolist() == [1, 7] and found.halves.tolist() == [7, 8]
    assert m.read_titles(tmp_path, found.item_ids).tolist() == ['Ä, The', 'B']


@pytest.mark.parametrize('name, content', [
    ('movies.csv', b'title,genres\nAlien,\n'), ('movies.csv', b'movieId,title\nx,Alien\n'), ('movies.csv', b'movieId,title\n2\n'),
    ('movies.csv', b'movieId,title\n2,Caf\xe9\n'), ('movies.dat', b'2\n'), ('movies.dat', b'x::Alien::Horror\n')])
def test_a_bad_file_of_titles_is_named(tmp_path, name, content):
    (tmp_path/name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name} can't be used: each line must have a movie's id and title"):
        m.read_titles(tmp_path, [2])


def test_missing_titles_are_said(tmp_path):
    with pytest.raises(DataError, match="movies.csv can't be read .No such file"):
        m.read_titles(tmp_path, [2])


@pytest.mark.parametrize('how', HOWS)
def test_no_ratings_is_said(tmp_path, how):
    with pytest.raises(DataError, match='neither'):
        m.read_coded(tmp_path, how)
    (tmp_path/'ratings.csv').write_text(GOOD.splitlines()[0] + '\n')
    with pytest.raises(DataError, match='ratings.csv'):
        m.read_coded(tmp_path, how)


def test_a_file_that_was_cut_off_is_noticed(tmp_path):
    m.generate(tmp_path, 5000)
    with open(tmp_path/'ratings.csv', 'r+b') as f:
        f.truncate(1000)
    with pytest.raises(DataError, match='1,000 bytes'):
        m.read_coded(tmp_path)


def test_an_unknown_library_is_refused(made):
    with pytest.raises(ValueError, match='how must be one of'):
        m.read_coded(made, 'excel')


def test_codes():
    for scale in (1, 10**8):
        ids = np.random.default_rng(0).integers(0, 99, 3000)*scale
        codes, known = m.integer_codes(ids)
        np.testing.assert_array_equal(known[codes], ids)
        np.testing.assert_array_equal(known, np.unique(ids))
    for bad in ([], [-1], ['a'], [1.5]):
        with pytest.raises(ValueError, match='whole numbers'):
            m.integer_codes(np.array(bad))


def test_the_split_depends_on_nothing_but_the_ids(made):
    ratings = m.read_coded(made)
    train, valid = m.train_valid(ratings)
    assert len(train) + len(valid) == len(ratings) and abs(len(valid)/len(ratings) - .1) < .004
    half = ratings.where(np.arange(len(ratings)) % 2 == 0)
    some = m.train_valid(half)[1]
    both = lambda r: set(zip(r.user_ids[r.users].tolist(), r.item_ids[r.items].tolist()))
    assert both(some) == both(valid) & both(half)
    assert both(m.train_valid(ratings, seed=1)[1]) != both(valid)
    assert [len(r) for r in m.train_valid(ratings)] == [180_038, 19_962]
    with pytest.raises(ValueError, match='share'):
        m.train_valid(ratings, 1.5)


@pytest.mark.parametrize('ids', [['a', 'b'], [1.5, 2.5], [-1, 2], [2, 2**32]])
@pytest.mark.parametrize('which', ['user_ids', 'item_ids'])
def test_the_split_needs_whole_numbers_as_ids(ids, which):
    codes, halves = np.arange(2, dtype=np.int32), np.full(2, 8, np.uint8)
    both = {'user_ids': np.array([1, 2]), 'item_ids': np.array([3, 4])}
    assert sum(map(len, m.train_valid(m.CodedRatings(codes, codes, halves, **both)))) == 2
    with pytest.raises(ValueError, match='whole numbers from 0 to 4,294,967,295'):
        m.train_valid(m.CodedRatings(codes, codes, halves, **both | {which: np.array(ids)}))


# The download

class Server(BaseHTTPRequestHandler):
    "A server with faults"
    def do_GET(self):
        s = self.server
        if self.path.endswith('.md5'):
            return self.send(200 if s.md5 else 404, s.md5)
        begin = int((self.headers['Range'] or 'bytes=0-')[6:-1])
        s.asked.append(begin)
        if s.ignores_range or self.headers['If-Range'] not in (None, s.version):
            begin = 0
        if begin >= len(s.content):
            return self.send(416, b'')
        most = next(s.most) if hasattr(s.most, '__next__') else s.most
        self.send(206 if begin else 200, s.content[begin:][:most], begin)

    def send(self, status, content, begin=0):
        s = self.server
        self.send_response(status)
        if s.version:
            self.send_header('ETag', s.version)
        if status == 206:
            self.send_header('Content-Range', f'bytes {begin + s.shift}-{len(s.content) - 1}/{len(s.content)}')
        whole = len(s.content) - begin if status in (200, 206) and not self.path.endswith('.md5') else len(content)
        self.send_header('Content-Length', str(whole))
        self.end_headers()
        for i in range(0, len(content), 10_000):
            if s.pause:
                time.sleep(s.pause)
            try:
                self.wfile.write(content[i:i + 10_000])
            except OSError: # the client was killed
                break
        self.close_connection = True

    def log_message(self, *args):
        pass


def zipped(stars=5, n=12_000):
    "A zip file like that of MovieLens-1M"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, 'w') as z:
        z.writestr('ml-1m/ratings.dat', f'1::10::{stars}::978300760\n2::10::4::978300761\n'*(n//2))
        z.writestr('ml-1m/movies.dat', '10::Alien (1979)::Horror\n')
        z.writestr('ml-1m/genome-scores.csv', 'large')
    return archive.getvalue()


@pytest.fixture
def server(monkeypatch):
    "A server without faults, until the test sets some; no proxy can reach it"
    monkeypatch.setenv('http_proxy', 'http://127.0.0.1:9')
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    s = ThreadingHTTPServer(('127.0.0.1', 0), Server)
    s.content, s.version, s.asked = zipped(), '"1"', []
    s.md5 = b'MD5 (ml-1m.zip) = ' + hashlib.md5(s.content).hexdigest().encode()
    s.ignores_range, s.most, s.pause, s.shift = False, 10**9, 0, 0
    s.url = f'http://127.0.0.1:{s.server_port}'
    threading.Thread(target=s.serve_forever, args=(.01,), daemon=True).start()
    yield s
    s.shutdown()
    s.server_close()


def get(server, folder):
    return m.download('ml-1m', folder, server.url, wait=0)


def check(folder, cache, stars=5):
    "The download is complete, and nothing else is left"
    assert folder == cache/'ml-1m' and [f.name for f in cache.iterdir()] == ['ml-1m']
    assert sorted(f.name for f in folder.iterdir()) == ['movies.dat', 'ratings.dat']
    found = m.read_coded(folder)
    assert len(found) == 12_000 and found.halves[0] == 2*stars and found.name == 'MovieLens-1M'


def test_a_download(server, tmp_path):
    check(get(server, tmp_path), tmp_path)
    assert server.asked == [0]


def test_a_line_that_breaks_off(server, tmp_path):
    server.most = 50_000
    check(get(server, tmp_path), tmp_path)
    assert server.asked == list(range(0, len(server.content), 50_000))


def test_a_server_that_ignores_range(server, tmp_path):
    server.most, server.ignores_range = 50_000, True
    with pytest.raises(DataError, match='broke off'):
        get(server, tmp_path)
    server.most = 10**9
    check(get(server, tmp_path), tmp_path)


def test_a_file_that_changes_on_the_server(server, tmp_path):
    server.most = 0
    with pytest.raises(DataError):
        get(server, tmp_path)
    part = tmp_path/'ml-1m.part'/'ml-1m.zip'
    part.write_bytes(server.content[:70_000])
    server.content, server.version, server.most = zipped(stars=2), '"2"', 10**9
    server.md5 = hashlib.md5(server.content).hexdigest().encode()
    check(get(server, tmp_path), tmp_path, stars=2)


@pytest.mark.parametrize('version', ['"1"', ''])
def test_a_run_goes_on_where_another_has_stopped(server, tmp_path, version):
    server.version, server.most = version, 0
    with pytest.raises(DataError):
        get(server, tmp_path)
    (tmp_path/'ml-1m.part'/'ml-1m.zip').write_bytes(server.content[:70_000])
    server.most, server.asked = 10**9, []
    check(get(server, tmp_path), tmp_path)
    assert server.asked == ([70_000] if version else [0])


@pytest.mark.parametrize('md5', [b'0'*32, b''])
def test_wrong_content_is_not_accepted(server, tmp_path, md5):
    server.content, server.md5 = b'<html>Sign in to the hotel network</html>', md5
    with pytest.raises(DataError, match='checksum'):
        get(server, tmp_path)
    assert not (tmp_path/'ml-1m').exists() and not (tmp_path/'ml-1m.part'/'ml-1m.zip').exists()
    server.content = zipped()
    server.md5 = hashlib.md5(server.content).hexdigest().encode()
    check(get(server, tmp_path), tmp_path)


def test_a_zip_file_that_is_not_one(server, tmp_path):
    server.content = b'PK' + bytes(1000)
    server.md5 = hashlib.md5(server.content).hexdigest().encode()
    with pytest.raises(DataError, match='zip file'):
        get(server, tmp_path)


def test_another_part_than_asked_for(server, tmp_path):
    server.most, server.shift = 50_000, 10
    with pytest.raises(DataError, match='another part'):
        get(server, tmp_path)


def test_no_server(tmp_path):
    with pytest.raises(DataError, match='could not be downloaded from 127.0.0.1'):
        m.download('ml-1m', tmp_path, 'http://127.0.0.1:9', wait=0)


@pytest.mark.parametrize('seed', [0])
def test_a_download_killed_at_any_moment(server, tmp_path, seed):
    rng, kills = np.random.default_rng(seed), 0
    server.pause = .01
    code = ('from pathlib import Path; from collab_course.further.millions import download; print("go", flush=True); '
            f'download("ml-1m", Path({str(tmp_path)!r}), {server.url!r}, wait=0)')
    while not (tmp_path/'ml-1m').exists():
        assert kills < 60, 'it never ends'
        process = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE)
        process.stdout.readline()
        try:
            process.wait(rng.uniform(.05, .3 + .02*kills))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
        process.stdout.close()
    check(get(server, tmp_path), tmp_path)


def test_a_download_without_power_before_any_step(server, tmp_path, monkeypatch):
    "In each folder, the power fails once, before another step"
    n = 0
    for n in each_power_cut(monkeypatch, lambda n: get(server, tmp_path/str(n))):
        check(get(server, tmp_path/str(n)), tmp_path/str(n))
    assert n > 6


def test_a_kept_file_is_one_of_this_zip_file(server, tmp_path):
    "The first file was unpacked before the process was killed; then the zip file changed, but no file's size"
    work = tmp_path/'ml-1m.part'
    server.most = 0
    with pytest.raises(DataError):
        get(server, tmp_path)
    (work/'ml-1m').mkdir()
    (work/'ml-1m'/'ratings.dat').write_bytes(b'1::10::5::978300760\n2::10::4::978300761\n'*6000)
    server.content, server.version, server.most = zipped(stars=2), '"2"', 10**9
    server.md5 = hashlib.md5(server.content).hexdigest().encode()
    check(get(server, tmp_path), tmp_path, stars=2)


def test_a_file_that_is_right_is_not_unpacked_again(tmp_path):
    archive, folder = tmp_path/'ml-1m.zip', tmp_path/'ml-1m'
    archive.write_bytes(zipped())
    folder.mkdir()
    m.unpack(archive, folder)
    os.utime(folder/'ratings.dat', (1, 1))
    (folder/'movies.dat').write_text('cut')
    m.unpack(archive, folder)
    assert (folder/'ratings.dat').stat().st_mtime == 1
    assert (folder/'movies.dat').read_text() == '10::Alien (1979)::Horror\n'


def test_a_server_that_breaks_off_now_here_now_there(server, tmp_path):
    "Without ranges, reaching 60% again and again is no progress"
    server.ignores_range, size = True, len(server.content)
    server.most = itertools.chain([size*4//10, size*6//10]*10, itertools.repeat(size))
    with pytest.raises(DataError, match='broke off'):
        get(server, tmp_path)
    assert len(server.asked) == 7


def small_disk(room):
    "Stands in for `open`: after `room` bytes there is no space left"
    written = 0

    def opened(*args, **options):
        file = open(*args, **options)
        if file.writable():
            write = file.write

            def write_if_room(data):
                nonlocal written
                written += len(data)
                if written > room:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return write(data)
            file.write = write_if_room
        return file
    return opened


@pytest.mark.parametrize('where, room', [('the journal', 0), ('the zip file', 1000), ('the folder', 300_000)])
def test_a_full_disk_is_said_at_once(server, tmp_path, monkeypatch, where, room):
    assert 200_000 < len(server.content) < 290_000
    with monkeypatch.context() as patched:
        patched.setattr(m, 'open', small_disk(room), raising=False)
        patched.setattr(time, 'sleep', lambda seconds: pytest.fail('there is no use in waiting'))
        with pytest.raises(DataError, match="ml-1m.part can't be written to .No space left") as caught:
            get(server, tmp_path)
    assert '127.0.0.1' not in str(caught.value) and server.asked == [0]
    check(get(server, tmp_path), tmp_path)


def test_a_connection_that_fails_while_it_is_used(server, tmp_path, monkeypatch):
    "The server says nothing, or stops in the middle: not an error of the disk, and worth another try"
    real, faults = m.open_url, [ConnectionResetError(errno.ECONNRESET, 'reset'), TimeoutError('timed out')]

    class Stops:
        def __init__(self, answer): self.answer = answer
        def __getattr__(self, name): return getattr(self.answer, name)
        def __enter__(self): return self
        def __exit__(self, *error): self.answer.close()
        def read1(self, n):
            if len(faults) == 1:
                raise faults.pop()
            return self.answer.read1(n)

    def opened(url, *args, **options):
        if not url.endswith('.md5') and len(faults) == 2:
            raise faults.pop(0)
        return Stops(real(url, *args, **options))
    monkeypatch.setattr(m, 'open_url', opened)
    check(get(server, tmp_path), tmp_path)
    assert not faults


# Where the ratings come from

@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    "An empty cache, and no server"
    monkeypatch.setattr(m, 'data_cache', lambda: tmp_path/'cache')
    monkeypatch.delenv('COLLAB_COURSE_DATA', raising=False)
    monkeypatch.setattr(m.download, '__defaults__', ('http://127.0.0.1:9', 0, False))
    return tmp_path


def test_without_a_network_the_ratings_are_synthetic(nowhere, capsys):
    folder = m.get_millions(100_000)
    assert 'uses synthetic ratings' in capsys.readouterr().out
    assert m.read_coded(folder).name == 'Synthetic ratings (not MovieLens)'
    assert m.get_millions(100_000) == folder and not capsys.readouterr().out
    m.get_millions(100_000, retry=True)
    assert 'could not be downloaded' in capsys.readouterr().out


def test_a_named_folder_and_its_neighbors(nowhere, monkeypatch):
    real = nowhere/'data'/'ml-latest-small'
    real.mkdir(parents=True)
    (real/'ratings.csv').write_text(GOOD)
    for path in (real, nowhere/'data', f' "{real}" '):
        assert m.get_millions(path=path) == real
    with pytest.raises(DataError, match='not a folder with'):
        m.get_millions(path=nowhere)
    for data in (nowhere/'data', nowhere/'data'/'ml-100k'):
        monkeypatch.setenv('COLLAB_COURSE_DATA', str(data))
        assert m.get_millions(100_000) == real


def test_the_command(nowhere):
    answer = subprocess.run([sys.executable, '-m', 'collab_course.further.millions', '--ratings', '5000', '--folder',
                             str(nowhere/'made')], capture_output=True, text=True)
    assert answer.returncode == 0 and '5,000 ratings' in answer.stdout and not answer.stderr
    assert md5(nowhere/'made'/'ratings.csv') == MD5[5000]
    answer = subprocess.run([sys.executable, '-m', 'collab_course.further.millions', '--ratings', '1', '--folder',
                             str(nowhere/'made')], capture_output=True, text=True)
    assert answer.returncode == 1 and 'Traceback' not in answer.stderr and 'n_ratings' in answer.stderr


# Time and memory of a process

def test_a_process_of_its_own():
    found = run_apart('value = len(sys.argv[1])*base', 'base = 2', ['abc'])
    assert found['value'] == 6 and 0 <= found['seconds'] < 60 and .001 < found['GB'] < 1
    with pytest.raises(RuntimeError, match='ZeroDivisionError'):
        run_apart('1/0')


def test_medians_side_by_side():
    table = side_by_side({'b': ('', ''), 'a': ('', "x = b'1'*3*10**7")}, n=1)
    assert table.index.tolist() == ['b', 'a'] and table['GB']['a'] - table['GB']['b'] > .025
    with pytest.raises(ValueError, match='n must be'):
        side_by_side({}, n=0)


def test_a_file_that_can_no_longer_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path/'ratings.csv').write_text('userId,movieId,rating,timestamp\n1,2,x,3\n')
    def gone(file): raise PermissionError(13, 'Permission denied')
    monkeypatch.setattr(m, 'first_bad_line', gone)
    with pytest.raises(DataError, match="ratings.csv can't be read .Permission denied."):
        m.read_coded(tmp_path, 'pandas')


# What chapter 15 says about its stored outputs

@pytest.fixture(scope='module')
def chapter():
    "The text of the cells of chapter 15, and what each has printed"
    file = Path(__file__).parent.parent/'nbs'/'further'/'15_twenty_five_million.ipynb'
    found = {}
    for cell in json.loads(file.read_text(encoding='utf-8'))['cells']:
        printed = [''.join(out['data'].get('text/plain', '')) for out in cell.get('outputs', []) if 'data' in out]
        found[''.join(cell['source'])] = '\n'.join(printed)
    return found


def table_of(chapter, code):
    "The stored table below the cell with this code: row -> numbers"
    printed = next(printed for source, printed in chapter.items() if code in source and printed)
    rows = (re.fullmatch(r'(\S.*?)((?:  +[\d.]+)+) *', line) for line in printed.splitlines())
    return {row[1]: [float(x) for x in row[2].split()] for row in rows if row}


def test_the_chapter_says_what_pyarrow_needs(chapter):
    need = {way: row[1] for way, row in table_of(chapter, 'reading = side_by_side').items()}
    assert 'Pyarrow alone needs about as much, and pandas with pyarrow even more.' in '\n'.join(chapter)
    assert abs(need['pyarrow'] - need['pandas']) < .25 < need['pandas with pyarrow'] - need['pandas']


def test_the_chapter_draws_seconds_and_memory(chapter):
    import matplotlib.pyplot as plt
    import pandas as pd
    rows = table_of(chapter, 'reading = side_by_side')
    reading = pd.DataFrame.from_dict(rows, 'index', columns=['seconds', 'GB', 'bytes'])
    assert len(reading) == 7
    code = next(source for source in chapter if '#| fig-cap: Peak of memory' in source)
    there = {'plt': plt, 'reading': reading, 'ratings': m.CodedRatings(*[np.arange(9)]*5)}
    exec(code.replace('plt.show()', ''), there)
    panels = {ax.get_xlabel(): [bar.get_width() for bar in ax.patches][::-1] for ax in plt.gcf().axes}
    plt.close()
    assert panels == {'peak of memory (GB)': reading['GB'].tolist(), 'seconds': reading['seconds'].tolist()}
    assert all(word in line for line in code.splitlines()[1:3] for word in ('emory', 'econds'))
