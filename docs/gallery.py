"""The directive of the gallery: a figure that a lesson keeps, or a picture, with the line that made it.

    ```{shown} Title
    :lesson: 03
    :figure: Mean accuracy of five folds
    :line: curves[lr] = by_fold[lr].mean(axis=0)
    :alt: What is to be seen
    What it says.
    ```

`figure` is some text of the cell whose figure is shown; `line` is a line of that lesson's code, or a command. In place
of a lesson and its figure, `picture` names a file beside the page.
"""

import json
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst.directives import unchanged_required
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


class Shown(SphinxDirective):
    """Show a picture with the line that made it."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec = dict.fromkeys(("lesson", "figure", "picture", "line", "alt"), unchanged_required)

    def run(self) -> list[nodes.Node]:
        """Return the picture, its title, the line and what is said of it."""
        address, place = self.kept() if "lesson" in self.options else (self.options["picture"], "")
        line = self.options["line"]
        image = nodes.image(uri=address, alt=self.options["alt"])
        code = nodes.literal_block(line, line, language="shell" if line.startswith("python ") else "python")
        prose = self.parse_text_to_nodes("\n".join([*self.content, place]))
        title = nodes.rubric("", self.arguments[0])
        return [nodes.container("", title, image, code, *prose, classes=["shown"])]

    def kept(self) -> tuple[str, str]:
        """Return a lesson's figure as a data address, and a sentence that leads to its section."""
        path = next(NOTEBOOKS.glob(f"{self.options['lesson']}_*.ipynb"))
        self.env.note_dependency(path)
        section, found, lines = "", "", []
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] == "markdown":
                section = next((text[3:] for text in reversed(source.splitlines()) if text.startswith("## ")), section)
                continue
            lines += [text.strip() for text in source.splitlines()]
            pictures = [(kind, data) for one in cell["outputs"] for kind, data in one.get("data", {}).items()]
            pictures = [(kind, data) for kind, data in pictures if kind in ("image/png", "image/jpeg")]
            if self.options["figure"] in source and pictures and not found:
                kind, data = pictures[0]
                found = f"data:{kind};base64,{''.join(''.join(data).split())}"
                place = f"[Lesson {path.name[:2]}, “{section}”](../notebooks/{path.name}#{slug(section)})"
        if not found or self.options["line"] not in lines:
            raise self.error(f"{path.name} keeps no figure of {self.options['figure']!r}, or has no such line")
        return found, place


def slug(title: str) -> str:
    """Return a heading's anchor, as MyST makes it."""
    return "".join(one for one in title.lower() if one.isalnum() or one in " -_").replace(" ", "-")


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directive known."""
    app.add_directive("shown", Shown)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
