"A pointer such as [chapter 04](04_dot_product_bias.ipynb), *Batches*, names a section that exists"
import json, re

import wings

LINK = re.compile(r'\]\(([\w/.]+\.ipynb)\)((?:,? (?:and )?\*[^*\n]+\*)+)')
NAME = re.compile(r'\*([^*\n]+)\*')


def texts(path):
    notebook = json.loads(path.read_text(encoding='utf-8'))
    return [''.join(cell['source']) for cell in notebook['cells'] if cell['cell_type'] == 'markdown']


def plain(heading):
    return re.sub(r'[`*]', '', heading).strip()


def sections(path):
    return {plain(line.lstrip('#')) for text in texts(path) for line in text.splitlines() if line.startswith('#')}


def pointers(text):
    "File and name of each section that `text` points to"
    return [(file, plain(name)) for file, names in LINK.findall(text) for name in NAME.findall(names)]


def test_pointers_are_found():
    text = 'See [chapter 04](04_a.ipynb), *Batches* and *Why `wd`?*, or [05](side/b.ipynb), *Decay*. [06](c.ipynb) is *not* one.'
    assert pointers(text) == [('04_a.ipynb', 'Batches'), ('04_a.ipynb', 'Why wd?'), ('side/b.ipynb', 'Decay')]


def test_every_pointer_leads_to_a_section():
    missing = []
    for path in [*wings.FRONT, *wings.MAIN, *wings.SIDE, *wings.FURTHER]:
        for text in texts(path):
            for file, name in pointers(text):
                target = path.parent/file
                if not target.exists() or name not in sections(target):
                    missing.append((wings.name_of(path), file, name))
    assert not missing
    assert len(pointers('\n'.join(texts(wings.NBS/'glossary.ipynb')))) > 50
