"""The site: `pip install -e .[site]`, then `python -m sphinx docs build/site` where README.md lies.

With REPOSITORY_URL set, such as https://github.com/owner/name, each lesson can be downloaded and opened in Colab.
"""

import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SHOWN = ("docs", "notebooks", "data", "benchmarks", "tools")  # folders that have pages
REPOSITORY_URL = os.environ.get("REPOSITORY_URL", "")

sys.path.insert(0, str(HERE))

project = "Transfer learning, step by step"
author = "The Going Modular authors"
project_copyright = f"2026 {author}"
version = release = installed_version("going-modular")
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "book",  # beside this file, as is the next
    "gallery",
]
root_doc = "docs/index"
include_patterns = [
    "*.md",
    "docs/*.md",
    "docs/api/*.rst",
    "notebooks/*.md",
    "notebooks/*.ipynb",
    "data/sample/README.md",
    "benchmarks/README.md",
    "tools/render_sample/README.md",
]
exclude_patterns = [path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in SHOWN]
templates_path = [str(HERE / "_templates")]

nb_execution_mode = "off"  # the notebooks are kept with what they printed
nb_merge_streams = True
myst_enable_extensions = ["attrs_block", "dollarmath"]
myst_heading_anchors = 3
default_role = "code"  # in docstrings
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}

html_scaled_image_link = False  # a click opens figures larger in the page
html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_js_files = [("book.js", {"defer": "defer"})]
html_domain_indices = False
html_additional_pages = {"index": "to_the_start.html"}
html_copy_source = bool(REPOSITORY_URL)  # what the download button hands out
html_show_sourcelink = False
html_math_renderer = "mathml"
html_theme_options = {
    "navbar_persistent": [],  # search stands at the side
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_fullscreen_button": False,
    "use_download_button": bool(REPOSITORY_URL),
    "repository_url": REPOSITORY_URL,
    "repository_branch": "main",
    "use_repository_button": bool(REPOSITORY_URL),
    "launch_buttons": {"colab_url": "https://colab.research.google.com"} if REPOSITORY_URL else {},
}
copybutton_selector = "div.cell_input pre, div.highlight-default pre, div.highlight-python pre, div.highlight-none pre"
