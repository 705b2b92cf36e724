"""Settings from a file, JSON or YAML, and into one."""

import dataclasses
import types
import typing
from pathlib import Path

from going_modular.errors import InputError

NOT_IN_FILES = ("output", "resume")  # a file that is used again describes a new run


def read(path: Path, settings: type) -> dict[str, object]:
    """Read a file of settings.

    Args:
        path: JSON, or YAML, of which JSON is a part.
        settings: a dataclass whose fields are the keys.

    Returns:
        The values by key, of the types that the fields have.

    Raises:
        InputError: no such file, not of that form, an unknown key, or a value of another type.
    """
    import yaml

    if not path.is_file():
        raise InputError(f"Settings {str(path)!r}: no such file")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, ValueError) as error:
        raise InputError(f"Settings {str(path)!r} cannot be read as YAML or JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"Settings {str(path)!r} must have a line 'key: value' for each setting")

    hints = typing.get_type_hints(settings)
    known = {field.name: hints[field.name] for field in dataclasses.fields(settings) if field.name not in NOT_IN_FILES}
    if unknown := [str(key) for key in content if key not in known]:
        raise InputError(f"Settings {str(path)!r}: unknown {', '.join(unknown)}; the keys are {', '.join(known)}")
    return {key: _convert(path, key, value, known[key]) for key, value in content.items()}


def content(settings: object) -> dict[str, object]:
    """Return what a file of these settings has, for JSON."""
    values = {key: value for key, value in dataclasses.asdict(settings).items() if key not in NOT_IN_FILES}
    return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}


def _convert(path: Path, key: str, value: object, hint: object) -> object:
    """Return a value as its field wants it, or raise."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in options:
        return None
    for option in options:
        if option is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if option is float and isinstance(value, str):  # YAML 1.1 reads 1e-4 as text
            try:
                return float(value)
            except ValueError:
                continue
        if option in (int, str, bool) and type(value) is option:
            return value
    names = " or ".join("none" if option is type(None) else option.__name__ for option in options)
    raise InputError(f"Settings {str(path)!r}: {key} is {value!r}, which is not of type {names}")
