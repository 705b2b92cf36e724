"""Checks of the exercises of notebook 09, Your own data.

`prediction` (predict, then run), `doubts`, `decisions` (find three bugs), `mended` (beat a score by better data; scored
once a call, on pictures that it was not shown), `images_for` and `plans` (read this).
`yours_or_ours("doubts", my_doubts)` gives the function that the notebook's later cells use.
"""

import copy
import functools
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from going_modular import data_setup, model_builder
from going_modular.checks import _parts09
from going_modular.checks._check import Attempt, Check, choose_part, describe
from going_modular.data.splits import groups_of

CLASSES = 3
TABLE = r"(\d+)"  # pizza_1000.jpg stands on table 1000
LITE0, TABLES, WRONG_LABELS, STRANGERS = "efficientnet_lite0", 40, 30, 12
MARGIN = 0.15  # of accuracy
ITERATIONS = 1000

WORDS = ("rises", "falls", "none")
EFFECTS = {
    "a": ("rises", "the head has seen nearly the same picture, with its label"),
    "b": ("falls", "a head that can learn 45 labels by heart learns the wrong ones, too; section 2 has the size"),
    "c": ("falls", "what happens to a right answer where the label is wrong?"),
    "d": ("none", "which photos does the head learn from, and which does the true score look at?"),
    "e": ("rises", "the frame is in the test photos, too"),
    "f": ("falls", "the 210 clean images have no frame; what did the head learn instead of food?"),
    "g": ("none", "how much do 6 of 45 photos weigh, if their labels are right?"),
}
FACTS = ("place", "camera", "light", "none")
PLANS = {
    "a": ("place", "what differs between pizzas and steaks, other than the dish?"),
    "b": ("none", "each dish in each place, in equal numbers, by the same phone, at the same hour"),
    "c": ("camera", "the places are mixed as in b; what is new?"),
    "d": ("light", "place and camera are mixed evenly; what is not?"),
    "e": ("none", "a fact that is the same for all dishes cannot tell them apart (though nobody knows what the model "
     "does in another kitchen)"),
    "f": ("place", "what can you say of a photo from the garden, before you look at the dish?"),
}  # fmt: skip


@Check
def prediction(attempt: Attempt) -> None:
    """Check what somebody expects of planted faults; section 2 of the notebook measures them."""
    _choices(attempt, EFFECTS, WORDS)


@Check
def plans(attempt: Attempt) -> None:
    """Check what somebody reads from plans for photographs."""
    _choices(attempt, PLANS, FACTS)


def _choices(attempt: Attempt, right: dict[str, tuple[str, str]], words: tuple[str, ...]) -> None:
    """Check a function that returns a word for each letter; each wrong one has a hint of its own."""
    said = attempt(shown="the table")
    is_whole = isinstance(said, dict) and said.keys() == right.keys() and set(said.values()) <= set(words)
    attempt.require(
        is_whole, f"returned {describe(said)}", hint=f"the keys are {', '.join(right)}, the values {', '.join(words)}"
    )
    for letter, (word, hint) in right.items():
        attempt.require(said[letter] == word, f"{letter} is not {said[letter]!r}", hint=hint)


@Check
def doubts(attempt: Attempt) -> None:
    """Check a function that asks about each image a head that does not know its group."""
    cases = (
        ([0.0, 1.0, 4.0], [0, 1, 2], [0, 1, 2], "each image for itself: the head must not have learned from it"),
        ([0.0, 0.1, 3.0, 3.1], [0, 1, 2, 2], [0, 0, 1, 1], "images 0 and 1 are one group; a head that learned from "
         "image 1 knows image 0 by heart"),
        ([0.0, 3.0, 0.2, 3.3, 6.0], [0, 1, 0, 1, 2], [7, 3, 7, 3, 5], "the rows come back in the order of the images, "
         "not in that of the groups"),
        ([5.0, 1.0, 2.0, 5.5, 9.0, 1.2], [1, 0, 2, 0, 1, 0], [2, 2, 1, 0, 0, 4], "of a group no image may be learned "
         "from, and of the other groups all should be"),
    )  # fmt: skip
    for values, given, groups, hint in cases:
        inputs = np.array(values)[:, None]
        arguments = inputs, np.array(given), np.array(groups)
        expected = _parts09.doubts(*(value.copy() for value in arguments), _nearest)
        shown = f"inputs={values} (a feature each), labels={given}, groups={groups}"
        found = attempt(*(value.copy() for value in arguments), _nearest, shown=shown)
        attempt.compare(found, expected.tolist(), hint=hint)


def _nearest(inputs: np.ndarray, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return probabilities (M, 3): nearly all for the label of the nearest input, and the more so the nearer it is."""
    distances = np.linalg.norm(np.asarray(others)[:, None] - np.asarray(inputs), axis=2)  # (M, N)
    sure = 1 / (1 + distances.min(axis=1, keepdims=True))
    votes = np.eye(CLASSES)[np.asarray(labels)[distances.argmin(axis=1)]]
    return sure * votes + (1 - sure) / CLASSES


@Check
def decisions(attempt: Attempt) -> None:
    """Check a function that turns what was found into rows of corrections."""
    given = {"a.jpg": "pizza", "b.jpg": "pizza", "c.jpg": "steak", "d.jpg": "sushi", "e.jpg": "sushi", "f.jpg": "steak"}
    part = dict.fromkeys(given, "train") | {"d.jpg": "test", "e.jpg": "test"}
    cases = (
        ({"b.jpg": "steak"}, {"b.jpg": "steak"}, [], "a person saw that the head is right: move"),
        ({"b.jpg": "steak"}, {}, [], "nobody has looked at b.jpg: the head's word alone is no reason for a "
         "row"),
        ({"b.jpg": "steak"}, {"b.jpg": "sushi"}, [], "the person saw another class than the head proposes"),
        ({"c.jpg": "pizza"}, {"c.jpg": "steak"}, [], "the label was right, and the head wrong; that is worth a row"),
        ({"a.jpg": "steak"}, {"a.jpg": "nothing"}, [], "no class is to be seen on it"),
        ({"d.jpg": "steak", "b.jpg": "sushi"}, {"d.jpg": "steak", "b.jpg": "sushi"}, [], "d.jpg is a test photo with a "
         "wrong label, and can be mended like any other"),
        ({"e.jpg": "pizza"}, {"e.jpg": "sushi"}, [], "e.jpg is a hard test photo with the right label; who leaves out "
         "what the head gets wrong has a test that only looks easy"),
        ({}, {"f.jpg": "pizza"}, [], "rows are asked for the suspects only"),
        ({}, {}, [["a.jpg", "d.jpg"], ["b.jpg", "c.jpg", "f.jpg"]], "two scenes in one group would all stay on "
         "one side of a split: call the groups \"scene 1\", \"scene 2\" and so on"),
        ({"f.jpg": "pizza", "a.jpg": "sushi"}, {"a.jpg": "sushi", "f.jpg": "pizza"}, [["a.jpg", "e.jpg"]],
         "the order is that of `suspects`, then the scenes; a photo can be moved and in a group"),
    )  # fmt: skip
    for suspects, seen, scenes, hint in cases:
        arguments = suspects, seen, given, part, scenes
        expected = _parts09.decisions(*copy.deepcopy(arguments))
        shown = f"suspects={suspects}, seen={seen}, scenes={scenes}"
        attempt.expect(expected, *copy.deepcopy(arguments), shown=shown, hint=hint)


@Check
def images_for(attempt: Attempt) -> None:
    """Check a function that reads from a power law how many images are needed."""
    sizes = [10.0, 20.0, 40.0, 80.0]
    root = [0.2, 0.1414214, 0.1, 0.0707107]  # falls with the root of the number
    cases = (
        (sizes, root, 0.06, 112, "with four times the images the error halves; round up to a whole image"),
        (sizes, root, 0.043, 217, "the number may lie beyond what was measured"),
        (sizes, root, 0.3, 5, "it may also lie below"),
        ([10, 20, 40], [0.4, 0.2, 0.1], 0.06, 67, "the error halves with each doubling"),
        ([3, 7, 15, 35, 80], [0.25, 0.09, 0.06, 0.03, 0.02], 0.012, 133,
         "the line is fitted to the logarithms of both, by least squares over all points, not through two of them"),
    )  # fmt: skip
    for numbers, errors, wanted, expected, hint in cases:
        attempt.expect(expected, list(numbers), list(errors), wanted, hint=hint)


class _Task(NamedTuple):
    """What the exercise of better data is made of."""

    inputs: np.ndarray  # (N, D)
    labels: np.ndarray  # (N,), some wrong
    held: np.ndarray  # (M, D), clean
    held_labels: np.ndarray  # (M,)
    to_beat: float  # in [0, 1]


@Check
def mended(attempt: Attempt) -> None:
    """Check a function that chooses what to learn from: it has to beat all that is given, as it is given."""
    task = _task()
    count = len(task.labels)
    made = attempt(task.inputs.copy(), task.labels.copy(), shown=f"{count} pictures")
    is_pair = isinstance(made, tuple | list) and len(made) == 2
    attempt.require(is_pair, f"returned {describe(made)}", hint="return two things, the rows and a label for each")
    rows, labels = (np.asarray(values) for values in made)
    are_whole = all(values.ndim == 1 and values.dtype.kind in "iu" for values in (rows, labels))
    attempt.require(
        are_whole and len(rows) == len(labels) and bool(len(rows)),
        f"got {rows.dtype} rows of shape {rows.shape} and {labels.dtype} labels of shape {labels.shape}",
        hint="rows and labels are whole numbers, as many of the one as of the other",
    )
    fitting = len(np.unique(rows)) == len(rows) and rows.min() >= 0 and rows.max() < count
    attempt.require(
        fitting, "rows repeat, or there are none such", hint=f"each row at most once, from 0 to {count - 1}"
    )
    attempt.require(
        set(labels.tolist()) == set(range(CLASSES)),
        f"the labels are {sorted(set(labels.tolist()))}",
        hint="the head has to learn all three classes, 0, 1 and 2",
    )
    score = _score(task.inputs[rows], labels, task)
    attempt.require(
        score >= task.to_beat + MARGIN,
        f"{score:.3f} of {len(task.held_labels)} clean pictures are right, with all as it is {task.to_beat:.3f},",
        hint="these pictures were read once for this answer; of which labels does a head that has not seen them doubt?",
    )


@functools.cache
def _task() -> _Task:
    """Return pictures of the sample some of which have a wrong label or show no dish, and clean ones."""
    part = data_setup.load_splits("sample").train
    tables = np.array(groups_of(part, TABLE))
    rng = np.random.default_rng(3)
    order = rng.permutation(np.unique(tables))
    learn, held = (np.flatnonzero(np.isin(tables, some)) for some in (order[:TABLES], order[TABLES:]))
    pictures = [part[int(i)][0] for i in learn]
    labels = np.array(part.targets)[learn]
    planted = rng.permutation(len(learn))
    wrong, strange = planted[:WRONG_LABELS], planted[WRONG_LABELS:][:STRANGERS]
    labels[wrong] = (labels[wrong] + rng.integers(1, CLASSES, WRONG_LABELS)) % CLASSES
    for i in strange:
        pictures[i] = _corner(pictures[i])
    inputs, clean = _features_of(pictures), _features_of([part[int(i)][0] for i in held])
    task = _Task(inputs, labels, clean, np.array(part.targets)[held], 0.0)
    return task._replace(to_beat=_score(inputs, labels, task))


def _corner(picture: Image.Image) -> Image.Image:
    """Return the upper left corner of a picture, as large as the whole."""
    return picture.crop((0, 0, picture.width // 4, picture.height // 4)).resize(picture.size, Image.Resampling.BICUBIC)


def _features_of(pictures: list[Image.Image]) -> np.ndarray:
    """Return Lite0's frozen features (N, 1280) of PIL images."""
    model, transform = model_builder.create_model(LITE0, CLASSES)
    trunk = model_builder.backbone(model).eval()
    with torch.inference_mode():
        batches = torch.stack([transform(picture) for picture in pictures]).split(30)
        return torch.cat([trunk(batch).flatten(1) for batch in batches]).numpy()


def _score(inputs: np.ndarray, labels: np.ndarray, task: _Task) -> float:
    """Return how often a head that learned from features and labels is right on the clean pictures."""
    from sklearn.linear_model import LogisticRegression  # late: it takes half a second

    head = LogisticRegression(max_iter=ITERATIONS).fit(inputs, labels)
    return float((head.predict(task.held) == task.held_labels).mean())


yours_or_ours = functools.partial(
    choose_part,
    {
        "doubts": (doubts, _parts09.doubts),
        "decisions": (decisions, _parts09.decisions),
        "images_for": (images_for, _parts09.images_for),
    },
)
