"""Curves of several runs over each other."""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from going_modular.common.fonts import drawable, fonts_for
from going_modular.serving.runs import Run

MOST = 8  # runs; more lines could not be told apart
SIZE = (11, 4.5)  # inches
HELD_OUT = ("val", "test")  # what is drawn solid: the first that a run has


def draw(runs: Sequence[Run]) -> Figure:
    """Draw loss and accuracy against epochs, a colour a run: training dashed, what was held out solid.

    Args:
        runs: at most `MOST`.
    """
    names = [str(run.folder) for run in runs]
    shown = drawable(names)
    with mpl.rc_context({"font.family": fonts_for(shown.values())}):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots(1, 2)
        for ax, quantity, label in zip(axes, ("loss", "acc"), ("loss", "accuracy"), strict=True):
            for number, (run, name) in enumerate(zip(runs, names, strict=True)):
                held_out = next((part for part in HELD_OUT if f"{part}_{quantity}" in run.history), None)
                for part, style in (("train", "--"), (held_out, "o-")):
                    values = run.history.get(f"{part}_{quantity}", [])
                    named = {"label": shown[name]} if part != "train" else {}
                    ax.plot(range(1, len(values) + 1), values, style, color=f"C{number}", markersize=3, **named)
            ax.set(title=label.capitalize(), xlabel="epoch", ylabel=label)
            ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
            ax.grid(alpha=0.3)
        for text in figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper").get_texts():
            text.set_parse_math(False)
    return figure
