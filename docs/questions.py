"""A Sphinx extension: the questions of the course can be answered on the site

It writes what docs/questions.js needs into each page, as JSON: which questions a chapter asks, and
for the questions on this page their hints and what their checker says. All texts and verdicts come
from the definitions in nbs/exercises. Without JavaScript, a page shows what the notebook shows.
"""
import html, inspect, itertools, json, random, re
from pathlib import Path
from places import HOSTS, Places

try:
    import collab_course.exercises
    from collab_course.exercises import engine
except ImportError: # a site without questions
    engine = None

ROOT = Path(__file__).resolve().parent.parent
PLACES = Places(ROOT)


# --- one question

def to_html(text):
    "Markdown as HTML, with formulas as Sphinx marks them for MathJax"
    return with_formulas(engine._markdown.render(inspect.cleandoc(text)).strip())

def with_formulas(text):
    "The HTML `text` with each `$...$` outside of code set as a formula"
    parts = re.split(r'(<code.*?</code>)', text, flags=re.DOTALL)
    formula = r'<span class="math notranslate nohighlight">\\(\1\\)</span>'
    parts[::2] = [re.sub(r'\$([^$\n]+)\$', formula, part) for part in parts[::2]]
    return ''.join(parts)

def for_site(text):
    "The stored HTML of a question with its formulas set, or of a board with links to each question"
    if text.startswith('<section'):
        return with_formulas(text)
    names = '|'.join(engine._definitions) if engine else 'none'
    return re.sub(rf'\.html">({names})<', r'.html#\1">\1<', text)

def letters(d):
    "The letters of the options, in a question that lists some"
    return ''.join(re.findall(r'^- \*\*([a-j])\*\*: ', d.ask, re.MULTILINE))

def kind(d):
    "How a question is answered: with a 'choice' of letters, with letters in 'order', or with 'code'"
    if d.inert:
        return 'choice'
    in_order = letters(d) and re.fullmatch(r"\w+\.check\('[a-j]+'\)", d.call)
    return 'order' if in_order else 'code'

def verdict(d, answer):
    "What the checker says about some letters: whether they are right, and the text, name and nudge"
    try:
        says, name, nudge, right = d.check(*answer, rng=None), None, None, True
    except engine.Wrong as e:
        says, name, nudge, right = e.says, e.misconception, e.nudge, False
    return {'right': right, 'says': says, 'name': name, 'nudge': nudge}

def rendered(verdict):
    "A verdict with its texts as HTML"
    nudge = verdict['nudge']
    return verdict | {'says': to_html(verdict['says']), 'nudge': nudge and to_html(nudge)}

def choice(d):
    "The explanation of each option, and the text for an answer that lacks some"
    options, more = {}, ''
    for letter in letters(d):
        found = verdict(d, letter)
        line, _, rest = found['says'].partition('\n\n')
        if found['name'] == 'incomplete': # it is right, but not the only one
            found |= {'right': True, 'name': None}
            more = to_html(rest)
        item = re.search('<li>(.*)</li>', to_html(line), re.DOTALL)[1]
        options[letter] = rendered(found) | {'says': item}
    n_right = sum(option['right'] for option in options.values())
    return {'options': options, 'more': more, 'one': n_right == 1}

def order(d, n_tries=30):
    """All verdicts there are, and for each set of letters its verdict

    If that depends on their order, it is given for the shortest beginnings that decide it.
    """
    verdicts, rng = [], random.Random(0)
    def number(answer):
        found = verdict(d, answer)
        if found not in verdicts:
            verdicts.append(found)
        return verdicts.index(found)
    def beginnings(start, rest):
        found = {number(start + ''.join(p)) for p in itertools.permutations(rest)}
        if len(found) == 1:
            return {start: found.pop()}
        res = {}
        for letter in rest:
            res |= beginnings(start + letter, rest.replace(letter, ''))
        return res
    sets, known = {}, letters(d)
    for n in range(1, len(known) + 1):
        for picked in map(''.join, itertools.combinations(known, n)):
            shuffled = {''.join(rng.sample(picked, n)) for _ in range(n_tries)}
            alike = len({number(answer) for answer in [picked, *sorted(shuffled)]}) == 1
            sets[picked] = number(picked) if alike else beginnings('', picked)
    return {'verdicts': [rendered(found) for found in verdicts], 'sets': sets}

def run(path, name, cell_id, places=PLACES):
    "HTML that says where to answer question `name` with code, in a cell of the notebook at `path`"
    if not places.published:
        return ("To have an answer checked, run <code>make study</code> in the course's folder "
                f'and open <code>{path}</code> at {name}.')
    urls = {host: url.format(path=f'nbs/{path}', **places.settings) for host, url in HOSTS.items()}
    urls['Colab'] += f'#scrollTo={cell_id}' # the others can't open a notebook at a cell
    links = {host: f'<a href="{html.escape(url)}">{host}</a>' for host, url in urls.items()}
    colab, *others = links.values()
    return f'Open this question in {colab}, or its notebook in {" or ".join(others)}.'

def question(name, path, cell_id):
    "All that questions.js needs to know about question `name`"
    d = engine._definitions[name]
    found = {'kind': kind(d), 'hints': [to_html(hint) for hint in d.hints]}
    if found['kind'] == 'code':
        return found | {'run': run(path, name, cell_id)}
    return found | (choice(d) if found['kind'] == 'choice' else order(d))


# --- the pages

def asked(page):
    "The questions that the notebook of a page asks, each with the id of its cell"
    path = ROOT/'nbs'/f'{page}.ipynb'
    if engine is None or not path.exists() or page.startswith('exercises/'):
        return {}
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    found = {''.join(cell['source']): cell['id'] for cell in cells if cell['cell_type'] == 'code'}
    return {source: id for source, id in found.items() if source in engine._definitions}

def course():
    "What each page knows: the words of the board, and the questions answered with letters by chapter"
    chapters = {}
    for name in engine.all_names():
        d = engine._definitions[name]
        if kind(d) != 'code':
            chapters.setdefault(d.chapter, []).append(name)
    return {'states': engine._states, 'chapters': chapters}

def add_script(app, id, data):
    "Put `data` into the page that is being written"
    text = json.dumps(data, ensure_ascii=False, separators=(',', ':')).replace('<', r'\u003c')
    app.add_js_file(None, body=text, type='application/json', id=f'{id}-data')

def add_data(app, page, template, context, doctree):
    "Put the data of a page into it"
    if engine is None:
        return
    if 'class="math' in context.get('body', ''): # also where only a question has a formula
        context['has_maths_elements'] = True
    add_script(app, 'course', course())
    here = {name: question(name, f'{page}.ipynb', id) for name, id in asked(page).items()}
    if here:
        add_script(app, 'questions', here)

def add_files(app, config):
    config.html_static_path += ['questions.css', 'questions.js']

def setup(app):
    app.connect('config-inited', add_files)
    app.add_css_file('questions.css')
    app.add_js_file('questions.js', loading_method='defer')
    app.connect('html-page-context', add_data, priority=400) # before Sphinx adds MathJax
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
