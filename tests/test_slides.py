"""Slides of a lesson: made from the kept notebook by a rule, shown from the disk by a real browser, whole."""

import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from chromium import needs_chromium
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from test_browser import DECODED, WAIT, browser
from test_notebooks import NOTEBOOKS, read

for library in ("nbconvert", "sphinx_revealjs"):
    pytest.importorskip(library, reason=f"no {library}; install it with: pip install -r requirements.txt")

ROOT = Path(__file__).resolve().parent.parent
TOOL = SimpleNamespace(**runpy.run_path(str(ROOT / "tools" / "make_slides.py")))
WIDTH, HEIGHT = 1280, 720
SMALLEST = 13  # pixels of text on a slide of 720

__all__ = ["browser"]  # a fixture

slow = pytest.mark.slow

# how far what is on the slide reaches, the size of its smallest text, and whether anything is wider than its box
MEASURED = """
() => {
    const slide = Reveal.getCurrentSlide();
    const isSeen = one => one.clientHeight && one.checkVisibility();  // not what is folded
    const seen = [...slide.querySelectorAll("*")].filter(isSeen);
    const named = [...slide.querySelectorAll("p, li, td, h1, h2, h3, pre")];
    const text = named.filter(one => isSeen(one) && one.innerText.trim());
    const sizes = text.map(one => parseFloat(getComputedStyle(one).fontSize));
    return {
        about: slide.innerText.slice(0, 60),
        bottom: Math.max(...seen.map(one => one.getBoundingClientRect().bottom)),
        right: Math.max(...seen.map(one => one.getBoundingClientRect().right)),
        smallest: Math.min(99, ...sizes) * (slide.style.zoom || 1),
        cut: text.filter(one => one.scrollWidth > one.clientWidth + 1 && one.clientWidth).map(one => one.innerText),
    };
}
"""


def made(*cells) -> list:
    """Return the slides of a notebook of one section, as lists of what stands on each."""
    title = new_markdown_cell("# 00 A lesson\n\nWhat it is about.")
    slides = []
    for cell in TOOL.slides(new_notebook(cells=[title, *cells])).cells:
        if cell.metadata.slideshow.slide_type != "-":
            slides.append([])
        slides[-1].append(cell)
    return slides


def printed(source: str, text: str):
    return new_code_cell(source, outputs=[new_output("stream", name="stdout", text=text)])


def drawn(source: str):
    return new_code_cell(source, outputs=[new_output("display_data", data={"image/png": "AAAA", "text/plain": "fig"})])


def kinds(slides: list) -> list[str]:
    return [slide[0].metadata.slideshow.slide_type for slide in slides]


def texts(slide: list) -> str:
    return "\n".join(cell.source for cell in slide)


def test_each_section_begins_a_column_and_what_prepares_is_left_out():
    slides = made(
        new_code_cell("import torch"),
        new_markdown_cell("The imports.\n\n## 1 First\n\nProse."),
        new_markdown_cell("### Exercise 1\n\nWrite it.\n\n## 2 Second\n\nMore."),
        new_markdown_cell("## Go further\n\n- A paper."),
    )
    assert kinds(slides) == ["slide", "slide", "subslide", "slide"]
    everything = "\n".join(map(texts, slides))
    assert "import torch" not in everything
    assert "The imports" not in everything
    assert "A paper" not in everything


def test_an_answer_and_what_was_printed_can_be_guessed_first():
    slides = made(
        new_markdown_cell(
            "## 1 First\n\nHow many?\n\n<details><summary>Answer</summary>\n\nSeven.\n\n</details>\n\nWhy?"
        ),
        printed("print(7)", "7\n"),
    )
    asked, answer, but, shown = slides[1:]
    assert "How many?" in texts(asked)
    assert "Seven" not in texts(asked)
    assert "Seven." in texts(answer)
    assert "But?" not in texts(answer)
    assert "print(7)" not in texts(but)
    assert shown[-1].outputs[0].text == "7\n"


def test_long_code_stands_apart_from_its_figure_and_no_check_or_progress_bar_is_shown():
    bar = new_code_cell("extract()", outputs=[new_output("display_data", data={"text/plain": "Features: 100%|██|"})])
    slides = made(
        new_markdown_cell("## 1 First"),
        drawn("\n".join(f"line_{i} = {i}" for i in range(9))),
        drawn("plot()"),
        bar,
        new_code_cell("checks.nb00.head_size(head_size)"),
    )
    code, figure, both, rest = slides[1:]
    assert "line_8" in texts(code)
    assert figure[-1].outputs[0].data["image/png"]
    assert not figure[-1].source
    assert both[-1].source == "plot()"
    assert both[-1].outputs
    assert texts(rest).endswith("extract()")
    assert not rest[-1].outputs


def test_formulas_are_mathml_and_links_into_the_course_are_text():
    text = TOOL.with_mathml(
        "A loss $-\\ln p$, `cost = $5`, [03](03_pay_once.ipynb), [a paper](https://arxiv.org/abs/1)."
    )
    assert "<math" in text
    assert "`cost = $5`" in text
    assert "[03]" not in text
    assert "](https://arxiv.org/abs/1)" in text


def test_an_unknown_number_is_refused_in_a_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["make_slides.py", "77"])
    with pytest.raises(SystemExit) as ended:
        TOOL.main()
    assert ended.value.code == 2
    assert "no notebook '77'" in capsys.readouterr().err


@slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_section_and_exercise_of_a_lesson_is_on_a_slide(path):
    notebook = read(path)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    shown = "\n".join(cell.source for cell in TOOL.slides(notebook).cells)
    assert [one for one in re.findall(r"^##+ .+$", prose, re.MULTILINE) if one not in shown] == ["## Go further"]


@needs_chromium
@slow
@pytest.mark.parametrize("number", ["00", "04"])
def test_slides_are_shown_whole_from_the_disk_and_ask_nobody(browser, tmp_path, number):
    path = next(path for path in NOTEBOOKS if path.name.startswith(number))
    file = tmp_path / "slides.html"
    file.write_text(TOOL.export(path), encoding="utf-8")
    page = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}).new_page()
    page.set_default_timeout(WAIT)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_function("window.Reveal && Reveal.isReady()")
    assert 0 not in page.locator("section img").evaluate_all(DECODED)
    assert page.locator("section img:not([alt])").count() == 0
    for _ in range(page.evaluate("Reveal.getTotalSlides()")):
        found = page.evaluate(MEASURED)
        assert found["bottom"] <= HEIGHT, found
        assert found["right"] <= WIDTH, found
        assert found["smallest"] >= SMALLEST, found
        assert not found["cut"], found
        page.evaluate("Reveal.next()")
    assert page.evaluate("Reveal.isLastSlide()")
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    assert page.page_errors() == []
