"""Where a data set comes from: a name, a folder or a zip, downloaded or unpacked once."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from going_modular.common import files
from going_modular.common.errors import InputError
from going_modular.data import download, zips

DATA_FOLDER = Path(__file__).resolve().parent.parent.parent / "data"
_COMMIT = "baa27b691617461c173ecf3439793cd8cde74e13"
_PHOTOS = f"https://raw.githubusercontent.com/mrdbourke/pytorch-deep-learning/{_COMMIT}/data"
# the same commit from another host, which serves single files of up to 20 MB
_PHOTOS_TOO = f"https://cdn.jsdelivr.net/gh/mrdbourke/pytorch-deep-learning@{_COMMIT}/data"
# photos from Food-101 (Bossard et al., 2014): the zip's addresses and its git blob id
DOWNLOADS = {
    "pizza_steak_sushi": (
        (f"{_PHOTOS}/pizza_steak_sushi.zip", f"{_PHOTOS_TOO}/pizza_steak_sushi.zip"),
        "65f3915a380f5efd456a6a5750f0365350de8dd0",
    ),
    "pizza_steak_sushi_20_percent": (
        (f"{_PHOTOS}/pizza_steak_sushi_20_percent.zip",),
        "dfc8ad2ae9415304d69cc6a0ee443c340cb29049",
    ),
}
# 27,000 satellite images of 64 px in 10 classes (Helber et al., 2019, https://arxiv.org/abs/1709.00029): where
# torchvision gets the zip, where it did before, and the file's SHA-256
EUROSAT = "eurosat"
EUROSAT_URLS = (
    "https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
    "https://madm.dfki.de/files/sentinel/EuroSAT.zip",
)
EUROSAT_SHA256 = "8ebea626349354c5328b142b96d0430e647051f26efc2dc974c843f25ecf70bd"
SAMPLE = "sample"
DEFAULT = "pizza_steak_sushi"


def find(data: str | Path | None) -> tuple[Path, str, str]:
    """Return the folder of a data set, its name, and where its images come from, in a few words.

    Args:
        data: a name, a folder or a zip, as `data_setup.load_splits` takes it.

    Raises:
        InputError: what was named cannot be had.
    """
    if data is None:
        return _default()
    name = str(data)
    if not name:
        raise InputError("Data '' is no name; give a folder, a zip or a data set")
    if name in (*DOWNLOADS, EUROSAT):
        return _download(name), name, "satellite images" if name == EUROSAT else "photos"
    if name == SAMPLE:
        return DATA_FOLDER / SAMPLE, name, "the bundled sample of rendered images"
    path = Path(data)
    if path.is_dir():
        return path, path.resolve().name, f"the folder {path}"
    if path.is_file():
        return _unpack(path), path.stem, f"the zip {path}"
    known = ", ".join([*DOWNLOADS, EUROSAT, SAMPLE])
    raise InputError(f"Data {name!r}: no such folder or zip, nor one of {known}")


@contextlib.contextmanager
def found(data: str | Path | None) -> Iterator[tuple[Path, str, str]]:
    """Give what `find` returns for use in this context; a zip unpacked for it goes again where it is refused there.

    Raises:
        InputError: as `find` does.
    """
    kept = download.cache_folder() / "datasets"
    before = {path.name for path in kept.iterdir()} if os.path.isdir(kept) else set()  # noqa: PTH112 - as in zips
    folder, *words = find(data)
    try:
        yield folder, *words
    except InputError:
        if folder.parent == kept and folder.name not in before:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def from_anywhere(data: str | Path) -> str:
    """Return what names the same data from another current folder: a name as it is, a path from the root on."""
    return str(data) if str(data) in (*DOWNLOADS, EUROSAT, SAMPLE) else str(Path(data).resolve())


def is_here(data: str) -> bool:
    """Tell whether data can be looked for here: a data set's name, or a folder or file that exists."""
    return data in (*DOWNLOADS, EUROSAT, SAMPLE) or Path(data).exists()


def _default() -> tuple[Path, str, str]:
    if not (DATA_FOLDER / DEFAULT).is_dir():
        try:
            _download(DEFAULT)
        except InputError as error:
            reason = "offline" if download.is_offline() else f"the photos cannot be had: {error}"
            return DATA_FOLDER / SAMPLE, SAMPLE, f"the bundled sample of rendered images ({reason})"
    return DATA_FOLDER / DEFAULT, DEFAULT, "photos"


def _download(name: str) -> Path:
    """Return the folder of a named data set, downloaded if it is not there; whole or not at all."""
    folder = DATA_FOLDER / name
    if folder.is_dir():
        return folder
    if name == EUROSAT:
        urls, hashes, inside, file = EUROSAT_URLS, {"sha256": EUROSAT_SHA256}, "2750", "EuroSAT.zip (RGB)"
    else:
        urls, git_blob_id = DOWNLOADS[name]
        hashes, inside, file = {"git_blob_id": git_blob_id}, ".", "that zip"
    if why := download.obstacle(urls):
        raise InputError(f"Data {name!r}: {why}; get {file} elsewhere and pass it as data, or use the data '{SAMPLE}'")
    try:
        with download.turn(folder):
            if not folder.is_dir():  # another process may have made it while this one waited
                _fetch(urls, hashes, folder, inside)
    except InputError as error:
        raise InputError(f"{error}, or use the data '{SAMPLE}'") from error
    except OSError as error:
        raise InputError(
            f"Data {name!r}: {str(DATA_FOLDER)!r} cannot be written ({error.strerror or error}); make it writable, or "
            f"get {file} elsewhere and pass it as data"
        ) from error
    return folder


def _fetch(urls: str | Sequence[str], hashes: dict[str, str], folder: Path, inside: str) -> None:
    """Download a zip and make what is in its folder `inside` the folder of a data set, in one step."""
    archive = folder.with_name(f"{folder.name}.zip")
    download.download(urls, archive, **hashes, description=folder.name)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as unfinished:
        files.rename(zips.unpack(archive, Path(unfinished) / "unpacked") / inside, folder)
    archive.unlink(missing_ok=True)


def _unpack(archive: Path) -> Path:
    """Return the folder of a zip's contents, unpacked once for each content."""
    with files.open_regular(archive) as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    name = f"{archive.stem[:60]}-{content[:32]}"  # the name of a file may be longer than a folder's with this
    folder = download.cache_folder() / "datasets" / name
    return zips.unpack(archive, folder)
