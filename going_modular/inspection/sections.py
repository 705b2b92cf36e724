"""What an inspection found, in words and pictures: the sections of its page, in the order of what matters."""

from collections.abc import Callable, Sequence

from going_modular.inspection import overview
from going_modular.inspection.collection import Collection
from going_modular.inspection.copies import Group
from going_modular.inspection.findings import Findings
from going_modular.inspection.parts import Box, Card, Section, Table, only_first, plural

MOST_CARDS, MOST_BOXES, MOST_IN_BOX = 60, 40, 6  # images of a section; groups of images; images shown of a group
FEWEST_STRANGERS, STRANGER_SHARE = 12, 0.08  # shown whether or not they stand out: so many at least, of the images


def sections(findings: Findings) -> list[Section]:
    """Return the sections, but for the map."""
    make: list[Callable[[Findings], Section]] = [
        *(_labels, _two_labels, _leaks, _copies, _strangers, _quality, _shortcuts),
        *(overview.what_there_is, overview.what_more_would_bring),
    ]
    return [one(findings) for one in make]


def _labels(findings: Findings) -> Section:
    doubts, classes, names = findings.doubts, findings.collection.class_names, findings.collection.names
    suspects, count = findings.suspects, len(findings.collection.labels)
    cards = []
    for i in suspects[:MOST_CARDS]:
        other = classes[doubts.proposed[i]]
        given, proposed = doubts.probability_given[i], doubts.probability_proposed[i]
        notes = (f"In {names[i]} ({given:.2f}), rather {other} ({proposed:.2f})",)
        reason = f"looks like {other} ({proposed:.2f}), not {names[i]} ({given:.2f})"
        cards.append(Card(i, notes, reason, int(doubts.proposed[i])))
    if not suspects:
        return Section("labels", "Probably wrong labels", "none", False)
    first = suspects[0]
    return Section(
        "labels",
        "Probably wrong labels",
        f"{len(suspects):,} of {count:,} images {'looks' if len(suspects) == 1 else 'look'} like another class, first "
        f"{findings.collection.files[first]}: in {names[first]}, rather {classes[doubts.proposed[first]]} "
        f"({doubts.probability_proposed[first]:.2f})",
        True,
        [
            "A classifier that was trained without an image, and without its copies, says another class of it; in "
            "brackets stand its probabilities. The most doubtful come first.",
            f"It agrees with the labels of {findings.accuracy:.1%} of all images, so part of what follows is its own "
            "error: look from the top, and stop where you have found nothing for a while."
            + only_first(len(cards), len(suspects)),
        ],
        cards=cards,
    )


def _two_labels(findings: Findings) -> Section:
    return _group_section(
        findings,
        findings.two_labels,
        "two-labels",
        "The same picture under two labels",
        "One of the labels is wrong, or the picture shows both: move or leave out.",
    )


def _leaks(findings: Findings) -> Section:
    if not any(findings.collection.parts):
        return Section("leaks", "The same picture in two splits", "not looked for: there is no split yet", False)
    return _group_section(
        findings,
        findings.leaks,
        "leaks",
        "The same picture in two splits",
        "A test on what was learnt from measures memory. Keep one of them, or put them into a group: groups are never "
        "parted, and of a data set with its own split the training image is left out.",
    )


def _copies(findings: Findings) -> Section:
    return _group_section(
        findings,
        findings.copies,
        "copies",
        "Copies, bursts and scenes",
        "These stand on one side now; another seed, or a validation part, would part them. A group keeps them together "
        "in every split. Where the names of files tell what belongs together, --group-by does it for all at once.",
    )


def _group_section(findings: Findings, groups: Sequence[Group], key: str, title: str, advice: str) -> Section:
    if not groups:
        return Section(key, title, "none", False)
    files, images = findings.collection.files, sum(len(group.members) for group in groups)
    boxes = [_box(findings, group) for group in groups[:MOST_BOXES]]
    kinds = {kind: sum(group.kind == kind for group in groups) for kind in dict.fromkeys(g.kind for g in groups)}
    told = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
    names = " and ".join(files[i] for i in groups[0].members[:2])
    return Section(
        key,
        title,
        f"{plural(len(groups), 'group')} of {plural(images, 'image')} ({told}), first {names}",
        True,
        [advice + only_first(len(boxes), len(groups))],
        boxes=boxes,
    )


def _box(findings: Findings, group: Group) -> Box:
    collection = findings.collection
    classes = " and ".join(collection.class_names[label] for label in group.labels)
    parts = f", in {' and '.join(group.splits)}" if any(group.splits) else ""
    cards = tuple(Card(i, (_stands(collection, i),), group.kind) for i in group.members[:MOST_IN_BOX])
    title = f"{group.kind.capitalize()}: {plural(len(group.members), 'image')} of {classes}{parts}"
    first = collection.files[findings.first_alike[group.members[0]]]
    return Box(title, group.members, cards, f"like {first}", group.kind)


def _stands(collection: Collection, i: int) -> str:
    part = collection.parts[i]
    return f"In {collection.names[i]}" + (f", {part}" if part else "")


def _strangers(findings: Findings) -> Section:
    wanted = max(len(findings.strangers), FEWEST_STRANGERS, round(STRANGER_SHARE * len(findings.strangest)))
    shown = findings.strangest[: min(wanted, MOST_CARDS)]
    typical = sorted(findings.strangeness)[len(findings.strangeness) // 2]
    cards = [
        Card(
            i,
            (f"{findings.strangeness[i] / max(typical, 1e-9):.1f} times as far from its neighbours as usual",),
            "stranger",
        )
        for i in shown
    ]
    count = len(findings.strangers)
    files = findings.collection.files
    return Section(
        "strangers",
        "Strangers",
        f"{plural(count, 'image stands', 'images stand')} out, first {files[findings.strangers[0]]}"
        if count
        else "none stands out",
        bool(count),
        [
            "Images that the backbone finds unlike all others: by their mean distance to the five nearest. Some are "
            "only unusual, and worth having." + only_first(len(cards), max(count, len(cards)))
        ],
        cards=cards,
    )


def _quality(findings: Findings) -> Section:
    if not findings.poor:
        return Section("quality", "Poor photos", "none", False)
    qualities, flags = findings.qualities, [flag for i in findings.poor for flag in findings.qualities[i].flags]
    told = ", ".join(f"{flags.count(flag):,} {flag}" for flag in dict.fromkeys(flags))
    cards = [
        Card(
            i,
            (", ".join(qualities[i].flags).capitalize(), f"{qualities[i].width} x {qualities[i].height} px"),
            ", ".join(qualities[i].flags),
        )
        for i in findings.poor[:MOST_CARDS]
    ]
    return Section(
        "quality",
        "Poor photos",
        f"{plural(len(findings.poor), 'image')}: {told}",
        True,
        [
            "Measured at the size at which a model looks. What your model will meet in use may stay, however poor."
            + only_first(len(cards), len(findings.poor))
        ],
        cards=cards,
    )


def _shortcuts(findings: Findings) -> Section:
    if not findings.shortcuts:
        return Section("shortcuts", "Shortcuts", "too few images to tell", False)
    chance = findings.shortcuts[0].chance
    warnings = [f"{one.name} alone tells the class in {one.accuracy:.0%}" for one in findings.warnings]
    rows = [
        (
            one.name + (", far above chance" if one.warns else ""),
            f"{one.accuracy:.3f}",
            "{:.3f} to {:.3f}".format(*one.interval),
        )
        for one in findings.shortcuts
    ]
    return Section(
        "shortcuts",
        "Shortcuts",
        f"{'; '.join(warnings)}, where guessing gives {chance:.0%}"
        if warnings
        else f"none far above chance ({chance:.0%})",
        bool(warnings),
        [
            "How well the class can be told without seeing what the picture shows, by a forest of trees, "
            f"cross-validated: balanced accuracy, where guessing gives {chance:.3f}. Far above that, the classes were "
            "photographed differently, and a network may learn the difference instead of the subject: photograph every "
            "class in the same places with the same camera, or crop and convert all images alike.",
        ],
        tables=[Table("The class told from", ("", "balanced accuracy", "95% interval"), rows)],
    )
