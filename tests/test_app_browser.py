"""The app as a person uses it, in a real browser with a made webcam: teach two classes, train, try, save.

Pictures of what the browser showed go to the folder named by GOING_MODULAR_SCREENSHOTS, or to pytest's.
"""

import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from app_server import free_port, serving
from chromium import CHROMIUM, needs_chromium, playwright
from commands import HANGS, succeed
from PIL import Image

from going_modular.data import sources

pytest.importorskip("gradio", reason="no gradio; install it with: pip install -r requirements.txt")
pytestmark = [pytest.mark.slow, needs_chromium]

HEIGHT = 1000
WAIT = 1000 * HANGS  # milliseconds
SERIOUS = ("serious", "critical")
FRAMES = 8  # of a class, at least
SAMPLE = sources.DATA_FOLDER / sources.SAMPLE
TOO_WIDE = """
() => [...document.querySelectorAll("body *")].filter(one => {
    const box = one.getBoundingClientRect();
    return box.width > 1 && getComputedStyle(one).visibility !== "hidden" && !one.closest(".unseen, [aria-hidden=true]")
        && (box.right > innerWidth + 1 || box.left < -1);
}).map(one => `${one.tagName}.${one.className}: ${one.getBoundingClientRect().right}`)
"""
# what is being computed anew is faint, and for a moment longer than it takes
SETTLED = """
() => [...document.querySelectorAll(".said")].every(one => {
    for (let part = one; part; part = part.parentElement) if (getComputedStyle(part).opacity !== "1") return false;
    return true;
})
"""


WATCHED = """
import os, sys
from going_modular import app

log = os.open("asked.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
PLACES = {"socket.connect": 1, "socket.getaddrinfo": 0}

def note(event, arguments):
    if event in PLACES:
        os.write(log, f"{event} {arguments[PLACES[event]]}\\n".encode())

sys.addaudithook(note)
app.main()
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """Serve the app; whatever the server itself asks of another computer fails the tests."""
    folder = tmp_path_factory.mktemp("app")
    (script := folder / "watched.py").write_text(WATCHED)
    with serving(folder, script=script) as (_, address):
        yield folder, address
    asked = (folder / "asked.log").read_text().splitlines()
    assert asked, "nothing is noted"
    assert [line for line in asked if "127.0.0.1" not in line and "localhost" not in line] == []


def write_video(path: Path) -> Path:
    """Write a film for the made webcam: a red square and a blue disc, each on its way, no two frames the same."""
    side, rng = 240, np.random.default_rng(0)
    rows, columns = np.mgrid[0:side, 0:side]
    with path.open("wb") as file:
        for i in range(900):  # half a minute, then it starts again: the same frame is not taken twice
            x, y = 60 + 2 * (i % 45), 90 + i % 30
            frame = np.full((side, side, 3), 200, dtype=np.uint8)
            frame[y : y + 70, x : x + 70] = (200, 20, 20)
            frame[(rows - y - 60) ** 2 + (columns - side + x) ** 2 < 900] = (20, 20, 200)
            noisy = frame.astype(int) + rng.integers(-8, 8, frame.shape)
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG")
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    video = write_video(tmp_path_factory.mktemp("video") / "made.mjpeg")
    arguments = ["--no-first-run", "--disable-gpu", "--use-fake-ui-for-media-stream"]
    arguments += ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={video}"]
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0  # Chromium has no sandbox for root
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments, chromium_sandbox=not is_root)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Return a function that opens the app; whatever it asks of another host, or complains of, fails the test."""
    problems, contexts = [], []

    def open_it(address: str, width: int = 1400, colours: str = "light"):
        context = browser.new_context(viewport={"width": width, "height": HEIGHT}, color_scheme=colours)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: message.type == "error" and problems.append(message.text))
        page.on(
            "request",
            lambda request: request.url.startswith((address, "data:", "blob:")) or problems.append(request.url),
        )
        page.goto(address)
        page.get_by_role("tab", name="Teach").wait_for()
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert problems == []


def photograph(page, name: str, tmp_path_factory) -> None:
    folder = Path(os.environ.get("GOING_MODULAR_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png", full_page=True)


def said(page, text: str | re.Pattern) -> None:
    playwright.expect(page.locator("#said")).to_contain_text(text, timeout=WAIT)


def add_class(page, name: str) -> None:
    page.get_by_label("New class").fill(name)
    page.get_by_role("button", name="Add class").click()
    said(page, f"{name!r} added")


def record(page, name: str) -> None:
    """Record a burst of the webcam into a class."""
    page.get_by_role("tab", name="Webcam").click()
    camera = page.locator("#teach-camera")
    if camera.get_by_text("Click to Access Webcam").is_visible():
        camera.get_by_text("Click to Access Webcam").click()
    button = camera.get_by_role("button", name="capture photo")  # Gradio's name for it, recording or not
    playwright.expect(button).to_contain_text("Record", timeout=WAIT)
    button.click()
    said(page, re.compile(rf"\b(?:[{FRAMES}-9]|\d\d+) images in '{name}'"))
    button.click()
    playwright.expect(page.locator("#teach-gallery img").nth(FRAMES - 1)).to_be_visible(timeout=WAIT)


def test_two_classes_are_taught_by_webcam_tried_and_taken_home(app, open_page, tmp_path_factory, monkeypatch, capsys):
    folder, address = app
    page = open_page(address)
    for name in ("red", "蓝色"):
        add_class(page, name)
        record(page, name)
    page.get_by_role("button", name="Train").click()
    said(page, "Trained in")
    said(page, "Frames of one burst look alike")
    playwright.expect(page.locator("#teach-result")).to_contain_text("95% interval", timeout=WAIT)
    assert page.locator("#teach-result .figure img").count() == 2
    photograph(page, "taught-by-webcam", tmp_path_factory)

    page.get_by_role("button", name="Save the checkpoint").click()
    said(page, "Saved in runs")
    [checkpoint] = folder.glob("runs/*/model.safetensors")
    with page.expect_download() as download:
        page.locator("#teach-saved a", has_text="model.safetensors").or_(
            page.locator("#teach-saved a[download*='model']")
        ).first.click()
    assert Path(download.value.path()).read_bytes() == checkpoint.read_bytes()

    page.get_by_role("tab", name="Try").click()
    page.locator("#try-photo input[type=file]").first.set_input_files(SAMPLE / "test/pizza" / "pizza_1075.jpg")
    playwright.expect(page.locator("#try-answer .answer")).to_have_text(re.compile("red|蓝色|Not sure"), timeout=WAIT)
    monkeypatch.chdir(folder)
    succeed("predict.py", SAMPLE / "test/pizza", "--checkpoint", checkpoint)
    assert {line.split("\t")[1] for line in capsys.readouterr().out.splitlines()} <= {"red", "蓝色"}


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [380, 1400])
def test_both_tabs_fit_and_can_be_read_aloud(app, open_page, tmp_path_factory, width, colours):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = open_page(app[1], width, colours)

    def check(name: str) -> None:
        page.wait_for_function(SETTLED)
        found = axe.run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in SERIOUS] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(TOO_WIDE) == []
        photograph(page, f"{name}-{width}-{colours}", tmp_path_factory)

    page.get_by_role("tab", name="Teach").click()
    check("teach-empty")
    page.get_by_role("button", name="Fill with sample").click()
    said(page, "60 images added to 3 classes")
    page.get_by_role("button", name="Train").click()
    said(page, "Trained in")
    playwright.expect(page.locator("#teach-result .figure img").nth(1)).to_be_visible(timeout=WAIT)
    check("teach")
    page.get_by_role("tab", name="Try").click()
    page.locator("#try-examples button").first.click()
    playwright.expect(page.locator("#try-heat img")).to_be_visible(timeout=WAIT)
    playwright.expect(page.locator("#try-answer .answer")).to_have_text(re.compile("pizza|steak|sushi"))
    page.get_by_role("button", name="Several images at once").click()
    page.locator("#try-several input[type=file]").first.set_input_files(sorted((SAMPLE / "test/sushi").iterdir())[:3])
    playwright.expect(page.locator("#try-grid figure")).to_have_count(3, timeout=WAIT)
    check("try")
    page.get_by_label("Not sure below").first.fill("1")
    page.keyboard.press("Tab")
    playwright.expect(page.locator("#try-answer .answer")).to_have_text("Not sure", timeout=WAIT)


def test_the_keyboard_teaches_and_another_page_sees_nothing_of_it(app, open_page):
    page = open_page(app[1])
    page.get_by_role("tab", name="Teach").focus()
    page.keyboard.press("Enter")
    page.get_by_label("New class").focus()
    page.keyboard.type("<b>")
    page.keyboard.press("Enter")
    said(page, "cannot be a folder's name")
    playwright.expect(page.get_by_label("New class")).to_have_value("<b>")
    page.get_by_label("New class").fill("cat")
    page.keyboard.press("Enter")
    said(page, "'cat' added")
    files = sorted((SAMPLE / "train/pizza").iterdir())[:2]
    page.locator("#teach-files input[type=file]").first.set_input_files(files)
    said(page, "2 images added to 'cat'")
    thumbnails = page.locator("#teach-gallery button:has(img)")
    playwright.expect(thumbnails).to_have_count(2, timeout=WAIT)
    thumbnails.first.focus()
    page.keyboard.press("Enter")
    said(page, "Image 1 is picked")
    page.get_by_role("button", name="Remove the picked image").focus()
    page.keyboard.press("Enter")
    said(page, "1 image removed")
    playwright.expect(thumbnails).to_have_count(1, timeout=WAIT)
    page.get_by_role("button", name="Train").focus()
    page.keyboard.press("Enter")
    said(page, "there is only 'cat'; add another")

    other = open_page(app[1])
    other.get_by_role("tab", name="Teach").click()
    other.get_by_role("button", name="Zip of the images").click()
    said(other, "There are no images yet")
    assert other.get_by_text("cat", exact=False).count() == 0


def test_an_upload_that_is_a_bomb_is_told_and_nothing_is_lost(app, open_page, tmp_path):
    bomb, text = tmp_path / "bomb.png", tmp_path / "bomb.jpg"
    Image.new("1", (20_000, 10_000)).save(bomb)
    text.write_text("no picture")
    page = open_page(app[1])
    page.get_by_role("tab", name="Teach").click()
    page.get_by_role("button", name="Fill with sample").click()
    said(page, "60 images added")
    page.locator("#teach-files input[type=file]").first.set_input_files([bomb, text])
    said(
        page,
        "2 not taken: Cannot open image 'bomb.png': it is too large (20000x10000, 200 megapixels; the limit is 50)",
    )
    playwright.expect(page.locator("#teach-class")).to_contain_text("sushi (20)")
    page.get_by_role("tab", name="Try").click()
    page.locator("#try-photo input[type=file]").first.set_input_files(text)
    playwright.expect(page.locator("#try-answer")).to_contain_text("There is no model yet", timeout=WAIT)


ENDLESS = """
import sys
from going_modular import app
from going_modular.classroom import lesson
lesson.LEAST_EPOCHS = lesson.MOST_EPOCHS = 10**9
app.main()
"""


def test_killed_in_the_middle_of_training_it_leaves_nothing_and_starts_again(tmp_path, open_page, browser):
    endless, port = tmp_path / "endless.py", free_port()
    endless.write_text(ENDLESS)
    with serving(tmp_path, port=port, script=endless) as (process, address):
        page = browser.new_context().new_page()
        page.goto(address)
        page.get_by_role("tab", name="Teach").click(timeout=WAIT)
        page.get_by_role("button", name="Fill with sample").click()
        said(page, "60 images added")
        page.get_by_role("button", name="Train").click()
        said(page, "Training:")
        page.context.close()
        os.killpg(process.pid, signal.SIGKILL)
    assert list(tmp_path.glob("going-modular-app-*")), "what is to be cleared away was not there"
    assert not (tmp_path / "runs").exists()
    with serving(tmp_path, port=port) as (_, address):
        assert len(list(tmp_path.glob("going-modular-app-*"))) == 1
        open_page(address).close()
