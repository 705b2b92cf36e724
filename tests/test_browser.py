"""The notebooks in JupyterLab, in a real browser: what they keep is shown, and Run All works.

Pictures of what the browser showed go to the folder named by GOING_MODULAR_SCREENSHOTS, or to pytest's.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import nbformat
import pytest
from chromium import CHROMIUM, needs_chromium, playwright
from commands import HANGS
from test_notebooks import BUILD, NOTEBOOKS, code_cells, name, read

pytestmark = [pytest.mark.slow, needs_chromium]

WIDTH, HEIGHT = 1400, 1600
WAIT = 1000 * HANGS  # milliseconds
QUIET = ("gpu", "quic", "background-networking", "component-update", "sync")  # what the browser is to do without
NO_NETWORK = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
SETTINGS = {
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},  # every cell is in the page
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/extensionmanager-extension:plugin": {"enabled": False},
}

QUICKSTART = BUILD.NOTEBOOKS / "00_quickstart.ipynb"
CELL = ".jp-Notebook .jp-Cell"
PROSE = ".jp-MarkdownCell:has(.jp-RenderedMarkdown > *)"
PICTURE = ".jp-OutputArea-output img"
STDERR = "[data-mime-type='application/vnd.jupyter.stderr']"  # tracebacks, too
MESSAGES = ".jp-Dialog, .Toastify__toast--error"
NOT_TYPESET = "mjx-merror, mjx-mtext[style*='red']"  # the latter for commands that MathJax does not know
PRINTED = ".jp-OutputArea-output pre:visible"
BAR = re.compile(r"(\w+): +\d+%.*(it/s|image/s|s/epoch|epoch/s)")
MATH = re.compile(r"\$\$.+?\$\$|\$[^$]+\$", re.DOTALL)
CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)

# Everything but the editors of code cells, which scroll by design. JupyterLab breaks the lines of printed text that are
# too long; here they are not broken, so that a table of text is found to be too wide.
UNBROKEN = ".jp-OutputArea-output pre { white-space: pre !important }"
TOO_WIDE = """
() => [...document.querySelectorAll(
    ".jp-OutputArea-output, .jp-OutputArea-output *, .jp-RenderedMarkdown, .jp-RenderedMarkdown :is(table, pre, img)"
)].filter(box => {
    const right = box.closest(".jp-Cell").getBoundingClientRect().right;
    return box.clientWidth && box.scrollWidth > box.clientWidth + 1 || box.getBoundingClientRect().right > right + 1;
}).map(box => `${box.tagName} ${box.className}, ${box.scrollWidth} in ${box.clientWidth}: ${box.innerText}`)
"""
# how wide each picture is, 0 where it cannot be decoded
DECODED = "pictures => Promise.all(pictures.map(one => one.decode().then(() => one.naturalWidth, () => 0)))"


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory):
    """Serve a copy of the notebooks' folder with JupyterLab on loopback; yield the folder and a notebook's URL."""
    folder, home = tmp_path_factory.mktemp("served"), tmp_path_factory.mktemp("jupyter")
    shutil.copytree(BUILD.NOTEBOOKS, folder, dirs_exist_ok=True)
    labconfig = home / "CONFIG" / "labconfig"
    labconfig.mkdir(parents=True)
    (labconfig / "default_setting_overrides.json").write_text(json.dumps(SETTINGS), encoding="utf-8")
    environment = {f"JUPYTER_{kind}_DIR": str(home / kind) for kind in ("CONFIG", "DATA", "RUNTIME")} | {
        "JUPYTER_PATH": "",
        "JUPYTER_TOKEN": secrets.token_hex(),
        "GOING_MODULAR_OFFLINE": "1",
        "GOING_MODULAR_CACHE": str(home / "cache"),
        "TORCH_HOME": str(home / "cache"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", "--port=0", "--allow-root"]
    command.append(f"--ServerApp.root_dir={folder}")
    pipe = {"stderr": subprocess.PIPE, "encoding": "utf-8", "errors": "replace"}
    with subprocess.Popen(command, cwd=home, env=os.environ | environment, **pipe) as process:
        address = listening_at(process)
        log = threading.Thread(target=process.stderr.read)  # so that the pipe does not fill up
        log.start()
        try:
            yield folder, f"{address}/doc/tree/{{}}?token={environment['JUPYTER_TOKEN']}"
        finally:
            process.terminate()  # ends the kernels, too
            process.wait(HANGS)
            log.join()


def listening_at(process: subprocess.Popen) -> str:
    """Read what a server says until it names its address."""
    hangs = threading.Timer(HANGS, process.kill)
    hangs.start()
    said = ""
    while not (found := re.search(r"http://127\.0\.0\.1:\d+", said)) and (line := process.stderr.readline()):
        said += line
    hangs.cancel()
    assert found, f"JupyterLab did not start: {said}"
    return found[0]


@pytest.fixture(scope="module")
def browser():
    arguments = ["--no-first-run", NO_NETWORK, *(f"--disable-{what}" for what in QUIET)]
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0  # Chromium has no sandbox for root
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments, chromium_sandbox=not is_root)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def open_notebook(jupyter, browser):
    """Return a function that opens a served notebook and returns its page."""

    def open_it(file_name: str):
        folder, url = jupyter
        page = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}).new_page()
        page.set_default_timeout(WAIT)
        page.goto(url.format(file_name))
        cells = read(folder / file_name).cells
        prose = [cell for cell in cells if cell.cell_type == "markdown"]
        playwright.expect(page.locator(CELL)).to_have_count(len(cells), timeout=WAIT)
        playwright.expect(page.locator(PROSE)).to_have_count(len(prose), timeout=WAIT)
        return page

    return open_it


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=name)
def kept(request, open_notebook, tmp_path_factory):
    """A notebook as it is kept: what the file holds, and the page that shows it."""
    page = open_notebook(request.param.name)
    photograph(page, request.param.stem, tmp_path_factory)
    yield read(request.param), page
    page.context.close()


def photograph(page, stem: str, tmp_path_factory) -> None:
    """Scroll through a notebook and write a picture of each screen."""
    folder = Path(os.environ.get("GOING_MODULAR_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    scroller = page.locator(".jp-WindowedPanel-outer")
    step = scroller.evaluate("box => box.clientHeight") - 50  # of a line that is cut, the next picture has the whole
    bottom = page.locator(CELL).last.evaluate("cell => cell.offsetTop + cell.offsetHeight")
    for i, top in enumerate(range(0, bottom, step)):
        scroller.evaluate("(box, top) => { box.scrollTop = top }", top)
        page.screenshot(path=folder / f"{stem}-{i:02}.png")


def outputs(notebook) -> list:
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def text_of(output) -> str:
    """Return what an output shows as text: what was printed, or a bar, which is an output of its own."""
    return output.get("text") or output.get("data", {}).get("text/plain", "")


def count_pictures(notebook) -> int:
    shown = [output.get("data", {}) for output in outputs(notebook)]
    figures = sum(any(kind.startswith("image/") for kind in data) for data in shown)
    return figures + sum(data.get("text/html", "").count("<img ") for data in shown)  # drawings


def assert_pictures(page, count: int) -> None:
    """Check how many pictures the outputs show, and that the browser could draw every picture of the page."""
    playwright.expect(page.locator(PICTURE)).to_have_count(count, timeout=WAIT)
    assert 0 not in page.locator(f"{CELL} img").evaluate_all(DECODED)


def assert_nothing_is_too_wide(page) -> None:
    style = page.add_style_tag(content=UNBROKEN)
    too_wide = page.evaluate(TOO_WIDE)
    style.evaluate("style => style.remove()")
    assert not too_wide


def assert_no_errors(page) -> None:
    """Check that there are no script errors, no messages, and nothing on standard error but progress bars."""
    assert not page.page_errors()
    assert page.locator(MESSAGES).all_inner_texts() == []
    lines = "\n".join(page.locator(STDERR).all_inner_texts()).splitlines()
    assert [line for line in lines if line.strip() and not BAR.search(line)] == []


def test_every_kept_picture_is_shown(kept):
    notebook, page = kept
    assert_pictures(page, count_pictures(notebook))


def test_every_kept_progress_bar_is_shown(kept):
    notebook, page = kept
    bars = [text for text in map(text_of, outputs(notebook)) if BAR.search(text)]
    playwright.expect(page.locator(PRINTED).filter(has_text=BAR)).to_have_text(bars, timeout=WAIT)


def test_nothing_is_wider_than_the_page(kept):
    assert_nothing_is_too_wide(kept[1])


def test_formulas_are_typeset(kept):
    notebook, page = kept
    for i, cell in enumerate(notebook.cells):
        formulas = MATH.findall(CODE.sub("", cell.source)) if cell.cell_type == "markdown" else []
        typeset = page.locator(CELL).nth(i).locator("mjx-container")
        playwright.expect(typeset).to_have_count(len(formulas), timeout=WAIT)
    playwright.expect(page.locator(NOT_TYPESET)).to_have_count(0)


def test_opening_a_notebook_raises_no_errors(kept):
    assert_no_errors(kept[1])


def run_all(page, prompt):
    """Choose Run All as a reader does: again, where nothing happens.

    Until the kernel answers, JupyterLab runs nothing and says nothing, even where it shows it as idle.
    """
    for is_last in (False, False, True):
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        try:
            playwright.expect(prompt).not_to_have_text("[ ]:", timeout=WAIT / 6)
        except AssertionError:
            if is_last:
                raise
        else:
            return


def test_run_all_runs_all(jupyter, open_notebook, tmp_path_factory):
    before, after = read(QUICKSTART), read(QUICKSTART)
    for cell in code_cells(after):
        cell.execution_count, cell.outputs = None, []
    (jupyter[0] / "run").mkdir()
    nbformat.write(after, jupyter[0] / "run" / QUICKSTART.name)

    page = open_notebook(f"run/{QUICKSTART.name}")
    playwright.expect(page.locator(".jp-Notebook-ExecutionIndicator").first).to_have_attribute(
        "data-status", "idle", timeout=WAIT
    )
    shown = page.locator(".jp-CodeCell .jp-InputPrompt")
    run_all(page, shown.first)
    prompts = [f"[{i}]:" for i, _ in enumerate(code_cells(after), start=1)]
    playwright.expect(shown).to_have_text(prompts, timeout=WAIT)
    photograph(page, f"{QUICKSTART.stem}-run", tmp_path_factory)

    assert_pictures(page, count_pictures(before))
    assert_nothing_is_too_wide(page)
    assert_no_errors(page)
    bars = {found[1] for output in outputs(before) for found in BAR.finditer(text_of(output))}
    assert bars
    for label in bars:
        finished = re.compile(rf"{label}: +100%")
        playwright.expect(page.locator(PRINTED).filter(has_text=finished).first).to_be_visible()
    page.context.close()
