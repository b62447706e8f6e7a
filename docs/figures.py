"Each figure of the site a second time, for a dark page"
import re

import numpy as np
from matplotlib.image import imread, imsave
from scipy import ndimage

PAPER = np.array([19, 20, 22], 'f4')/255 # Furo's dark background, in place of white
INK = .88 # in place of black
LIFT = .5 # how much lighter dark hues get, so that thin lines and words can be read
SEEN = np.array([.2126, .7152, .0722], 'f4') # how light red, green and blue look


def darkened(rgb):
    """Colors for a dark page: white and black change places, and each hue stays

    A color is a mixture of white, black, and a hue. Here is the same mixture of `PAPER`, `INK` and
    a lighter hue. So a pixel at the edge of a line is still between the line and the page.
    """
    red, green, blue = np.moveaxis(rgb, -1, 0)
    white = np.minimum(np.minimum(red, green), blue)[..., None]
    most = np.maximum(np.maximum(red, green), blue)[..., None]
    hue = rgb - white
    lift = LIFT*(most - white - (hue @ SEEN)[..., None])
    return np.clip(hue + lift + PAPER*white + INK*(1 - most), 0, 1)

def heat_maps(rgb):
    "The rectangles, as slices, that hold colored cells side by side"
    colored = np.ptp(rgb, -1) > .025
    solid = ndimage.binary_opening(colored, np.ones((5, 5)))
    near = ndimage.binary_closing(np.pad(solid, 8), np.ones((9, 9)))[8:-8, 8:-8]
    labels, _ = ndimage.label(near)
    for box in ndimage.find_objects(labels):
        height, width = (s.stop - s.start for s in box)
        if min(height, width) > 9 and max(height, width) > 99: yield box

def dark_figure(path, heat_map=False):
    "The figure at `path` for a dark page, as an array; of a heat map, only what surrounds the cells changes"
    picture = imread(path)
    rgb, alpha = picture[..., :3], picture[..., 3:]
    if alpha.size: rgb = rgb*alpha + (1 - alpha) # on white
    dark, boxes = darkened(rgb), list(heat_maps(rgb)) if heat_map else []
    if heat_map and not boxes: return rgb # the cells are gray
    for box in boxes: dark[box] = rgb[box]
    return dark


# --- on the pages

HEAT_MAP = 'heat-map' # the class of a figure with cells that keep their colors
FIGURE = re.compile(r'<img ([^>]*)src="((?:\.\./)*_images/([^"]+)\.png)"([^>]*?)/?>')

def kind(code):
    "The class of the figure that `code` draws"
    return HEAT_MAP if re.search(r'imshow|plot_crosstab|pcolormesh|matshow', code) else ''

class BothThemes:
    "Draws the figures of a site, below the folder `site`, a second time, and lets Furo show one of the two"
    def __init__(self, site): self.site, self.sizes = site, {}

    def __call__(self, page):
        "The HTML `page` with two images for each figure"
        return FIGURE.sub(self.twice, page)

    def twice(self, found):
        before, url, name, after = found.groups()
        if name not in self.sizes:
            path = self.site/'_images'/f'{name}.png'
            dark = dark_figure(path, bool(re.search(f'class="[^"]*{HEAT_MAP}', before + after)))
            imsave(path.with_stem(f'{name}-dark'), (dark*255).round().astype('uint8'))
            self.sizes[name] = dark.shape
        height, width, _ = self.sizes[name]
        rest = f'width="{width}" height="{height}" ' + re.sub(r' ?class="[^"]*"', '', before + after).strip()
        return (f'<img class="only-light" src="{url}" {rest}>'
                f'<img class="only-dark" src="{url[:-4]}-dark.png" loading="lazy" {rest}>')
