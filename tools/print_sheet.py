"""Print the site's cheat sheet on one page of A4, docs/cheat_sheet.pdf, by Chromium.

    python -m sphinx docs build/site && python tools/print_sheet.py

The file ends in a comment with the digest of docs/cheat_sheet.md, by which a test knows that it was printed after the
last change.
"""

import argparse
import hashlib
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
SOURCE, PRINTED = ROOT / "docs" / "cheat_sheet.md", ROOT / "docs" / "cheat_sheet.pdf"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MARGIN = "9mm"


def digest() -> str:
    """Return the comment that names the source."""
    return f"% {SOURCE.name} {hashlib.sha256(SOURCE.read_bytes()).hexdigest()}\n"


def browser_path() -> str | None:
    """Return the path of Chromium, if there is one."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def print_page(page: Path, browser: str) -> bytes:
    """Return a page of the site as PDF; its fonts are embedded."""
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, chromium_sandbox=False)
        opened = chromium.new_page(color_scheme="light")
        opened.goto(page.resolve().as_uri())
        margin = dict.fromkeys(("top", "bottom", "left", "right"), MARGIN)
        printed = opened.pdf(format="A4", margin=margin, tagged=True)
        chromium.close()
    return printed


def main() -> None:
    """Read the arguments and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--site", type=Path, default=ROOT / "build" / "site", help="the built site (%(default)s)")
    page = parser.parse_args().site / "docs" / "cheat_sheet.html"
    if not page.is_file():
        parser.error(f"no {page}; build the site first: python -m sphinx docs build/site")
    if not (browser := browser_path()):
        parser.error("no Chromium on PATH; install it with: apt-get install chromium")
    PRINTED.write_bytes(print_page(page, browser) + digest().encode())
    print(PRINTED.relative_to(ROOT).as_posix())


if __name__ == "__main__":
    sys.exit(main())
