"""What the site needs beside settings: the clone as its source, links of terms, texts of figures, MathML."""

import re
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from docutils.utils.math import latex2mathml
from ipython_pygments_lexers import IPython3Lexer
from sphinx.addnodes import download_reference, pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode
from sphinx.writers.html5 import HTML5Translator

GLOSSARY, HOME = "docs/glossary", "docs/index"
ROOT = Path(__file__).resolve().parent.parent
LONGEST = 240  # characters of a figure's description


def lessons(env: BuildEnvironment) -> list[str]:
    """Return the notebooks' pages, in order."""
    return sorted(name for name in env.found_docs if re.match(r"notebooks/\d", name))


def plain(text: str) -> str:
    """Return a term as it is compared: in small letters, on one line, without a typographer's apostrophe."""
    return " ".join(text.lower().replace("’", "'").split())


def terms(env: BuildEnvironment) -> dict[str, str]:
    """Return the anchors of the glossary's terms."""
    objects = env.domains["std"].get_objects()
    return {plain(name): anchor for name, _, kind, page, anchor, _ in objects if kind == "term" and page == GLOSSARY}


def marked(doctree: nodes.document, names: dict[str, str]) -> Iterator[tuple[str, nodes.Element]]:
    """Yield the first place where each term is emphasised, as lessons do where they explain it."""
    seen = set()
    for node in doctree.findall(lambda one: isinstance(one, nodes.emphasis | nodes.strong)):
        text = plain(node.astext()).rstrip(".:")
        name = next((form for form in (text, text.removesuffix("s")) if form in names), None)
        if name and name not in seen and not isinstance(node.parent, nodes.reference):
            seen.add(name)
            yield name, node


def link_terms(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Link a lesson's terms to the glossary, and the glossary's to the lessons that explain them first."""
    if page in lessons(app.env):
        for name, node in list(marked(doctree, names := terms(app.env))):
            link = make_refnode(app.builder, page, GLOSSARY, names[name], nodes.inline())
            node.replace_self(link)
            link.children[0].replace_self(node)
    elif page == GLOSSARY:
        explained = first_places(app.env)
        for item in doctree.findall(nodes.definition_list_item):
            name = plain(item.next_node(nodes.term).astext())
            if name in explained:
                lesson, anchor, title = explained[name]
                link = make_refnode(app.builder, page, lesson, anchor, nodes.inline("", title))
                item.next_node(nodes.definition)[-1] += [nodes.Text(" First in lesson "), link, nodes.Text(".")]


def first_places(env: BuildEnvironment) -> dict[str, tuple[str, str, str]]:
    """Return page, anchor and title of the section that explains each term first."""
    names, found = terms(env), {}
    for lesson in reversed(lessons(env)):
        for name, node in marked(env.get_doctree(lesson), names):
            section = node
            while not isinstance(section, nodes.section):
                section = section.parent
            title = re.sub(r" \(.*\)$", "", section[0].astext())  # an exercise's difficulty and minutes
            found[name] = lesson, section["ids"][0], f"{Path(lesson).name[:2]}, “{title}”"
    return found


def describe_figures(app: Sphinx, doctree: nodes.document) -> None:
    """Give each figure of a lesson an alternative text: its section's title, and how the prose after it begins."""
    title, images = "", []
    for node in doctree.findall():
        if isinstance(node, nodes.title):
            title, images = node.astext(), []
        elif isinstance(node, nodes.image) and not node.get("alt"):
            images.append(node)
            node["alt"] = f"Figure of section “{title}”"
        elif isinstance(node, nodes.paragraph):
            text = " ".join(node.astext().split())
            for image in images:
                image["alt"] += f": {text[:LONGEST].rpartition('. ')[0] or text[:LONGEST]}."
            images = []


def begin_with_readme(app: Sphinx, page: str, source: list[str]) -> None:
    """Begin the first page with README.md, up to where it goes into detail."""
    if page == HOME:
        start, heading, _ = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Your own images\n")
        assert heading, "README.md has no section 'Your own images', before which the first page of the site ends"
        app.env.note_dependency(ROOT / "README.md", docname=HOME)
        start = re.sub(r"\]\((?=#)", "](README.md", start)
        source[0] = re.sub(r"\]\((?!\w+:)", "](../", start) + source[0]


def offer_sheets(app: Sphinx, doctree: nodes.document) -> None:
    """Make links to notebooks that are no pages, the exercise sheets and their solutions, downloads."""
    for node in list(doctree.findall(pending_xref)):
        target = node["reftarget"]
        if node["refdomain"] == "doc" and target not in app.env.found_docs and (ROOT / f"{target}.ipynb").is_file():
            link = download_reference("", "", *node.children, reftarget=f"/{target}.ipynb", refdoc=app.env.docname)
            node.replace_self(link)


def write_math(translator: HTML5Translator, node: nodes.math | nodes.math_block) -> None:
    """Write a formula as MathML, which browsers draw themselves."""
    is_block = isinstance(node, nodes.math_block)
    formula = latex2mathml.tex2mathml(node.astext().replace(r"\dots", r"\ldots"), as_block=is_block)
    translator.body.append(f'<div class="math" tabindex="0">{formula}</div>' if is_block else formula)
    raise nodes.SkipNode


def quote_examples(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Make indented lines of a docstring, which are code, a code block."""
    for i in range(len(lines) - 1, 0, -1):
        starts = lines[i].startswith("    ") and not lines[i - 1].strip() and not lines[max(i - 2, 0)].startswith(" ")
        if starts and not lines[i].lstrip().startswith(("-", "*")):
            lines[i:i] = ["::", ""]


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect it all."""
    app.srcdir = ROOT  # the whole clone, so that links between its pages hold as they are; Sphinx says docs/
    app.add_lexer("python", IPython3Lexer)  # lessons have magics, too
    app.add_html_math_renderer("mathml", (write_math, None), (write_math, None))
    app.connect("autodoc-process-docstring", quote_examples, priority=100)  # before Napoleon
    app.connect("source-read", begin_with_readme)
    app.connect("doctree-read", offer_sheets, priority=100)  # before Sphinx collects downloads
    app.connect("doctree-read", describe_figures)
    app.connect("doctree-resolved", link_terms)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
