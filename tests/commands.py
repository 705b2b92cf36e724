"""What the tests of the commands share: images to read, and a command as a process or, quicker, in this process."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from going_modular import app, compare, evaluate, export, fine_tune, inspect_data, predict, train
from going_modular.common import cli

PACKAGE = Path(train.__file__).parent
COMMANDS = {
    "train.py": train._main,
    "predict.py": predict._main,
    "fine_tune.py": fine_tune._main,
    "evaluate.py": evaluate._main,
    "inspect_data.py": inspect_data._main,
    "export.py": export._main,
    "compare.py": compare._main,
    "app.py": app._main,
}
LITE0 = ("--model", "efficientnet_lite0")
HANGS = 120  # seconds; a limit for what should end, no measurement


def isolation(folder: Path) -> dict[str, str]:
    """Return the environment that keeps a test off the network and out of the user's cache folders."""
    return {
        "GOING_MODULAR_OFFLINE": "1",
        "GOING_MODULAR_CACHE": str(folder / "cache"),
        "TORCH_HOME": str(folder / "torch"),
        "MPLBACKEND": "agg",
    }


def write_image(folder: Path, name: str, *, size: tuple[int, int] = (80, 64), seed: int = 0) -> Path:
    """Write an image of noise and return its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def write_classes(folder: Path, name: str, class_names: tuple[str, ...] = ("cat", "dog"), *, images: int = 6) -> Path:
    """Write a folder of class folders and return it."""
    for label, class_name in enumerate(class_names):
        for i in range(images):
            write_image(folder, f"{name}/{class_name}/{i}.png", seed=1000 * label + i)
    return folder / name


def line(script: str | Path, arguments: Sequence[object]) -> list[str]:
    return [sys.executable, str(PACKAGE / script), *map(str, arguments)]


def run(script: str | Path, *arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run a command as a user does."""
    return subprocess.run(
        line(script, arguments),
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        encoding="utf-8",
        timeout=HANGS,
        check=False,
    )


def start(script: str | Path, *arguments: object, cwd: Path, **options: object) -> subprocess.Popen:
    """Start a command as a terminal does, in a process group of its own."""
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    text = {"encoding": "utf-8", "errors": "replace"}  # whoever reads a part of a bar may cut a character
    return subprocess.Popen(line(script, arguments), cwd=cwd, start_new_session=True, **text, **pipe)


def call(script: str, *arguments: object) -> int:
    """Run a command in this process; return its exit status."""
    try:
        return cli.run(lambda: COMMANDS[script]([str(argument) for argument in arguments]), script)
    except SystemExit as end:  # argparse's way to end
        return end.code


def succeed(script: str, *arguments: object) -> None:
    assert call(script, *arguments) == 0


def messages(stderr: str) -> list[str]:
    """Return the lines on stderr that are not progress bars."""
    lines = [text.strip() for text in re.split(r"[\r\n]+", stderr)]
    return [text for text in lines if text and not re.match(r"(Features|Epochs|[\w-]+(, epoch \d+/\d+)?): +\d", text)]


def refusal(capsys: pytest.CaptureFixture, script: str, *arguments: object) -> str:
    """Run a command that must refuse its input; return its one line after checking that nothing was written."""
    before = sorted(Path().rglob("*"))
    capsys.readouterr()
    status = call(script, *arguments)
    captured = capsys.readouterr()
    assert status == cli.BAD_INPUT, captured
    assert "Epoch " not in captured.out, "training started"
    assert sorted(Path().rglob("*")) == before, "something was written"
    [message] = messages(captured.err)
    assert message.startswith(f"{script}: error: ")
    return message


def assert_drawn(path: Path) -> None:
    """Check that a figure is a PNG with something on it."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert count_colours(np.asarray(image.convert("RGB"))) > 30, f"{path.name} is nearly blank"


def count_colours(pixels: np.ndarray) -> int:
    """Return how many colours an RGB picture (H, W, 3) has."""
    return len(np.unique(pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)))
