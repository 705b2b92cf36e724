"""Wrong answers to the exercises of notebook 09 that a learner might give."""

import math

import numpy as np
from sklearn.linear_model import LogisticRegression

from going_modular.checks import nb09
from going_modular.inspection.labels import doubtful_labels


def chosen(right, **changes):
    """Return a function that gives the right words but for some letters; a letter of None is left out."""
    said = {letter: word for letter, (word, _) in right.items()} | changes
    return lambda: {letter: word for letter, word in said.items() if word is not None}


def all_but_one(right, words):
    """Return a function for each letter that has a wrong word there."""
    return [chosen(right, **{letter: next(w for w in words if w != word)}) for letter, (word, _) in right.items()]


def asked_of_itself(inputs, labels, groups, ask):
    return ask(inputs, labels, inputs)


def without_groups(inputs, labels, groups, ask):
    rows = np.arange(len(labels))
    return np.concatenate([ask(inputs[rows != i], labels[rows != i], inputs[[i]]) for i in rows])


def in_the_order_of_groups(inputs, labels, groups, ask):
    found = []
    for group in np.unique(groups):
        inside = groups == group
        found.append(ask(inputs[~inside], labels[~inside], inputs[inside]))
    return np.concatenate(found)


def only_later_groups(inputs, labels, groups, ask):
    found = np.full((len(labels), 3), 1 / 3)
    for group in np.unique(groups):
        inside = groups == group
        if (groups > group).any():
            found[inside] = ask(inputs[groups > group], labels[groups > group], inputs[inside])
    return found


def answers_only(inputs, labels, groups, ask):
    found = np.empty(len(labels))
    for group in np.unique(groups):
        inside = groups == group
        found[inside] = ask(inputs[~inside], labels[~inside], inputs[inside]).argmax(axis=1)
    return found


def decided(*, tests=True, looked=True, scenes=True, believe=False, kept=True, others=False):
    """Return a function that makes rows, with or without one of the mistakes that people make."""

    def my_decisions(suspects, seen, given, part, groups):
        rows = []
        for file, proposed in (seen if others else suspects).items():
            if not tests and part[file] == "test":
                rows.append((file, "leave out", ""))
                continue
            if looked and file not in seen:
                continue
            saw = seen.get(file, proposed)
            if saw == "nothing":
                rows.append((file, "leave out", ""))
            elif saw == given[file] and not believe:
                rows += [(file, "keep", "")] * kept
            else:
                rows.append((file, "move", proposed if believe else saw))
        for number, files in enumerate(groups, start=1):
            rows += [(file, "group", f"scene {number}" if scenes else "scene") for file in files]
        return rows

    return my_decisions


def as_the_colleague_has_it(suspects, seen, given, part, scenes):
    rows = []
    for file, proposed in suspects.items():
        if part[file] == "test" or seen.get(file) == "nothing":
            rows.append((file, "leave out", ""))
        else:
            rows.append((file, "move", proposed))
    for files in scenes:
        rows += [(file, "group", "scene") for file in files]
    return rows


def read_on(*, logs=(True, True), rounding=math.ceil, ends=False):
    """Return a function that fits a line, with or without a mistake."""

    def my_images_for(sizes, errors, wanted):
        x = np.log(sizes) if logs[0] else np.array(sizes, float)
        y = np.log(errors) if logs[1] else np.array(errors, float)
        if ends:
            x, y = x[[0, -1]], y[[0, -1]]
        slope, height = np.polyfit(x, y, 1)
        place = ((math.log(wanted) if logs[1] else wanted) - height) / slope
        return rounding(math.exp(place) if logs[0] else place)

    return my_images_for


def first_that_is_there(sizes, errors, wanted):
    return next((size for size, error in zip(sizes, errors, strict=True) if error <= wanted), None)


def as_it_is(inputs, labels):
    return np.arange(len(labels)), labels


def some(inputs, labels):
    rows = np.random.default_rng(0).permutation(len(labels))[: len(labels) // 2]
    return rows, labels[rows]


def what_its_own_head_says(inputs, labels):
    head = LogisticRegression(max_iter=1000).fit(inputs, labels)
    return np.arange(len(labels)), head.predict(inputs)


def without_the_most_doubtful(inputs, labels):
    rows = np.delete(np.arange(len(labels)), doubtful_labels(inputs, labels, seed=0).order[:6])
    return rows, labels[rows]


def moved_unseen(inputs, labels):
    doubts = doubtful_labels(inputs, labels, seed=0)
    return np.arange(len(labels)), doubts.proposed


def rows_without_their_labels(inputs, labels):
    return without_the_most_doubtful(inputs, labels)[0], labels


WRONG = {
    "prediction": [
        *all_but_one(nb09.EFFECTS, nb09.WORDS),
        chosen(nb09.EFFECTS, g=None),
        chosen(nb09.EFFECTS, d="stays"),
        lambda: None,
    ],
    "doubts": [
        asked_of_itself,
        without_groups,
        in_the_order_of_groups,
        only_later_groups,
        answers_only,
    ],
    "decisions": [
        as_the_colleague_has_it,
        decided(tests=False),
        decided(looked=False),
        decided(scenes=False),
        decided(believe=True),
        decided(kept=False),
        decided(others=True),
    ],
    "mended": [
        as_it_is,
        some,
        what_its_own_head_says,
        without_the_most_doubtful,
        moved_unseen,
        rows_without_their_labels,
        lambda inputs, labels: np.arange(len(labels)),
        lambda inputs, labels: (np.zeros(len(labels), dtype=int), labels),
        lambda inputs, labels: (np.arange(40), np.zeros(40, dtype=int)),
        lambda inputs, labels: (np.ones(len(labels), dtype=bool), labels),
    ],
    "images_for": [
        read_on(logs=(False, False)),
        read_on(logs=(True, False)),
        read_on(logs=(False, True)),
        read_on(rounding=math.floor),
        read_on(rounding=lambda value: value),
        read_on(ends=True),
        first_that_is_there,
    ],
    "plans": [
        *all_but_one(nb09.PLANS, nb09.FACTS),
        chosen(nb09.PLANS, a="none"),
        chosen(nb09.PLANS, e="place"),
        lambda: ["place", "none", "camera", "light", "none", "place"],
    ],
}
