"""Work on a large image a tile at a time, so that what comes between takes the memory of a tile."""

from collections.abc import Iterator

from PIL import Image

TILE_PIXELS = 2**22


def tiles(image: Image.Image) -> Iterator[tuple[tuple[int, int], Image.Image]]:
    """Yield the upper left corner (x, y) and the pixels of each tile, of `TILE_PIXELS` at most.

    Tiles are as wide as the image, but for one of more than `TILE_PIXELS` columns, and come from the top down.
    """
    width, height = image.size
    columns = min(width, TILE_PIXELS)
    rows = min(height, TILE_PIXELS // columns)
    if (columns, rows) == (width, height):
        yield (0, 0), image
        return
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield (left, top), image.crop((left, top, min(left + columns, width), min(top + rows, height)))
