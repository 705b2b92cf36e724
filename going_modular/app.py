"""Teach a classifier your own classes, and try it, on a page in the browser.

    python going_modular/app.py                                     # tries the newest run's model, if there is one
    python going_modular/app.py --checkpoint runs/first/model.safetensors --data photos.zip
    python going_modular/app.py --port 8000

Nothing leaves this computer, unless `--share` is given. Imports of torch and Gradio wait until they are needed, so that
`--help` comes at once.
"""

import contextlib
import importlib.util
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from going_modular.common import cli, startup
from going_modular.common.errors import InputError, Terminated

if TYPE_CHECKING:
    from going_modular.data.splits import Splits
    from going_modular.saving.checkpoint import Checkpoint

HOST, PORT = "127.0.0.1", 7860
EXAMPLES, READY = 6, 20  # images to try, and of each class to teach with at once


@dataclass(frozen=True)
class Settings:
    """What is served, and where; the command's flags mirror it."""

    checkpoint: Path | None = None  # None: the newest run's, if there is one
    data: str | None = None  # None: the data of the checkpoint's run, or the bundled sample
    port: int = PORT
    share: bool = False


def run(settings: Settings) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        InputError: a checkpoint or data that cannot be used, or a port that is taken.
        Terminated: SIGTERM.
    """
    check_installed()
    check_port(settings.port)

    from going_modular import model_builder
    from going_modular.classroom import page
    from going_modular.classroom.classifier import Classifier, load_backbone
    from going_modular.classroom.school import School
    from going_modular.common.device import choose_device
    from going_modular.saving import checkpoint, run_folder
    from going_modular.serving.own_images import in_turns

    # 1 the model to try: a checkpoint's
    device = choose_device("auto")
    file, loaded, classifier = settings.checkpoint, None, None
    if file is None:
        with contextlib.suppress(InputError):  # there is no run yet: the first one is taught here
            file = run_folder.newest_checkpoint()
    if file is not None:
        loaded = checkpoint.load(file, device=device)
        classifier = Classifier.of(loaded, str(file))
        print(f"Model: {file}, {loaded.model_name}; {', '.join(loaded.class_names)}")

    # 2 images: some to try, some to teach with
    splits = _splits(settings.data, file, loaded)
    print(f"Images: {splits.name}, {splits.origin}")

    # 3 a backbone to teach on, and the page
    name = model_builder.resolve_name(None, "DEFAULT")
    school = School(load_backbone(name, device), name, classifier)
    with contextlib.closing(school), _ending():
        shown = page.build(school, in_turns(splits.test, EXAMPLES), ready(splits), splits.name, title=page.TITLE)
        address = page.serve(shown, server_name=HOST, port=settings.port, share=settings.share)
        print(f"Open {address} in a browser; Ctrl-C ends the app")
        try:
            page.wait()
        except KeyboardInterrupt:
            print("Ended: what was not saved is gone")
        finally:
            shown.close(verbose=False)


def check_installed() -> None:
    """Raise where Gradio is not installed.

    Raises:
        InputError: says how to install it.
    """
    if importlib.util.find_spec("gradio") is None:
        raise InputError("app.py needs gradio; install it with: pip install -r requirements.txt")


def check_port(port: int) -> None:
    """Raise where nothing can listen at a port.

    Raises:
        InputError: names the port.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, sys.platform != "win32")  # as servers do
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise InputError(f"Port {port} cannot be used ({error.strerror}); name another with --port") from error


def ready(splits: "Splits") -> dict[str, list[Path]]:
    """Return a few training images of each class; nothing where there are more classes than are taught."""
    from going_modular.classroom import limits

    if len(splits.class_names) > limits.MOST_CLASSES:
        return {}
    return {
        name: [Path(path) for path, label in splits.train.samples if label == c][:READY]
        for c, name in enumerate(splits.class_names)
    }


def _splits(data: str | None, file: Path | None, loaded: "Checkpoint | None") -> "Splits":
    """Return the data that was named, else that of the checkpoint's run where it is here, else the sample."""
    from going_modular import data_setup
    from going_modular.data import sources
    from going_modular.saving import run_folder

    if data is None and loaded is not None:
        with contextlib.suppress(InputError):  # it is not here any more
            return data_setup.load_splits(run_folder.data_of(file, loaded.trained_on) or sources.SAMPLE)
    return data_setup.load_splits(data or sources.SAMPLE)


@contextlib.contextmanager
def _ending() -> Iterator[None]:
    """Let SIGTERM end the app as Ctrl-C does, so that its folder goes; then it means what it did before."""

    def end(*_: object) -> NoReturn:
        raise Terminated("what was not saved is gone")

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser() -> cli.ArgumentParser:
    parser = cli.ArgumentParser(
        prog="app.py", description="Teach a classifier your own classes, and try it, on a page in the browser."
    )
    add = parser.add_argument
    add("--checkpoint", type=Path, metavar="FILE", help="a run's model.safetensors to try; None: the newest, if any")
    add(
        "--data",
        help="whose images are the examples, as for train.py. None: the checkpoint's run's data, or the sample",
    )
    add("--port", type=_port, default=PORT, metavar="N", help=f"to listen at, on {HOST}")
    add("--share", action="store_true", help="make a public address, through servers of Gradio's makers")
    return parser


def _port(text: str) -> int:
    port = cli.positive_int(text)
    if port > 65535:
        raise cli.argparse.ArgumentTypeError(f"{text!r} is not a port: 1 to 65535")
    return port


def _main(arguments: Sequence[str] | None = None) -> None:
    settings = Settings(**vars(_parser().parse_args(arguments)))
    startup.import_torch()
    run(settings)


def main() -> None:
    """Run the command."""
    sys.exit(cli.run(_main, "app.py"))


if __name__ == "__main__":
    main()
