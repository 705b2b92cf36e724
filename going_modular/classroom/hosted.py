"""The page as a Space serves it: the tab Try alone, for the checkpoint and the examples of a folder."""

import contextlib
from pathlib import Path

from going_modular.classroom import page
from going_modular.classroom.classifier import Classifier
from going_modular.classroom.school import School
from going_modular.saving import checkpoint

CHECKPOINT, EXAMPLES = "model.safetensors", "examples"


def run(folder: Path, title: str) -> None:
    """Serve the page where GRADIO_SERVER_NAME and GRADIO_SERVER_PORT say, until the process is ended.

    Args:
        folder: as `export.py --space` writes it.
        title: of the page.

    Raises:
        InputError: the checkpoint cannot be used.
    """
    loaded = checkpoint.load(folder / CHECKPOINT)
    school = School(None, loaded.model_name, Classifier.of(loaded, loaded.model_name))
    with contextlib.closing(school), contextlib.suppress(KeyboardInterrupt):
        shown = page.build(school, sorted((folder / EXAMPLES).glob("*")), {}, "", title=title)
        print(f"Serving at {page.serve(shown, server_name=None, port=None, share=False)}", flush=True)
        page.wait()
