"The configuration of Sphinx, which docs/build.py runs after it has written the pages"
import html, re, sys
from pathlib import Path
from docutils import nodes
from sphinx import addnodes
from nbdev.config import get_config

sys.path.insert(0, str(Path(__file__).parent))
import figures

CFG = get_config(path=__file__)
project, author, copyright = CFG.title, CFG.author, CFG.copyright
extensions = ['myst_nb', 'sphinx_copybutton', 'sphinx-mathjax-offline', 'questions']

nb_execution_mode = 'off'
nb_merge_streams = True
myst_enable_extensions = ['dollarmath', 'attrs_inline', 'attrs_block']
myst_heading_anchors = 4
copybutton_selector = 'div.highlight pre:not(.cell_output pre)' # outputs are not code

html_theme, html_title, language = 'furo', project, 'en'
html_static_path, html_css_files, html_js_files = ['site.css', 'site.js'], ['site.css'], ['site.js']
html_static_path += ['try_it.css', 'try_it.js', 'filling.css', 'filling.js'] # each is loaded by the page that needs it
html_favicon = 'icon.svg'
html_copy_source = html_show_sphinx = html_show_search_summary = html_use_index = False
myst_html_meta = {'description': CFG.description}
html_theme_options = {
    'top_of_page_buttons': [],
    'light_css_variables': {'color-brand-primary': '#31688e', 'color-brand-content': '#2a6078', 'color-brand-visited': '#5b3a78'},
    'dark_css_variables': {'color-brand-primary': '#6ec9c0', 'color-brand-content': '#7cc7e8', 'color-brand-visited': '#c3a6e0'},
}
pygments_style, pygments_dark_style = 'xcode', 'github-dark'


# --- link each term of the glossary where a chapter first uses it

NOT_PROSE = nodes.title, nodes.literal, nodes.reference, nodes.literal_block, nodes.math, nodes.math_block, nodes.raw, nodes.table, nodes.figure
AIMS = 'You will be able to', 'It builds on'

def words(doctree):
    "The terms of each glossary entry (its heading and the other names below it), and its anchor"
    for entry in doctree.findall(lambda n: isinstance(n, nodes.section) and not n.next_node(nodes.section)):
        also = entry[1].astext().removeprefix('also: ') if entry[1].astext().startswith('also: ') else None
        yield [entry[0].astext()] + (also.split(', ') if also else []), entry['ids'][0]

def is_lead(node, aims=True):
    "Does this paragraph say what the chapter is about, in its first line or (if `aims`) in the paragraph on what you will be able to do?"
    if not isinstance(node, nodes.paragraph): return False
    return bool({'lead', 'where'} & set(node['classes'])) or aims and any(n.astext() in AIMS for n in node.findall(nodes.strong))

def prose(node, aims=False):
    "The texts below `node` in which a term may be linked; those of the paragraph on the aims only if `aims` is true"
    if isinstance(node, nodes.Text): yield node
    elif not isinstance(node, NOT_PROSE) and not is_lead(node, not aims):
        for child in node.children: yield from prose(child, aims)

def link_first(texts, names, uri):
    "Link the first occurrence of any of `names` in `texts`, a list of text nodes, to `uri`; is there one?"
    pattern = re.compile(r'\b(' + '|'.join(map(re.escape, names)) + r')\b', re.IGNORECASE)
    lower = [name.lower() for name in names]
    for i, text in enumerate(texts):
        if not any(name in text.lower() for name in lower): continue # most texts, in little time
        if not (m := pattern.search(text)): continue
        before, after = nodes.Text(text[:m.start()]), nodes.Text(text[m.end():])
        link = nodes.reference('', m[0], refuri=uri, internal=True, classes=['glossary'])
        text.parent.replace(text, [before, link, after])
        texts[i:i+1] = before, after
        return True

def link_glossary(app, doctree, name):
    "Link the terms in a chapter to the glossary, in the paragraph on its aims only those that no other paragraph has"
    if not re.match(r'\d|side/|further/', name) or 'glossary' not in app.env.found_docs: return
    uri, texts = app.builder.get_relative_uri(name, 'glossary'), list(prose(doctree))
    missing = [(names, anchor) for names,anchor in glossary(app) if not link_first(texts, names, f'{uri}#{anchor}')]
    texts = list(prose(doctree, aims=True))
    for names,anchor in missing: link_first(texts, names, f'{uri}#{anchor}')

def glossary(app):
    "All entries of the glossary, the longest names first, which may contain shorter ones"
    if not hasattr(app, 'glossary'):
        app.glossary = sorted(words(app.env.get_doctree('glossary')), key=lambda entry: -len(entry[0][0]))
    return app.glossary


# --- name questions by their topics

def find_questions(app, doctree):
    "Let search lead to each question by its title, which stands on its card, and keep the titles"
    app.questions = getattr(app, 'questions', {})
    for section in doctree.findall(lambda n: isinstance(n, nodes.section) and re.fullmatch(r'[a-z]\d+[a-z]?', n[0].astext())):
        name = section[0].astext()
        title = next((m for raw in section.findall(nodes.raw) if (m := re.search(rf'{name} · ([^<"]+)', raw.astext()))), None)
        if title:
            title = app.questions[app.env.docname, f'#{section["ids"][0]}'] = html.unescape(title[1])
            section.insert(1, addnodes.index(entries=[('single', title, section['ids'][0], 'main', None)]))

def name_questions(app, env):
    'Show the titles of questions, not their names, under "On this page"'
    for doc, toc in env.tocs.items():
        for link in toc.findall(nodes.reference):
            title = getattr(app, 'questions', {}).get((doc, link['anchorname']))
            if title: link[:] = [nodes.Text(f'Question: {title}')]


# --- what is left to do when the pages are written

MENDED = { # what Furo, pandas and MyST leave to those who listen to a page
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="The site">',
    '<aside class="toc-drawer': '<aside aria-label="On this page" class="toc-drawer',
    '<div id="search-results"></div>': '<h1>Search</h1>\n<div id="search-results"></div>',
    '<th></th>': '<td></td>', # a header without words
    '<th class="head"><p></p></th>': '<td></td>'}

def finish(app, exception):
    "Show each figure in two renderings, and mend the pages for those who listen to them"
    if exception: return
    both_themes = figures.BothThemes(Path(app.outdir))
    for path in Path(app.outdir).rglob('*.html'):
        page = both_themes(path.read_text(encoding='utf-8'))
        for old, new in MENDED.items(): page = page.replace(old, new)
        path.write_text(page, encoding='utf-8')

def level_of_captions(app, pagename, templatename, context, doctree):
    "Give the sidebar's headings the level that Furo leaves out"
    context['furo_navigation_tree'] = context.get('furo_navigation_tree', '').replace('role="heading"', 'role="heading" aria-level="2"')

def setup(app):
    app.connect('doctree-read', find_questions)
    app.connect('env-updated', name_questions)
    app.connect('doctree-resolved', link_glossary)
    app.connect('build-finished', finish)
    app.connect('html-page-context', level_of_captions, priority=900)
