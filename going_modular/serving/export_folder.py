"""The folder of an export: the model, what predicts with it, and what was measured of it, each file whole."""

from collections.abc import Mapping
from pathlib import Path

from going_modular.common import files
from going_modular.common.errors import InputError

MODEL, INT8, REPORT, SCRIPT = "model.onnx", "model-int8.onnx", "export.json", "predict_onnx.py"
# our own modules that need NumPy and Pillow alone: copied, they stand side by side
PACKAGE = Path(__file__).resolve().parent.parent
COPIED = {
    SCRIPT: PACKAGE / "serving" / SCRIPT,
    **{name: PACKAGE / "data" / name for name in ("upright.py", "grey.py", "tiles.py")},
}
SIDE_BY_SIDE = {"from going_modular.data import ": "import ", "from going_modular.data.": "from "}
FILES = (REPORT, MODEL, INT8, *COPIED)


def check(folder: Path) -> None:
    """Raise where an export cannot be written, or would take the place of files that are no export's.

    Raises:
        InputError: names the folder and the reason.
    """
    files.check_writable(folder)
    files.refuse_links(folder, FILES)
    others = [name for name in FILES if (folder / name).exists()]
    if others and REPORT not in others:
        raise InputError(f"Output folder {str(folder)!r} has a {others[0]} that is no export's; name another folder")


def write(folder: Path, models: Mapping[str, bytes], report: Mapping[str, object]) -> None:
    """Write an export, in place of an earlier one.

    Args:
        folder: where to.
        models: contents of ONNX files by their names.
        report: what export.json says.

    Raises:
        InputError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / REPORT, {"finished": False})  # first and last: of a half-written export it says so
    files.remove_known(folder, [name for name in (MODEL, INT8) if name not in models])
    for name, source in COPIED.items():
        text = source.read_text(encoding="utf-8")
        for ours, beside in SIDE_BY_SIDE.items():
            text = text.replace(ours, beside)
        files.write_bytes(folder / name, text.encode("utf-8"))
    for name, content in models.items():
        files.write_bytes(folder / name, content)
    files.write_json(folder / REPORT, {"finished": True, **report})
