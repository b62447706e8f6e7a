"Getting the data when the network, the disk or the files cause trouble"
import ast, errno, io, os, re, shutil, socket, ssl, subprocess, sys, threading, zipfile
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import URLError

import certifi, pytest
from collab_course import download, movielens as ml
from collab_course.download import DataError, check_files, download_ml100k, new_folder
from collab_course.checks import check_ratings
from collab_course.movielens import get_movielens, read_movielens, read_ratings
from collab_course.world import write_world

FILES = {'u.data': b'1\t1\t5\t881250949\n', 'u.genre': b'unknown|0\n'}
SUMS = {k: (len(v), md5(v).hexdigest()) for k,v in FILES.items()}


def zipped(files, folder='ml-100k/', compression=zipfile.ZIP_STORED):
    buf = io.BytesIO()
    with zipfile.ZipFile(buf, 'w', compression) as z:
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
            if s.wait: s.done.wait(60)
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
    "An empty fastai cache, and `server` in place of GroupLens's"
    from fastai.data.external import URLs, fastai_cfg
    fastai_cfg.cache_clear()
    proxies = ('http_proxy', 'https_proxy', 'all_proxy')
    for var in (*proxies, *map(str.upper, proxies), 'COLLAB_COURSE_DATA'): monkeypatch.delenv(var, raising=False)
    monkeypatch.setenv('FASTAI_HOME', str(tmp_path/'home'))
    monkeypatch.setattr(URLs, 'ML_100k', server.url)
    yield tmp_path/'home'/'data'
    fastai_cfg.cache_clear()


@pytest.fixture(scope='session')
def world(tmp_path_factory): return write_world(tmp_path_factory.mktemp('worlds')/'world')


def leftovers(folder): return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


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
    (dict(body=zipped(FILES | {'u.data': FILES['u.data'].replace(b'5', b'4', 1)})), 'wrong content'),
    (dict(body=good, wait=True), 'timed out'),
])
def test_a_bad_download_is_one_sentence_and_nothing_on_disk(server, cache, tmp_path, monkeypatch, answer, words):
    server.answer(**answer)
    if 'wait' in answer: monkeypatch.setattr(download, 'urlopen', lambda url, timeout, **kw: ORIGINAL(url, timeout=min(timeout, .5), **kw))
    with pytest.raises(DataError, match=words) as e: download_ml100k(tmp_path/'d', files=SUMS)
    assert server.asked == 1 and leftovers(tmp_path/'d') == [] and '\n' not in str(e.value)
ORIGINAL = download.urlopen


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
    server.answer(good)
    with pytest.raises(DataError, match="can't be written"): download_ml100k(tmp_path/'file', files=SUMS)


def test_a_cache_that_cannot_be_written(cache, tmp_path, monkeypatch):
    (tmp_path/'file').write_text('')
    monkeypatch.setenv('FASTAI_HOME', str(tmp_path/'file'/'home'))
    with pytest.raises(DataError, match='FASTAI_HOME'): get_movielens()


def test_a_full_disk_is_one_sentence_and_nothing_on_disk(server, cache, tmp_path, monkeypatch):
    def full(*args): raise OSError(errno.ENOSPC, 'No space left on device')
    server.answer(good)
    monkeypatch.setattr(Path, 'write_bytes', full)
    with pytest.raises(DataError, match='No space left.*FASTAI_HOME'): download_ml100k(tmp_path/'d', files=SUMS)
    assert leftovers(tmp_path/'d') == []


def test_a_folder_that_another_process_made_first_is_kept(tmp_path):
    dest = tmp_path/'dest'
    with new_folder(dest) as tmp:
        (tmp/'ours').write_text('')
        dest.mkdir()
        (dest/'theirs').write_text('')
    assert leftovers(tmp_path) == ['dest'] and leftovers(dest) == ['theirs']


# --- certificates

CONFIG = """[req]
distinguished_name = name
prompt = no
[name]
CN = {host}
[ca]
default_ca = here
[here]
database = index
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
[any]
commonName = supplied
[more]
subjectAltName = IP:{host}
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyCertSign
"""

def certificate(folder, host='127.0.0.1', until='20991231235959Z'):
    "Paths of a self-signed certificate for `host` and of its key"
    if not shutil.which('openssl'): pytest.skip('no openssl to make a certificate with')
    folder.mkdir()
    (folder/'config').write_text(CONFIG.format(host=host))
    def openssl(*args): subprocess.run(['openssl', *args], cwd=folder, check=True, capture_output=True)
    openssl('req', '-newkey', 'rsa:2048', '-nodes', '-keyout', 'key', '-out', 'request', '-config', 'config')
    (folder/'index').touch()
    openssl('ca', '-selfsign', '-batch', '-notext', '-config', 'config', '-extensions', 'more', '-in', 'request',
            '-keyfile', 'key', '-out', 'cert', '-startdate', '20200101000000Z', '-enddate', until) # `x509 -days` refuses the past
    return folder/'cert', folder/'key'


@pytest.fixture
def over_tls(server, cache, tmp_path, monkeypatch):
    "A function that makes a certificate from its arguments, gives it to `server` and returns its file"
    def tls(**how):
        cert, key = certificate(tmp_path/'certificate', **how)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.url = server.url.replace('http:', 'https:')
        server.answer(good)
        return cert
    return tls


def test_certificates_that_only_certifi_knows_are_enough(over_tls, server, tmp_path, monkeypatch):
    cert = over_tls()
    with pytest.raises(DataError, match='self.signed certificate'): download_ml100k(tmp_path/'d', server.url, SUMS)
    assert server.asked == 0
    monkeypatch.setattr(certifi, 'where', lambda: str(cert))
    assert check_files(download_ml100k(tmp_path/'d', server.url, SUMS), SUMS) and server.asked == 1


def test_certificates_that_only_the_system_knows_are_enough(over_tls, server, tmp_path, monkeypatch):
    monkeypatch.setenv('SSL_CERT_FILE', str(over_tls()))
    assert check_files(download_ml100k(tmp_path/'d', server.url, SUMS), SUMS) and server.asked == 1


@pytest.mark.parametrize('how,words', [(dict(until='20200102000000Z'), 'certificate has expired'), (dict(host='127.0.0.2'), 'mismatch')])
def test_a_certificate_that_is_wrong_is_refused_in_one_sentence(over_tls, server, tmp_path, monkeypatch, how, words):
    cert = str(over_tls(**how))
    monkeypatch.setenv('SSL_CERT_FILE', cert)
    monkeypatch.setattr(certifi, 'where', lambda: cert)
    monkeypatch.setattr(ssl, '_create_default_https_context', ssl._create_unverified_context)  # as people do in despair
    with pytest.raises(DataError, match=words) as e: download_ml100k(tmp_path/'d', server.url, SUMS)
    assert server.asked == 0 and says_what_to_do(e.value, server.url)


# --- what the messages say

def says_what_to_do(e, url):
    "Whether a message is one line and names everything that works without make"
    text = str(e)
    return '\n' not in text and all(o in text for o in ('get_movielens(retry=True)', url, 'get_movielens(path)', 'COLLAB_COURSE_DATA'))


@pytest.mark.parametrize('error,words', [
    (URLError(socket.gaierror(-3, 'Temporary failure in name resolution')), 'no network, it seems: Temporary failure'),
    (URLError(ConnectionRefusedError(111, 'Connection refused')), r'\(Connection refused\)'),
    (URLError(ssl.SSLCertVerificationError(1, 'certificate verify failed')), r'\(certificate verify failed\)'),
    (TimeoutError(), r'\(TimeoutError\)'),
])
def test_a_failed_download_says_why_and_what_to_do(cache, tmp_path, monkeypatch, error, words):
    def fail(*args, **kw): raise error
    monkeypatch.setattr(download, 'urlopen', fail)
    url = 'https://example.org/ml-100k.zip'
    with pytest.raises(DataError, match=words) as e: download_ml100k(tmp_path/'d', url)
    assert 'from example.org (' in str(e.value) and says_what_to_do(e.value, url)


def test_no_message_needs_make():
    "Windows, Colab and Kaggle have none"
    for file in Path(ml.__file__).parent.rglob('*.py'):
        texts = [o.value for o in ast.walk(ast.parse(file.read_text(encoding='utf-8'))) if isinstance(o, ast.Constant) and isinstance(o.value, str)]
        assert not re.search(r'\bmake (data|study|env|test|answered)\b', '\n'.join(texts)), file.name


def test_the_package_with_the_certificates_always_comes_along():
    from importlib.metadata import requires
    def needs(package): return {re.match(r'[\w.-]+', o)[0] for o in requires(package) if 'extra ==' not in o}
    assert 'requests' in needs('fastai') and 'certifi' in needs('requests')


# --- the four places

def test_without_a_download_a_generated_world_stands_in(server, cache, capsys):
    server.answer(status=500)
    data = get_movielens()
    said = capsys.readouterr().out.strip()
    assert data.truth and 'Generated world' in repr(data) and 'could not be downloaded' in said and says_what_to_do(said, server.url)
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


def real():
    "The folder with the real ratings, or None"
    found = download.named_folder()
    return found if found and not (found/'checksums.txt').exists() else None

@pytest.mark.skipif(not real(), reason='no copy of MovieLens-100k in COLLAB_COURSE_DATA')
def test_real_data_arrives_and_replaces_the_world(monkeypatch, server, request, capsys):
    body = zipped({name: (real()/name).read_bytes() for name in download.ml100k_files}, compression=zipfile.ZIP_DEFLATED)
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
    shutil.rmtree(data.path)
    (cache/'ml-100k.zip').write_bytes(body)
    assert get_movielens(cache/'ml-100k.zip').truth is None and get_movielens().path == cache/'ml-100k' and server.asked == 2


# --- a zip file

@pytest.fixture(scope='session')
def world_in_a_zip(world):
    "A zip file like MovieLens 100K's, with the files of a generated world and some extra ones"
    files = {name: (world/name).read_bytes() for name in download.ml100k_files}
    return zipped(files | {'../../evil': b'x', 'mku.sh': b'x'}, compression=zipfile.ZIP_DEFLATED)


@pytest.fixture
def archive(world, world_in_a_zip, cache, tmp_path, monkeypatch):
    "That zip file on disk, with its checksums accepted as the originals', and an empty cache"
    sums = download.parse_checksums((world/'checksums.txt').read_text())
    monkeypatch.setattr(download, 'ml100k_files', {name: sums[name] for name in download.ml100k_files})
    (tmp_path/'got').mkdir()
    (tmp_path/'got'/'ml-100k.zip').write_bytes(world_in_a_zip)
    return tmp_path/'got'/'ml-100k.zip'


def state(folder): return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.iterdir()}


@pytest.mark.parametrize('named', ['zip', 'folder with the zip', 'variable'])
def test_a_zip_is_unpacked_once_and_then_serves_everyone(archive, cache, server, monkeypatch, capsys, named):
    path = {'zip': str(archive), 'folder with the zip': archive.parent, 'variable': None}[named]
    if named == 'variable': monkeypatch.setenv('COLLAB_COURSE_DATA', str(archive))
    data = get_movielens(path)
    assert data.path == cache/'ml-100k' and data.truth is None and len(data.ratings) == 100_000
    assert leftovers(cache) == ['ml-100k'] and set(leftovers(data.path)) == set(download.ml100k_files)
    before = state(data.path)
    get_movielens(path)
    archive.unlink()
    monkeypatch.delenv('COLLAB_COURSE_DATA', raising=False)
    assert get_movielens().path == data.path and state(data.path) == before
    assert server.asked == 0 and capsys.readouterr().out == '' and not list(archive.parent.parent.rglob('evil'))


def flipped(content, at):
    "`content` with another byte `at` a place"
    content = bytearray(content)
    content[at] ^= 255
    return bytes(content)

@pytest.mark.parametrize('damage,words', [
    (lambda z: b'', 'not a zip file'), (lambda z: b'<html>Please log in</html>', 'not a zip file'), (lambda z: z[:len(z)//2], 'not a zip file'),
    (lambda z: zipped({'ratings.dat': b'1::1::5::9'}, 'ml-1m/'), 'ml-100k/README is missing from it'),
    (lambda z: zipped({'README': b''}), 'ml-100k/README in it has 0 bytes'),
    (lambda z: flipped(z, 100), "it can't be read"),
    (lambda z: z.replace(b'PK\1\2\x14\3\x14\0\0\0', b'PK\1\2\x14\3\x14\0\1\0'), 'encrypted'),
    (lambda z: z.replace(b'PK\1\2\x14\3\x14\0\0\0\x08', b'PK\1\2\x14\3\x14\0\0\0\x63'), 'compression method'),
])
def test_a_wrong_zip_is_one_sentence_and_nothing_on_disk(archive, cache, server, damage, words):
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(DataError, match=words) as e: get_movielens(archive)
    assert '\n' not in str(e.value) and str(archive) in str(e.value) and server.url in str(e.value)
    assert leftovers(cache) == []


@pytest.mark.parametrize('how', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_no_damage_to_a_zip_gets_past_the_one_kind_of_error(how):
    right = zipped(FILES, compression=how)
    seen = set()
    for at in range(len(right)):
        try: assert download._zipped_files(io.BytesIO(flipped(right, at)), SUMS) == FILES
        except DataError as e: seen.add(str(e))
    assert len(seen) > 5 and not any('\n' in o for o in seen)


def test_a_file_of_another_size_is_not_even_unpacked(monkeypatch):
    monkeypatch.setattr(zipfile.ZipFile, 'read', lambda *args: pytest.fail('read gigabytes'))
    with pytest.raises(DataError, match='u.data in it has 1,000 bytes, not 16: cut off'): download._zipped_files(io.BytesIO(zipped({'u.data': bytes(1000)})), SUMS)


def test_a_changed_file_in_a_whole_zip_is_noticed(archive, cache):
    with zipfile.ZipFile(archive) as z: files = {name: z.read('ml-100k/'+name) for name in download.ml100k_files}
    archive.write_bytes(zipped(files | {'u5.test': files['u5.test'].replace(b'1', b'2', 1)}))
    with pytest.raises(DataError, match='ml-100k/u5.test in it has the right size but the wrong content'): get_movielens(archive)


def test_a_wrong_zip_is_an_error_even_if_the_cache_is_right(archive, cache):
    get_movielens(archive)
    archive.write_bytes(zipped({'ratings.dat': b''}, 'ml-1m/'))
    with pytest.raises(DataError, match='README is missing'): get_movielens(archive)


def test_a_damaged_cache_says_how_to_get_it_anew(archive, cache, server, capsys):
    path = get_movielens(archive).path
    (path/'u.data').write_bytes(b'')
    server.answer(status=500)
    assert get_movielens().truth
    said = capsys.readouterr().out
    assert 'Delete the folder, then call get_movielens(retry=True), or name ml-100k.zip' in said and str(path/'u.data') in said
    shutil.rmtree(path)
    assert get_movielens(archive).path == path and get_movielens().truth is None


# --- relative names

@pytest.fixture
def course(tmp_path, monkeypatch):
    "The folders of a course, with ratings in a folder beside `nbs`"
    for folder in ('nbs/exercises', 'data/ml-100k'): (tmp_path/'course'/folder).mkdir(parents=True)
    (tmp_path/'course'/'data'/'ml-100k'/'u.data').write_text('')
    monkeypatch.setenv('COLLAB_COURSE_DATA', 'data')
    return tmp_path/'course'


@pytest.mark.parametrize('here', ['', 'nbs', 'nbs/exercises', 'data'])
def test_a_relative_name_means_the_same_in_all_folders_of_the_course(course, monkeypatch, here):
    monkeypatch.chdir(course/here)
    found = course/'data'/'ml-100k'
    assert download.named_folder() == download.named_folder('data') == download.named_folder(Path('data')/'ml-100k') == download.named_folder('./data/') == found
    monkeypatch.chdir(course.parent)
    assert found.is_dir() and download.named_folder('course/data') == found


def test_the_nearest_of_two_relative_names_is_meant(course, monkeypatch):
    (course/'nbs'/'data'/'ml-100k').mkdir(parents=True)
    monkeypatch.chdir(course/'nbs')
    assert download.named_folder() == course/'data'/'ml-100k'  # the nearer one is empty
    (course/'nbs'/'data'/'ml-100k'/'u.data').write_text('')
    assert download.named_folder() == course/'nbs'/'data'/'ml-100k'


def test_a_relative_zip_is_found_from_the_notebooks(archive, cache, monkeypatch):
    (archive.parent/'nbs').mkdir()
    monkeypatch.chdir(archive.parent/'nbs')
    assert get_movielens('ml-100k.zip').path == cache/'ml-100k'


def test_a_name_that_leads_nowhere_says_where_it_was_looked_for(course, monkeypatch):
    monkeypatch.chdir(course/'nbs')
    with pytest.raises(DataError, match='nowhere does not exist.*relative') as e: download.named_folder('nowhere')
    assert f'in {course/"nbs"} and in each folder above it' in str(e.value)
    (course/'nowhere').mkdir()
    with pytest.raises(DataError, match='nowhere is neither a zip file nor a folder .*relative'): download.named_folder('nowhere')
    with pytest.raises(DataError, match='COLLAB_COURSE_DATA') as e: download.named_folder(course/'nowhere')
    assert 'relative' not in str(e.value)


def test_names_as_people_type_them(course, monkeypatch):
    for home in ('HOME', 'USERPROFILE'): monkeypatch.setenv(home, str(course))
    found = course/'data'/'ml-100k'
    for name in ('~/data', f'"{course/"data"}"', f' {found} '): assert download.named_folder(name) == found
    for name in ('', '  '):
        monkeypatch.setenv('COLLAB_COURSE_DATA', name)
        assert download.named_folder() is None


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
    (lambda p: p.write_bytes(flipped(p.read_bytes(), -1)), 'wrong content'), (lambda p: (p.unlink(), p.mkdir()), "can't be read"),
])
@pytest.mark.parametrize('name', ['u.data', 'u.item', 'u.user', 'u.genre', 'truth.npz'])
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


def test_a_split_that_does_not_exist_is_refused(world):
    data = read_movielens(world)
    for name in ('u6', 'u9', 'u1.base', '', None, 1, ['u1']):
        with pytest.raises(DataError, match='u1 to u5, ua and ub') as e:
            data.split(name)
        assert '\n' not in str(e.value)


def test_the_first_three_columns_are_user_title_and_rating(world):
    "So that they don't have to be named"
    data = read_movielens(world)
    for ratings in (data.ratings, *data.split('u1')):
        assert list(ratings) == ['user', 'title', 'rating', 'timestamp', 'movie']
        assert list(check_ratings(ratings)) == ['user', 'title', 'rating']
    numbers = data.movies.set_index('title', drop=False)['movie'].groupby(level=0).agg(set)
    assert all(movie in numbers[title] for title, movie in data.ratings[['title', 'movie']].head(500).values)


@pytest.mark.parametrize('text', ['not a list', 'u.data 1', 'u.data one md5'])
def test_a_damaged_list_of_checksums_is_refused(world, tmp_path, text):
    for f in world.iterdir(): (tmp_path/f.name).write_bytes(f.read_bytes())
    (tmp_path/'checksums.txt').write_text(text)
    with pytest.raises(DataError, match='checksums.txt'): read_movielens(tmp_path)
    (tmp_path/'checksums.txt').write_text('')
    with pytest.raises(DataError, match='u.data'): read_movielens(tmp_path)


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
    assert set(download.ml100k_files) <= {f.name for f in world.iterdir()}
    assert {len(l.split('|')) for l in (world/'u.item').read_text(encoding='latin-1').splitlines()} == {24}
    assert {len(l.split('\t')) for l in (world/'u.data').read_text().splitlines()} == {4}
    assert any(ord(c) > 127 for c in (world/'u.item').read_text(encoding='latin-1'))


# --- the command line

def command(**env):
    return subprocess.run([sys.executable, '-m', 'collab_course.movielens'], capture_output=True, text=True, timeout=900, env=os.environ | env)

def test_the_command_says_which_data(world):
    res = command(COLLAB_COURSE_DATA=str(world))
    assert res.returncode == 0 and res.stdout == 'Generated world (not MovieLens): 100,000 ratings of 1,682 movies by 943 users\n'

def test_the_command_fails_in_one_sentence():
    res = command(COLLAB_COURSE_DATA='no/such/folder')
    assert res.returncode == 1 and res.stderr.strip().count('\n') == 0 and 'no/such/folder' in res.stderr

def test_the_command_says_what_to_do_where_nothing_can_be_had(world, tmp_path):
    shutil.copytree(world, tmp_path/'data'/'ml-100k-generated')
    nowhere = dict.fromkeys(('https_proxy', 'HTTPS_PROXY'), 'http://127.0.0.1:9')
    res = command(COLLAB_COURSE_DATA='', FASTAI_HOME=str(tmp_path), no_proxy='', NO_PROXY='', **nowhere)
    said, data = res.stdout.splitlines()
    assert res.returncode == 0 and says_what_to_do(said, 'https://files.grouplens.org/') and data.startswith('Generated world') and not res.stderr
