"Figures for the dark theme: what becomes of white, black, hues and heat maps"
import re, sys
from pathlib import Path

import matplotlib.pyplot as plt, numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'docs'))
import figures
from figures import INK, PAPER, darkened, dark_figure

STYLE = ROOT/'nbs'/'course.mplstyle'
INKS = np.array([to_rgb(f'#{ink}') for ink in re.findall("'([0-9a-f]{6})'", STYLE.read_text())]) # the last is gray

def hue(rgb): return (rgb - rgb.min(-1, keepdims=True))/np.ptp(rgb, axis=-1, keepdims=True)

def contrast(rgb):
    "The contrast of `rgb` with the dark page, as WCAG defines it"
    def luminance(c): return np.where(c <= .04045, c/12.92, ((c + .055)/1.055)**2.4) @ [.2126, .7152, .0722]
    return (luminance(rgb) + .05)/(luminance(PAPER) + .05)

def test_white_and_black_change_places():
    assert np.allclose(darkened(np.ones((1, 1, 3))), PAPER)
    assert np.allclose(darkened(np.zeros((1, 1, 3))), INK)

def test_inks_keep_their_hue_and_can_be_read():
    dark = darkened(INKS)
    assert np.allclose(hue(dark[:5]), hue(INKS[:5]), atol=.02)
    assert (contrast(dark) > 4.5).all()

def test_the_edge_of_a_line_stays_an_edge():
    "A pixel that is half ink and half page is so on the dark page, too"
    for share in .25, .5, .75:
        edge = darkened(share*INKS + (1 - share))
        assert np.allclose(edge, share*darkened(INKS) + (1 - share)*PAPER)

def drawn(path, draw, **figure):
    "What `draw` draws into axes, as a picture, and the same for a dark page"
    with plt.style.context(STYLE):
        fig, ax = plt.subplots(**figure)
        draw(ax)
        fig.savefig(path)
        plt.close(fig)
    return imread(path)[..., :3]

def test_cells_of_a_heat_map_keep_their_colors(tmp_path):
    path, table = tmp_path/'map.png', np.arange(35.).reshape(5, 7)
    table[1,2] = table[0,0] = np.nan
    light = drawn(path, lambda ax: (ax.imshow(table), ax.grid(False), ax.set_title('A title')))
    dark = dark_figure(path, heat_map=True)
    colored = np.ptp(light, axis=-1) > .04
    rows, columns = (np.flatnonzero(colored.any(axis)) for axis in (1, 0))
    cells = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    assert (dark[cells] == light[cells]).all() and (light[cells] == 1).all(-1).any() # holes stay white, too
    assert np.allclose(dark[0,0], PAPER) and dark[:cells[0].start].max() > .6 # the page and the title
    assert not np.allclose(dark_figure(path)[cells], light[cells])

def test_a_gray_heat_map_stays_as_it_is(tmp_path):
    path = tmp_path/'gray.png'
    light = drawn(path, lambda ax: ax.imshow(np.arange(35.).reshape(5, 7), cmap='Greys'))
    assert (dark_figure(path, heat_map=True) == light).all()

def test_each_figure_is_shown_once_in_each_theme(tmp_path):
    (tmp_path/'_images').mkdir()
    drawn(tmp_path/'_images'/'x.png', lambda ax: ax.plot([1, 2]), figsize=(2, 1))
    page = '<p><img alt="a &gt; b" class="wide" src="../_images/x.png" /> <img alt="other" src="x.png"></p>'
    assert figures.BothThemes(tmp_path)(page) == (
        '<p><img class="only-light" src="../_images/x.png" width="200" height="100" alt="a &gt; b">'
        '<img class="only-dark" src="../_images/x-dark.png" loading="lazy" width="200" height="100" alt="a &gt; b">'
        ' <img alt="other" src="x.png"></p>')
    dark = imread(tmp_path/'_images'/'x-dark.png')
    assert dark.shape[:2] == (100, 200) and np.allclose(dark[0,0,:3], PAPER)

@pytest.mark.parametrize('attributes, kept', [('class="heat-map"', True), ('class="align-left heat-map"', True), ('alt="a heat-map"', False)])
def test_a_figure_on_a_page_is_a_heat_map_by_its_class(tmp_path, attributes, kept):
    (tmp_path/'_images').mkdir()
    drawn(tmp_path/'_images'/'x.png', lambda ax: ax.imshow(np.eye(9), cmap='Greys'), figsize=(2, 1))
    figures.BothThemes(tmp_path)(f'<img {attributes} src="_images/x.png" />')
    assert (imread(tmp_path/'_images'/'x-dark.png')[0,0,:3] == 1).all() == kept

@pytest.mark.parametrize('code, kind', [('plot_crosstab(top)', 'heat-map'), ("ax.imshow(x, cmap='Blues')", 'heat-map'), ('ax.plot(x)', '')])
def test_a_heat_map_is_known_by_its_code(code, kind): assert figures.kind(code) == kind
