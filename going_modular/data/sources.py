"""Where a data set comes from: a name, a folder or a zip, downloaded or unpacked once."""

import hashlib
import tempfile
from pathlib import Path

from torchvision.datasets import EuroSAT

from going_modular.common.errors import InputError
from going_modular.data import download, zips

DATA_FOLDER = Path(__file__).resolve().parent.parent.parent / "data"
_PHOTOS = (
    "https://raw.githubusercontent.com/mrdbourke/pytorch-deep-learning/baa27b691617461c173ecf3439793cd8cde74e13/data"
)
# photos from Food-101 (Bossard et al., 2014): the zip's address and its git blob id
DOWNLOADS = {
    "pizza_steak_sushi": (f"{_PHOTOS}/pizza_steak_sushi.zip", "65f3915a380f5efd456a6a5750f0365350de8dd0"),
    "pizza_steak_sushi_20_percent": (
        f"{_PHOTOS}/pizza_steak_sushi_20_percent.zip",
        "dfc8ad2ae9415304d69cc6a0ee443c340cb29049",
    ),
}
# 27,000 satellite images of 64 px in 10 classes (Helber et al., 2019, https://arxiv.org/abs/1709.00029)
EUROSAT, EUROSAT_HOST = "eurosat", "https://huggingface.co"
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
    if name in DOWNLOADS:
        return _download(name), name, "photos"
    if name == EUROSAT:
        return _download_eurosat(), name, "satellite images"
    if name == SAMPLE:
        return DATA_FOLDER / SAMPLE, name, "the bundled sample of rendered images"
    path = Path(data)
    if path.is_dir():
        return path, path.resolve().name, f"the folder {path}"
    if path.is_file():
        return _unpack(path), path.stem, f"the zip {path}"
    known = ", ".join([*DOWNLOADS, EUROSAT, SAMPLE])
    raise InputError(f"Data {name!r}: no such folder or zip, nor one of {known}")


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
    """Return the folder of a named data set, downloaded if it is not there."""
    folder = DATA_FOLDER / name
    if folder.is_dir():
        return folder
    url, git_blob_id = DOWNLOADS[name]
    if not download.is_reachable(url):
        why = "GOING_MODULAR_OFFLINE is set" if download.is_offline() else f"{url} cannot be reached"
        raise InputError(
            f"Data {name!r}: {why}; get that zip elsewhere and pass it as data, or use the data '{SAMPLE}'"
        )
    archive = download.download(url, DATA_FOLDER / f"{name}.zip", git_blob_id=git_blob_id, description=name)
    zips.unpack(archive, folder)
    archive.unlink(missing_ok=True)
    return folder


def _download_eurosat() -> Path:
    """Return the folder of EuroSAT, downloaded by torchvision if it is not there; whole or not at all."""
    folder = DATA_FOLDER / EUROSAT
    if folder.is_dir():
        return folder
    remedy = f"get EuroSAT.zip (RGB) elsewhere and pass it as data, or use the data '{SAMPLE}'"
    if not download.is_reachable(EUROSAT_HOST):
        why = "GOING_MODULAR_OFFLINE is set" if download.is_offline() else f"{EUROSAT_HOST} cannot be reached"
        raise InputError(f"Data {EUROSAT!r}: {why}; {remedy}")
    DATA_FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{EUROSAT}-", dir=DATA_FOLDER) as unfinished:
        try:
            EuroSAT(unfinished, download=True)
            (Path(unfinished) / EUROSAT / "2750").rename(folder)
        except (OSError, RuntimeError) as error:  # RuntimeError: not the file that torchvision knows
            if not folder.is_dir():  # else another process was faster
                raise InputError(f"Data {EUROSAT!r} cannot be downloaded: {error}; {remedy}") from error
    return folder


def _unpack(archive: Path) -> Path:
    """Return the folder of a zip's contents, unpacked once for each content."""
    with archive.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    name = f"{archive.stem[:60]}-{content[:12]}"  # the name of a file may be longer than a folder's with this
    folder = download.cache_folder() / "datasets" / name
    return zips.unpack(archive, folder)
