"""An album: the images of one browser, by class, as files in a folder of their own."""

import hashlib
import shutil
import tempfile
import threading
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from going_modular.classroom import limits
from going_modular.common.errors import InputError, listed
from going_modular.data import images, walk, zips

ZIP = "images.zip"  # class folders, to take home
THUMBNAIL = 160  # pixels, the longer side


@dataclass(frozen=True)
class Picture:
    """An image in a class."""

    path: Path
    thumbnail: Path
    digest: bytes  # of its contents
    size: int  # bytes
    from_burst: bool  # a webcam's


@dataclass
class Added:
    """What became of files that were sent."""

    counts: Counter[str] = field(default_factory=Counter)  # images, by class
    problems: list[str] = field(default_factory=list)

    def sentence(self) -> str:
        """Say it in a line."""
        said = [f"{count} image{'s' if count > 1 else ''} added to {name!r}" for name, count in self.counts.items()]
        if self.problems:
            said.append(f"{len(self.problems)} not taken: {listed(self.problems)}")
        return "; ".join(said) or "No image in it"


class Album:
    """Images by class, in a folder that goes with it. Every method may be called from any thread.

    Args:
        folder: to make; nothing else writes there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.classes: dict[str, list[Picture]] = {}
        self._count = 0
        self._lock = threading.RLock()
        self._images, self._thumbnails = folder / "images", folder / "thumbnails"
        for place in (self._images, self._thumbnails):
            place.mkdir(parents=True)

    def pictures(self, name: str) -> list[Picture]:
        """Return the images of a class, in the order in which they came."""
        with self._lock:
            return list(self.classes[self._known(name)])

    @property
    def has_bursts(self) -> bool:
        """Whether there are images of a burst, which look alike."""
        return any(picture.from_burst for pictures in self.classes.values() for picture in pictures)

    def add_class(self, text: str) -> str:
        """Add a class without images; return its name in its one spelling.

        Raises:
            InputError: it cannot be a class's name, or there are too many classes.
        """
        with self._lock:
            name = limits.class_name(text, self.classes)
            (self._images / name).mkdir()
            self.classes[name] = []
            return name

    def remove_class(self, name: str) -> None:
        """Remove a class with its images.

        Raises:
            InputError: there is no such class.
        """
        with self._lock:
            for _ in range(len(self.classes[self._known(name)])):
                self.remove(name, 0)
            shutil.rmtree(self._images / name)
            del self.classes[name]

    def remove(self, name: str, index: int) -> Picture:
        """Remove one image of a class, by its place, and return what it was.

        Raises:
            InputError: there is no such class or image.
        """
        with self._lock:
            pictures = self.classes[self._known(name)]
            if not 0 <= index < len(pictures):
                raise InputError(f"Choose one of the {len(pictures)} images of {name!r} first")
            picture = pictures.pop(index)
            for path in (picture.path, picture.thumbnail):
                path.unlink(missing_ok=True)
            return picture

    def add(self, name: str | None, paths: Sequence[str | Path], *, from_burst: bool = False) -> Added:
        """Add copies of image files, and of the images in zips, to a class.

        A zip of class folders adds to the classes of these names, new ones if need be.

        Args:
            name: the class; None where there are zips of class folders only.
            paths: files that somebody sent.
            from_burst: whether they are frames of a webcam.

        Returns:
            What was added, and what was not, and why; nothing that was there before is lost.
        """
        added = Added()
        with self._lock:
            others = []
            for path in map(Path, paths):
                if path.suffix.lower() == ".zip":
                    self._add_zip(name, path, added)
                elif images.is_image_file(path):
                    self._try(name, path, added, from_burst=from_burst)
                else:
                    others.append(path)
            if others:
                added.problems.append(f"{walk.count_extensions(others)}: no images or zips; convert photos to JPEG")
        return added

    def pack(self) -> Path:
        """Write all images as class folders into a zip, to take home; return it.

        Raises:
            InputError: there are none.
        """
        with self._lock:
            if not any(self.classes.values()):
                raise InputError("There are no images yet")
            paths = [picture.path for pictures in self.classes.values() for picture in pictures]
            return self._pack(self.folder / ZIP, paths)

    def close(self) -> None:
        """Forget all of it, on the disk, too."""
        with self._lock:
            self.classes = {}
            shutil.rmtree(self.folder, ignore_errors=True)

    def _known(self, name: str | None) -> str:
        if name not in self.classes:
            raise InputError("Add a class first, by its name" if not self.classes else "Choose a class first")
        return name

    def _add_zip(self, name: str | None, archive: Path, added: Added) -> None:
        """Add the images of a zip: to the classes that its folders name, or all to one."""
        try:
            _check_bytes(archive, limits.MOST_ZIP_BYTES)
            if (size := zips.unpacked_bytes(archive)) > limits.MOST_BYTES:
                raise InputError(
                    f"{archive.name!r} would unpack to {size / 1e6:,.0f} MB; the limit is {limits.MOST_BYTES / 1e6:.0f}"
                )
            with tempfile.TemporaryDirectory(dir=self.folder) as place:
                folder = zips.unpack(archive, Path(place) / "unpacked")
                [contents] = walk.walk(folder)
                # one more than there can be, so that it is told
                for path in sorted(contents.images, key=walk.order)[: limits.MOST_IMAGES + 1]:
                    self._try(self._class_of(path.relative_to(folder), name), path, added)
        except InputError as error:
            added.problems.append(str(error).replace(str(archive), archive.name))

    def _class_of(self, inside: Path, name: str | None) -> str | None:
        """Return the class of an image in a zip, by the folder that it lies in; one that is new is added."""
        if len(inside.parts) < 2:
            return name
        folder = limits.canonical(inside.parts[-2])
        known = {name.casefold(): name for name in self.classes}
        return known.get(folder.casefold()) or self.add_class(folder)

    def _try(self, name: str | None, path: Path, added: Added, *, from_burst: bool = False) -> None:
        """Add a copy of one image file, or say why not."""
        try:
            known = self._known(name)
            self.classes[known].append(self._take(known, path, from_burst=from_burst))
            added.counts[known] += 1
        except (InputError, OSError) as error:
            added.problems.append(str(error).replace(str(path), path.name))

    def _take(self, name: str, path: Path, *, from_burst: bool) -> Picture:
        """Check an image file, and copy it to its class, byte for byte."""
        everything = [(owner, picture) for owner, pictures in self.classes.items() for picture in pictures]
        if len(everything) >= limits.MOST_IMAGES:
            raise InputError(f"{path.name!r}: there are {limits.MOST_IMAGES} images, which is the most")
        size = _check_bytes(path, limits.MOST_IMAGE_BYTES)
        if size + sum(picture.size for _, picture in everything) > limits.MOST_BYTES:
            raise InputError(f"{path.name!r}: the images would exceed {limits.MOST_BYTES / 1e6:.0f} MB in all")
        digest = hashlib.sha256(path.read_bytes()).digest()
        if owner := next((owner for owner, picture in everything if picture.digest == digest), None):
            raise InputError(f"{path.name!r} is in {owner!r} already")
        small = images.open_image(path, short_side=THUMBNAIL, most_pixels=limits.MOST_PIXELS)
        self._count += 1
        target = self._images / name / f"{self._count:05}{path.suffix.lower()}"
        thumbnail = self._thumbnails / f"{self._count:05}.jpg"
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        small.save(thumbnail, quality=85)
        shutil.copyfile(path, target)
        return Picture(target, thumbnail, digest, size, from_burst)

    @staticmethod
    def _pack(archive: Path, paths: Sequence[Path]) -> Path:
        """Write image files into a zip, each in the folder of its class."""
        try:
            with zipfile.ZipFile(archive, "w") as packed:  # stored: photos do not get smaller
                for path in sorted(paths, key=walk.order):
                    packed.write(path, f"{path.parent.name}/{path.name}")
        except OSError as error:
            archive.unlink(missing_ok=True)
            raise InputError(f"Cannot write {str(archive)!r}: {error.strerror or error}; make room") from error
        return archive


def _check_bytes(path: Path, most: int) -> int:
    """Return the size of a file.

    Raises:
        InputError: it is larger than that.
    """
    size = path.stat().st_size
    if size > most:
        raise InputError(f"{path.name!r} has {size / 1e6:,.0f} MB; the limit is {most / 1e6:.0f}")
    return size
