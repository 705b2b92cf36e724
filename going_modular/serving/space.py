"""A folder that is a Hugging Face Space as it is: the page, the checkpoint, examples, and what they need."""

import platform
import re
import shutil
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from going_modular.common import files
from going_modular.common.errors import InputError
from going_modular.data import images
from going_modular.saving.checkpoint import Checkpoint

PACKAGE = Path(__file__).resolve().parent.parent
APP, REQUIREMENTS, README, LICENSE, ATTRIBUTES = "app.py", "requirements.txt", "README.md", "LICENSE", ".gitattributes"
CHECKPOINT, EXAMPLES = "model.safetensors", "examples"
FILES = (APP, REQUIREMENTS, README, LICENSE, ATTRIBUTES, CHECKPOINT, EXAMPLES, PACKAGE.name)
MOST_EXAMPLES = 6
EXAMPLE_PIXELS = 640  # the short side; a Space's examples need no more
LEFT_OUT = ("__pycache__", "checks")
MODEL_EXTRAS = {"timm/": "timm", "vit_s_14": "vit"}  # of this package, by how a model's name begins
FIRST_LINE = '"""A page that tries the model beside it; made by export.py --space."""'


def check(folder: Path) -> None:
    """Raise where a Space cannot be written, or would take the place of files that are no Space of ours.

    Raises:
        InputError: names the folder and the reason.
    """
    files.check_writable(folder)
    files.refuse_links(folder, FILES)
    others = [name for name in FILES if (folder / name).exists() and name not in (README, ATTRIBUTES)]
    if others and not _is_ours(folder / APP):
        raise InputError(f"Output folder {str(folder)!r} has a {others[0]} that is no Space's of ours; name another")


def write(folder: Path, file: Path, loaded: Checkpoint, examples: Sequence[Path], *, data: str) -> None:
    """Write a Space, in place of an earlier one; a .git folder and the like stay.

    Args:
        folder: where to.
        file: the checkpoint.
        loaded: what it holds.
        examples: image files to try.
        data: what the examples are of, for the README.

    Raises:
        InputError: a file cannot be written or read, or the backbone's weights are a local file.
    """
    if isinstance(loaded.weights, Mapping):
        raise InputError(
            f"Checkpoint {str(file)!r} holds a head on the local weights file {loaded.weights['file']!r}, which a "
            "Space could not find; train on weights that have a name"
        )
    title = f"{', '.join(loaded.class_names[:3])}{' and more' if len(loaded.class_names) > 3 else ''}?"
    texts = {
        APP: _app(title),
        REQUIREMENTS: "".join(f"{line}\n" for line in requirements(loaded.model_name)),
        README: _readme(title, loaded, data, len(examples)),
        LICENSE: (PACKAGE.parent / LICENSE).read_text(encoding="utf-8"),
        ATTRIBUTES: "*.safetensors filter=lfs diff=lfs merge=lfs -text\n",
    }
    pictures = [(path, images.open_image(path, short_side=EXAMPLE_PIXELS)) for path in examples]
    try:
        for place in (folder / EXAMPLES, folder / PACKAGE.name):
            shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=shutil.ignore_patterns(*LEFT_OUT))
        (folder / EXAMPLES).mkdir()
        for i, (_, picture) in enumerate(pictures):
            picture.thumbnail((2 * EXAMPLE_PIXELS, 2 * EXAMPLE_PIXELS))
            picture.save(folder / EXAMPLES / f"{i:02}.jpg", quality=90)
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"Cannot write {str(folder)!r}: {error.strerror or error}; name another folder") from error
    files.write_bytes(folder / CHECKPOINT, content)
    for name, text in texts.items():
        files.write_bytes(folder / name, text.encode("utf-8"))


def requirements(model_name: str) -> list[str]:
    """Return what the page needs for a model, each package in the version that is installed here.

    Raises:
        InputError: one of them is not installed.
    """
    extras = {"app"} | {extra for begin, extra in MODEL_EXTRAS.items() if model_name.startswith(begin)}
    wanted = set()
    for line in metadata.requires("going-modular") or ():
        name, _, condition = line.partition(";")
        asked = re.search(r"extra == [\"']([^\"']+)", condition)
        if asked is None or asked[1] in extras:
            wanted.add(re.match(r"[A-Za-z0-9._-]+", name)[0].lower())
    try:
        return [f"{name}=={metadata.version(name).partition('+')[0]}" for name in sorted(wanted)]
    except metadata.PackageNotFoundError as error:
        raise InputError(f"A Space needs {error.name}; install it with: pip install -r requirements.txt") from error


def _is_ours(app: Path) -> bool:
    return app.is_file() and app.read_text(encoding="utf-8", errors="replace").startswith(FIRST_LINE)


def _app(title: str) -> str:
    return (
        f"{FIRST_LINE}\n\nfrom pathlib import Path\n\nfrom going_modular.classroom import hosted\n\n"
        f'if __name__ == "__main__":\n    hosted.run(Path(__file__).resolve().parent, {title!r})\n'
    )


def _readme(title: str, loaded: Checkpoint, data: str, examples: int) -> str:
    """Return the README: the header that a Space reads, and what the model is."""
    header = {
        "title": title, "emoji": "\N{DIRECT HIT}", "colorFrom": "blue", "colorTo": "indigo", "sdk": "gradio",
        "sdk_version": metadata.version("gradio"), "python_version": ".".join(platform.python_version_tuple()[:2]),
        "app_file": APP, "pinned": False, "license": "mit",
    }  # fmt: skip
    lines = [f"{name}: {files.json_text(value)}" for name, value in header.items()]
    measured = loaded.metrics.get("accuracy"), loaded.metrics.get("accuracy_interval")
    quality = "How good it is was not measured."
    if isinstance(measured[0], float) and measured[1]:
        low, high = measured[1]
        interval = f"95% interval {low:.1%} to {high:.1%}"
        quality = f"On images that were kept from its training it is right in {measured[0]:.1%} ({interval})."
    known = f" It was trained on {loaded.trained_on.data!r}." if loaded.trained_on else ""
    return "\n".join(
        [
            "---", *lines, "---", "", f"# {title}", "",
            f"A classifier of {len(loaded.class_names)} classes ({', '.join(loaded.class_names)}): a head on the "
            f"pretrained backbone {loaded.model_name}.{known} {quality}", "",
            f"The code is under the MIT licence. The {examples} images in `{EXAMPLES}/` are from {data!r}: see to it "
            "that you may show them before you make the Space public.", "",
            f"To run it here: `pip install -r {REQUIREMENTS}`, then `python {APP}`.", "",
        ]
    )  # fmt: skip
