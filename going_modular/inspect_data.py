r"""Look at a data set before training: wrong labels, copies, strangers, poor photos, shortcuts, learning curve.

    python going_modular/inspect_data.py --data my_photos
    python going_modular/inspect_data.py --data my_photos --corrections corrections.csv    # what is left to do
    python going_modular/inspect_data.py --data my_photos --group-by "(.*)_\d+" --json

It writes a page to open in a browser, which takes decisions down as a file of corrections; no image is touched. Imports
of torch wait until they are needed, so that `--help` comes at once.
"""

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from going_modular.common import cli, startup
from going_modular.common.seeds import DEFAULT_SEED

FILES = PAGE, NUMBERS = ("inspection.html", "inspection.json")


@dataclass(frozen=True)
class Settings:
    """What is inspected, and how; the command's flags mirror it."""

    data: str | None = None  # None: the photos, or the bundled sample where they cannot be had
    model: str | None = None  # None: EfficientNet-B0, or Lite0 where B0's weights cannot be had
    group_by: str | None = None  # None: every image for itself
    corrections: Path | None = None
    seed: int = DEFAULT_SEED  # of the split, of folds and of draws
    device: str = "auto"
    cache: bool = True
    output: Path | None = None  # None: inspection-, and the data's name, under runs/


def run(settings: Settings) -> dict[str, object]:
    """Inspect a data set, write the page and the numbers, print a line a finding, and return what the numbers say.

    Raises:
        InputError: settings, data or corrections that cannot be used, before anything was written.
    """
    import numpy as np

    from going_modular import features, model_builder
    from going_modular.common import files, progress
    from going_modular.common.device import choose_device
    from going_modular.data import corrections as corrected
    from going_modular.evaluation import leaks
    from going_modular.inspection import atlas, copies, page
    from going_modular.inspection.collection import collect, joined
    from going_modular.inspection.findings import Findings
    from going_modular.inspection.labels import doubtful_labels
    from going_modular.inspection.learning_curve import learning_curve
    from going_modular.inspection.parts import plural
    from going_modular.inspection.quality import measure_all
    from going_modular.inspection.sections import sections
    from going_modular.inspection.shortcuts import facts, shortcuts
    from going_modular.inspection.strangers import strangeness
    from going_modular.inspection.survey import imbalance, survey
    from going_modular.saving import run_folder

    # what cannot be used is told before anything is computed
    clock = run_folder.Clock()
    device, seed = choose_device(settings.device), settings.seed
    model_builder.check_name(settings.model, "DEFAULT")

    # 1 data
    decided = corrected.read(settings.corrections) if settings.corrections else None
    everything = collect(settings.data, seed=seed, group_by=settings.group_by, corrections=decided)
    output = settings.output or run_folder.RUNS / f"inspection-{everything.name}"
    files.check_writable(output)
    files.refuse_links(output, FILES)
    print(
        "\n".join([f"Data: {everything.name}, {everything.origin}; {len(everything.labels)} images", *everything.notes])
    )
    clock.lap("data")

    # 2 features: a frozen backbone runs over every image once
    name = model_builder.resolve_name(settings.model, "DEFAULT")
    model, transform = model_builder.create_model(name, len(everything.class_names))
    extracted, problems = features.extract_readable(
        model, everything.dataset.with_transform(transform), device=device, cache=settings.cache
    )
    collection, unread = everything.without(problems)
    values, labels = extracted.tensors[0].numpy(), np.array(collection.labels)
    clock.lap("features")

    # 3 what they tell, and what the files do
    with progress.bar(total=8, desc="Inspection", unit="step") as bar:
        groups = copies.find(leaks.fingerprints(collection.paths), values, labels, collection.parts)
        apart = joined(collection.groups, copies.together(len(labels), groups))
        bar.update()
        doubts = doubtful_labels(values, labels, apart, seed=seed)
        bar.update()
        distances = strangeness(values, groups=apart)
        bar.update()
        qualities = measure_all(collection.paths)
        bar.update()
        told = shortcuts(facts(qualities), labels, apart, seed=seed)
        bar.update()
        curve = learning_curve(values, labels, apart, seed=seed)
        bar.update()
        mapped = atlas.choose(len(labels), seed=seed)
        layout = atlas.lay_out(values[mapped], seed=seed)
        bar.update()
        sheet = atlas.make_sheet([collection.paths[i] for i in mapped])
        bar.update()
    judged = np.where(np.isnan(doubts.probability_given), -1, doubts.proposed)
    sizes, formats = [(one.width, one.height) for one in qualities], [one.format for one in qualities]
    findings = Findings(
        collection=collection,
        model=name,
        unread=unread,
        survey=survey(labels, collection.parts, collection.class_names, sizes=sizes, formats=formats),
        imbalance=imbalance(labels, judged, len(collection.class_names)),
        doubts=doubts,
        groups=groups,
        strangeness=distances,
        qualities=qualities,
        shortcuts=told,
        curve=curve,
    )
    clock.lap("inspection")

    # 4 the page and the numbers
    parts = sections(findings)
    atlas_map = page.Map(mapped, layout, sheet, ringed=[card.image for card in parts[0].cards])
    shown = sorted({card.image for part in parts for card in (*part.cards, *(c for b in part.boxes for c in b.cards))})
    pictures = dict(zip(shown, atlas.thumbnails([collection.paths[i] for i in shown]), strict=True))
    of = f"{plural(len(labels), 'image')} of {plural(len(collection.class_names), 'class', 'classes')}"
    facts_told = [f"{of}, {collection.origin}, as {name} sees them."]
    text = page.render(
        f"What is in {collection.name}?",
        facts_told,
        [*parts[:-1], atlas_map.section(len(labels)), parts[-1]],
        collection,
        pictures,
        atlas_map,
        decided,
    )
    clock.lap("page")
    content = findings.content() | {"seed": seed, "seconds": clock.seconds}
    output.mkdir(parents=True, exist_ok=True)
    files.write_bytes(output / PAGE, text.encode("utf-8"))
    files.write_json(output / NUMBERS, content)

    # 5 report
    print("\n".join(f"{part.title}: {part.summary}" for part in parts))
    print("Time: " + ", ".join(f"{part} {seconds:.2f} s" for part, seconds in clock.seconds.items()))
    print(f"Wrote: {output / PAGE}, to open in a browser, and {NUMBERS}")
    return content


def _parser() -> cli.ArgumentParser:
    parser = cli.ArgumentParser(
        prog="inspect_data.py",
        description="Look at labelled images before training; write a page to open in a browser.",
    )
    add, default = parser.add_argument, Settings()
    add("--data", help="as for train.py. None: the photos, or the sample where they cannot be had")
    add("--model", help="whose backbone looks at the images, as for train.py. None: efficientnet_b0, or Lite0")
    add(
        "--group-by",
        metavar="PATTERN",
        help="images that belong together, as for train.py: they do not judge each other's labels. None: none do",
    )
    add("--corrections", type=Path, metavar="FILE", help="CSV of what was decided before, as the page makes it")
    add("--seed", type=cli.seed, default=default.seed, help="of the split, of folds and of draws")
    add("--device", default=default.device, help="auto, cpu, cuda, cuda:1 or mps")
    add("--no-cache", dest="cache", action="store_false", help="neither read nor write the features kept on disk")
    add("--json", action="store_true", help="print what inspection.json holds, and nothing else, on standard output")
    add("--output", type=Path, metavar="DIR", help="folder to write. None: inspection- and the data's name under runs/")
    return parser


def _main(arguments: Sequence[str] | None = None) -> None:
    options = vars(_parser().parse_args(arguments))
    as_json = options.pop("json")
    startup.import_torch()
    from going_modular.common import files

    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        content = run(Settings(**options))
    if as_json:
        print(files.json_text(content, indent=2, ensure_ascii=True))  # whatever standard output's encoding


def main() -> None:
    """Run the command."""
    sys.exit(cli.run(_main, "inspect_data.py"))


if __name__ == "__main__":
    main()
