"The configuration of Sphinx, which docs/build.py runs after it has written the pages"
import re
from docutils import nodes
from nbdev.config import get_config

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

def words(doctree):
    "The terms of each glossary entry (its heading and the other names below it), and its anchor"
    for entry in doctree.findall(lambda n: isinstance(n, nodes.section) and not n.next_node(nodes.section)):
        also = entry[1].astext().removeprefix('also: ') if entry[1].astext().startswith('also: ') else None
        yield [entry[0].astext()] + (also.split(', ') if also else []), entry['ids'][0]

def link_first(doctree, names, uri):
    "Link the first occurrence of any of `names` in the prose of `doctree` to `uri`"
    pattern = re.compile(r'\b(' + '|'.join(map(re.escape, names)) + r')\b', re.IGNORECASE)
    for text in list(doctree.findall(nodes.Text)):
        parent, m = text.parent, pattern.search(text.astext())
        if not m or any(isinstance(p, NOT_PROSE) for p in parents(text)): continue
        before, after = text.astext()[:m.start()], text.astext()[m.end():]
        link = nodes.reference('', m[0], refuri=uri, internal=True, classes=['glossary'])
        parent.replace(text, [nodes.Text(before), link, nodes.Text(after)])
        return

def parents(node):
    while node := node.parent: yield node

def link_glossary(app, doctree, name):
    "Link the terms in a chapter to the glossary"
    if not re.match(r'\d|side/|further/', name) or 'glossary' not in app.env.found_docs: return
    uri = app.builder.get_relative_uri(name, 'glossary')
    for names,anchor in words(app.env.get_doctree('glossary')): link_first(doctree, names, f'{uri}#{anchor}')

def level_of_captions(app, pagename, templatename, context, doctree):
    "Give the sidebar's headings the level that Furo leaves out"
    context['furo_navigation_tree'] = context.get('furo_navigation_tree', '').replace('role="heading"', 'role="heading" aria-level="2"')

def setup(app):
    app.connect('doctree-resolved', link_glossary)
    app.connect('html-page-context', level_of_captions, priority=900)
