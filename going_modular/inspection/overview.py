"""What a data set consists of, and what more of it would bring: two sections of an inspection's page."""

from collections.abc import Sequence

from going_modular.common.errors import listed
from going_modular.inspection.charts import learning_curve_chart
from going_modular.inspection.findings import Findings
from going_modular.inspection.parts import Section, Table, plural
from going_modular.inspection.survey import FEW, Imbalance, Survey

MOST_UNREAD = 60  # files of a table


def what_there_is(findings: Findings) -> Section:
    """Return the section of counts, sizes, formats, and what could not be used."""
    survey, collection = findings.survey, findings.collection
    wrong = _too_few(findings) + _uneven(findings.imbalance, collection.class_names)
    if findings.unread:
        wrong.append(f"{plural(len(findings.unread), 'image')} cannot be opened")
    sentences = []
    if survey.scarce:
        few = listed([f"{count:,} in {name}" for name, count in survey.scarce.items()], ", ")
        sentences.append(f"Classes of fewer than {FEW} images, of which no test can tell much: {few}.")
    if collection.why_unsplit:
        sentences.append(f"It cannot be split: {collection.why_unsplit}.")
    sentences += [_formats(survey), _accuracies(findings.imbalance, collection.class_names), *collection.notes]
    tables = [_counts(survey), _pixels(survey)]
    if findings.unread:
        tables.append(Table("Not opened", ("file", "why"), list(findings.unread.items())[:MOST_UNREAD]))
    counted = f"{plural(survey.images, 'image')} in {plural(len(survey.counts), 'class', 'classes')}"
    return Section("survey", "What there is", "; ".join([counted, *wrong]), bool(wrong), sentences, tables=tables)


def _too_few(findings: Findings) -> list[str]:
    told = ["it cannot be split"] if findings.collection.why_unsplit else []
    if scarce := findings.survey.scarce:
        told.append(f"{plural(len(scarce), 'class has', 'classes have')} fewer than {FEW} images")
    return told


def _uneven(imbalance: Imbalance, names: Sequence[str]) -> list[str]:
    largest, smallest = names[imbalance.largest], names[imbalance.smallest]
    return [f"{largest} has {imbalance.ratio:.1f} times as many as {smallest}"] if imbalance.is_uneven else []


def _formats(survey: Survey) -> str:
    formats = ", ".join(
        f"{plural(count, 'image')} {name or 'of no known format'}" for name, count in survey.formats.items()
    )
    shapes = ", ".join(f"{count:,} {name}" for name, count in survey.shapes.items() if count)
    width, height, times = survey.commonest_size
    told = (
        f"Formats: {formats}. Shapes: {shapes}. The commonest size is {width} x {height}, of {plural(times, 'image')}."
    )
    if survey.elongated:
        told += f" Of {survey.elongated:,} that are elongated a square crop shows less than half."
    return told


def _accuracies(imbalance: Imbalance, names: Sequence[str]) -> str:
    largest, smallest = names[imbalance.largest], names[imbalance.smallest]
    counted = f"{largest} has {imbalance.ratio:.1f} times as many images as {smallest}. " if imbalance.ratio > 1 else ""
    return (
        f"{counted}Who always says {largest} has an accuracy of {imbalance.majority_accuracy:.3f} and a balanced "
        f"accuracy, the mean over classes, of {imbalance.majority_balanced:.3f}; a head on these features, "
        f"cross-validated, {imbalance.accuracy:.3f} and {imbalance.balanced_accuracy:.3f}."
        + (" Go by the balanced one." if imbalance.is_uneven else "")
    )


def _counts(survey: Survey) -> Table:
    parts = list(dict.fromkeys(part for row in survey.counts.values() for part in row))
    if len(parts) == 1:
        return Table(
            "Images", ("class", "images"), [(name, f"{row[parts[0]]:,}") for name, row in survey.counts.items()]
        )
    rows = [
        (name, *(f"{row[part]:,}" for part in parts), f"{sum(row.values()):,}") for name, row in survey.counts.items()
    ]
    return Table("Images", ("class", *parts, "all"), rows)


def _pixels(survey: Survey) -> Table:
    spreads = {"width": survey.width, "height": survey.height, "short side": survey.short_side}
    rows = [
        (name, *(f"{value:,.0f}" for value in (one.least, one.median, one.largest))) for name, one in spreads.items()
    ]
    return Table("Pixels", ("", "least", "median", "largest"), rows)


def what_more_would_bring(findings: Findings) -> Section:
    """Return the section of the learning curve."""
    curve = findings.curve
    if curve is None:
        return Section("curve", "Would more images help?", "too few images to tell", False)
    now, ahead = curve.now, curve.ahead
    told = (
        f"twice as many would bring the accuracy from {now.accuracy:.3f} to about {ahead.accuracy:.3f} "
        f"({ahead.low:.3f} to {ahead.high:.3f})"
    )
    return Section(
        "curve",
        "Would more images help?",
        told,
        False,
        [
            "Accuracy of a linear classifier on these features against the number of images that it learns from, on "
            "images that it did not learn from, read on by a power law with what noise leaves open. It is about more "
            "images of the same kind; others may bring more, or less."
        ],
        tables=[
            Table(
                "Accuracy by images a class",
                ("images a class", "accuracy", "95% band"),
                [
                    (f"{point.images:.0f}", f"{point.accuracy:.3f}", f"{point.low:.3f} to {point.high:.3f}")
                    for point in (*curve.measured, ahead)
                ],
            )
        ],
        chart=learning_curve_chart(curve),
    )
