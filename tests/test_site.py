"The rendered site: its content, its size, its links, and its behavior in a browser that opens it as files"
import ast, base64, html, json, re, sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import wings

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = [*map(wings.name_of, wings.MAIN)]
ROOMS = [*map(wings.name_of, wings.SIDE + wings.FURTHER)]
MODULES = {m.relative_to(ROOT/'collab_course').with_suffix('').as_posix().replace('/', '.'): m
           for wing in ('.', 'further') for m in (ROOT/'collab_course'/wing).glob('[a-z]*.py')}
sys.path.insert(0, str(ROOT/'docs'))
from places import Places
PLACES = Places(ROOT)
QUESTIONS = [f'q{i}' for i in range(1,32)] + [f'r{i}' for i in range(1,5)] + [f's{i}' for i in range(1,4)]


# --- what can be tested without a browser

class Page(HTMLParser):
    "The content of a page: its ids, its links as (address, words, class), the files it loads, and its text"
    def __init__(self, path):
        super().__init__()
        self.path, self.ids, self.links, self.files, self.code, self.text, self.open, self.quiet = path, set(), [], [], set(), [], None, False
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if 'id' in attrs: self.ids.add(attrs['id'])
        if tag == 'a' and 'href' in attrs: self.open = [attrs['href'], '', attrs.get('class') or '']; self.links.append(self.open)
        if tag in ('img','script') and 'src' in attrs: self.files.append(attrs['src'])
        if tag == 'link' and attrs.get('rel') in ('stylesheet','icon','next','prev'): self.files.append(attrs['href'])
        self.quiet = tag in ('script','style')

    def handle_endtag(self, tag):
        if tag == 'a': self.open = None
        self.quiet = False

    def handle_data(self, data):
        if self.quiet: return
        self.text.append(data)
        if self.open: self.open[1] += data

    def goes_to(self):
        "The local pages that this page links to, as (path, anchor)"
        for href,*_ in self.links:
            if not re.match(r'\w+:', href):
                file, _, anchor = href.partition('#')
                yield (self.path.parent/file.partition('?')[0]).resolve() if file else self.path, anchor


@pytest.fixture(scope='session')
def pages(site): return {p.relative_to(site).as_posix(): Page(p) for p in sorted(site.rglob('*.html'))}


def test_all_notebooks_and_modules_have_a_page(pages):
    want = {f'{wings.name_of(p)}.html' for p in wings.ALL}
    want |= {f'api/{m}.html' for m in [*MODULES, 'exercises.engine']}
    assert want <= set(pages)

def test_every_notebook_belongs_to_a_wing():
    found = [p for p in wings.NBS.rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts]
    assert sorted(found) == sorted(wings.ALL)

def test_what_a_notebook_exports_is_on_its_page(pages):
    for path in [*wings.FRONT, *wings.MAIN, *wings.SIDE, *wings.FURTHER]:
        text = ''.join(pages[f'{wings.name_of(path)}.html'].text)
        sources = [''.join(c['source']) for c in json.loads(path.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'code']
        defined = [d for s in sources if s.startswith('#| export') for d in re.findall(r'^(?:def|class) \w+', s, re.M)]
        assert [d for d in defined if d not in text] == [], path

def test_links_and_what_is_loaded_exist(pages, site):
    by_path, faults = {(site/k).resolve(): p for k,p in pages.items()}, []
    for name,p in pages.items():
        for path,anchor in p.goes_to():
            if path not in by_path or anchor and anchor not in by_path[path].ids: faults.append(f'{name} -> {path.name}#{anchor}')
        faults += [f'{name} loads {f}' for f in p.files if not (p.path.parent/f.partition('?')[0]).exists()]
    assert not faults

def test_pages_hold_no_debris(pages):
    bad = re.compile(r'Traceback \(most recent|\w*Warning:|^\s*#\|.*|/(?:home|root|tmp|work|Users)/\w+|\[\d+;?\d*m', re.M)
    faults = [(name, m[0]) for name,p in pages.items() if name != 'search.html' for m in bad.finditer(''.join(p.text))]
    assert not faults

def test_every_chapter_and_every_question_is_two_clicks_from_the_front_page(pages, site):
    one = {path for path,_ in pages['index.html'].goes_to()}
    assert {(site/f'{c}.html').resolve() for c in CHAPTERS + ROOMS} <= one
    two = {(path.stem, anchor) for name,p in pages.items() if p.path.resolve() in one for path,anchor in p.goes_to()}
    asked = {anchor for stem,anchor in two if stem in CHAPTERS and stem != '09_questionnaire'}
    assert asked | {'q17','r1','r2','r3','r4'} >= set(QUESTIONS) # these are asked on the board itself
    assert {a for stem,a in two if stem == '09_questionnaire'} >= set(QUESTIONS)

def test_chapters_know_their_number_their_neighbors_and_their_notebook(pages):
    for before,c,after in zip([None, *CHAPTERS], CHAPTERS, [*CHAPTERS[1:], None]):
        p = pages[f'{c}.html']
        assert f'# {c.split("_")[0]} ' in f'# {"".join(p.text).split("<!--")[0].strip()}', c
        assert PLACES.published or f'then open {c}.ipynb' in ''.join(p.text), c
        assert 'To have your answers checked' in ''.join(p.text), c
        nav = p.path.read_text(encoding='utf-8').split('class="related-pages"')[1]
        for n in (before, after): assert n is None or f'href="{n}.html"' in nav, (c, n)

def test_rooms_know_their_notebook_and_have_a_heading_of_their_own(pages, site):
    for c in ROOMS:
        assert PLACES.published or f'then open {c}.ipynb' in ''.join(pages[f'{c}.html'].text), c
    sidebar = (site/'index.html').read_text(encoding='utf-8').split('<div class="sidebar-tree">')[1].split('</aside>')[0]
    captions = re.findall(r'<span class="caption-text">(.*?)</span>|href="(\w+/)?[^"]*"', sidebar)
    order = list(dict.fromkeys(caption or folder for caption, folder in captions))
    expected = ['Chapters', '', 'Side rooms', 'side/', 'Further research', 'further/', 'Look things up',
                'collab_course', 'api/', 'For makers of questions', 'exercises/']
    assert order == [e for e in expected if wings.FURTHER or e not in ('Further research', 'further/')]

def test_no_page_links_to_a_place_that_does_not_exist_yet(pages):
    if PLACES.published:
        pytest.skip('the course is published, and tests/test_places.py looks at its links')
    ours = re.compile(r'colab\.research|kaggle\.com/kernels|mybinder\.org|' + re.escape(PLACES.settings['user']) + '[./]')
    faults = [(name, link[0]) for name, p in pages.items() for link in p.links if ours.search(link[0])]
    faults += [(name, m[0]) for name, p in pages.items() for m in ours.finditer(''.join(p.text))]
    assert not faults

def prose(nb): return '\n\n'.join(re.sub(r'```.*?```', '', ''.join(c['source']), flags=re.S) for c in json.loads(nb.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'markdown')

def public(module):
    "The functions and classes in `__all__` of a file"
    tree = ast.parse(module.read_text(encoding='utf-8')).body
    names = next(ast.literal_eval(s.value) for s in tree if isinstance(s, ast.Assign) and s.targets[0].id == '__all__')
    return [s.name for s in tree if isinstance(s, (ast.FunctionDef, ast.ClassDef)) and s.name in names]

def test_names_in_backticks_lead_to_their_page(pages):
    where = {n: name for name,m in MODULES.items() for n in public(m)}
    checked = 0
    for c in ['index', *CHAPTERS, *ROOMS]:
        for n in set(re.findall(r'`(\w+)(?:\(\))?`', prose(ROOT/'nbs'/f'{c}.ipynb'))) & set(where):
            assert any(h.split('#')[0] == f'{"../"*c.count("/")}api/{where[n]}.html' and words.strip('()') == n for h,words,_ in pages[f'{c}.html'].links), (c, n)
            checked += 1
    assert checked > 10

def test_each_word_of_the_glossary_is_linked_once_in_a_chapter(pages):
    entries = {re.sub(r'\W+', '-', h.lower()) for h in re.findall(r'^### (.*)', prose(ROOT/'nbs'/'glossary.ipynb'), re.M)}
    assert entries <= pages['glossary.html'].ids
    linked = {c: [href.split('#')[1] for href,_,kind in pages[f'{c}.html'].links if 'glossary' in kind] for c in CHAPTERS + ROOMS}
    assert all(len(words) == len(set(words)) for words in linked.values())
    assert set().union(*linked.values()) == entries

def test_no_lead_is_a_place_to_learn_a_word(pages):
    "Words are linked in the first line of a chapter never, and in the paragraph on its aims only if they aren't used again"
    for c in CHAPTERS + ROOMS:
        paragraphs = re.findall(r'<p(?: class="(\w+)")?>(.*?)</p>', (pages[f'{c}.html'].path).read_text(encoding='utf-8'), re.S)
        assert [text for kind, text in paragraphs if kind in ('lead', 'where') and 'glossary.html#' in text] == [], c
    aims = next(text for _,text in re.findall(r'<p(.*?)>(.*?)</p>', pages['02_dot_product.html'].path.read_text(encoding='utf-8'), re.S) if 'builds on' in text)
    assert 'dot product' in aims and 'glossary.html#' not in aims

def test_questions_are_named_by_their_topics_on_this_page(pages):
    found = {}
    for name, page in pages.items():
        text = page.path.read_text(encoding='utf-8')
        titles = {anchor: title for anchor, title in re.findall(r'aria-label="([a-z]\d+[a-z]?) · ([^"]+)"', text) if not title.endswith(': the answer')}
        toc = dict(re.findall(r'<a class="reference internal" href="#([a-z]\d+[a-z]?)">(.*?)</a>', text.split('class="toc-tree"')[-1]))
        for anchor, words in toc.items(): assert html.unescape(words) == f'Question: {html.unescape(titles[anchor])}', (name, anchor)
        found |= toc
    assert set(QUESTIONS) <= set(found)

@pytest.mark.parametrize('figure, notebook', [('crosstab', 'index'), ('speed', 'side/speed')])
def test_a_figure_of_the_readme_is_the_last_of_its_notebook(figure, notebook):
    cells = json.loads((ROOT/'nbs'/f'{notebook}.ipynb').read_text(encoding='utf-8'))['cells']
    last = [o['data']['image/png'] for c in cells for o in c.get('outputs', []) if 'image/png' in o.get('data', {})][-1]
    assert base64.b64decode(''.join(last)) == (ROOT/'docs'/f'{figure}.png').read_bytes()
    assert f'src="docs/{figure}.png"' in (ROOT/'README.md').read_text(encoding='utf-8')

def test_nothing_but_the_title_stands_in_the_first_cell():
    "nbdev makes the page's head from it, and drops what else is there"
    for nb in (ROOT/'nbs').rglob('[0-9a-z]*.ipynb'):
        first = ''.join(json.loads(nb.read_text(encoding='utf-8'))['cells'][0]['source'])
        assert re.fullmatch(r'# .+\n\n> .+', first), (nb.stem, first[:80])

def test_every_figure_has_a_caption_and_a_description():
    for nb in [*wings.FRONT, *wings.MAIN, *wings.SIDE, *wings.FURTHER]:
        for c in json.loads(nb.read_text(encoding='utf-8'))['cells']:
            drawn = any('image/png' in o.get('data', {}) for o in c.get('outputs', []))
            if drawn: assert '#| fig-cap: ' in ''.join(c['source']) and '#| fig-alt: ' in ''.join(c['source']), (nb.stem, ''.join(c['source'])[:80])

def test_quotes_of_a_cell_option_are_not_shown(site):
    "A caption or description in quotes, as YAML wants it if there is a colon in it, is shown without them"
    for page in site.rglob('*.html'):
        quoted = re.findall(r'(?:caption-text">|alt=")(?:“|&quot;|&#34;).{40}', page.read_text(encoding='utf-8'))
        assert not quoted, (page.stem, quoted)

def test_there_is_one_site_system():
    "nbdev's commands for Quarto leave files of theirs among the notebooks"
    left = [p.name for p in (ROOT/'nbs').iterdir() if p.suffix in ('.yml', '.css', '.qmd')]
    assert not left, 'docs/build.py makes the site: remove these'


# --- in a browser

BUSY = 300_000 # milliseconds for anything that takes one on a quiet machine
LOOK_UP = 'glossary.html', 'measured.html', 'references.html', 'api/dot_product_bias.html'

LEFT = 'net::ERR_ABORTED' # the tab had turned to the next page before, say, the icon came

def visit(browser, site, name, **context):
    "The page `name` in a new tab, with the files it loaded and its errors"
    context = browser.new_context(**context)
    context.set_default_timeout(BUSY)
    tab = context.new_page()
    tab.loaded, tab.faults = [], []
    tab.on('request', lambda r: tab.loaded.append(r.url))
    tab.on('requestfailed', lambda r: tab.faults.append(f'{tab.shows}: failed {r.url}') if r.failure != LEFT else None)
    tab.on('pageerror', lambda e: tab.faults.append(f'{tab.shows}: {e}'))
    tab.on('console', lambda m: tab.faults.append(f'{tab.shows}: {m.text}') if m.type in ('error','warning') else None)
    return turn_to(tab, site, name)

def turn_to(tab, site, name):
    "The same `tab`, at the page `name`: much faster than a new one"
    tab.shows, tab.loaded[:] = name, []
    tab.goto((site/name).as_uri())
    return at_rest(tab)

def each_page(browser, site, names, **context):
    "A tab that turns to each of the pages `names`"
    tab = visit(browser, site, names[0], **context)
    for name in names: yield name, turn_to(tab, site, name)
    tab.context.close()

def at_rest(tab):
    "The same `tab` after its formulas are set and nothing is loading, fading or sliding"
    tab.wait_for_function('!window.MathJax || window.MathJax.startup?.promise?.then(() => true)')
    tab.wait_for_function("""() => document.readyState === 'complete' && document.fonts.status === 'loaded'
        && document.getAnimations().every(a => a.playState !== 'running')""")
    return tab

UNFOLD = "document.querySelectorAll('details').forEach(d => d.open = true); dispatchEvent(new Event('resize'))"

def unfolded(tab):
    "The same `tab` with all folds open, at rest"
    tab.evaluate(UNFOLD)
    return at_rest(tab)

def size(urls): return sum(Path(u.removeprefix('file://').partition('?')[0].partition('#')[0]).stat().st_size for u in set(urls) if u.startswith('file:'))

def test_pages_load_quietly_from_files_alone_and_fit_a_phone(browser, site, pages):
    faults = []
    for name, tab in each_page(browser, site, list(pages), viewport={'width': 390, 'height': 844}):
        faults += [f'{name}: asks {u}' for u in tab.loaded if not u.startswith(('file:','data:','blob:'))]
        if (w := tab.evaluate('document.documentElement.scrollWidth')) > 390: faults.append(f'{name}: {w} pixels wide')
        faults += [f'{name}: image {s}' for s in tab.evaluate(IMAGES)]
        besides = [u for u in tab.loaded if not u.endswith('.png') and '/mathjax/' not in u]
        if (n := size(besides)) > 1e6: faults.append(f'{name}: {n/1e6:.1f} MB')
    assert not faults + tab.faults

IMAGES = """() => [...document.images].filter(i => !i.alt || (i.offsetWidth ? !i.naturalWidth : i.loading !== 'lazy' && i.className !== 'only-light')).map(i => i.src)"""

COLUMNS = """() => {
    const box = e => { const r = e.getBoundingClientRect(); return {name: e.className || e.tagName, left: r.left, right: r.right} }
    const width = document.documentElement.clientWidth
    const seen = e => e && e.offsetWidth && box(e).left < width && box(e).right > 0
    const columns = ['.sidebar-drawer', '.content', '.toc-drawer'].map(s => document.querySelector(s)).filter(seen)
    const scrolls = (e, column) => e !== column && (getComputedStyle(e).overflowX !== 'visible' || scrolls(e.parentElement, column))
    const inside = c => [...c.querySelectorAll('h1, h2, h3, p, li, a, pre, table, img, figure, details')]
        .filter(e => e.offsetWidth && !scrolls(e, c) && getComputedStyle(e).visibility === 'visible')
    const faults = columns.map(box).filter(c => c.left < -1 || c.right > width + 1)
    columns.slice(1).forEach((c, i) => { if (box(c).left < box(columns[i]).right - 1) faults.push(box(c)) })
    columns.forEach(c => faults.push(...inside(c).map(box).filter(e => e.left < box(c).left - 1 || e.right > box(c).right + 1)))
    return {columns: columns.map(c => c.className), faults}
}"""

@pytest.mark.parametrize('width', [1920, 1440, 1366, 1320, 1280, 1024, 768, 390])
def test_columns_fit_into_the_window_beside_each_other(browser, site, width):
    tab = visit(browser, site, 'index.html', viewport={'width': width, 'height': 800})
    for name in ['index.html', '07_bootstrapping.html', '09_questionnaire.html', 'api/dot_product_bias.html']:
        tab.goto((site/name).as_uri())
        found = unfolded(tab).evaluate(COLUMNS)
        assert len(found['columns']) == (3 if width > 1312 else 2 if width > 1008 else 1), (name, found)
        assert not found['faults'], (name, found['faults'][:5])
    tab.context.close()

def test_the_front_page_is_light(browser, site):
    tab = visit(browser, site, 'index.html')
    assert size(u for u in tab.loaded if not u.endswith('.png')) < 300e3
    tab.context.close()

def test_search_finds_a_word(browser, site):
    tab = visit(browser, site, 'index.html')
    box = tab.get_by_role('textbox', name='Search').first
    box.fill('shrinkage'); box.press('Enter')
    tab.locator('ul.search li a[href*="05_weight_decay.html"]').first.wait_for()
    assert not tab.faults
    tab.context.close()

@pytest.mark.parametrize('words, where', [('fractions', '02_dot_product.html'), ('product by hand', '02_dot_product.html#q7')])
def test_search_finds_questions(browser, site, words, where):
    "by their words, and by their titles, which lead to the question itself"
    tab = visit(browser, site, 'search.html')
    box = tab.get_by_role('textbox', name='Search').first
    box.fill(words); box.press('Enter')
    tab.locator(f'ul.search li a[href*="{where}"]').first.wait_for()
    tab.context.close()

SHOWN = """() => [...document.querySelectorAll('article img')].map(i => [i.className, !!i.offsetWidth])"""

def test_a_theme_has_its_figures(browser, site):
    "by the system's theme, by Furo's button, without JavaScript, and on paper"
    def shown(): return {name for name, seen in tab.evaluate(SHOWN) if seen}
    tab = visit(browser, site, '01_crosstab.html', color_scheme='light')
    assert shown() == {'only-light'}
    button = tab.locator('.content-icon-container button.theme-toggle')
    button.focus()
    tab.keyboard.press('Enter')
    assert tab.evaluate('document.body.dataset.theme') == 'dark' and shown() == {'only-dark'}
    for figure in tab.locator('img.only-dark').all():
        figure.scroll_into_view_if_needed()
        figure.evaluate('i => i.decode()') # fails if there is no picture
    tab.emulate_media(media='print')
    assert shown() == {'only-light'}
    tab.context.close()
    for theme in 'light', 'dark':
        context = browser.new_context(color_scheme=theme, java_script_enabled=False, viewport={'width': 390, 'height': 844})
        tab = context.new_page()
        tab.goto((site/'01_crosstab.html').as_uri())
        assert shown() == {f'only-{theme}'}
        tab.locator('section[aria-label$="the answer"] summary').first.click()
        assert tab.locator('section[aria-label$="the answer"] details p').first.is_visible()
        context.close()

def test_paper_has_the_text_and_nothing_around_it(browser, site):
    tab = visit(browser, site, '01_crosstab.html', color_scheme='dark', viewport={'width': 720, 'height': 1000}) # A4 without its margins
    tab.locator('section[aria-label$="the answer"] summary').first.click()
    tab.emulate_media(media='print')
    hidden = '.sidebar-drawer, .toc-drawer, .mobile-header, .back-to-top, .related-pages, footer, .copybtn, details.hide:not([open]), section[aria-label$="the answer"]:has(> details:not([open]))'
    assert tab.locator(hidden).count() > 6 and not tab.locator(hidden).locator('visible=true').count()
    assert tab.locator('section[aria-label$="the answer"]:visible').count() == 1 # which the reader has opened
    assert tab.locator('section[aria-label$="the answer"]').count() > 1
    assert tab.evaluate('document.documentElement.scrollWidth') <= 720
    assert tab.evaluate("""() => [...document.querySelectorAll('article img, article table')].every(e => e.getBoundingClientRect().right <= 720)""")
    colors = tab.evaluate("""() => ['color', 'backgroundColor'].map(name => getComputedStyle(document.body)[name])""")
    assert colors[0] == 'rgb(0, 0, 0)' and colors[1] in ('rgb(255, 255, 255)', 'rgba(0, 0, 0, 0)')
    tab.context.close()

@pytest.mark.parametrize('width', [1920, 1366, 390])
def test_a_chapter_can_be_used_by_keyboard_alone(browser, site, width):
    "The first key leads past the sidebar, and what has the focus can be seen"
    tab = visit(browser, site, '02_dot_product.html', viewport={'width': width, 'height': 844})
    tab.keyboard.press('Tab')
    assert tab.evaluate("document.activeElement.getAttribute('href')") == '#furo-main-content'
    tab.keyboard.press('Enter')
    reached = set()
    for _ in range(40):
        tab.keyboard.press('Tab')
        reached.add(tab.evaluate("""() => { const e = document.activeElement; return e.closest('article') ? e.tagName : '' }"""))
    assert {'A', 'SUMMARY'} <= reached - {''}
    tab.context.close()

def test_formulas_are_set(browser, site):
    tab = visit(browser, site, '05_weight_decay.html')
    assert tab.locator('mjx-container').count() > 10 and not tab.locator('mjx-merror').count()
    tab.context.close()

def test_an_answer_unfolds_by_keyboard(browser, site):
    tab = visit(browser, site, '01_crosstab.html')
    answer = tab.locator('section[aria-label$="the answer"] details').first
    assert not answer.evaluate('d => d.open') and not answer.locator('p').first.is_visible()
    answer.locator('summary').focus(); tab.keyboard.press('Enter')
    answer.locator('p').first.wait_for()
    assert answer.evaluate('d => d.open')
    tab.context.close()

def test_code_that_only_draws_is_folded(browser, site):
    tab = visit(browser, site, '01_crosstab.html')
    fold = tab.locator('details.hide').first
    assert not fold.locator('pre').is_visible()
    fold.locator('summary').click()
    fold.locator('pre').wait_for()
    tab.context.close()

def test_what_is_measured_is_at_rest(browser, site):
    "`unfolded` waits for a fold, however slowly it fades in"
    tab = visit(browser, site, 'index.html')
    slow = tab.context.new_cdp_session(tab)
    slow.send('Animation.enable')
    slow.send('Animation.setPlaybackRate', {'playbackRate': .1})
    opacity = """() => Math.min(...[...document.querySelectorAll('details[open] > :not(summary)')].map(e => getComputedStyle(e).opacity))"""
    tab.evaluate(UNFOLD)
    assert tab.evaluate(opacity) < 1
    assert unfolded(tab).evaluate(opacity) == 1
    tab.context.close()

def test_lines_under_words_are_written_so_that_webkit_draws_them():
    "WebKit drops a `text-decoration` that names a line and its style at once"
    for sheet in (ROOT/'docs').glob('*.css'):
        for value in re.findall(r'text-decoration:\s*([^;}]+)', sheet.read_text(encoding='utf-8')):
            assert value.replace('!important', '').strip() in ('none', 'underline'), (sheet.name, value)

def test_outputs_have_no_button_for_copying_which_would_be_cut(browser, site):
    tab = visit(browser, site, '02_dot_product.html')
    tab.locator('.copybtn').first.wait_for(state='attached')
    assert tab.locator('.cell_input .copybtn').count() == tab.locator('.cell_input .highlight pre').count() > 10
    assert not tab.locator('.cell_output .copybtn').count()
    outputs = "l => l.filter(e => e.scrollHeight > e.clientHeight + 2).map(e => e.innerText.slice(0, 80))"
    assert not tab.locator('div.cell_output:not(:has(section, mjx-container))').evaluate_all(outputs)
    tab.context.close()

@pytest.mark.parametrize('motion', ['no-preference', 'reduce'])
def test_nothing_moves_for_those_who_asked_for_that(browser, site, motion):
    tab = visit(browser, site, 'index.html', reduced_motion=motion, viewport={'width': 800, 'height': 800})
    moves = tab.evaluate("""unfold => {
        const moved = []
        const note = () => moved.push(...document.getAnimations().map(a => a.animationName || a.transitionProperty))
        note()
        eval(unfold); note()
        for (const drawer of ['__navigation', '__toc']) { document.getElementById(drawer).click(); note() }
        return [...new Set(moved)].sort().concat(getComputedStyle(document.documentElement).scrollBehavior)
    }""", UNFOLD)
    if motion == 'reduce': assert moves == ['auto']
    else: assert {'collapsed-fade-in', 'left', 'right', 'smooth'} <= set(moves) # else this test looks at nothing
    tab.context.close()

def violations(tab, name, **options):
    "The findings of axe-core, with everything unfolded"
    Axe = pytest.importorskip('axe_playwright_python.sync_playwright').Axe
    found = Axe().run(unfolded(tab), options={'resultTypes': ['violations'], 'preload': False, **options}).response['violations']
    return [(name, v['id'], len(v['nodes']), v['nodes'][0]['html'][:200]) for v in found]

ONE_COLOR = "document.querySelectorAll('.highlight pre').forEach(code => code.textContent = code.textContent)"

def test_pages_can_be_read_by_keyboard_and_by_ear(browser, site):
    faults, names = [], ['index.html', *(f'{c}.html' for c in CHAPTERS + ROOMS), *LOOK_UP, 'exercises/00_engine.html', 'search.html']
    for name, tab in each_page(browser, site, names, reduced_motion='reduce'):
        tab.evaluate(ONE_COLOR) # without an element for each word of code, axe takes half the time
        faults += violations(tab, name, rules={'color-contrast': {'enabled': False}}) # slow, and the same everywhere: see below
    assert not faults

@pytest.mark.parametrize('theme', ['light','dark'])
def test_colors_have_enough_contrast(browser, site, theme):
    faults = []
    for name, tab in each_page(browser, site, ['index.html', '01_crosstab.html', *LOOK_UP], color_scheme=theme, reduced_motion='reduce'):
        faults += violations(tab, name, runOnly=['color-contrast'])
    assert not faults
