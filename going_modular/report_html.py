"""A report as one HTML file that needs nothing else: pictures and style inside, no script."""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1d1d1f; background: #fff; margin: 0 auto; padding: 1rem;
  max-width: 76rem; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
.table, .wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #888; }
figure { margin: 1.5rem 0; } img { max-width: 100%; height: auto; display: block; }
figcaption { color: #444; max-width: 46rem; margin-top: .4rem; }
@media (max-width: 40rem) {
  th, td { white-space: normal; padding: .3rem .4rem; }
  .wide thead { display: none; }
  .wide table, .wide tbody, .wide tr, .wide th { display: block; }
  .wide tr { margin-bottom: 1rem; }
  .wide td { display: flex; justify-content: space-between; }
  .wide td::before { content: attr(data-column); }
}
.warning { border-left: 4px solid #b3261e; padding-left: .7rem; }
"""

MAX_NARROW = 3  # columns that fit a phone; a row of more is shown as a list there


@dataclass(frozen=True)
class Picture:
    """A figure with what it shows, for the eye (caption) and for the ear (alt)."""

    title: str
    png: bytes
    alt: str
    caption: str


@dataclass(frozen=True)
class Table:
    """Rows of cells under a heading; the first cell of a row names it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


def render(title: str, facts: Sequence[str], warnings: Sequence[str], parts: Sequence[Picture | Table]) -> str:
    """Return the page.

    Args:
        title: what was evaluated.
        facts: sentences at its head.
        warnings: sentences that a reader must not miss.
        parts: tables and pictures, in order.
    """
    body = [f"<h1>{html.escape(title)}</h1>"]
    body += [f"<p>{html.escape(fact)}</p>" for fact in facts]
    body += [f'<p class="warning">{html.escape(warning)}</p>' for warning in warnings]
    for part in parts:
        body.append(f"<h2>{html.escape(part.title)}</h2>")
        body += _picture(part) if isinstance(part, Picture) else _table(part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'  # else a browser asks for one
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def shown(measure: dict) -> str:
    """Return a value with its interval, or a dash where there is none."""
    if measure["value"] is None:
        return "–"
    text = f"{measure['value']:.3f}"
    if measure["interval"] is not None:
        text += " ({:.3f} to {:.3f})".format(*measure["interval"])
    return text


def _picture(picture: Picture) -> list[str]:
    data = base64.b64encode(picture.png).decode("ascii")
    return [
        f'<figure><img alt="{html.escape(picture.alt)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{html.escape(picture.caption)}</figcaption></figure>"
    ]


def _table(table: Table) -> list[str]:
    columns = [html.escape(column) for column in table.columns]
    head = "".join(f'<th role="columnheader" scope="col">{column}</th>' for column in columns)
    kind = "wide" if len(columns) > MAX_NARROW else "table"
    caption = [f"<p>{html.escape(table.caption)}</p>"] if table.caption else []
    # the roles are those that tables have anyway, until a narrow window shows them as blocks
    return [
        f'<div class="{kind}"><table role="table"><thead><tr role="row">{head}</tr></thead><tbody role="rowgroup">',
        *(_row(row, columns) for row in table.rows),
        "</tbody></table></div>",
        *caption,
    ]


def _row(row: Sequence[str], columns: Sequence[str]) -> str:
    first, *cells = map(html.escape, row)
    named = zip(columns[1:], cells, strict=True)
    rest = "".join(f'<td role="cell" data-column="{column}">{cell}</td>' for column, cell in named)
    return f'<tr role="row"><th role="rowheader" scope="row">{first}</th>{rest}</tr>'
