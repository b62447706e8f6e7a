"Each figure of the site a second time, for a dark page"
import re
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

PAPER = np.array([19, 20, 22], 'f4')/255 # Furo's dark background, in place of white
INK = .88 # in place of black
LIFT = .1 # colors get a little lighter, so that thin lines and words can be read


def darkened(rgb):
    """Colors for a dark page: white and black change places, and each hue stays

    A color is a mixture of white, black, and a pure hue. The same mixture of `PAPER`, `INK` and
    the hue is linear in the color for each hue, so edges stay smooth and what shines through does
    so still.
    """
    red, green, blue = np.moveaxis(rgb, -1, 0)
    white = np.minimum(np.minimum(red, green), blue)[..., None]
    most = np.maximum(np.maximum(red, green), blue)[..., None]
    dark = (rgb - white) + LIFT*(most - white) + PAPER*white + INK*(1 - most)
    return np.clip(dark, 0, 1)

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
    "The figure at `path` for a dark page; of a heat map, only what surrounds the cells changes"
    image = Image.open(path).convert('RGBA')
    rgb = np.asarray(Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image))[..., :3]/np.float32(255)
    dark, boxes = darkened(rgb), list(heat_maps(rgb)) if heat_map else []
    if heat_map and not boxes: return image # the cells are gray
    for box in boxes: dark[box] = rgb[box]
    return Image.fromarray((dark*255).round().astype('uint8'))


# --- on the pages

HEAT_MAP = 'heat-map' # the class of a figure with cells that keep their colors
FIGURE = re.compile(r'<img ([^>]*)src="((?:\.\./)*_images/([^"]+)\.png)"([^>]*?)/?>')

def kind(code):
    "The class of the figure that `code` draws"
    return HEAT_MAP if re.search(r'imshow|plot_crosstab|pcolormesh|matshow', code) else ''

class BothThemes:
    "Draws the figures of a site, below the folder `site`, a second time, and lets Furo show one of the two"
    def __init__(self, site): self.site, self.dark = site, {}

    def __call__(self, page):
        "The HTML `page` with two images for each figure"
        return FIGURE.sub(self.twice, page)

    def twice(self, found):
        before, url, name, after = found.groups()
        if name not in self.dark:
            path = self.site/'_images'/f'{name}.png'
            self.dark[name] = dark_figure(path, HEAT_MAP in before + after)
            self.dark[name].save(path.with_stem(f'{name}-dark'))
        width, height = self.dark[name].size
        rest = f'width="{width}" height="{height}" ' + re.sub(r' ?class="[^"]*"', '', before + after).strip()
        return (f'<img class="only-light" src="{url}" {rest}>'
                f'<img class="only-dark" src="{url[:-4]}-dark.png" loading="lazy" {rest}>')
