"""Make the drawings of the notebooks, each an SVG file in `notebooks/drawings/`.

    python -m tools.draw                       # all
    python -m tools.draw vit_block what_learns # these

Run it where README.md lies. The same code makes the same bytes on every machine. In a notebook,
`plots.drawing("vit_block")` shows one.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.draw import (
    course,
    lesson_00,
    lesson_01,
    lesson_02,
    lesson_03,
    lesson_04,
    lesson_05,
    lesson_06,
    lesson_07,
    lesson_08,
    lesson_09,
    lesson_10,
)
from tools.draw.style import Drawing

FOLDER = Path(__file__).resolve().parents[2] / "notebooks" / "drawings"
DRAWINGS: dict[str, Callable[[], Drawing]] = {
    draw.__name__: draw
    for draw in (
        course.course_map,
        lesson_00.pipeline,
        lesson_01.splits,
        lesson_02.convolution,
        lesson_02.network,
        lesson_02.gradient_descent,
        lesson_03.pay_once,
        lesson_03.cross_validation,
        lesson_04.patches_to_tokens,
        lesson_04.vit_block,
        lesson_04.attention_lookup,
        lesson_05.self_supervision,
        lesson_06.what_learns,
        lesson_06.layer_rates,
        lesson_06.early_stopping,
        lesson_07.confusion_matrix,
        lesson_07.roc,
        lesson_08.data_parallel,
        lesson_08.ring,
        lesson_08.memory,
        lesson_09.burst,
        lesson_09.shortcut,
        lesson_10.what_travels,
        lesson_10.roads_to_use,
    )
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the drawings that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tools.draw", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(DRAWINGS)}; default: all")
    names = parser.parse_args(arguments).names
    if unknown := sorted(set(names) - DRAWINGS.keys()):
        parser.error(f"there is no drawing {', '.join(unknown)}; there are {', '.join(DRAWINGS)}")
    FOLDER.mkdir(exist_ok=True)
    for name in names or DRAWINGS:
        content = DRAWINGS[name]().svg()
        (FOLDER / f"{name}.svg").write_bytes(content)
        print(f"{name}.svg: {len(content):,} bytes")
