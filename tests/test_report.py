"""The report of an evaluation, as a page: what it holds, and how a real browser shows it."""

import re
import shutil
from io import BytesIO

import numpy as np
import pytest
from commands import HANGS, LITE0, succeed
from PIL import Image

from going_modular.evaluation import report
from going_modular.evaluation.report import PageFigure, Table

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NASTY = "<script>alert(1)</script> & \"quoted\" 'too'"


def png() -> bytes:
    content = BytesIO()
    Image.fromarray(np.zeros((4, 6, 3), dtype=np.uint8)).save(content, format="png")
    return content.getvalue()


def test_what_classes_and_files_are_called_cannot_break_the_page():
    parts = [PageFigure(NASTY, png(), NASTY, NASTY), Table(NASTY, (NASTY, NASTY), [(NASTY, NASTY)], NASTY)]
    page = report.render(NASTY, [NASTY], [NASTY], parts)
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 14
    assert re.search(r'<img alt="[^"<>]+" src="data:image/png;base64,', page)


@pytest.mark.parametrize(
    ("measure", "text"),
    [
        ({"value": 0.5, "interval": [0.25, 0.75]}, "0.500 (0.250 to 0.750)"),
        ({"value": 0.5, "interval": None}, "0.500"),
        ({"value": None, "interval": None}, "–"),
    ],
)
def test_a_value_is_shown_with_its_interval_or_as_a_dash(measure, text):
    assert report.shown(measure) == text


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no chromium on PATH; install it with: apt-get install chromium")
@pytest.mark.parametrize("width", [380, 1400])
def test_a_browser_shows_it_all(make_classes, tmp_path, monkeypatch, width):
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="no playwright; install it with: pip install -r requirements.txt"
    )
    monkeypatch.chdir(tmp_path)
    data = make_classes("data", images=15)
    succeed("train.py", "--data", data, *LITE0, "--epochs", 1, "--output", "run")
    succeed("evaluate.py", "--data", data, "--checkpoint", "run/model.safetensors")
    problems: list[str] = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.set_default_timeout(1000 * HANGS)
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "request",
            lambda request: None if request.url.startswith(("file:", "data:")) else problems.append(request.url),
        )
        page.goto((tmp_path / "run/evaluation/report.html").as_uri())
        shown = page.evaluate(
            "() => [...document.images].map(one => [one.naturalWidth, one.clientWidth, one.alt.length])"
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page is wider than the window"
        tables = page.evaluate(
            "() => [...document.querySelectorAll('.table, .wide')].map(one => [one.scrollWidth, one.clientWidth])"
        )
        assert page.locator("h1").inner_text().startswith("How good is")
        assert page.locator("h1").is_visible()
        assert page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") >= 16
        browser.close()
    assert problems == []
    assert len(tables) == 2
    for whole, visible in tables:
        assert whole <= visible, "a table has to be scrolled sideways"
    assert len(shown) >= 7
    for natural, visible, alt in shown:
        assert natural > 0, "a picture cannot be decoded"
        assert min(natural, width - 40) * 0.9 <= visible <= width, "a picture is not visible in full"
        assert alt > 10
