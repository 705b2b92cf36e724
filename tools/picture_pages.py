"""Photograph the pages that commands write, for the site's gallery: docs/report.jpg and docs/inspection.jpg.

    python tools/picture_pages.py

It trains on the bundled sample, evaluates, inspects, and opens what was written in Chromium.
"""

import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.print_sheet import browser_path  # noqa: E402

WIDTH, HEIGHT = 1320, 1100
PICTURES = {"report.jpg": "mine/evaluation/report.html", "inspection.jpg": "inspection/inspection.html"}


def command(folder: Path, *words: str) -> None:
    """Run a command of the course in a folder, offline."""
    script = [sys.executable, str(ROOT / "going_modular" / words[0]), *words[1:]]
    subprocess.run(script, cwd=folder, check=True, env=os.environ | {"GOING_MODULAR_OFFLINE": "1"})


def main() -> None:
    """Write the pictures."""
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        folder = Path(name)
        command(folder, "train.py", "--data", "sample", "--model", "efficientnet_lite0", "--output", "mine")
        command(folder, "evaluate.py", "--checkpoint", "mine/model.safetensors")
        command(folder, "inspect_data.py", "--data", "sample", "--output", "inspection")
        chromium = driver.chromium.launch(executable_path=browser_path(), chromium_sandbox=False)
        page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        for picture, written in PICTURES.items():
            page.goto((folder / written).as_uri())
            page.wait_for_load_state("networkidle")
            Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(ROOT / "docs" / picture, quality=82)
            print(f"docs/{picture}")
        chromium.close()


if __name__ == "__main__":
    main()
