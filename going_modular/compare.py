"""Compare runs: a table of them all, and whether the best two can be told apart.

    python going_modular/compare.py                         # the runs in runs/
    python going_modular/compare.py runs/ --html runs.html  # and their curves over each other

Runs that were tested on other images stand in tables of their own: the images are known by their contents. Imports of
torch wait until they are needed, so that `--help` comes at once.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from going_modular.common import cli, startup

RUNS = Path("runs")  # in the current folder


@dataclass(frozen=True)
class Settings:
    """What is compared; the command's flags mirror it."""

    folders: tuple[Path, ...] = (RUNS,)
    html: Path | None = None
    data: str | None = None  # None: where the runs' metrics.json says


def run(settings: Settings) -> None:
    """Print a table for each set of test images, and write the page.

    Raises:
        InputError: there is no finished run, or the page cannot be written.
    """
    from going_modular.common.errors import InputError
    from going_modular.common.files import check_writable
    from going_modular.serving import comparison, runs

    if settings.html:
        if settings.html.is_dir():
            raise InputError(f"--html {str(settings.html)!r} is a folder; name a file")
        check_writable(settings.html.parent)
    found, notes = runs.find(list(settings.folders))
    groups = comparison.group(found)
    verdicts = []
    for one in groups:
        print(comparison.table(one))
        said = comparison.verdict(one, settings.data)
        print(f"{cli.printable(said)}\n" if said else "")
        verdicts.append(said)
    for note in notes:
        print(f"Left out: {cli.printable(note)}")
    if settings.html:
        settings.html.parent.mkdir(parents=True, exist_ok=True)
        comparison.write_page(settings.html, groups, verdicts, notes)
        print(f"Wrote: {settings.html}")


def _parser() -> cli.ArgumentParser:
    parser = cli.ArgumentParser(
        prog="compare.py",
        description="Compare runs: a table for each set of test images, the most accurate run first, and McNemar's "
        "test of the best two.",
    )
    add = parser.add_argument
    add("folders", nargs="*", type=Path, metavar="FOLDER", help="with runs in it, at any depth. None: runs/")
    add("--html", type=Path, metavar="FILE", help="write the tables, with the curves over each other, as one page")
    add("--data", help="where the test images are, as for train.py, if they have moved")
    return parser


def _main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    startup.import_torch()
    run(Settings(tuple(options.folders) or (RUNS,), options.html, options.data))


def main() -> None:
    """Run the command."""
    sys.exit(cli.run(_main, "compare.py"))


if __name__ == "__main__":
    main()
