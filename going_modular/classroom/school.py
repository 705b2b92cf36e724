"""All classrooms of the app: one a browser, which nobody else sees, and what they share, a backbone."""

import importlib
import shutil
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from filelock import FileLock, Timeout

from going_modular.classroom.classifier import Backbone, Classifier
from going_modular.classroom.room import Classroom
from going_modular.common import files
from going_modular.common.errors import InputError

PREFIX, LOCK = "going-modular-app-", "in-use.lock"
MOST_CLASSROOMS = 100
IDLE_SECONDS = 4 * 3600.0  # after which a classroom may go where there is no room for another
AWAY_SECONDS = 600.0  # after which that of a closed page goes: a laptop's lid closes pages, too


class School:
    """Classrooms by key, in a temporary folder that goes with the app; what a killed one left goes, too.

    Args:
        backbone: that classrooms train heads on; None where nothing is taught.
        model_name: its name.
        loaded: the classifier of a checkpoint, for browsers that have taught none.
    """

    def __init__(self, backbone: Backbone | None, model_name: str, loaded: Classifier | None) -> None:
        self.backbone, self.model_name, self.loaded = backbone, model_name, loaded
        _sweep(Path(tempfile.gettempdir()))
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._in_use = FileLock(self.folder / LOCK)
        self._in_use.acquire()
        self._workers = ThreadPoolExecutor(1, thread_name_prefix="features")
        self._workers.submit(
            importlib.import_module, "sklearn.model_selection"
        )  # half a second, for the first training
        self._rooms: dict[str, tuple[Classroom, float]] = {}  # and when it was last used
        self._away: dict[str, threading.Timer] = {}
        self._lock = threading.Lock()

    def classroom(self, key: str) -> Classroom:
        """Return the classroom of a browser, a new one where it has none.

        Raises:
            InputError: there are too many.
        """
        if self.backbone is None:
            raise InputError("Nothing is taught here")
        with self._lock:
            self._come_back(key)
            if key not in self._rooms:
                self._make_room()
                folder = Path(tempfile.mkdtemp(dir=self.folder))
                self._rooms[key] = Classroom(folder / "room", self.backbone, self.model_name, self._workers), 0.0
            room, _ = self._rooms[key]
            self._rooms[key] = room, time.monotonic()
            return room

    def classifier(self, key: str) -> Classifier:
        """Return what a browser has taught, or the checkpoint's classifier.

        Raises:
            InputError: there is neither.
        """
        room, _ = self._rooms.get(key, (None, 0.0))
        if room is not None and room.lesson is not None:
            return room.lesson.classifier
        if self.loaded is None:
            raise InputError("There is no model yet: teach one in the tab Teach, or start the app with --checkpoint")
        return self.loaded

    def leave(self, key: str) -> None:
        """Let a browser's classroom go, unless it comes back within ten minutes."""
        with self._lock:
            self._come_back(key)
            if key in self._rooms:
                self._away[key] = timer = threading.Timer(AWAY_SECONDS, self.forget, [key])
                timer.daemon = True
                timer.start()

    def forget(self, key: str) -> None:
        """Remove a browser's classroom, if it has one."""
        with self._lock:
            self._come_back(key)
            room, _ = self._rooms.pop(key, (None, 0.0))
        if room is not None:
            _remove(room)

    def close(self) -> None:
        """Remove all of it."""
        self._workers.shutdown(wait=False, cancel_futures=True)
        for key in list(self._rooms):
            self.forget(key)
        self._in_use.release()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _come_back(self, key: str) -> None:
        if timer := self._away.pop(key, None):
            timer.cancel()

    def _make_room(self) -> None:
        """Let the classroom go that was idle for longest, where there are as many as there can be."""
        if len(self._rooms) < MOST_CLASSROOMS:
            return
        key, (room, used) = min(self._rooms.items(), key=lambda item: item[1][1])
        if time.monotonic() - used < IDLE_SECONDS:
            raise InputError(f"There are {MOST_CLASSROOMS} classrooms in use, which is the most; come back later")
        del self._rooms[key]
        _remove(room)


def _remove(room: Classroom) -> None:
    """Close a classroom, and remove the folder that was made for it."""
    room.close()
    shutil.rmtree(room.folder.parent, ignore_errors=True)


def _sweep(place: Path) -> None:
    """Remove what apps left that were killed: nobody holds their lock."""
    for folder in place.glob(f"{PREFIX}*"):
        if not (folder / LOCK).is_file() or files.why_not_private(folder):
            continue
        try:
            with FileLock(folder / LOCK, timeout=0):
                pass
        except (Timeout, OSError):
            continue
        shutil.rmtree(folder, ignore_errors=True)
