"""The crosstab that fills, in chapter 02: its steps as a slider

docs/build.py calls `add`, which runs the chapter's own cells and puts their numbers behind the
picture. In a browser, docs/filling.js replaces the picture by a slider. Without JavaScript, the
picture stays.
"""
import json
from functools import cache
import matplotlib as mpl, numpy as np
from nbformat.v4 import new_markdown_cell
from torch import tensor
from collab_course.crosstab import top_crosstab
from collab_course.dot_product import fit_factors
from collab_course.movielens import get_movielens
from collab_course.plots import _short_labels as short_labels

PATH = '02_dot_product.ipynb'
COMPUTES, DRAWS = 'run = [', 'shown.update(fig)' # parts of the cell that computes, and of the cell that draws
FRAMES = [*range(21), *range(22, 41, 2), *range(45, 101, 5), *range(120, 301, 20)] # steps shown
HTML = '''```{{raw}} html
<div id="filling" hidden>
<link rel="stylesheet" href="_static/filling.css">
<p class="filling-control"><label for="filling-step">Step of gradient descent</label>
<input id="filling-step" type="range" min="0" max="{last}" value="{last}" step="1">
<span id="filling-now" aria-hidden="true"></span></p>
<div class="filling-pictures"><div id="filling-table"></div><div id="filling-error"></div></div>
<p class="filling-note">Framed cells are holes in the data: there is no rating to learn from.{note}</p>
</div>
<script type="application/json" id="filling-data">{data}</script>
<script src="_static/filling.js"></script>
```'''

def source(cell): return ''.join(cell['source'])

@cache
def run(code):
    "What the cell with this `code` computes: the crosstab, and predictions and loss of each step"
    found = {'data': get_movielens(), 'fit_factors': fit_factors, 'tensor': tensor, 'top_crosstab': top_crosstab}
    exec(code, found)
    return found['ct'], found['run']

def palette(n=64):
    "The colors of the picture, from few stars to many"
    return [mpl.colors.to_hex(color) for color in mpl.colormaps['viridis'](np.linspace(0, 1, n))]

def data(code):
    "What docs/filling.js needs, ready for JSON: no rating, only predictions, and which cells are holes"
    table, steps = run(code)
    return {'rows': short_labels(table.index), 'columns': short_labels(table.columns), 'steps': FRAMES,
            'holes': table.isna().to_numpy().astype(int).ravel().tolist(), 'colors': palette(), 'range': [1, 5],
            'frames': [(steps[step][0].numpy()*100).round().astype(int).ravel().tolist() for step in FRAMES],
            'losses': [round(loss, 4) for _, loss in steps]}

def add(path, cells):
    "Put the slider behind the picture of chapter 02, if `path` is that chapter"
    if path != PATH: return
    code = next(source(c) for c in cells if c and COMPUTES in source(c))
    at = next(i for i, c in enumerate(cells) if c and DRAWS in source(c))
    made = get_movielens().truth is not None
    note = ' These numbers come from synthetic ratings, because this site was built without MovieLens.'*made
    text = json.dumps(data(code), separators=(',', ':')).replace('</', '<\\/')
    cells.insert(at + 1, new_markdown_cell(HTML.format(last=len(FRAMES) - 1, note=note, data=text)))
