"""Open any photo as upright RGB: the one place that reads image files."""

import contextlib
import functools
import os
import struct
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout
from PIL import Image

from going_modular.common import files
from going_modular.common.errors import InputError, listed
from going_modular.data import upright

PHOTO_EXTENSIONS = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".avif", ".jp2"}
EXTENSIONS = PHOTO_EXTENSIONS | {".ppm", ".pgm", ".pbm", ".pnm"}
HEIF_EXTENSIONS = {".heic", ".heif", ".hif"}  # what phones write; read where pillow-heif is installed

READING = b"2"  # counted up when the pixels that some file gives change: features are found by it

MAX_PIXELS = 2 * (1024**3 // 4 // 3)  # what Pillow refuses above, 179 megapixels
MAX_FILE_BYTES = 2 * 10**9

# Memory that decoders take for a pixel, measured, in bytes: up to 12 but for these. Larger images than fit are refused.
_MAX_DECODING_BYTES = 12 * MAX_PIXELS
_WEBP_BYTES, _JPEG2000_CHANNEL_BYTES = 18, 6.5

# Images above this size, which no usual camera has, wait in line; but not for a process that was suspended.
IN_TURN_PIXELS = 2**26
IN_TURN_SECONDS = 60.0


def open_image(path: str | Path, *, short_side: int | None = None, most_pixels: int | None = None) -> Image.Image:
    """Open an image file as an upright RGB image.

    EXIF rotation is applied, transparency becomes white, and the first frame stands for an animation. Of an image
    longer than `upright.MAX_ASPECT_RATIO` times its width only the centre is kept; every other image keeps its size.

    With `short_side`, a JPEG may be decoded at a half, a quarter or an eighth of its size, which takes a fraction of
    the time: whichever leaves twice that side. Resized to it, pixels are off by about 0.2 of 255, or where its sides
    are no multiples of that fraction by about 1, as the picture lies off by up to a quarter of a pixel. An image of
    less than four times that side, and one in another format, is the same as without.

    Greys of 16 or 32 bits and floats are scaled to 8 bits by what the file says or holds, whatever other files hold:

    - negative values: the lowest becomes black and the highest white; or 0 and 1, or 0 and 255, where the values go
      beyond these by a fifth at most, as resizing and sharpening leave them;
    - else 0 is black, and white is what a TIFF states (SMaxSampleValue, MaxSampleValue or BitsPerSample), if that is
      less than what the file has room for and no value is above it;
    - else, for integers, and for floats that are whole and fit 16 bits: the white of the fewest bits that hold the
      values, of 1, 4, 8, 10, 12, 14, 16 and any above;
    - else, for floats: 1 where the highest is from 1/16 to 1, 255 where it is from 128 to 255, or else the highest.

    NaN, minus infinity, numbers beyond 1e30 and a TIFF's GDAL_NODATA become black, infinity becomes white, and none of
    them counts for the scale. An image of one value has the value that the scale gives it; if it is negative, black.

    Memory is bounded. Decoding and conversion take up to 12 bytes a pixel, as a rule 8, and 4 remain: 2.2 GB at most.
    Of images above `IN_TURN_PIXELS`, 67 megapixels, a user's processes and threads decode one at a time, so that with
    N of them it is (N - 1) * 0.8 + 2.2 GB at most. WebP takes 18 bytes a pixel and JPEG 2000 6.5 a channel: their
    largest are refused.

    Args:
        path: File in one of `upright.FORMATS`, told by its content, whatever its extension.
        short_side: What its short side will be resized to, in pixels, as `resizing.short_side` tells; None to keep the
            image's size.
        most_pixels: Refuse images of more; None for `MAX_PIXELS`, above which all are refused.

    Returns:
        Image in mode "RGB", 8 bits a channel, decoded, its file closed, without metadata.

    Raises:
        InputError: If the file cannot be read, is no image or a truncated one, or has more pixels, or
            more bytes than `MAX_FILE_BYTES`.
    """
    try:
        return _read(Path(path), short_side, most_pixels)
    except InputError as error:
        raise InputError(f"Cannot open image {str(path)!r}: {error}") from error


def upright_rgb(image: Image.Image) -> Image.Image:
    """Return what `open_image` would make of the file that a PIL image came from; the image stays as it is.

    Args:
        image: of any mode, perhaps not decoded yet.

    Raises:
        InputError: If the image cannot be decoded, or has no pixels or more than `MAX_PIXELS`.
    """
    try:
        with _reasons():
            return _convert(image)
    except InputError as error:
        raise InputError(f"Cannot use the image {getattr(image, 'filename', '')!r}: {error}") from error


def is_image_file(path: str | Path) -> bool:
    """Tell by its name whether a file is an image; hidden files, such as macOS's `._photo.jpg`, are not."""
    path = Path(path)
    extension = path.suffix.lower()
    is_known = extension in EXTENSIONS or (extension in HEIF_EXTENSIONS and _reads_heif())
    return is_known and not files.is_hidden(path.name)


def find_unreadable(paths: Iterable[str | Path]) -> list[str]:
    """Decode every image and collect what is wrong with those that cannot be opened.

    JPEGs are decoded at a fraction of their size: what is damaged shows there, too.

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
        InputError: images that cannot be opened; the first of many are named.
    """
    if problems := find_unreadable(paths):
        raise InputError(f"{len(problems)} unreadable: {listed(problems)}")


def find_problem(path: str | Path) -> str | None:
    """Return the one-line message of `open_image`, or None for an image that opens."""
    try:
        open_image(path, short_side=1)
    except InputError as error:
        return str(error)
    return None


def _read(path: Path, short_side: int | None, most_pixels: int | None) -> Image.Image:
    """Open an image as `open_image` does; raise InputError without the path."""
    with _reasons(), files.open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_FILE_BYTES:
            raise InputError(
                f"it is too large ({size / 1e9:.1f} GB; the limit is {MAX_FILE_BYTES / 1e9:.0f}); shrink it"
            )
        return _convert(_open_header(file), short_side, most_pixels)


@contextlib.contextmanager
def _reasons() -> Iterator[None]:
    """Turn whatever reading an image raises into an InputError with the reason and the remedy."""
    try:
        yield
    except InputError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError("there is no such file; check the path") from error
    except PermissionError as error:
        raise InputError("permission denied; make the file readable") from error
    except Exception as error:  # on broken files Pillow's decoders raise nearly anything, struct.error to MemoryError
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"it is damaged or incomplete ({reason}); replace or remove it") from error


def _convert(image: Image.Image, short_side: int | None = None, most_pixels: int | None = None) -> Image.Image:
    """Decode an image of which the header has been read, and make it upright RGB."""
    _check_size(image, most_pixels)
    with _in_turn() if image.width * image.height > IN_TURN_PIXELS else contextlib.nullcontext():
        decoded = upright.decode(image, short_side)
        del image  # its memory is wanted
        return upright.straighten(*decoded)


def _check_size(image: Image.Image, most_pixels: int | None = None) -> None:
    """Raise where an image has no pixels, or more than there should be memory for."""
    pixels = image.width * image.height
    decoding = {"WEBP": _WEBP_BYTES, "JPEG2000": _JPEG2000_CHANNEL_BYTES * len(image.getbands())}
    limit = min(most_pixels or MAX_PIXELS, MAX_PIXELS, int(_MAX_DECODING_BYTES / decoding.get(image.format, 1)))
    if pixels > limit:
        size = f"{image.width}x{image.height}, {pixels / 1e6:.0f} megapixels"
        raise InputError(f"it is too large ({size}; the limit is {limit / 1e6:.0f}); shrink it")
    if not pixels:
        raise InputError(f"it has no pixels ({image.width}x{image.height}); replace or remove it")


def _open_header(file: BinaryIO) -> Image.Image:
    """Find the format and read the size, as Image.open does.

    Image.open itself warns about large images, and silencing a warning (`warnings.catch_warnings`) is not thread-safe.
    """
    Image.init()
    _reads_heif()
    prefix = file.read(16)
    if not prefix:
        raise InputError("the file is empty; replace or remove it")
    for name in upright.FORMATS:
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
def _in_turn() -> Iterator[None]:
    """Wait until no other process or thread of this user decodes a large image; the system frees a dead one's lock.

    Meanwhile Pillow's warnings of sizes that we allow are silent: silencing, too, is for one thread at a time.
    """
    from going_modular.data import download  # late: it brings the network

    with contextlib.ExitStack() as stack:
        with contextlib.suppress(Timeout, OSError):  # without a folder to write to there is no turn to wait for
            files.make_private(download.cache_folder())
            stack.enter_context(FileLock(download.cache_folder() / "large_image.lock", timeout=IN_TURN_SECONDS))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


@functools.cache
def _reads_heif() -> bool:
    """Tell whether pillow-heif is here, and let Pillow open photos of phones with it."""
    try:
        import pillow_heif

        pillow_heif.register_heif_opener()
    except (ImportError, OSError):  # OSError: a library that it needs is missing
        return False
    return True
