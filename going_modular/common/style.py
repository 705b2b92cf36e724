"""How the figures of a notebook look: colours, sizes, and pictures that stay sharp on any screen."""

from io import BytesIO

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

# Okabe and Ito (2008), "Color universal design", told apart by the colour-blind; yellow and black are left out, which
# are hard to see on white and on a dark page
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SETTINGS = {
    "axes.prop_cycle": mpl.cycler(color=COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "font.size": 10.5,
    "grid.alpha": 0.3,
    "legend.fontsize": 9.5,
    "lines.linewidth": 1.8,
}
SHOWN_DPI, SHARPNESS = 72, 2  # dots an inch on a page, and how many of a picture stand for each along a side
PALETTE, MANY = 256, 1 << 15  # colours of a PNG: a chart has few; of a picture that has photos in it more than MANY
TILE, TRUE = 8, 9  # pixels of a tile's side; levels of 255 by which a palette may change a tile's mean colour
JPEG_QUALITY = 75


def style() -> None:
    """Make the figures of this notebook, or of this process, look like the course's.

    Colours can be told apart by the colour-blind. Notebooks show each figure with twice the dots of the page along a
    side, as screens of today have them, and keep it as a PNG or as a JPEG, whichever is smaller; of photos a JPEG is. A
    PNG of few colours is kept only where these are true: a chart has few colours, a photo in it has not.
    """
    mpl.rcParams.update(SETTINGS)
    try:
        from IPython import get_ipython
    except ImportError:  # no notebook without it
        return
    if (shell := get_ipython()) is None:
        return
    from matplotlib import pyplot as plt

    plt.switch_backend(mpl.get_backend())  # chosen only now, it would register its own way of showing figures later
    formatter = shell.display_formatter
    for shows in formatter.formatters.values():
        shows.pop(Figure, None)
    formatter.mimebundle_formatter.for_type(Figure, _show)


def picture(figure: Figure) -> tuple[str, bytes, tuple[int, int]]:
    """Return a figure as a picture: its media type, its bytes, and the width and height that it is shown with."""
    buffer = BytesIO()
    options = {"dpi": SHOWN_DPI * SHARPNESS, "bbox_inches": "tight", "facecolor": "white"}
    figure.savefig(buffer, format="png", pil_kwargs={"compress_level": 1}, **options)
    drawn = Image.open(buffer).convert("RGB")
    media_type, data = "image/jpeg", _encoded(drawn, "jpeg", quality=JPEG_QUALITY)
    if drawn.getcolors(MANY):  # None: more than so many, and a palette for them takes seconds to find
        few_colours = drawn.quantize(PALETTE, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        is_true = largest_change(drawn, few_colours) <= TRUE
        png = _encoded(few_colours if is_true else drawn, "png")
        if len(png) <= len(data):
            media_type, data = "image/png", png
    return media_type, data, (drawn.width // SHARPNESS, drawn.height // SHARPNESS)


def largest_change(before: Image.Image, after: Image.Image) -> float:
    """Return by how much the mean colour of a tile changes at most, in levels from 0 to 255 of red, green or blue.

    A mean, since the edge of a line may change and nobody sees it, while an area of another colour is seen.
    """
    change = np.asarray(after.convert("RGB"), dtype=np.float32) - np.asarray(before.convert("RGB"), dtype=np.float32)
    rows, columns = change.shape[0] // TILE, change.shape[1] // TILE
    tiles = change[: rows * TILE, : columns * TILE].reshape(rows, TILE, columns, TILE, 3)
    return float(np.abs(tiles.mean(axis=(1, 3))).max(initial=0))


def _encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    image.save(buffer := BytesIO(), kind, optimize=True, **options)
    return buffer.getvalue()


def _show(figure: Figure, **_: object) -> tuple[dict[str, bytes], dict[str, dict[str, int]]]:
    media_type, data, (width, height) = picture(figure)
    return {media_type: data}, {media_type: {"width": width, "height": height}}
