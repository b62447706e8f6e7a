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
LEAD = 'You will be able to', 'It builds on'

def words(doctree):
    "The terms of each glossary entry (its heading and the other names below it), and its anchor"
    for entry in doctree.findall(lambda n: isinstance(n, nodes.section) and not n.next_node(nodes.section)):
        also = entry[1].astext().removeprefix('also: ') if entry[1].astext().startswith('also: ') else None
        yield [entry[0].astext()] + (also.split(', ') if also else []), entry['ids'][0]

def is_lead(node):
    "Does this paragraph say what the chapter is about, before anything is taught?"
    if not isinstance(node, nodes.paragraph): return False
    return bool({'lead', 'where'} & set(node['classes'])) or any(n.astext() in LEAD for n in node.findall(nodes.strong))

def prose(node):
    "The texts below `node` in which a term may be linked"
    if isinstance(node, nodes.Text): yield node
    elif not isinstance(node, NOT_PROSE) and not is_lead(node):
        for child in node.children: yield from prose(child)

def link_first(texts, names, uri):
    "Link the first occurrence of any of `names` in `texts`, a list of text nodes, to `uri`"
    pattern = re.compile(r'\b(' + '|'.join(map(re.escape, names)) + r')\b', re.IGNORECASE)
    lower = [name.lower() for name in names]
    for i, text in enumerate(texts):
        if not any(name in text.lower() for name in lower): continue # most texts, in little time
        if not (m := pattern.search(text)): continue
        before, after = nodes.Text(text[:m.start()]), nodes.Text(text[m.end():])
        link = nodes.reference('', m[0], refuri=uri, internal=True, classes=['glossary'])
        text.parent.replace(text, [before, link, after])
        texts[i:i+1] = before, after
        return

def link_glossary(app, doctree, name):
    "Link the terms in a chapter to the glossary"
    if not re.match(r'\d|side/|further/', name) or 'glossary' not in app.env.found_docs: return
    uri, texts = app.builder.get_relative_uri(name, 'glossary'), list(prose(doctree))
    for names,anchor in glossary(app): link_first(texts, names, f'{uri}#{anchor}')

def glossary(app):
    "All entries of the glossary"
    if not hasattr(app, 'glossary'): app.glossary = list(words(app.env.get_doctree('glossary')))
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


# --- the rest of the page

def draw_figures(app, exception):
    "Draw each figure for both themes"
    if not exception: figures.for_both_themes(Path(app.outdir))

def level_of_captions(app, pagename, templatename, context, doctree):
    "Give the sidebar's headings the level that Furo leaves out"
    context['furo_navigation_tree'] = context.get('furo_navigation_tree', '').replace('role="heading"', 'role="heading" aria-level="2"')

def setup(app):
    app.connect('doctree-read', find_questions)
    app.connect('env-updated', name_questions)
    app.connect('doctree-resolved', link_glossary)
    app.connect('build-finished', draw_figures)
    app.connect('html-page-context', level_of_captions, priority=900)
