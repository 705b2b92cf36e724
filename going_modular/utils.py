"""The few names that code written for the well-known course asks for here, and that have no other home."""

from io import BytesIO
from pathlib import Path

import torch

from going_modular.common import files
from going_modular.common.errors import InputError
from going_modular.engine import set_seeds as set_seeds
from going_modular.plots import plot_loss_curves as plot_loss_curves


def save_model(model: torch.nn.Module, target_dir: str | Path, model_name: str) -> None:
    """Write a model's `state_dict` into a folder, whole or not at all, for `load_state_dict(torch.load(path))`.

    The file holds numbers and their names alone: who loads it must know the model, its transform and its classes.
    `saving.checkpoint.save` keeps these, too, and in a file of 20 KB where the backbone is frozen.

    Args:
        model: any.
        target_dir: a folder, made where it is missing.
        model_name: the file's name, ending in `.pth` or `.pt`.

    Raises:
        InputError: the name ends otherwise, or the file cannot be written.
    """
    if Path(model_name).suffix not in (".pth", ".pt"):
        raise InputError(f"model_name is {model_name!r}; end it in .pth or .pt")
    path = Path(target_dir) / model_name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot make the folder {str(path.parent)!r}: {error.strerror}; name another") from error
    content = BytesIO()
    torch.save(model.state_dict(), content)
    files.write_bytes(path, content.getvalue())
