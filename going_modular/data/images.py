"""Open any photo as upright RGB: the one place that reads image files."""

import contextlib
import os
import struct
import threading
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image

from going_modular.common import files
from going_modular.common.errors import InputError

PHOTO_EXTENSIONS = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".avif", ".jp2"}
EXTENSIONS = PHOTO_EXTENSIONS | {".ppm", ".pgm", ".pbm", ".pnm"}

# Pillow's names. Its other readers are for documents (EPS starts Ghostscript), icons and textures: not for photos
# that strangers sent.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "PPM", "JPEG2000")

# Pillow warns above the first number of pixels and refuses above twice that.
LARGE_PIXELS = 1024**3 // 4 // 3
MAX_PIXELS = 2 * LARGE_PIXELS

# Resizing by the short side multiplies the long one: a 1x4000 strip at 224 pixels would ask for gigabytes.
MAX_ASPECT_RATIO = 8

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_one_large_image = threading.Lock()


def open_image(path: str | Path) -> Image.Image:
    """Open an image file as an upright RGB image.

    EXIF rotation is applied, transparency becomes white, 16-bit and float greyscale is scaled to 8 bits, and the first
    frame stands for an animation. Of an image longer than `MAX_ASPECT_RATIO` times its width only the centre is kept;
    every other image keeps its size.

    Args:
        path: File in one of the `FORMATS`, told by its content, whatever its extension.

    Returns:
        Image in mode "RGB", 8 bits a channel, decoded, its file closed, without metadata.

    Raises:
        InputError: If the file cannot be read, is no image or a truncated one, or has more than `MAX_PIXELS`.
    """
    try:
        return _read(Path(path))
    except InputError as error:
        raise InputError(f"Cannot open image {str(path)!r}: {error}") from error


def is_image_file(path: str | Path) -> bool:
    """Tell by its name whether a file is an image; hidden files, such as macOS's `._photo.jpg`, are not."""
    path = Path(path)
    return path.suffix.lower() in EXTENSIONS and not files.is_hidden(path.name)


def is_visible_in(folder: Path, path: Path) -> bool:
    """Tell whether a file in a folder, at any depth, is an image and no copy in `.ipynb_checkpoints` and the like."""
    return is_image_file(path) and not any(map(files.is_hidden, path.relative_to(folder).parts[:-1]))


def find_unreadable(paths: Iterable[str | Path]) -> list[str]:
    """Decode every image and collect what is wrong with those that cannot be opened.

    Args:
        paths: Image files.

    Returns:
        The one-line messages of `open_image`, in the order of the paths; empty if all images open.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow releases the GIL
        return [problem for problem in pool.map(find_problem, paths) if problem]


def check_readable(paths: Iterable[str | Path]) -> None:
    """Decode every image.

    Raises:
        InputError: images that cannot be opened; all are named.
    """
    if problems := find_unreadable(paths):
        raise InputError(f"{len(problems)} unreadable: {'; '.join(problems)}")


def find_problem(path: str | Path) -> str | None:
    """Return the one-line message of `open_image`, or None for an image that opens."""
    try:
        open_image(path)
    except InputError as error:
        return str(error)
    return None


def _read(path: Path) -> Image.Image:
    """Open an image as `open_image` does; raise InputError without the path."""
    try:
        # Opening a named pipe or a device could wait for ever.
        if path.exists() and not path.is_file():
            raise InputError(f"it is a {'folder' if path.is_dir() else 'device or pipe'}; name an image file")
        with path.open("rb") as file:
            return _decode(file)
    except InputError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError("there is no such file; check the path") from error
    except PermissionError as error:
        raise InputError("permission denied; make the file readable") from error
    except Exception as error:  # on broken files Pillow's decoders raise nearly anything, struct.error to MemoryError
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"it is damaged or incomplete ({reason}); replace or remove it") from error


def _decode(file: BinaryIO) -> Image.Image:
    image = _open_header(file)
    pixels = image.width * image.height
    if pixels > MAX_PIXELS:
        size = f"{image.width}x{image.height}, {pixels / 1e6:.0f} megapixels"
        raise InputError(f"it is too large ({size}; the limit is {MAX_PIXELS / 1e6:.0f}); shrink it")
    if not pixels:
        raise InputError(f"it has no pixels ({image.width}x{image.height}); replace or remove it")

    with _without_size_warning() if pixels > LARGE_PIXELS else contextlib.nullcontext():
        image.load()
        upright = _to_rgb(image)
        turn = _TURNS.get(_orientation(image))
        if turn is not None:
            upright = upright.transpose(turn)
        upright = _crop_strip(upright)

    # Metadata of the file no longer fits: whoever honoured its rotation would turn the image twice.
    upright.info = {}
    return upright


def _open_header(file: BinaryIO) -> Image.Image:
    """Find the format and read the size, as Image.open does.

    Image.open itself warns about large images, and silencing a warning (`warnings.catch_warnings`) is not thread-safe.
    """
    Image.init()
    prefix = file.read(16)
    if not prefix:
        raise InputError("the file is empty; replace or remove it")
    for name in FORMATS:
        factory, accepts = Image.OPEN.get(name, (None, None))
        try:
            # Not True but a string: Pillow was built without the library for this format.
            if factory is not None and accepts(prefix) is True:
                file.seek(0)
                return factory(file, "")
        except (SyntaxError, IndexError, TypeError, struct.error):  # as in Image.open: it only looked like this format
            continue
    raise InputError("it is no image in a format that Pillow reads here; convert it to JPEG or PNG")


@contextlib.contextmanager
def _without_size_warning() -> Iterator[None]:
    """Keep Pillow from warning about sizes that we allow; large images wait in line, which bounds memory too."""
    with _one_large_image, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _scale_to_eight_bits(image).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _scale_to_eight_bits(image: Image.Image) -> Image.Image:
    """Turn a 16-bit, 32-bit or float greyscale image into mode "L"; Pillow's own conversion clips at 255."""
    import numpy as np

    values = np.asarray(image)
    if image.mode == "F":
        values = np.nan_to_num(values)
        values = np.rint(values * 255 if values.max() <= 1 else values)
    else:
        # The high byte, as Pillow does for 16-bit colour. Mode "I" is 16 bits too, unless a value says otherwise.
        values = values >> (max(16, int(values.max()).bit_length()) - 8)
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _orientation(image: Image.Image) -> int:
    """Read the EXIF orientation, 1 to 8, of a loaded image; ImageOps.exif_transpose fails on broken metadata."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # the parser raises nearly anything; a photo with broken metadata is still a photo
        return 1


def _crop_strip(image: Image.Image) -> Image.Image:
    """Centre-crop an image longer than MAX_ASPECT_RATIO times its width, or the reverse."""
    width, height = image.size
    new_width = min(width, height * MAX_ASPECT_RATIO)
    new_height = min(height, width * MAX_ASPECT_RATIO)
    if (new_width, new_height) == (width, height):
        return image
    left, top = (width - new_width) // 2, (height - new_height) // 2
    return image.crop((left, top, left + new_width, top + new_height))
