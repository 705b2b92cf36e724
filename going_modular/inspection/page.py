"""An inspection as one HTML file: it works from the disk, asks no other host, and makes a file of corrections."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np

from going_modular.common import cli
from going_modular.data.corrections import GROUP, KEEP, LEAVE_OUT, MOVE, Corrections
from going_modular.inspection.atlas import Layout, Sheet
from going_modular.inspection.collection import Collection
from going_modular.inspection.parts import Section, plural

MAX_NARROW = 4  # columns of a table that fit a phone; a row of more is shown as a list there
NEIGHBOURS, DIRECTIONS = "Neighbours (t-SNE)", "Main directions (PCA)"
_STEPS = 1000  # of a map's side


@dataclass(frozen=True)
class Map:
    """What the page draws as a map."""

    mapped: Sequence[int]  # the M images on it, of the N
    layout: Layout  # of these
    sheet: Sheet  # their small pictures, in the same order
    ringed: Sequence[int]  # those of the N that the map points out

    @property
    def layouts(self) -> dict[str, list[int]]:
        """By name, x and y of each image in turn, from 0 to 1000, y downwards."""
        kinds = {NEIGHBOURS: self.layout.neighbours, DIRECTIONS: self.layout.pca}
        drawn = {name: places for name, places in kinds.items() if places is not None}
        return {name: np.rint(_STEPS * places).astype(int).ravel().tolist() for name, places in drawn.items()}

    def section(self, images: int) -> Section:
        """Return the map's part of the page; of so many images it may show some only."""
        layout, count = self.layout, len(self.mapped)
        sentences = [
            "Each mark is an image, of the colour and shape of its class; those that the backbone finds alike lie "
            "close. Ringed: the probably wrong labels that are shown above. Point at one to see it, click or tap to "
            "decide about it."
        ]
        if count < images:
            sentences.append(f"Of {images:,} images {count:,} are shown, chosen at random.")
        if 0 < layout.laid_out < count:
            sentences.append(
                f"t-SNE laid out {layout.laid_out:,} of them, chosen at random; the others lie amidst their nearest of "
                "these."
            )
        sentences.append(f"The two main directions hold {layout.explained:.0%} of all differences between features.")
        return Section("map", "A map of all images", plural(count, "image"), False, sentences, has_map=True)


def render(
    title: str,
    facts: Sequence[str],
    sections: Sequence[Section],
    collection: Collection,
    pictures: Mapping[int, bytes],
    atlas: Map,
    corrections: Corrections | None,
) -> str:
    """Return the page.

    Args:
        title: what was inspected.
        facts: sentences at its head.
        sections: its parts, in order.
        collection: the N images.
        pictures: a JPEG of each image that has a card, by its place among the N.
        atlas: the map.
        corrections: those that were made before; the page begins with them.
    """
    here = Path(__file__)
    script, style = (here.with_suffix(suffix).read_text(encoding="utf-8") for suffix in (".js", ".css"))
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True, finalize=_printable
    )
    template = environment.from_string(here.with_name("page.html.jinja").read_text(encoding="utf-8"))
    return template.render(
        title=title,
        facts=facts,
        sections=sections,
        files=collection.files,
        classes=collection.class_names,
        names=collection.names,
        pictures={image: _base64(jpeg) for image, jpeg in pictures.items()},
        sheet=_base64(atlas.sheet.jpeg),
        layouts=list(atlas.layouts),
        data=_data(collection, atlas, corrections),
        policy=_policy(script),
        script=script,
        style=style,
        max_narrow=MAX_NARROW,
    )


def _data(collection: Collection, atlas: Map, corrections: Corrections | None) -> dict[str, object]:
    """Return what the script knows."""
    files, decided = collection.files, _decided(corrections) if corrections else []
    known = repr([collection.source, files, decided]).encode()
    return {
        "key": f"inspection {hashlib.sha256(known).hexdigest()[:16]}",  # under which a browser remembers
        "classes": collection.class_names,
        "files": files,
        "labels": collection.labels,
        "decided": decided,
        "mapped": [int(i) for i in atlas.mapped],
        "layouts": atlas.layouts,
        "sheet": {"side": atlas.sheet.side, "columns": atlas.sheet.columns},
        "ringed": [int(i) for i in atlas.ringed],
    }


def _decided(corrections: Corrections) -> list[dict[str, str]]:
    rows = [
        *((file, MOVE, name) for file, name in corrections.moved.items()),
        *((file, GROUP, name) for file, name in corrections.groups.items()),
        *((file, LEAVE_OUT, "") for file in corrections.left_out),
        *((file, KEEP, "") for file in corrections.kept),
    ]
    reasons = corrections.reasons
    return [
        {"file": file, "action": action, "target": target, "reason": reasons.get((file, action), "")}
        for file, action, target in sorted(rows)
    ]


def _policy(script: str) -> str:
    """Return what a browser lets the page do: show what is in it and run its own script, nothing from anywhere."""
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    allowed = {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": "'unsafe-inline'",
        "script-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{what} {where}" for what, where in allowed.items())


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _printable(value: object) -> object:
    """Return a text without what turns the direction of the text after it, or hides; a part of the page as it is."""
    return cli.printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
