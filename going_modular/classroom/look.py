"""What the app's page shows, as HTML that is read aloud, too, and adapts to light and dark."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from going_modular import plots
from going_modular.classroom import limits
from going_modular.classroom.classifier import Answer
from going_modular.classroom.lesson import Lesson
from going_modular.data.images import open_image

NOT_SURE = "Not sure"
SMALL = 160  # pixels, the short side of an image in a grid
CSS = """
.gradio-container { font-size: 16px; }
.said { min-height: 1.5em; margin: 0; overflow-wrap: anywhere; }
.answer { font-size: 1.75rem; font-weight: 600; line-height: 1.25; margin: 0 0 .25rem; overflow-wrap: anywhere; }
.answer.minor { font-size: 1.15rem; }
.note { color: var(--body-text-color); margin: .25rem 0 .75rem; }
table.bars, table.bars tbody { border: 0 !important; }
table.bars { width: 100%; border-collapse: collapse; table-layout: fixed; }
table.bars :is(tr, th, td) { border: 0 !important; padding: .2rem 0 !important; }
table.bars th { text-align: left; font-weight: 500; padding-right: .6rem !important; overflow-wrap: anywhere; }
table.bars td.share { text-align: right; font-variant-numeric: tabular-nums; }
table.bars .track { background: var(--border-color-primary); border-radius: 4px; height: .9rem; }
table.bars .fill { background: #2563eb; border-radius: 4px; height: .9rem; min-width: 2px; }
table.bars tr.best :is(th, td) { font-weight: 700; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(130px, 1fr)); gap: .75rem; margin: .5rem 0; }
.grid figure { margin: 0; }
.grid img { width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: 8px; margin: 0; }
.grid figcaption { font-size: .9rem; overflow-wrap: anywhere; }
.figure img { width: 100%; max-width: 760px; height: auto; border-radius: 8px; background: white; }
figure.heat { margin: 0; }
figure.heat img { width: 100%; max-width: 320px; border-radius: 8px; }
#try-examples, #try-examples :is(.grid-wrap, .gallery-container) { height: auto !important; min-height: 0 !important; }
.gradio-container .grid-container { grid-template-columns: repeat(auto-fill, minmax(84px, 1fr)) !important; }
.gradio-container .or { color: var(--body-text-color); }
.gradio-container button[role=tab].selected { color: var(--primary-700); }
.gradio-container.dark button[role=tab].selected, .dark .gradio-container button[role=tab].selected {
    color: var(--primary-300); }
.small.figure img { max-width: 430px; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
"""


def said(text: str) -> str:
    """Return a line that screen readers read when it changes."""
    return f'<p class="said" role="status">{html.escape(text)}</p>'


def answer(found: Answer | None, threshold: float, by: str = "") -> str:
    """Return an answer and the probabilities of all classes as bars; without one, what to do.

    Args:
        found: what the classifier says.
        threshold: below it the answer is that it is not sure.
        by: which classifier it was, in a few words.
    """
    if found is None:
        return '<p class="note">Drop, paste or photograph an image: the answer stands here.</p>'
    sure = found.probability >= threshold
    shown = found.label if sure else NOT_SURE
    note = f"{found.probability:.1%} {found.label}"
    note += "" if sure else f", which is below {threshold:.0%}"
    ranked = sorted(found.probabilities.items(), key=lambda item: -item[1])
    return (
        f'<p class="answer" role="status">{html.escape(shown)}</p>'
        f'<p class="note">{html.escape(note)}; {found.milliseconds:.0f} ms{html.escape(f", {by}" if by else "")}</p>'
        '<table class="bars"><caption class="unseen">Probability of each class</caption>'
        '<colgroup><col style="width: 30%"><col><col style="width: 4.5rem"></colgroup>'
        f"{''.join(_bar(name, share, is_best=name == found.label) for name, share in ranked)}</table>"
    )


def _bar(name: str, share: float, *, is_best: bool) -> str:
    filled = f'<div class="fill" style="width: {100 * share:.1f}%"></div>'
    return (
        f'<tr{" class=best" if is_best else ""}><th scope="row">{html.escape(name)}</th>'
        f'<td aria-hidden="true"><div class="track">{filled}</div></td>'
        f'<td class="share">{share:.1%}</td></tr>'
    )


def heat(image: Image.Image, method: str, milliseconds: float) -> str:
    """Return what the model saw of an image, with a map over it of where it looked."""
    told = f"Where the model looked: {method}, {milliseconds:.0f} ms; the brighter, the more it counts"
    content = io.BytesIO()
    image.save(content, "PNG")
    source = base64.b64encode(content.getvalue()).decode()
    return (
        f'<figure class="heat"><img alt="The image as the model saw it, under a map" '
        f'src="data:image/png;base64,{source}"><figcaption class="note">{html.escape(told)}</figcaption></figure>'
    )


def caption(found: Answer, threshold: float) -> str:
    """Return what stands below one of several images."""
    if found.probability < threshold:
        return f"{NOT_SURE}: {found.label} {found.probability:.0%}"
    return f"{found.label} {found.probability:.0%}"


def grid(pictures: Sequence[tuple[Image.Image, str]]) -> str:
    """Return images in a grid, each with its caption, by which it is read aloud, too."""
    cells = []
    for image, text in pictures:
        content = io.BytesIO()
        image.save(content, "JPEG", quality=85)
        cells.append(
            f'<figure><img alt="" src="data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}">'
            f"<figcaption>{html.escape(text)}</figcaption></figure>"
        )
    return f'<div class="grid">{"".join(cells)}</div>'


def small(path: str | Path) -> Image.Image:
    """Return an image file, small.

    Raises:
        InputError: it cannot be read.
    """
    image = open_image(path, short_side=SMALL, most_pixels=limits.MOST_PIXELS)
    image.thumbnail((2 * SMALL, 2 * SMALL))
    return image


def result(lesson: Lesson) -> str:
    """Return how good a lesson's classifier is, its curves, its confusion matrix and what it is most wrong about."""
    curves, history = plots.loss_curves(lesson.history), lesson.history
    what = f"means of {lesson.folds} parts" if lesson.folds else "training and held-out images"
    told = (
        f"Loss and accuracy over {len(history['train_loss'])} epochs, {what}: the test loss goes from "
        f"{history['test_loss'][0]:.2f} to {history['test_loss'][-1]:.2f}"
    )
    matrix, names = lesson.test["confusion_matrix"], lesson.classifier.class_names
    return (
        f'<p class="answer">{lesson.test["accuracy"]:.1%} right</p><p class="note">{html.escape(lesson.sentence())}</p>'
        f"{_figure(curves, told)}"
        f"{_figure(plots.confusion_matrix(matrix, names), _confusions(matrix, names), 'small figure')}"
        f"{_most_wrong(lesson)}"
    )


def _most_wrong(lesson: Lesson) -> str:
    mistakes = [
        (small(one.path), f"{one.predicted} {one.probability:.0%}; it is {one.true}") for one in lesson.most_wrong
    ]
    return f'<p class="answer minor">Most wrong</p>{grid(mistakes)}' if mistakes else ""


def _confusions(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """Say in words what a confusion matrix shows."""
    wrong = [
        f"{count} {names[true]} taken for {names[predicted]}"
        for true, row in enumerate(matrix)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    return f"Confusion matrix, true classes down, predicted ones across: {'; '.join(wrong) or 'no confusion'}"


def _figure(figure: Figure, told: str, kind: str = "figure") -> str:
    source = base64.b64encode(plots.png(figure)).decode()
    return f'<p class="{kind}"><img alt="{html.escape(told)}" src="data:image/png;base64,{source}"></p>'
