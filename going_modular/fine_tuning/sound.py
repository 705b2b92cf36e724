"""A checkpoint of a stage that anyone may have written: what is told of it before and after torch reads it.

torch's weights-only reading runs no code, yet takes as much memory as the file says, for whatever torch has functions.
"""

import pickletools
import zipfile
from collections.abc import Iterable
from pathlib import Path

import torch

from going_modular.common import files

MOST_PICKLE_BYTES = 8 * 2**20  # of all that is not numbers of tensors: names, shapes, histories
MOST_MEMBERS = 100_000
MOST_LEVELS = 30
_SPARE_BYTES = 64 * 2**20
_TIMES = 5  # weights, their moving average, and two moments of each
_ZIP = b"PK\x03\x04"
# what the pickle in a checkpoint may name; FloatStorage and its like come on top
_NAMES = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"}
_PLAIN = (bool, int, float, str, type(None))


def most_bytes(module: torch.nn.Module) -> int:
    """Return how many bytes the tensors of a module's checkpoint have at most."""
    return _TIMES * _bytes(module.state_dict().values()) + _SPARE_BYTES


def check_archive(path: Path, most: int) -> None:
    """Raise where reading a checkpoint would take much memory, or do more than build tensors.

    Args:
        path: a file as `torch.save` writes it.
        most: bytes that it may have.

    Raises:
        ValueError: it is not such a file, or not a sound one.
        OSError: it cannot be read.
    """
    with files.open_regular(path) as file, zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        pickles = [member for member in members if member.filename.lower().endswith("data.pkl")]
        size = sum(member.file_size for member in members)
        file.seek(0)
        is_sound = (
            file.read(len(_ZIP)) == _ZIP
            and size <= min(most, path.stat().st_size)  # nothing is packed, nothing there twice
            and len(members) == len({member.filename.lower() for member in members}) <= MOST_MEMBERS
            and all(member.compress_type == zipfile.ZIP_STORED for member in members)
            and len(pickles) == 1
            and pickles[0].file_size <= MOST_PICKLE_BYTES
        )
        if not is_sound or not _names(archive.read(pickles[0])) <= _NAMES:
            raise ValueError("it is no checkpoint of tensors alone")


def check_content(content: object, most: int) -> None:
    """Raise where a checkpoint holds other than tensors and plain values, or more of them than it has bytes for.

    A tensor of a few bytes may claim to be a large one, and be made one by whoever copies it.

    Raises:
        ValueError: it does.
    """
    if not isinstance(content, dict):
        raise ValueError("it is no checkpoint")
    seen, total, level = set(), 0, [content]
    for _ in range(MOST_LEVELS):
        inner = []
        for value in level:
            if id(value) in seen and not isinstance(value, _PLAIN):
                continue
            seen.add(id(value))
            if isinstance(value, torch.Tensor):
                total += _bytes([value])
            elif isinstance(value, dict):
                inner += [*value.keys(), *value.values()]
            elif isinstance(value, list | tuple):
                inner += value
            elif not isinstance(value, _PLAIN) or (type(value) is int and abs(value) >= 2**62):
                raise ValueError("it holds other than tensors and plain values")
        level = inner
    if level or total > most:
        raise ValueError("it holds more than it has bytes for")


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _names(pickle: bytes) -> set[str]:
    """Return what a pickle names of modules, storages of numbers aside; reading the opcodes runs none of them."""
    names = set()
    for opcode, argument, _ in pickletools.genops(pickle):
        if opcode.name == "GLOBAL":
            names.add(argument)
        elif opcode.name in ("STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"):
            names.add(opcode.name)
    return {name for name in names if not (name.startswith("torch ") and name.endswith("Storage"))}
