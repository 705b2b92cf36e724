"""The site: it builds without a warning, holds together, and reads well in a real browser.

It is built once, whatever the number of processes that test. Pictures of five pages go to the folder named by
GOING_MODULAR_SCREENSHOTS, if it is set.
"""

import http.server
import os
import re
import subprocess
import sys
import threading
from functools import partial
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from chromium import needs_chromium, playwright
from filelock import FileLock
from test_browser import DECODED, WAIT, browser
from test_house import modules

bs4 = pytest.importorskip("bs4", reason="no beautifulsoup4; install it with: pip install -r requirements.txt")
for library in ("sphinx", "myst_nb", "sphinx_book_theme"):
    pytest.importorskip(library, reason=f"no {library}; install it with: pip install -e .[site]")

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
HOME, API, GLOSSARY, ELSEWHERE = "docs/index", "docs/api", "docs/glossary", "docs/coming_from_elsewhere"
GALLERY, TEACHING = "docs/gallery", "notebooks/TEACHING"
FIVE = (HOME, "notebooks/02_transfer_learning_with_efficientnet", GLOSSARY, ELSEWHERE, "docs/api/going_modular.engine")
MORE = (GALLERY, TEACHING, "docs/cheat_sheet")
PAGES = tuple(dict.fromkeys((*FIVE, *MORE, API, "README", *(f"notebooks/{path.stem}" for path in LESSONS))))
PHONE, DESK, WIDE = 380, 1400, 1600
BUILD_SECONDS = 900  # a limit for what hangs, no measurement

pytestmark = pytest.mark.slow

__all__ = ["browser"]  # a fixture


def build(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess:
    """Build the site as its reader does."""
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *options, "-d", f"{folder}-doctrees", "docs", str(folder)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "REPOSITORY_URL"} | environment,
        capture_output=True,
        encoding="utf-8",
        timeout=BUILD_SECONDS,
        check=False,
    )


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """Build the site, or wait until another process has; return its folder."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, said = base.resolve() / "site", base / "site.txt"
    with FileLock(base / "site.lock"):
        if not said.exists():
            done = build(folder, "-W", "--keep-going", "-q")
            said.write_text(f"{done.returncode}\n{done.stdout}{done.stderr}", encoding="utf-8")
    assert said.read_text(encoding="utf-8").startswith("0\n")  # of a warning, too, the build makes a failure
    return folder


@pytest.fixture(scope="session")
def soups(site) -> dict:
    """Return every page of the site, parsed, by its path."""
    paths = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    return {path: bs4.BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser") for path in paths}


@pytest.fixture(scope="module")
def served(site):
    """Serve the site on loopback; yield its address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=site)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def visit(browser, served):
    """Return a function that opens a page of the site; `page.asked` lists the addresses that it asked for."""
    contexts = []

    def open_it(page_name: str, *, width: int = DESK, scheme: str = "light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(f"{served}/{page_name}.html" if "?" not in page_name else f"{served}/{page_name}")
        return page

    yield open_it
    for context in contexts:
        context.close()


def test_every_link_within_the_site_leads_somewhere(site, soups):
    anchors = {path: {tag["id"] for tag in soup.find_all(id=True)} for path, soup in soups.items()}
    broken = []
    for path, soup in soups.items():
        for tag in soup.find_all(["a", "img", "script", "link"]):
            target = urlsplit(tag.get("href") or tag.get("src") or "")
            if target.scheme or target.netloc:
                continue
            there = (path.parent / unquote(target.path)).resolve() if target.path else path
            is_page = there in anchors
            if not there.is_file() or (is_page and target.fragment and unquote(target.fragment) not in anchors[there]):
                broken.append(f"{path.relative_to(site)}: {target.geturl()}")
    assert broken == []


def test_every_picture_says_what_is_to_be_seen(site, soups):
    for path, soup in soups.items():
        for picture in soup.select("article img"):
            alt = picture.get("alt", "")
            assert len(alt.split()) > 3, f"{path.relative_to(site)}: {alt!r}"


def test_every_module_is_in_the_reference(site, soups):
    known = [
        name for name in modules(ROOT / "going_modular") if "." in name and not name.split(".")[-1].startswith("_")
    ]
    for name in known:
        assert soups[site / f"docs/api/{name}.html"].find(id=f"module-{name}"), name
    extract = soups[site / "docs/api/going_modular.features.html"].find(id="going_modular.features.extract").parent
    fields = [title.get_text().strip(":") for title in extract.select("dl.field-list > dt")]
    assert {"Parameters", "Returns", "Raises"} <= set(fields)


def test_lessons_follow_one_another(site, soups):
    for before, after in pairwise(LESSONS):
        assert soups[site / f"notebooks/{before.stem}.html"].select_one(f'a.right-next[href="{after.stem}.html"]')
        assert soups[site / f"notebooks/{after.stem}.html"].select_one(f'a.left-prev[href="{before.stem}.html"]')


def test_every_term_names_the_lesson_that_explains_it_and_is_linked_there(site, soups):
    entries = soups[site / f"{GLOSSARY}.html"].select("dl.glossary > dt")
    assert len(entries) > 50
    unexplained = []
    for entry in entries:
        first = entry.find_next_sibling("dd").find("a")
        if first is None:
            unexplained.append(entry["id"])
            continue
        page = (site / "docs" / first["href"].partition("#")[0]).resolve()
        assert soups[page].find("a", href=f"../{GLOSSARY}.html#{entry['id']}"), entry["id"]
    assert len(unexplained) <= len(entries) / 3, unexplained


def test_without_an_address_of_the_repository_nothing_leads_to_one(site, soups):
    page = soups[site / f"notebooks/{LESSONS[0].stem}.html"]
    assert not page.find_all("a", href=re.compile("colab|_sources/"))


def test_with_an_address_each_lesson_can_be_downloaded_and_opened_in_colab(tmp_path):
    chosen = f"include_patterns=docs/index.md,README.md,notebooks/{LESSONS[0].name}"
    done = build(tmp_path / "site", "-q", "-D", chosen, REPOSITORY_URL="https://github.com/someone/course")
    assert done.returncode == 0, done.stderr
    page = bs4.BeautifulSoup((tmp_path / f"site/notebooks/{LESSONS[0].stem}.html").read_text("utf-8"), "html.parser")
    colab = page.find("a", href=re.compile("^https://colab.research.google.com/"))["href"]
    assert colab.endswith(f"/github/someone/course/blob/main/notebooks/{LESSONS[0].name}")
    download = page.find("a", href=re.compile(r"_sources/.*ipynb$"))["href"]
    assert (tmp_path / "site/notebooks" / download).read_bytes() == LESSONS[0].read_bytes()


@needs_chromium
@pytest.mark.parametrize("page_name", PAGES)
def test_a_page_asks_no_other_host_and_has_no_error(visit, served, page_name):
    page = visit(page_name)
    assert 0 not in page.locator("article img").evaluate_all(DECODED)
    if re.match(r"notebooks/\d", page_name):
        cells = page.locator("div.cell_input")
        assert cells.count() > 5
        playwright.expect(page.locator("div.cell_input button.copybtn")).to_have_count(cells.count())
    assert [url for url in page.asked if not url.startswith((served, "data:"))] == []
    assert page.page_errors() == []


@needs_chromium
@pytest.mark.parametrize("page_name", PAGES)
def test_nothing_is_wider_than_a_phone(visit, page_name):
    page = visit(page_name, width=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page_name", [*FIVE, *MORE])
def test_a_page_has_no_serious_fault_for_screen_readers(visit, page_name, scheme):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="no axe-playwright-python; pip install -r requirements.txt"
    )
    page = visit(page_name, scheme=scheme)
    found = axe.Axe().run(page).response["violations"]
    serious = [fault for fault in found if fault["impact"] in ("serious", "critical")]
    assert [(fault["id"], [node["html"][:200] for node in fault["nodes"]]) for fault in serious] == []


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_search_finds_a_word_in_a_lesson_and_in_the_reference(visit, scheme):
    page = visit("search.html?q=freeze", scheme=scheme)
    results = page.locator("#search-results li a")
    for place in ("notebooks/02_", "docs/api/going_modular"):
        playwright.expect(page.locator(f'#search-results li a[href*="{place}"]').first).to_be_visible()
    assert results.count() > 2
    quoted = page.locator("#search-results p.context")
    playwright.expect(quoted.first).to_contain_text("freeze", ignore_case=True)
    assert not any(
        "System Settings" in text for text in quoted.all_inner_texts()
    )  # the menu of themes, above each page


@needs_chromium
def test_no_line_of_code_is_cut_on_a_wide_screen(visit):
    for lesson in LESSONS:
        page = visit(f"notebooks/{lesson.stem}", width=WIDE)
        cells = page.locator("article .cell_input pre")
        assert cells.count() > 4
        assert (
            cells.evaluate_all(
                "all => all.filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.innerText)"
            )
            == []
        )


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_drawings_and_figures_show_and_open_larger(visit, scheme):
    page = visit(f"notebooks/{LESSONS[0].stem}", scheme=scheme, width=PHONE)
    for picture in (
        page.locator("article img[src^='data:']").first,
        page.locator("article img[src*='_images/']").first,
    ):
        box = picture.bounding_box()
        assert 300 < box["width"] <= PHONE
        assert picture.evaluate("picture => picture.decode().then(() => picture.naturalWidth)") > PHONE
        picture.click()
        larger = page.locator("dialog[open] img")
        playwright.expect(larger).to_have_attribute("alt", picture.get_attribute("alt"))
        page.keyboard.press("Escape")
        playwright.expect(larger).to_have_count(0)


@needs_chromium
def test_the_cheat_sheet_prints_on_one_sheet_with_no_line_cut(visit):
    page = visit("docs/cheat_sheet", width=726)  # A4 between the margins
    printed = page.pdf(format="A4", margin=dict.fromkeys(("top", "bottom", "left", "right"), "9mm"))
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1
    page.emulate_media(media="print")
    boxes = page.locator(".sheet pre").evaluate_all("all => all.map(one => [one.scrollWidth, one.clientWidth])")
    assert len(boxes) > 5
    assert all(inner <= outer for inner, outer in boxes)


def test_the_cheat_sheet_is_there_as_a_file(site, soups):
    link = soups[site / "docs/cheat_sheet.html"].select_one("article a.download")
    assert (site / "docs" / link["href"]).read_bytes() == (ROOT / "docs/cheat_sheet.pdf").read_bytes()


def test_the_gallery_shows_figures_of_lessons_with_the_line_that_made_each(site, soups):
    shown = soups[site / f"{GALLERY}.html"].select(".shown")
    assert len(shown) >= 8
    for one in shown:
        assert one.select_one("img")["alt"]
        assert one.select_one("pre").get_text().strip()
        assert one.select_one('p a[href*="notebooks/"]')
    assert sum(one.select_one("img")["src"].startswith("data:image/") for one in shown) >= 6


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_search_button_has_its_colours_at_once(visit, scheme):
    button = visit(GALLERY, scheme=scheme).locator(".search-button-field")
    colour = "one => [getComputedStyle(one).color, one.getAnimations({subtree: true}).length]"
    first = button.evaluate(colour)
    assert first[1] == 0  # nothing fades in
    assert first[0] not in ("rgb(0, 0, 0)", "rgba(0, 0, 0, 0)")


@needs_chromium
@pytest.mark.skipif("GOING_MODULAR_SCREENSHOTS" not in os.environ, reason="GOING_MODULAR_SCREENSHOTS names no folder")
@pytest.mark.parametrize("page_name", [*FIVE, *MORE])
def test_pictures_of_pages_to_look_at(visit, page_name):
    folder = Path(os.environ["GOING_MODULAR_SCREENSHOTS"])
    folder.mkdir(parents=True, exist_ok=True)
    for width in (PHONE, DESK):
        for scheme in ("light", "dark"):
            file = folder / f"{Path(page_name).name}-{width}-{scheme}.png"
            visit(page_name, width=width, scheme=scheme).screenshot(path=file)
            assert file.stat().st_size > 10_000
