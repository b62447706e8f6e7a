"""Build the site: process the notebooks with nbdev, translate them for MyST-NB, and run Sphinx

    python docs/build.py [folder]          # default: _site
"""
import importlib, json, os, re, shutil, sys, tempfile
from pathlib import Path
from nbformat.v4 import new_markdown_cell
from nbdev.config import get_config
from nbdev.serve import proc_nbs
from nbdev.showdoc import show_doc
import figures, filling, try_it
from places import Places
from questions import for_site
from sphinx.cmd.build import main as sphinx

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
CFG = get_config(path=ROOT)
PLACES = Places(ROOT)
SIDE, FURTHER, MAKERS = 'side/', 'further/', 'exercises/'
NO_CELL = ('\n\n[You can only read this page. To have your answers checked,]{{.only-read}} ' # or what questions.js says
           '[run the course]({up}index.ipynb#how-to-start){hosts}.')
QUESTION = r'([qrs]\d+|f\d+[a-z])' # the name of one, as of f10a in chapter 10


# --- the course

def notebooks():
    "The paths of all notebooks but the front page: those on the map, in its order, then the rest"
    paths = [p.relative_to(CFG.nbs_path).as_posix() for p in CFG.nbs_path.rglob('*.ipynb')]
    index = (CFG.nbs_path/'index.ipynb').read_text(encoding='utf-8')
    on_the_map = [path for path in re.findall(r'\]\(([\w/]+\.ipynb)\)', index) if path in paths]
    others = sorted(p for p in paths if p != 'index.ipynb' and '.ipynb_checkpoints' not in p)
    return list(dict.fromkeys([*on_the_map, *others]))

def wing(path):
    "The sidebar heading under which the notebook at `path` is listed"
    folders = {SIDE: 'Side rooms', FURTHER: 'Further research', MAKERS: 'For makers of questions'}
    main = 'Chapters' if path[0].isdigit() else 'Look things up'
    return folders.get(path[:path.rfind('/') + 1], main)

def module_of(path):
    "The module that the notebook at `path` exports to, or None"
    text = (CFG.nbs_path/path).read_text(encoding='utf-8')
    found = re.search(r'"#\| default_exp ([\w.]+)', text)
    return found and found[1]

def load(module):
    "Import a module of the course"
    return importlib.import_module(f'{CFG.lib_name}.{module}')

CAPTIONS = 'Chapters', 'Side rooms', 'Further research', 'Look things up', 'For makers of questions'
WINGS = {caption: [] for caption in CAPTIONS}
for path in notebooks():
    WINGS[wing(path)].append(path)
ENGINE, *QUESTIONS = WINGS.pop('For makers of questions')
MODULES = {module_of(path): path for path in [*sum(WINGS.values(), []), ENGINE]}
NAMES = sorted(filter(None, MODULES), key='all'.__ne__) # `all` first
MODULES = {module: MODULES[module] for module in NAMES}


# --- a notebook

def directives(source):
    "The `#| key: value` lines at the top of a cell as a dict, and the rest of the cell"
    lines = source.splitlines()
    n = next((i for i,l in enumerate(lines) if not l.startswith('#|')), len(lines))
    found = dict(re.match(r'#\|\s*([\w-]+):?\s*(.*)', l).groups() for l in lines[:n])
    return {key: re.sub(r'^"(.*)"$', r'\1', value) for key, value in found.items()}, '\n'.join(lines[n:])

def code_cell(cell, up):
    "`cell` for MyST-NB, or None if it shows nothing; `up` leads to the folder that links in outputs start from"
    has, cell['source'] = directives(''.join(cell['source']))
    tags, myst = [], {}
    if has.get('echo') == 'false' or re.fullmatch(QUESTION, cell['source']):
        tags.append('remove-input')
    if has.get('code-fold') == 'true':
        tags.append('hide-input')
        myst |= {'code_prompt_show': 'Show the code', 'code_prompt_hide': 'Hide the code'}
    if 'fig-cap' in has: myst['figure'] = {'caption': has['fig-cap']}
    if 'fig-alt' in has: myst['image'] = {'alt': has['fig-alt'], 'classes': figures.kind(cell['source'])}
    cell['metadata'] = {'tags': tags, 'mystnb': myst}
    for o in cell['outputs']:
        html = o.get('data', {}).get('text/html')
        if html: # the board of questions, or an answer, whose links lead to notebooks
            html = re.sub(r'href="([\w/]+)\.ipynb', rf'href="{up}\1.html', ''.join(html))
            o['data']['text/html'] = for_site(html)
    if re.fullmatch(r'(#.*\n*)*', cell['source']) and not cell['outputs']:
        return None # the cell for a learner's answer, which holds only a comment
    return cell

def source(path, words):
    "A link from `words` to the file at `path` in the repository, or its path if nothing is published"
    return f'[{words}]({PLACES.source(path)})' if PLACES.published else f'{words}: `{path}`'

def where(path, runs):
    "A line that says where the notebook at `path` is and, if it has code (`runs`), how to run it"
    path = f'nbs/{path}'
    if not runs: return source(path, 'Notebook')
    if PLACES.published: return f'Open in {PLACES.hosts(path)} · {source(path, "Notebook")}'
    return f"To run this page: `make study` in the course's folder, then open `{path.removeprefix('nbs/')}`"

def no_cell(path, up):
    "A note for readers of the site: where to answer the questions of the chapter at `path`"
    hosts = f", or open this chapter in {PLACES.hosts(f'nbs/{path}')}" if PLACES.published else ''
    return NO_CELL.format(up=up, hosts=hosts)

def head(cell, path, runs):
    "The first cell of a page: number and title, a line on the content, and where the notebook is"
    title, about = re.fullmatch(r'# (.+)\n\n> (.+)', ''.join(cell['source'])).groups()
    number = '' if path.startswith(MAKERS) else re.match(r'(\d+[a-z]?_)?', path.split('/')[-1])[0].replace('_', ' ')
    return f'# {number}{title}\n\n{{.lead}}\n{about}\n\n{{.where}}\n{where(path, runs)}'

def anchor(heading):
    "The id that MyST gives a heading"
    return re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')

SYMBOLS = load('_modidx').d['syms']
AT = {url.split('#')[0]: module.removeprefix(f'{CFG.lib_name}.')
      for module, names in SYMBOLS.items() for url, _ in names.values()}
OURS = re.compile(rf'\[([^]]+)\]\({re.escape(CFG.doc_host + CFG.doc_baseurl)}/([\w/]+\.html)#([\w.]+)\)')

def local_links(text, up):
    "Point nbdev's links on names to this site; remove the links on names that aren't public"
    def link(found):
        words, page, anchor = found.groups()
        module = AT[page]
        if module not in MODULES or anchor not in map(str.lower, load(module).__all__): return words
        return f'[{words}]({up}api/{module}.md#{anchor})'
    return OURS.sub(link, text)

def section_links(text):
    "Link the name of a section, too, if it follows a link to a chapter"
    return re.sub(r'\]\(([\w/.]+\.ipynb)\), \*([^*]+)\*', lambda m: f']({m[1]}), [*{m[2]}*]({m[1]}#{anchor(m[2])})', text)

def page(nb, path):
    "A notebook for MyST-NB, made from `nb`, the processed notebook at `path`"
    first, *cells = nb['cells']
    cells = [c for c in cells if not ''.join(c['source']).startswith('<!-- WARNING: THIS FILE WAS AUTOGENERATED')]
    up = '../'*path.count('/')
    start = '' if path.startswith(FURTHER) else up # answers of further research link to chapters beside them
    cells = [code_cell(c, start) if c['cell_type'] == 'code' else c for c in cells]
    for c in cells:
        if c and c['cell_type'] == 'markdown':
            c['source'] = section_links(local_links(''.join(c['source']), up))
    try_it.link(path, cells)
    filling.add(path, cells)
    asked = next((c for c in cells if c and re.fullmatch(f'### {QUESTION}', c['source'].strip())), None)
    if asked: asked['source'] += no_cell(path, up) # at the first question
    runs = not path.startswith(MAKERS) and any(c and c['cell_type'] == 'code' for c in cells)
    return nb | {'cells': [new_markdown_cell(local_links(head(first, path, runs), up)), *filter(None, cells)]}


# --- the library

def documented(module, name):
    "The documentation of `name` in `module`, or a link to it if another module defines it"
    thing = getattr(module, name)
    home = thing.__module__ if callable(thing) else None
    if home == module.__name__:
        text = show_doc(thing, title_level=2)._repr_markdown_().replace('---\n\n', '', 1)
        return re.sub(r'\[source\].*\n+', '', text)
    if home in SYMBOLS:
        page, about = home.removeprefix(f'{CFG.lib_name}.'), (thing.__doc__ or '').partition('\n')[0]
        return f'- [`{name}`]({page}.md#{name.lower()}): {about}'

def api(name):
    "The page of the module `name`, with each of its public functions and classes"
    module, story = load(name), f'[The notebook that defines it](../{MODULES[name]})'
    code = source(f'{module.__name__.replace(".", "/")}.py', 'Source')
    docs = filter(None, (documented(module, public) for public in module.__all__))
    return '\n\n'.join([f'# {module.__name__}', f'{{.where}}\n{story} · {code}', *docs]) + '\n'


# --- all together

def toc(caption, pages): return '\n'.join(['```{toctree}', ':hidden:', f':caption: {caption}', '', *pages, '```', ''])

def write(src):
    "Write everything that Sphinx reads into the folder `src`"
    folder = proc_nbs(n_workers=0, force=True)
    done = {}
    for path in ('index.ipynb', *sum(WINGS.values(), []), ENGINE, *QUESTIONS):
        done[path] = page(json.loads((folder/path).read_text(encoding='utf-8')), path)
    modules = [f'{name} <api/{name}>' for name in MODULES]
    groups = WINGS | {'Chapters': [*WINGS['Chapters'], 'try_it'], 'collab_course': modules, 'For makers of questions': [ENGINE]}
    tocs = [toc(caption, pages) for caption, pages in groups.items() if pages]
    done['index.ipynb']['cells'].append(new_markdown_cell('\n'.join(tocs)))
    questions = toc('The notebooks', [path.removeprefix(MAKERS) for path in QUESTIONS])
    done[ENGINE]['cells'].append(new_markdown_cell(questions))
    texts = {path: json.dumps(nb) for path, nb in done.items()}
    texts |= {f'api/{name}.md': api(name) for name in MODULES} | {'try_it.md': try_it.page(source)}
    for path, text in texts.items():
        (src/path).parent.mkdir(parents=True, exist_ok=True)
        (src/path).write_text(text, encoding='utf-8')

def main(out):
    "Build the site into the folder `out`, and return Sphinx's exit status"
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as d:
        write(Path(d)/'src')
        status = sphinx(['-q', '-W', '--keep-going', '-c', str(DOCS), '-d', f'{d}/doctrees', f'{d}/src', f'{d}/site'])
        shutil.rmtree(out, ignore_errors=True)
        shutil.move(f'{d}/site', out)
    return status

if __name__ == '__main__': sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT/'_site').resolve()))
