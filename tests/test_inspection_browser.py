"""The page of inspect_data.py in a real browser: it opens from the disk, and what it takes down is what commands read.

Pictures of what the browser showed go to the folder named by GOING_MODULAR_SCREENSHOTS, or to pytest's.
"""

import os
import shutil
from pathlib import Path

import pytest
from chromium import CHROMIUM, needs_chromium, playwright
from commands import HANGS, LITE0, isolation, succeed
from PIL import Image

from going_modular import data_setup
from going_modular.data import corrections, sources
from going_modular.inspection.page import NEIGHBOURS

pytestmark = [pytest.mark.slow, needs_chromium]

HEIGHT = 900
CLASSES = ("cat", "dog", 'a "b", c')  # the last needs quotes in a CSV, and escapes in HTML

# what is wider than its box, or beyond the window; what is for screen readers only is nowhere
TOO_WIDE = """
() => [...document.querySelectorAll("body *")].filter(one => {
    const box = one.getBoundingClientRect();
    return box.width > 1 && !one.closest(".unseen") && (box.right > innerWidth + 1 || box.left < -1
        || (one.scrollWidth > one.clientWidth + 1 && one.clientWidth && getComputedStyle(one).overflowX !== "visible"
            && !one.matches("input, select")));
}).map(one => `${one.tagName}.${one.className}: ${one.innerText}`)
"""
NAMELESS = """
() => [...document.querySelectorAll("button, select, input, img:not([hidden]), canvas[role]")]
    .filter(one => !(one.getAttribute("aria-label") || one.alt || one.textContent.trim() || one.labels?.length))
    .map(one => one.outerHTML.slice(0, 200))
"""
IS_DRAWN = """
canvas => new Set(new Uint32Array(
    canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size
"""


@pytest.fixture(scope="module")
def inspected(tmp_path_factory) -> Path:
    """Return a folder with `data`, of which some images are copies, and what inspect_data.py wrote about it."""
    folder = tmp_path_factory.mktemp("inspected")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in isolation(folder).items():
            patch.setenv(name, value)
        patch.chdir(folder)
        data, sample = folder / "data", sources.DATA_FOLDER / sources.SAMPLE / "train"
        for name, source in zip(CLASSES, sorted(sample.iterdir()), strict=True):
            (data / name).mkdir(parents=True)
            for i, image in enumerate(sorted(source.iterdir())[:16]):
                shutil.copy(image, data / name / f"{i}.jpg")
        shutil.copy(data / "cat/0.jpg", data / "dog/copy.jpg")
        shutil.copy(data / "cat/1.jpg", data / "cat/again.jpg")
        shutil.copy(data / "cat/1.jpg", data / "cat/and again.jpg")
        Image.new("RGB", (90, 70), (5, 5, 5)).save(data / "dog/night, dark.png")
        succeed("inspect_data.py", "--data", "data", *LITE0, "--output", "out")
    return folder


@pytest.fixture(scope="module")
def browser():
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0  # Chromium has no sandbox for root
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-first-run", "--disable-gpu"], chromium_sandbox=not is_root
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(inspected, browser):
    """Return a function that opens the page; whatever it asks for elsewhere, or complains of, fails the test."""
    problems, contexts = [], []

    def open_it(width: int = 1400, colours: str = "light"):
        context = browser.new_context(viewport={"width": width, "height": HEIGHT}, color_scheme=colours)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(1000 * HANGS)
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "request",
            lambda request: request.url.startswith(("file:", "data:", "blob:")) or problems.append(request.url),
        )
        page.goto((inspected / "out/inspection.html").as_uri())
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert problems == []


def downloaded(page, folder: Path) -> str:
    with page.expect_download() as download:
        page.get_by_role("button", name="Download corrections.csv").click()
    assert download.value.suggested_filename == "corrections.csv"
    download.value.save_as(folder / "corrections.csv")
    return (folder / "corrections.csv").read_bytes().decode("utf-8")


def card(page, section: str, file: str):
    return page.locator(f"section:has(#{section}) .card", has=page.locator(".file", has_text=file)).first


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [380, 1400])
def test_nothing_is_wider_than_the_window(open_page, tmp_path_factory, width, colours):
    page = open_page(width, colours)
    card(page, "quality", "night, dark.png").get_by_role("button", name="Leave out").click()
    page.locator("#atlas").focus()
    page.keyboard.press("ArrowRight")
    playwright.expect(page.locator("#chosen .card")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(TOO_WIDE) == []
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") >= 16
    folder = Path(os.environ.get("GOING_MODULAR_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    page.screenshot(path=folder / f"inspection-{width}-{colours}.png", full_page=True)


def test_every_picture_is_shown(open_page):
    page = open_page()
    sizes = page.evaluate(
        "() => Promise.all([...document.querySelectorAll('.card img, #sheet')].map("
        "one => one.decode().then(() => one.naturalWidth, () => 0)))"
    )
    assert len(sizes) > 10
    assert 0 not in sizes


def test_buttons_fill_the_file_that_commands_read(open_page, inspected, tmp_path):
    page = open_page()
    playwright.expect(page.get_by_role("button", name="Download corrections.csv")).to_be_disabled()
    night = card(page, "quality", "night, dark.png")
    night.get_by_role("button", name="Leave out").click()
    copy = card(page, "two-labels", "dog/copy.jpg")
    copy.get_by_label("Class to move to").focus()
    copy.get_by_label("Class to move to").select_option(CLASSES[2])
    copy.get_by_role("button", name="Move to").click()
    card(page, "two-labels", "cat/0.jpg").get_by_role("button", name="Keep").click()
    again = page.locator(".box", has_text="cat/and again.jpg").first
    again.get_by_role("button", name="Group all 3").click()
    assert downloaded(page, tmp_path) == (
        "file,action,class_or_group,reason\n"
        "cat/0.jpg,keep,,identical\n"
        "cat/1.jpg,group,like cat/1.jpg,identical\n"
        "cat/again.jpg,group,like cat/1.jpg,identical\n"
        "cat/and again.jpg,group,like cat/1.jpg,identical\n"
        'dog/copy.jpg,move,"a ""b"", c",identical\n'
        '"dog/night, dark.png",leave out,,"dark, tiny, no detail"\n'
    )
    decided = corrections.read(tmp_path / "corrections.csv")
    assert decided.moved == {"dog/copy.jpg": CLASSES[2]}
    assert decided.left_out == {"dog/night, dark.png"}
    assert decided.kept == {"cat/0.jpg"}
    assert set(decided.groups) == {"cat/1.jpg", "cat/again.jpg", "cat/and again.jpg"}
    splits = data_setup.load_splits(inspected / "data", corrections=tmp_path / "corrections.csv")
    assert len(splits.train) + len(splits.test) == 51


def test_a_decision_can_be_changed_explained_and_taken_back(open_page, tmp_path):
    page = open_page()
    night = card(page, "quality", "night, dark.png")
    keep, leave_out = (night.get_by_role("button", name=name) for name in ("Keep", "Leave out"))
    keep.click()
    playwright.expect(keep).to_have_attribute("aria-pressed", "true")
    leave_out.click()  # in place of the other
    playwright.expect(keep).to_have_attribute("aria-pressed", "false")
    page.get_by_label("Reason for dog/night, dark.png").fill("too dark, at night")
    page.keyboard.press("Tab")
    lines = 'file,action,class_or_group,reason\n"dog/night, dark.png",leave out,,"too dark, at night"\n'
    assert downloaded(page, tmp_path) == lines
    page.reload()
    assert downloaded(page, tmp_path) == lines, "a reload forgot it"
    card(page, "quality", "night, dark.png").get_by_role("button", name="Leave out").click()
    playwright.expect(page.locator("#count")).to_have_text("No corrections yet")


def test_copies_are_left_out_but_for_the_first(open_page, tmp_path):
    page = open_page()
    page.locator(".box", has_text="cat/and again.jpg").first.get_by_role("button", name="Keep the first only").click()
    assert [line.split(",")[:2] for line in downloaded(page, tmp_path).splitlines()[1:]] == [
        ["cat/again.jpg", "leave out"],
        ["cat/and again.jpg", "leave out"],
    ]


def test_the_keyboard_does_it_all(open_page, tmp_path):
    page = open_page()
    boxes = page.locator("section:has(#two-labels) .card")
    page.get_by_role("link", name="The same picture under two labels").focus()
    page.keyboard.press("Enter")
    for _ in range(20):  # to the first button of an image
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.act"):
            break
    page.keyboard.press("k")
    playwright.expect(boxes.nth(0).get_by_role("button", name="Keep")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("n")
    playwright.expect(boxes.nth(1)).to_be_focused()
    page.keyboard.press("x")
    page.keyboard.press("g")
    rows = [line.split(",")[:2] for line in downloaded(page, tmp_path).splitlines()[1:]]
    assert rows == [["cat/0.jpg", "keep"], ["dog/copy.jpg", "group"], ["dog/copy.jpg", "leave out"]]
    boxes.nth(1).focus()
    page.keyboard.press("g")
    page.keyboard.press("p")
    playwright.expect(boxes.nth(0)).to_be_focused()
    page.keyboard.press("m")  # no class is proposed: the list is next
    playwright.expect(boxes.nth(0).get_by_label("Class to move to")).to_be_focused()
    page.keyboard.press("d")  # as in any list; there it is no command
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    rows = [line.split(",")[:3] for line in downloaded(page, tmp_path).splitlines()[1:]]
    assert rows == [["cat/0.jpg", "move", "dog"], ["dog/copy.jpg", "leave out", ""]]


def test_the_map_shows_each_image(open_page, tmp_path):
    page = open_page()
    canvas = page.locator("#atlas")
    canvas.scroll_into_view_if_needed()
    assert canvas.evaluate(IS_DRAWN) > 10
    file = "cat/5.jpg"
    i = page.evaluate("file => data.mapped.findIndex(image => data.files[image] === file)", file)
    places = page.evaluate("([name, i]) => data.layouts[name].slice(2 * i, 2 * i + 2)", [NEIGHBOURS, i])
    width = canvas.evaluate("canvas => canvas.clientWidth")
    x, y = (12 + place / 1000 * (width - 24) for place in places)
    canvas.hover(position={"x": x, "y": y})
    playwright.expect(page.locator("#tip")).to_be_visible()
    canvas.click(position={"x": x, "y": y})
    chosen = page.locator("#chosen .card")
    playwright.expect(chosen.locator(".file")).to_have_text(file)
    playwright.expect(page.locator("#said")).to_contain_text(file)
    page.wait_for_function(f"({IS_DRAWN})(document.querySelector('#chosen canvas')) > 100")
    chosen.get_by_role("button", name="Leave out").click()
    assert downloaded(page, tmp_path).splitlines()[1:] == [f"{file},leave out,,seen on the map"]
    before = canvas.evaluate("canvas => canvas.toDataURL()")
    page.get_by_role("button", name="Main directions (PCA)").click()
    between = canvas.evaluate("canvas => canvas.toDataURL()")
    page.locator("#legend").get_by_role("button", name="dog").click()
    assert len({before, between, canvas.evaluate("canvas => canvas.toDataURL()")}) == 3
    canvas.focus()
    for key in ("ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    playwright.expect(chosen).to_contain_text("In dog")
