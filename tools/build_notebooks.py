"""Build the notebooks: execute them, the exercise sheets and the solutions, and keep their outputs.

    python tools/build_notebooks.py          # all
    python tools/build_notebooks.py 01 03    # these

The one source of the exercises of notebook NN is `tools/exercises/NN_name.py`, in cells that start with `# %%` or
`# %% [markdown]`. What stands between the lines `# solution` and `# end` is the solution; in its place the exercise has
`raise NotImplementedError`. From it come `notebooks/exercises/NN_name.ipynb`, `notebooks/solutions/NN_name.ipynb` and
the exercises in `notebooks/NN_name.ipynb`: a code cell there that calls `checks.nbNN.<exercise>(...)`, and the text and
the stub before it, are replaced by those of the source.
"""

import argparse
import os
import re
import tempfile
import textwrap
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
SOURCES = ROOT / "tools" / "exercises"

CELL_SECONDS = 600  # a limit for what hangs, no measurement

# `checks.nb01.scale(my_scale)`: the notebook, the exercise, the learner's function
CHECK = re.compile(r"^checks\.nb(\d\d)\.(\w+)\((\w+)\)$", re.MULTILINE)
_SOLUTION = re.compile(r"^( *)# solution\n(.*?)^\1# end\n?", re.MULTILINE | re.DOTALL)
_CELL = re.compile(r"^# %%(.*)\n", re.MULTILINE)

_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
# kept figures are small: JPEG, 72 dots an inch
_FIGURES = [
    "--InlineBackend.figure_formats=jpeg",
    "--InlineBackend.rc={'figure.dpi': 72}",
    "--InlineBackend.print_figure_kwargs={'bbox_inches': 'tight', 'pil_kwargs': {'quality': 85}}",
]


def cells(text: str) -> list[NotebookNode]:
    """Cut a script into notebook cells; what stands before the first `# %%` is left out.

    `# %% deterministic` makes a code cell with that tag: its output is the same on every machine.
    """
    parts = _CELL.split(text)[1:]
    made = []
    for index, (mark, body) in enumerate(zip(parts[::2], parts[1::2], strict=True)):
        if mark.split() == ["[markdown]"]:
            lines = [line.removeprefix("#").removeprefix(" ") for line in body.strip().splitlines()]
            made.append(new_markdown_cell("\n".join(lines), id=f"cell-{index}"))
        else:
            metadata = {"tags": mark.split()} if mark.split() else {}
            made.append(new_code_cell(body.strip(), id=f"cell-{index}", metadata=metadata))
    return made


def notebook(text: str) -> NotebookNode:
    """Turn a script of cells into a notebook."""
    return new_notebook(cells=cells(text), metadata=_METADATA)


def blank(text: str) -> str:
    """Replace every solution by `raise NotImplementedError`."""
    return _SOLUTION.sub(lambda found: f"{found[1]}raise NotImplementedError\n", text)


def solved(text: str) -> str:
    """Leave out the marks around every solution."""
    return _SOLUTION.sub(lambda found: found[2], text)


def exercises(text: str) -> dict[str, str]:
    """Return the learner's function of each exercise in a source."""
    return {exercise: function for _, exercise, function in CHECK.findall(text)}


def place_exercises(target: NotebookNode, sheet: NotebookNode) -> None:
    """Put the sheet's exercises (text, stub, check) where the notebook has the calls of their checks.

    Raises:
        ValueError: the notebook lacks a call, or a text and a stub before it.
    """
    places = {_check_call(cell): i for i, cell in enumerate(target.cells) if _check_call(cell)}
    for i, cell in enumerate(sheet.cells):
        if not (call := _check_call(cell)):
            continue
        place = places.get(call, 0)
        if [other.cell_type for other in target.cells[place - 2 : place]] != ["markdown", "code"]:
            raise ValueError(f"The notebook has no text, code cell and code cell with {call}; add them")
        for offset in (-2, -1, 0):
            target.cells[place + offset].source = sheet.cells[i + offset].source


def execute(target: NotebookNode, folder: Path) -> NotebookNode:
    """Run a notebook in a clean kernel, offline and with an empty cache, and tidy what it leaves.

    Args:
        target: changed in place.
        folder: the kernel's current folder.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised.
    """
    with tempfile.TemporaryDirectory() as cache:
        client = NotebookClient(
            target,
            timeout=CELL_SECONDS,
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,
            extra_arguments=_FIGURES,
            resources={"metadata": {"path": str(folder)}},
        )
        client.execute(
            env=os.environ
            | {
                "GOING_MODULAR_OFFLINE": "1",
                "GOING_MODULAR_CACHE": cache,
                "TORCH_HOME": cache,
                "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            }
        )
    return tidy(target)


def tidy(target: NotebookNode) -> NotebookNode:
    """Keep of a notebook's metadata only what every machine would write."""
    target.metadata = nbformat.from_dict(_METADATA)
    for cell in target.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        for output in cell.get("outputs", []):
            if "metadata" in output:
                shown = {kind: size for kind, size in output.metadata.items() if kind.startswith("image/")}
                output.metadata = nbformat.from_dict(shown)  # the width and height of a figure on the page
    return target


def write(target: NotebookNode, path: Path) -> None:
    """Write a notebook, valid and with one newline at the end."""
    nbformat.validate(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nbformat.writes(target).rstrip("\n") + "\n", encoding="utf-8")


def build(path: Path) -> None:
    """Build a notebook and its sheets.

    Args:
        path: the notebook, `notebooks/NN_name.ipynb`.
    """
    text = (SOURCES / path.with_suffix(".py").name).read_text(encoding="utf-8")
    sheet, solution = notebook(blank(text)), notebook(solved(text))
    target = nbformat.read(path, as_version=4)
    place_exercises(target, sheet)
    for what, where in (
        (sheet, NOTEBOOKS / "exercises" / path.name),
        (solution, NOTEBOOKS / "solutions" / path.name),
        (target, path),
    ):
        start = time.perf_counter()
        write(execute(what, where.parent), where)
        seconds = time.perf_counter() - start
        print(f"{where.relative_to(ROOT)}: {where.stat().st_size / 1e3:.0f} kB, {seconds:.0f} s to run", flush=True)


def _check_call(cell: NotebookNode) -> str | None:
    """Return the call of a check in a code cell, such as `checks.nb01.scale`."""
    found = CHECK.search(cell.source) if cell.cell_type == "code" else None
    return found and f"checks.nb{found[1]}.{found[2]}"


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=textwrap.dedent(__doc__).splitlines()[0], allow_abbrev=False)
    parser.add_argument("numbers", nargs="*", metavar="NN", help="notebooks to build, such as 01; default: all")
    wanted = parser.parse_args().numbers
    paths = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    if unknown := set(wanted) - {path.name[:2] for path in paths}:
        parser.error(f"there is no notebook {', '.join(sorted(unknown))}")
    for path in paths:
        if not wanted or path.name[:2] in wanted:
            build(path)


if __name__ == "__main__":
    main()
