"""Make slides of the notebooks as they are kept: one HTML file each, which presents without a network.

    python tools/make_slides.py          # all
    python tools/make_slides.py 01 03    # these

They are written to build/slides/, with reveal.js inside; the package sphinx-revealjs brings it. What becomes a slide
follows from a rule, so that the notebooks hold nothing but the lesson:

- A section begins a column of slides: the right arrow goes to the next section, the space bar through all slides.
- Below it come its prose and its code, as much on each slide as fits. What a cell printed or drew begins a slide, and a
  folded answer has its own, so that both can be guessed first. Longer code stands apart from what it put out.
- Left out are the imports, the checks of the exercises, progress bars, and what "Go further" lists.
"""

import argparse
import math
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup
from docutils.utils.math import latex2mathml
from nbconvert import SlidesExporter
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "build" / "slides"
TEMPLATE = Path(__file__).with_name("slides.html.j2")

LINES, CHARACTERS = 16.5, 86  # of prose on a slide
CODE = 0.72  # the height of a line of code, in lines of prose
LEFT_OUT = ("Go further",)
WITH_OUTPUT, WITH_PICTURE = 16, 3  # lines of code and output together; of code above a picture

_CHECK = re.compile(r"^checks\.nb\d\d\.\w+\(\w+\)$")
_PROGRESS = re.compile(r"\d+%\|")
_CODE_OR_MATH = re.compile(r"(```.*?```|`[^`]*`)|\$\$(.+?)\$\$|\$([^$]+?)\$", re.DOTALL)
_HERE = re.compile(r"(?<!!)\[([^\]]+)\]\((?!\w+:)[^)]*\)")  # a link to another file of the course
_FOLDED = re.compile(r"<details><summary>(.*?)</summary>(.*?)</details>", re.DOTALL)


def blocks(source: str) -> Iterator[str]:
    """Yield the headings, paragraphs, items, tables and folded parts of a cell's prose."""
    block, open_until = [], ""
    for line in [*source.splitlines(), ""]:
        starts = line.startswith(("#", "- ", "<details>", "```")) or re.match(r"\d+\. ", line)
        if not open_until and (not line.strip() or starts) and block:
            yield "\n".join(block)
            block = []
        if open_until:
            open_until = "" if line.startswith(open_until) else open_until
        elif line.startswith("```"):
            open_until = "```"
        elif line.startswith("<details>") and "</details>" not in line:
            open_until = "</details>"
        if line.strip() or open_until:
            block.append(line)


@dataclass
class Item:
    """What stands on one slide: a cell, its height in lines of prose, and whether a slide begins or ends with it."""

    cell: NotebookNode
    height: float
    begins: str = ""  # "slide" for a section's first, "subslide" for another
    ends: bool = False


def height(block: str) -> float:
    """Return about how many lines of a slide a block takes."""
    lines = block.splitlines()
    if block.startswith("```"):
        return 1 + CODE * len(lines)
    return 1.1 * len(lines) if block.startswith("|") else 0.5 + math.ceil(len(" ".join(lines)) / CHARACTERS)


def prose(source: str) -> Iterator[Item]:
    """Yield the blocks of a cell's prose."""
    for block in blocks(source):
        if folded := _FOLDED.fullmatch(block.strip()):
            answer = list(prose(f"**{folded[1]}**\n\n{folded[2].strip()}"))
            answer[0].begins, answer[-1].ends = "subslide", True
            yield from answer
        else:
            level = len(block) - len(block.lstrip("#"))
            begins = {0: "", 1: "slide", 2: "slide"}.get(level, "subslide")
            yield Item(new_markdown_cell(with_mathml(block)), height(block) + (0.8 if level else 0), begins)


def with_mathml(text: str) -> str:
    """Write formulas as MathML, which browsers draw themselves, and take off links that lead nowhere from a slide."""

    def written(found: re.Match) -> str:
        if found[1]:
            return found[1]
        formula = (found[2] or found[3]).replace(r"\dots", r"\ldots")
        made = " ".join(latex2mathml.tex2mathml(formula, as_block=bool(found[2])).split())
        return f'\n<div class="math">{made}</div>\n' if found[2] else made

    return _HERE.sub(r"\1", _CODE_OR_MATH.sub(written, text))


def kept(cell: NotebookNode) -> list[NotebookNode]:
    """Return what a cell put out, without warnings and progress bars."""
    outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return [output for output in outputs if not _PROGRESS.search(output.get("data", {}).get("text/plain", ""))]


def has_picture(output: NotebookNode) -> bool:
    """Say whether an output is a figure or a drawing."""
    return any(kind.startswith("image/") or kind == "text/html" for kind in output.get("data", {}))


def code(cell: NotebookNode) -> Iterator[Item]:
    """Yield a code cell: whole where it fits, else the code and each thing that it put out.

    What was put out begins a slide, so that it can be guessed first; a stub may stand below its exercise.
    """
    outputs = kept(cell)
    printed = sum(output.get("text", "").count("\n") for output in outputs)
    lines = len(cell.source.splitlines())
    pictures = sum(map(has_picture, outputs))
    if not outputs or (not pictures and lines + printed <= WITH_OUTPUT) or (pictures == 1 and lines <= WITH_PICTURE):
        shown = new_code_cell(cell.source, outputs=outputs)
        yield Item(shown, 1 + CODE * (lines + printed), "subslide" if outputs else "", bool(pictures))
        return
    yield Item(new_code_cell(cell.source), 1 + CODE * lines, ends=True)
    waiting = []  # what was printed stands with the picture that follows it
    for output in outputs:
        waiting.append(output)
        if has_picture(output) or output is outputs[-1]:
            shown = new_code_cell("", outputs=waiting, metadata={"tags": ["output"]})
            yield Item(shown, CODE * printed, "subslide", bool(pictures))
            waiting = []


def slides(notebook: NotebookNode) -> NotebookNode:
    """Return a notebook of slides, each cell with its kind in the metadata."""
    made, section, sections, used = [], "", 0, 0.0
    for cell in notebook.cells:
        for item in prose(cell.source) if cell.cell_type == "markdown" else code(cell):
            if item.begins == "slide":
                section, sections = item.cell.source.lstrip("# "), sections + 1
            prepares = sections == 1 and cell is not notebook.cells[0]
            if prepares or section in LEFT_OUT or _CHECK.match(item.cell.source):
                continue
            kind = item.begins or ("-" if used + item.height <= LINES else "subslide")
            if kind == "subslide":
                made.append(new_markdown_cell(f'<div class="where">{section}</div>', metadata=_slide(kind)))
            item.cell.metadata.update(_slide("slide" if kind == "slide" else "-"))
            made.append(item.cell)
            used = LINES if item.ends else item.height + (used if kind == "-" else 0)
    return nbformat.v4.new_notebook(cells=made, metadata=notebook.metadata)


def _slide(kind: str) -> dict:
    return {"slideshow": {"slide_type": kind}}


def export(path: Path) -> str:
    """Return the slides of a notebook as a page."""
    reveal = files("sphinx_revealjs") / "_static" / "revealjs" / "dist"
    exporter = SlidesExporter(raw_template=TEMPLATE.read_text(encoding="utf-8"), exclude_anchor_links=True)
    texts = {name: (reveal / f"reveal.{name}").read_text(encoding="utf-8") for name in ("js", "css")}
    resources = {"bundled": texts, "metadata": {"name": path.stem}}
    page, _ = exporter.from_notebook_node(slides(nbformat.read(path, as_version=4)), resources=resources)
    soup = BeautifulSoup(page, "html.parser")
    for picture in soup.select(".jp-OutputArea img"):
        if picture.get("alt", "No description").startswith("No description"):
            picture["alt"] = f"Figure of section “{picture.find_parent('section').select_one('.where').get_text()}”"
    return str(soup)


def main() -> None:
    """Read the arguments and write the files."""
    paths = {path.name[:2]: path for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))}
    parser = argparse.ArgumentParser(
        description=textwrap.dedent(__doc__), formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("numbers", nargs="*", metavar="NN", help=f"notebooks, of {', '.join(paths)}; default: all")
    numbers = parser.parse_args().numbers or list(paths)
    if unknown := [number for number in numbers if number not in paths]:
        parser.error(f"no notebook {unknown[0]!r}; there are {', '.join(paths)}")
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        page = export(paths[number])
        file = OUTPUT / f"{paths[number].stem}.html"
        file.write_text(page, encoding="utf-8")
        print(file.relative_to(ROOT).as_posix())


if __name__ == "__main__":
    sys.exit(main())
