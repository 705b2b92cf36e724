"""Every notebook, sheet and solution runs from a clean kernel, offline, and is kept as it should be."""

import base64
import io
import re
import runpy
import shutil
from collections import Counter
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import nbformat
import pytest
from PIL import Image

from going_modular.common.style import SHARPNESS

ROOT = Path(__file__).resolve().parent.parent
BUILD = SimpleNamespace(**runpy.run_path(str(ROOT / "tools" / "build_notebooks.py")))
NOTEBOOKS = sorted(BUILD.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
SHEETS = sorted(BUILD.NOTEBOOKS.glob("exercises/*.ipynb"))
SOLUTIONS = sorted(BUILD.NOTEBOOKS.glob("solutions/*.ipynb"))

MAX_BYTES = 1_000_000
MAX_LINES, MEDIAN_LINES = 20, 6  # of a code cell
MAX_OPENING_WORDS = 120
MAX_PRINTED = 155  # characters of a line: as many as fit the 1,224 pixels of an output in JupyterLab
MIN_WIDTH = 500  # pixels of the page, of a figure
# 0.933 or 77.7%; what stands before "million" is knowledge of the world
CITED = re.compile(r"(?<![\w.])\d[\d,]*\.\d{2,}(?!\d| (?:million|billion))|(?<![\w.])\d[\d,]*\.\d(?=%)")
ARXIV = re.compile(r"arXiv:[\d.]+|arxiv\.org/abs/[\d.]+")
PRINTED = re.compile(r"\d[\d,]*\.\d+(?:e[-+]\d+)?")
BAR = re.compile(r"^\w+: +\d+%\|.*\n?", re.MULTILINE)
PYTHON_WARNING = re.compile(r"\w+Warning:|\bWARNING\b")  # not the "Warning: ..." that evaluate.py says
MACHINE_PATH = re.compile(r"/(work|tmp|root|home|Users|usr|opt)/|[A-Z]:\\\\|site-packages|ipykernel_\d")


def name(path: Path) -> str:
    return str(path.relative_to(BUILD.NOTEBOOKS).with_suffix(""))


def read(path: Path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(cell) -> list[str]:
    """Return what a cell printed and the values it ended in, without progress bars: they show times."""
    printed = [output.text if "text" in output else output.data.get("text/plain", "") for output in cell.outputs]
    return [BAR.sub("", text) for text in printed]


def structure(cell) -> Counter:
    """Return how often a cell has each kind of output."""
    kinds = [(output.output_type, output.get("name") or " ".join(sorted(output.data))) for output in cell.outputs]
    # a figure is kept as whichever is smaller
    return Counter((kind, data.replace("image/jpeg", "image/png")) for kind, data in kinds)


def run(path: Path, tmp_path: Path):
    """Execute a copy of a notebook in a copy of its folder and return it."""
    folder = tmp_path / "notebooks"
    shutil.copytree(BUILD.NOTEBOOKS, folder)
    copy = folder / path.relative_to(BUILD.NOTEBOOKS)
    return BUILD.execute(read(copy), copy.parent)


@pytest.mark.slow
@pytest.mark.parametrize("path", [*NOTEBOOKS, *SHEETS, *SOLUTIONS], ids=name)
def test_it_runs_and_its_kept_outputs_are_those_of_a_fresh_run(path, tmp_path):
    kept, fresh = code_cells(read(path)), code_cells(run(path, tmp_path))
    for before, after in zip(kept, fresh, strict=True):
        assert structure(before) == structure(after), before.source
        if "deterministic" in before.metadata.get("tags", []):
            assert texts(before) == texts(after), before.source


@pytest.mark.parametrize("path", SHEETS, ids=name)
def test_in_a_kept_sheet_nothing_was_attempted(path):
    cells = [cell for cell in code_cells(read(path)) if BUILD.CHECK.search(cell.source)]
    assert cells
    assert {text for cell in cells for text in texts(cell)} == {"not attempted\n"}


@pytest.mark.parametrize("path", SOLUTIONS, ids=name)
def test_the_kept_solutions_are_right(path):
    cells = [cell for cell in code_cells(read(path)) if BUILD.CHECK.search(cell.source)]
    assert {text for cell in cells for text in texts(cell)} == {"right\n"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_sheets_and_exercises_are_those_of_their_one_source(path):
    source = (BUILD.SOURCES / f"{path.stem}.py").read_text(encoding="utf-8")
    notebook, sheet, solution = (
        read(BUILD.NOTEBOOKS / folder / path.name) for folder in ("", "exercises", "solutions")
    )
    for kept, version in ((sheet, BUILD.blank), (solution, BUILD.solved)):
        assert [cell.source for cell in kept.cells] == [cell.source for cell in BUILD.cells(version(source))]

    before = [cell.source for cell in notebook.cells]
    BUILD.place_exercises(notebook, sheet)
    assert [cell.source for cell in notebook.cells] == before


def test_every_notebook_has_a_sheet_and_a_solution():
    names = [path.name for path in NOTEBOOKS]
    assert names
    assert names == [path.name for path in SHEETS] == [path.name for path in SOLUTIONS]
    assert [path.stem for path in NOTEBOOKS] == [path.stem for path in sorted(BUILD.SOURCES.glob("*.py"))]


@pytest.mark.parametrize("path", [*NOTEBOOKS, *SHEETS, *SOLUTIONS], ids=name)
def test_outputs_are_kept_clean(path):
    notebook = read(path)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert path.stat().st_size <= MAX_BYTES
    assert notebook == BUILD.tidy(read(path))
    for cell in cells:
        assert not [output for output in cell.outputs if output.output_type == "error"], cell.source
        assert not [output for output in cell.outputs if output.get("name") == "stderr"], cell.source
        for text in texts(cell):
            assert not MACHINE_PATH.search(text), text
            assert not PYTHON_WARNING.search(text), text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_printed_lines_fit_the_page(path):
    printed = [output for cell in code_cells(read(path)) for output in cell.outputs if output.get("name") == "stdout"]
    lines = [line for output in printed for line in output.text.splitlines()]
    assert not [line for line in lines if len(line) > MAX_PRINTED]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_figures_in_prose_were_printed(path):
    notebook = read(path)
    printed = {
        figure
        for cell in code_cells(notebook)
        for text in [cell.source, *texts(cell)]
        for figure in PRINTED.findall(text)
    }
    values = [float(figure.replace(",", "")) for figure in printed]
    for cell in notebook.cells:
        prose = ARXIV.sub("", cell.source) if cell.cell_type == "markdown" else ""
        for figure in CITED.findall(prose):
            decimals = len(figure.partition(".")[2])
            cited = float(figure.replace(",", ""))
            assert any(round(value, decimals) == cited for value in values), (figure, cell.source)


@pytest.mark.parametrize("path", [*NOTEBOOKS, *SHEETS, *SOLUTIONS], ids=name)
def test_code_cells_are_short(path):
    lines = [len(cell.source.splitlines()) for cell in code_cells(read(path))]
    assert max(lines) <= MAX_LINES
    assert median(lines) <= MEDIAN_LINES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_a_notebook_opens_and_closes_as_the_others(path):
    prose = [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
    assert re.match(rf"# {path.stem[:2]} \S", prose[0])
    assert len(prose[0].split()) <= MAX_OPENING_WORDS
    assert "minutes" in prose[0]

    headings = re.findall(r"^## (.+)$", "\n".join(prose), re.MULTILINE)
    numbered, closing = headings[:-3], headings[-3:]
    assert [heading.split()[0] for heading in numbered] == [str(i) for i in range(1, len(numbered) + 1)]
    assert 5 <= len(numbered) <= 9
    assert closing == ["Summary", "Questions", "Go further"]
    summary = "\n".join(prose).partition("## Summary\n")[2].partition("## Questions")[0]
    assert 1 <= len(re.findall(r"^- ", summary, re.MULTILINE)) <= 5


@pytest.mark.parametrize("path", [*NOTEBOOKS, *SHEETS, *SOLUTIONS], ids=name)
def test_nothing_is_left_to_do(path):
    marks = [cell.source for cell in read(path).cells if re.search(r"\b(TODO|FIXME|XXX)", cell.source)]
    assert not marks


@pytest.mark.parametrize("path", [*NOTEBOOKS, *SHEETS, *SOLUTIONS], ids=name)
def test_no_cell_is_empty(path):
    assert not [cell.id for cell in read(path).cells if not cell.source.strip()]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_every_question_has_its_answer_folded(path):
    prose = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    questions = prose.partition("## Questions\n")[2].partition("## Go further")[0]
    asked = re.split(r"^(?:\*\*)?\d+\.", questions, flags=re.MULTILINE)[1:]
    assert len(asked) >= 3
    assert not [question for question in asked if not re.search(r"<details>.*\w.*</details>", question, re.DOTALL)]


@pytest.mark.parametrize("path", [*NOTEBOOKS, *SHEETS, *SOLUTIONS], ids=name)
def test_pictures_have_an_alternative_text(path):
    cells = read(path).cells
    html = [
        output.data["text/html"]
        for cell in cells
        for output in cell.get("outputs", ())
        if "text/html" in output.get("data", {})
    ]
    written = "\n".join([*html, *(cell.source for cell in cells if cell.cell_type == "markdown")])
    tags = re.findall(r"<img[^>]*>", written)
    assert not [tag for tag in tags if not re.search(r'alt="[^"]{10,}"', tag)]
    assert not re.findall(r"!\[.{0,9}\]\(", written)


@pytest.mark.parametrize("path", [*NOTEBOOKS, *SOLUTIONS], ids=name)
def test_figures_are_sharp_and_no_stamps(path):
    for cell in code_cells(read(path)):
        for output in cell.outputs:
            for kind in {"image/png", "image/jpeg", "image/svg+xml"} & set(output.get("data", ())):
                picture = Image.open(io.BytesIO(base64.b64decode(output.data[kind])))
                shown = output.metadata[kind]
                assert shown["width"] >= MIN_WIDTH, cell.source
                assert picture.width // SHARPNESS == shown["width"], cell.source
