"""Chromium by playwright, for tests of pages: where one of them is missing, a file of tests is skipped and says why."""

import shutil

import pytest

playwright = pytest.importorskip(
    "playwright.sync_api", reason="no playwright; install it with: pip install -r requirements.txt"
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(
    not CHROMIUM, reason="no chromium on PATH; install it with: apt-get install chromium"
)
