"""What a fine-tuning run is made with: settings and their ranges, from flags and from JSON or YAML; without torch."""

import dataclasses
import math
import sys
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from going_modular.common.errors import InputError, listed, shortened
from going_modular.common.files import read_bytes
from going_modular.common.seeds import DEFAULT_SEED

if TYPE_CHECKING:
    import yaml

WITH_RESUME = ("data", "devices", "nodes")  # other settings of a resumed run are those that it began with
NOT_IN_FILES = ("output", "resume")  # a file that is used again describes a new run
SHOWN = 60  # characters of a value
_CHOICES = {
    "schedule": ("cosine", "step", "constant"),
    "augment": ("none", "crop", "randaugment"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
}
MOST_BYTES, MOST_LEVELS = 100_000, 4  # of a settings file
MANY = 10**9  # more than any run has, and a number that all that counts with it can hold
# inclusive; None stands for a setting that is left out
_RANGES = {
    "train_images": (2, MANY),
    "epochs": (1, MANY),
    "head_epochs": (1, MANY),
    "batch_size": (1, MANY),
    "accumulate": (1, MANY),
    "lr": (1e-12, 1e6),
    "head_lr": (1e-12, 1e6),
    "layer_decay": (1e-6, 1),
    "weight_decay": (0, 1e6),
    "warmup_epochs": (0, MANY),
    "label_smoothing": (0, 0.99),
    "mixup": (0, 100),
    "cutmix": (0, 100),
    "max_grad_norm": (1e-12, 1e12),
    "weight_averaging": (0, 1),
    "patience": (1, MANY),
    "devices": (1, 10_000),
    "nodes": (1, 10_000),
    "seed": (0, 2**32 - 1),
}


@dataclass(frozen=True)
class Settings:
    """What a run is made with; a settings file has these keys, the command's flags the most used of them."""

    data: str | None = None  # None: the photos, or the bundled sample where they cannot be had
    train_images: int | None = None  # None: all
    model: str | None = None  # None: EfficientNet-B0, or Lite0 where B0's weights cannot be had
    weights: str | None = "DEFAULT"  # None: random
    recipe: str = "head-then-all"
    epochs: int = 10
    head_epochs: int = 20  # of the head alone, in head-then-all
    batch_size: int = 32  # images an update, over all devices and accumulated batches
    accumulate: int = 1  # batches an update on each device
    lr: float | None = None  # of the last block. None: 1e-4; where the head alone trains, of the head, then None: 1e-3
    head_lr: float = 1e-3  # of a head that is new; after head-then it is `lr`
    layer_decay: float = 0.9  # a block's learning rate, over that of the block after it
    weight_decay: float = 0.05
    batch_norm: bool = False  # let it learn, and normalise by the batch; False: it stays as pretrained
    schedule: str = "cosine"
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.0
    augment: str = "crop"  # of training images, where the backbone learns
    mixup: float = 0.0
    cutmix: float = 0.0
    max_grad_norm: float | None = 1.0
    weight_averaging: float | None = None  # decay an update of an exponential moving average; None: no averaging
    patience: int = 6  # epochs without a better validation loss, after which a stage ends
    devices: int = 1
    nodes: int = 1
    device: str = "auto"
    precision: str = "auto"
    compile: bool = False
    seed: int = DEFAULT_SEED
    group_by: str | None = None  # None: every image for itself
    corrections: str | None = None  # a file of them, made before the split
    output: Path | None = None  # None: a new folder under runs/
    resume: Path | None = None  # a run's folder, to go on with


def settings_of(options: dict[str, object]) -> Settings:
    """Return the settings that flags describe, with those of a file where one is named.

    Raises:
        InputError: a file that cannot be used, or flags that do not go together.
    """
    options = dict(options)
    if isinstance(options.get("weights"), str) and options["weights"].lower() == "none":
        options["weights"] = None
    config, folder = options.pop("config", None), options.get("resume")
    if folder is not None:
        if others := sorted(options.keys() - {"resume", *WITH_RESUME} | ({"config"} if config else set())):
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in others)
            raise InputError(f"{flags} with --resume: a run goes on with the settings it has; start a new one instead")
        if not (folder / "settings.json").is_file():
            raise InputError(f"--resume {str(folder)!r}: no settings.json there; name the folder of a run")
        config, options["output"] = folder / "settings.json", folder
    values = read_file(config, Settings) if config else {}
    return dataclasses.replace(Settings(), **values | options)


def check(settings: Settings) -> None:
    """Raise where a setting is out of range: a file may hold what the flags would refuse.

    Raises:
        InputError: names the setting, its value and what it may be.
    """
    for name, choices in _CHOICES.items():
        if (value := getattr(settings, name)) not in choices:
            raise InputError(f"{name} is {_shown(value)}; choose one of {', '.join(choices)}")
    for name, (low, high) in _RANGES.items():
        value = getattr(settings, name)
        if value is not None and not low <= value <= high:
            wanted = f"at least {low:g}" if high == MANY and value < low else f"from {low:g} to {high:g}"
            raise InputError(f"{name} is {_shown(value)}; it must be {wanted}")


def read_file(path: Path, settings: type) -> dict[str, object]:
    """Read a file of settings.

    Args:
        path: JSON, or YAML, of which JSON is a part.
        settings: a dataclass whose fields are the keys.

    Returns:
        The values by key, of the types that the fields have.

    Raises:
        InputError: no such file, not of that form, an unknown key, or a value of another type.
    """
    values = _parse(path)
    if not isinstance(values, dict):
        raise InputError(f"Settings {str(path)!r} must have a line 'key: value' for each setting")

    hints = typing.get_type_hints(settings)
    known = {field.name: hints[field.name] for field in dataclasses.fields(settings) if field.name not in NOT_IN_FILES}
    if unknown := [key if isinstance(key, str) else _shown(key) for key in values if key not in known]:
        raise InputError(f"Settings {str(path)!r}: unknown {listed(unknown, ', ')}; the keys are {', '.join(known)}")
    return {key: _convert(path, key, value, known[key]) for key, value in values.items()}


def file_content(settings: object) -> dict[str, object]:
    """Return what a file of these settings has, for JSON."""
    values = {key: value for key, value in dataclasses.asdict(settings).items() if key not in NOT_IN_FILES}
    return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}


def _parse(path: Path) -> object:
    """Return what a file of YAML or JSON holds, without what makes much of little: anchors, tags, deep nesting."""
    import yaml

    try:
        text = read_bytes(path, most=MOST_BYTES).decode("utf-8")
        _check_events(yaml.parse(text, Loader=yaml.SafeLoader))
        return yaml.safe_load(text)
    except FileNotFoundError as error:
        raise InputError(f"Settings {str(path)!r}: no such file") from error
    except OSError as error:
        raise InputError(f"Settings {str(path)!r} cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, ValueError) as error:
        reason = shortened(" ".join(str(error).split()))
        raise InputError(f"Settings {str(path)!r} cannot be read as YAML or JSON: {reason}") from error


def _check_events(events: "Iterable[yaml.Event]") -> None:
    """Raise on what no settings need, as soon as the YAML parser comes to it."""
    import yaml

    depth, keys, is_key = 0, set(), True
    for event in events:
        if getattr(event, "anchor", None) is not None:  # of an alias, too
            raise ValueError("it has an anchor or alias (& or *); write each value out")
        if getattr(event, "tag", None) is not None:
            raise ValueError("it has a tag (!); leave it out")
        if depth == 1 and isinstance(event, yaml.NodeEvent):
            if is_key and isinstance(event, yaml.ScalarEvent):
                if event.value in keys or event.value == "<<":
                    raise ValueError(f"the key {_shown(event.value)} is there twice, or merges others")
                keys.add(event.value)
            is_key = not is_key
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_LEVELS:
            raise ValueError("it is nested too deep; it needs a line 'key: value' for each setting")


def _convert(path: Path, key: str, value: object, hint: object) -> object:
    """Return a value as its field wants it, or raise."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in options:
        return None
    for option in options:
        if option is float and isinstance(value, int | float) and not isinstance(value, bool):
            if abs(value) > sys.float_info.max:  # a whole number that float() refuses
                return math.inf if value > 0 else -math.inf
            return float(value)
        if option is float and isinstance(value, str):  # YAML 1.1 reads 1e-4 as text
            try:
                return float(value)
            except ValueError:
                continue
        if option in (int, str, bool) and type(value) is option:
            return value
    names = " or ".join("none" if option is type(None) else option.__name__ for option in options)
    raise InputError(f"Settings {str(path)!r}: {key} is {_shown(value)}, which is not of type {names}")


def _shown(value: object) -> str:
    """Return a value as an error line shows it: no more than a line, however much of it there is."""
    if isinstance(value, int) and abs(value) >= 10**20:
        return "a number of more than 20 digits"
    try:
        text = repr(value)
    except ValueError:  # a whole number in it has too many digits
        return f"a {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
