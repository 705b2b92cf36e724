"""What inspection finds of planted faults, beside cleanlab and cleanvision alone, and how long 10,000 images take.

    python -m venv clean && clean/bin/pip install "cleanlab[datalab]" cleanvision
    python benchmarks/bench_inspect.py --data pizza_steak_sushi.zip --many food101_64px_10classes.zip \
        --clean-python clean/bin/python

In the photos and in the bundled sample, faults are planted, ten draws of each: wrong labels (5%), strangers (6 images
of other food; or 6 of one class among the two others), copies, exact and altered in eight ways, and spoilt images.
Features are EfficientNet-Lite0's. What comes first, or is flagged, is counted. cleanlab and cleanvision do the same
jobs as their guides have it, in a Python of their own. Then shortcuts are planted; learning curves of half of the
images are read on and compared with the whole; and seconds and memory are taken of all of it on the many images. Prints
and writes `results/bench_inspect.txt`; some three minutes on two cores.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from faults import COPIES, FAULTS, IDENTICAL, SHORTCUTS
from jobs import peak_mib

from going_modular import data_setup, features, model_builder
from going_modular.data import images, sources
from going_modular.data.image_folder import ImageFolder
from going_modular.evaluation import leaks
from going_modular.inspection import copies, labels, learning_curve, quality, shortcuts, strangers

RESULTS = Path(__file__).resolve().parent / "results"
CLEAN = Path(__file__).resolve().parent / "clean_alone.py"
MODEL = "efficientnet_lite0"
DRAWS = 10
FLIPPED = 0.05  # of the labels
STRANGERS = 6
PLANTED = 10  # images of each kind of copy and of fault, in each draw
OURS = "inspection"
DIFFERENT, UNTOUCHED = "pairs of different images", "untouched images"


@dataclass
class Planted:
    """Images made of others."""

    sources: list[int]  # of which each was made
    paths: list[str]
    features: np.ndarray | None = None


@dataclass
class Collection:
    """Images with all that is known of them."""

    name: str
    paths: list[str]
    labels: np.ndarray
    splits: np.ndarray
    features: np.ndarray
    copies: dict[str, Planted] = field(default_factory=dict)  # by kind
    faults: dict[str, Planted] = field(default_factory=dict)  # by kind


def extracted(dataset: ImageFolder) -> np.ndarray:
    """Return the features of images, kept on disk as always."""
    model, transform = model_builder.create_model(MODEL, 2)
    return features.extract(model, dataset.with_transform(transform)).tensors[0].numpy()


def collect(name: str, data: str | Path, folder: Path) -> Collection:
    """Open a data set and make planted images: copies of each kind of different ones, and so for the faults."""
    splits = data_setup.load_splits(data)
    whole = splits.train.joined_with(splits.test)
    paths = [path for path, _ in whole.samples]
    where = np.repeat(["train", "test"], [len(splits.train), len(splits.test)])
    collection = Collection(name, paths, np.array(whole.targets), where, extracted(whole))
    for place, kind in enumerate(COPIES):
        sources_of_kind = list(range(place, len(paths), len(COPIES)))
        inside = folder / name / f"{place}"
        inside.mkdir(parents=True)
        for i in sources_of_kind:
            if kind == IDENTICAL:
                shutil.copy(paths[i], inside / f"{i:04}{Path(paths[i]).suffix}")
            else:
                COPIES[kind](images.open_image(paths[i])).save(inside / f"{i:04}.jpg", quality=90)
    made = ImageFolder(folder / name)
    values, targets = extracted(made), np.array(made.targets)
    for place, kind in enumerate(COPIES):
        rows = np.flatnonzero(targets == place)
        made_paths = [made.samples[i][0] for i in rows]
        collection.copies[kind] = Planted([int(Path(path).stem) for path in made_paths], made_paths, values[rows])
    for place, kind in enumerate(FAULTS):
        inside = folder / f"{name} faults" / f"{place}"
        inside.mkdir(parents=True)
        spoilt = Planted(list(range(place, len(paths), len(FAULTS))), [])
        for i in spoilt.sources:
            FAULTS[kind](images.open_image(paths[i])).save(inside / f"{i:04}.jpg", quality=90)
            spoilt.paths.append(str(inside / f"{i:04}.jpg"))
        collection.faults[kind] = spoilt
    return collection


class Jobs:
    """Jobs for cleanlab and cleanvision, done together in a Python of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.jobs, self.answers, self.versions = folder, [], [], {}

    def add(self, kind: str, *, paths: Sequence[str] = (), **arrays: np.ndarray) -> int:
        """Note a job; return its number."""
        file = self.folder / f"job{len(self.jobs)}.npz"
        np.savez(file, **arrays)
        self.jobs.append({"kind": kind, "paths": list(paths), "arrays": str(file)})
        return len(self.jobs) - 1

    def do(self, python: str) -> None:
        """Have all jobs done."""
        jobs, answers = self.folder / "jobs.json", self.folder / "answers.json"
        jobs.write_text(json.dumps(self.jobs), encoding="utf-8")
        subprocess.run([python, CLEAN, jobs, answers], check=True, stdout=subprocess.DEVNULL)
        found = json.loads(answers.read_text(encoding="utf-8"))
        self.versions, self.answers = found["versions"], found["answers"]


@dataclass
class Table:
    """Shares of planted faults that were found, by draw; a row a kind, a column a method."""

    title: str
    cells: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, row: str, column: str, share: float) -> None:
        """Note what one draw gave."""
        self.cells.setdefault(row, {}).setdefault(column, []).append(share)

    def lines(self) -> list[str]:
        """Return the table with means over the draws."""
        columns = list(dict.fromkeys(column for row in self.cells.values() for column in row))
        widths = [max(len(column), 6) + 2 for column in columns]
        lines = ["", self.title, " " * 34 + "".join(f"{c:>{w}}" for c, w in zip(columns, widths, strict=True))]
        for name, row in self.cells.items():
            form = "{:.1f}" if name.endswith(DIFFERENT) else "{:.0%}"
            cells = [form.format(np.mean(row[column])) if column in row else "-" for column in columns]
            lines.append(f"  {name:32}" + "".join(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True)))
        return lines


def behind(tables: Sequence[Table]) -> list[str]:
    """Return lines: where another method finds more, and by how much; with the 95% interval over the draws."""
    lines = []
    for table in tables:
        for name, row in table.cells.items():
            for method, shares in row.items() if not name.endswith((DIFFERENT, UNTOUCHED)) else ():
                apart = np.array(shares) - row[OURS]
                if apart.mean() > 1e-9:  # rounding apart
                    half = 1.96 * apart.std(ddof=1) / np.sqrt(len(apart))
                    lines.append(f"  {name}: {method} by {100 * apart.mean():.1f} +/- {100 * half:.1f} points")
    return ["", "Another method finds more:" if lines else "No other method finds more of anything.", *lines]


def chosen(table: Table) -> str:
    """Return a line: what all methods find of wrong labels, over the rows of their table."""
    methods = next(iter(table.cells.values()))
    means = {method: np.mean([row[method] for row in table.cells.values()]) for method in methods}
    told = ", ".join(f"{method} {mean:.1%}" for method, mean in means.items())
    return f"  over these rows: {told}\n  {OURS} is plain cross-validation, find_label_issues confident learning"


def first(order: Sequence[int], wanted: Sequence[int], count: int) -> float:
    """Return the share of those wanted that are among the first so many."""
    return len(set(np.asarray(order)[:count].tolist()) & set(np.asarray(wanted).tolist())) / len(wanted)


def plan_labels(table: Table, collection: Collection, jobs: Jobs) -> Callable[[], None]:
    """Plant wrong labels among the training images, rank; return what adds the others' answers to the table."""
    inside = np.flatnonzero(collection.splits == "train")
    values, true = collection.features[inside], collection.labels[inside]
    count = round(FLIPPED * len(true))
    later = []
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        chosen = rng.choice(len(true), count, replace=False)
        given = true.copy()
        given[chosen] = (true[chosen] + rng.integers(1, true.max() + 1, count)) % (true.max() + 1)
        doubts = labels.doubtful_labels(values, given, seed=draw)
        probabilities = labels.out_of_fold(values, given, seed=draw)
        later.append((jobs.add("labels", features=values, labels=given, probabilities=probabilities), chosen))
        for times in (1, 2):
            row = f"{collection.name}: in the first {times * count} of {len(true)}"
            table.add(row, OURS, first(doubts.order, chosen, times * count))

    def finish() -> None:
        for job, chosen in later:
            for method, order in jobs.answers[job].items():
                for times in (1, 2):
                    row = f"{collection.name}: in the first {times * count} of {len(true)}"
                    table.add(row, method, first(order, chosen, times * count))

    return finish


def plan_strangers(table: Table, collection: Collection, others: np.ndarray, jobs: Jobs) -> Callable[[], None]:
    """Plant strangers of two sorts; rank; return what adds the others' answers to the table."""
    inside = np.flatnonzero(collection.splits == "train")
    values, true = collection.features[inside], collection.labels[inside]
    later = []
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        hidden = draw % (true.max() + 1)
        guests = {
            "other food": (values, others[rng.choice(len(others), STRANGERS, replace=False)]),
            "a third class": (values[true != hidden], rng.permutation(values[true == hidden])[:STRANGERS]),
        }
        for sort, (usual, strange) in guests.items():
            both = np.concatenate([usual, strange])
            wanted = range(len(usual), len(both))
            later.append((jobs.add("strangers", features=both), sort, wanted))
            order = np.argsort(-strangers.strangeness(both), kind="stable")
            for times in (1, 3):
                row = f"{collection.name}: {sort}, first {times * STRANGERS}"
                table.add(row, OURS, first(order, wanted, times * STRANGERS))

    def finish() -> None:
        for job, sort, wanted in later:
            for times in (1, 3):
                row = f"{collection.name}: {sort}, first {times * STRANGERS}"
                table.add(row, "cleanlab's Datalab", first(jobs.answers[job]["order"], wanted, times * STRANGERS))

    return finish


def pairs_of(groups: Sequence[copies.Group]) -> set[tuple[int, int]]:
    """Return the pairs of images that stand in one group."""
    return {(i, j) for group in groups for i in group.members for j in group.members if i < j}


def plan_copies(table: Table, collection: Collection, jobs: Jobs) -> Callable[[], None]:
    """Plant copies, look for them; return what adds the others' answers to the table."""
    kinds, count = collection.copies, len(collection.paths)
    paths = collection.paths + [path for planted in kinds.values() for path in planted.paths]
    values = np.concatenate([collection.features, *(planted.features for planted in kinds.values())])
    origin = np.concatenate([np.arange(count), *(planted.sources for planted in kinds.values())])
    kind_of = np.repeat(["", *kinds], [count, *(len(planted.paths) for planted in kinds.values())])
    prints = leaks.fingerprints(paths)
    looked = jobs.add("files", paths=paths)  # once: it compares pair by pair
    later = []

    def tell(method: str, pairs: set[tuple[int, int]], chosen: np.ndarray) -> None:
        for kind in kinds:
            wanted = [place for place in chosen if kind_of[place] == kind]
            share = np.mean([(origin[place], place) in pairs for place in wanted])
            table.add(f"{collection.name}: {kind}", method, share)
        table.add(f"{collection.name}: {DIFFERENT}", method, sum(origin[i] != origin[j] for i, j in pairs))

    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        chosen = np.concatenate([rng.permutation(np.flatnonzero(kind_of == kind))[:PLANTED] for kind in kinds])
        kept = np.concatenate([np.arange(count), chosen])
        some = leaks.Fingerprints([prints.digests[i] for i in kept], prints.hashes[kept], prints.detailed[kept])
        groups = copies.find(some, values[kept], np.zeros(len(kept), dtype=int))
        pairs = {(kept[i], kept[j]) for group in groups for i in group.members for j in group.members if i < j}
        tell(OURS, pairs, chosen)
        later.append((chosen, kept, jobs.add("copies", features=values[kept])))

    def finish() -> None:
        seen = {tuple(pair) for pair in jobs.answers[looked]["pairs"]}
        for chosen, kept, near in later:
            drawn = set(kept.tolist())
            tell("cleanvision", {pair for pair in seen if drawn.issuperset(pair)}, chosen)
            tell("cleanlab's Datalab", {(kept[i], kept[j]) for i, j in jobs.answers[near]["pairs"]}, chosen)

    return finish


def plan_faults(table: Table, collection: Collection, jobs: Jobs) -> Callable[[], None]:
    """Plant spoilt images, look for them; return what adds the others' answers to the table."""
    kinds, count = collection.faults, len(collection.paths)
    paths = collection.paths + [path for planted in kinds.values() for path in planted.paths]
    kind_of = np.repeat([UNTOUCHED, *kinds], [count, *(len(planted.paths) for planted in kinds.values())])
    measured = [quality.measure(path) for path in paths]
    looked = jobs.add("files", paths=paths)
    draws = []
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        chosen = [rng.permutation(np.flatnonzero(kind_of == kind))[:PLANTED] for kind in kinds]
        draws.append(np.concatenate([np.arange(count), *chosen]))

    def tell(method: str, kept: np.ndarray, flagged: Sequence[bool]) -> None:
        for kind in [*kinds, UNTOUCHED]:
            share = np.mean([is_so for place, is_so in zip(kept, flagged, strict=True) if kind_of[place] == kind])
            table.add(f"{collection.name}: {kind}", method, share)

    for kept in draws:
        tell(OURS, kept, [bool(one.flags) for one in quality.in_company([measured[i] for i in kept])])

    def finish() -> None:
        for kept in draws:
            tell("cleanvision", kept, [bool(jobs.answers[looked]["flags"][i]) for i in kept])

    return finish


def named(found: Sequence[shortcuts.Shortcut]) -> str:
    """Return in a line how well the class is told from each fact, and whether it warns."""
    return ", ".join(f"{one.name} {one.accuracy:.0%}{'!' if one.warns else ''}" for one in found)


def planted_shortcuts(collection: Collection, folder: Path) -> list[str]:
    """Return lines: how well each fact tells the class, as it is and with a shortcut planted in the first class."""

    def measured(path: str, change: Callable, ending: str, setting: int) -> quality.Quality:
        place = folder / f"shortcut.{ending}"
        change(images.open_image(path)).save(place, quality=setting)
        return quality.measure(place)

    def told(name: str, qualities: Sequence[quality.Quality]) -> str:
        return f"  {name:26}" + named(shortcuts.shortcuts(shortcuts.facts(qualities), collection.labels, seed=0))

    usual = [measured(path, lambda image: image, "jpg", 90) for path in collection.paths]
    lines = [
        "",
        f"{collection.name}: balanced accuracy of the class from a fact, ! where it warns; planted in one class",
    ]
    lines += [told("files as they are", [quality.measure(path) for path in collection.paths]), told("all alike", usual)]
    for name, how in SHORTCUTS.items():
        rows = zip(usual, collection.paths, collection.labels, strict=True)
        lines.append(told(name, [one if label else measured(path, *how) for one, path, label in rows]))
    return lines


def read_on(collection: Collection) -> str:
    """Return a line: curves of half of the images, read on to all of them, against what all of them give."""
    whole = learning_curve.learning_curve(collection.features, collection.labels, seed=0).now
    errors, within = [], []
    for draw in range(DRAWS):
        half = np.random.default_rng(draw).permutation(len(collection.labels))[: len(collection.labels) // 2]
        ahead = learning_curve.learning_curve(collection.features[half], collection.labels[half], seed=draw).ahead
        errors.append(ahead.accuracy - whole.accuracy)
        within.append(ahead.low <= whole.accuracy <= ahead.high)
    return (
        f"  {collection.name}: {whole.images:.0f} images a class give {whole.accuracy:.3f}; read on from half of them "
        f"it is off by {np.mean(errors):+.3f} on average, {np.mean(np.abs(errors)):.3f} in size; "
        f"{np.mean(within):.0%} of the bands hold it"
    )


def speed(many: Collection) -> list[str]:
    """Return lines: what each part takes of the many images, and the memory at the end."""
    seconds: dict[str, float] = {}
    of_cpu = time.process_time()

    def timed(name: str, function: Callable, *arguments: object, **options: object) -> object:
        start = time.perf_counter()
        result = function(*arguments, **options)
        seconds[name] = time.perf_counter() - start
        return result

    before = peak_mib()
    with tempfile.TemporaryDirectory() as cache:
        kept = sources.download.cache_folder  # fingerprints are made anew
        sources.download.cache_folder = lambda: Path(cache)
        prints = timed("fingerprints", leaks.fingerprints, many.paths)
        sources.download.cache_folder = kept
    groups = timed("copies", copies.find, prints, many.features, many.labels)
    alone = copies.together(len(many.paths), groups)
    timed("labels", labels.doubtful_labels, many.features, many.labels, alone, seed=0)
    timed("strangers", strangers.strangeness, many.features, groups=alone)
    measured = timed("quality", quality.measure_all, many.paths)
    told = timed("shortcuts", shortcuts.shortcuts, shortcuts.facts(measured), many.labels, alone, seed=0)
    timed("learning curve", learning_curve.learning_curve, many.features, many.labels, alone, seed=0)
    of_cpu = time.process_time() - of_cpu
    parts = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
    return [
        "",
        f"{len(many.paths):,} images of {many.name}, features there: {sum(seconds.values()):.1f} s ({parts}), of the "
        f"CPU {of_cpu:.1f} s; peak memory {peak_mib():,.0f} MiB, of which {before:,.0f} were taken before",
        f"  their shortcuts: {named(told)}",
    ]


def measure(options: argparse.Namespace, folder: Path) -> list[str]:
    """Return the lines of the report."""
    jobs = Jobs(folder)
    collections = [collect("photos", options.data, folder), collect("sample", sources.DATA_FOLDER / "sample", folder)]
    splits = data_setup.load_splits(options.many)
    whole = splits.train.joined_with(splits.test)
    paths = [path for path, _ in whole.samples]
    name, labels_of_many = Path(options.many).name, np.array(whole.targets)
    many = Collection(name, paths, labels_of_many, np.full(len(paths), ""), extracted(whole))

    doubtful, strange, found, flagged = (
        Table(f"Wrong labels, {FLIPPED:.0%} planted: share found"),
        Table(f"Strangers, {STRANGERS} planted: share found"),
        Table("Copies: share that stands with its original; and pairs of different images, a count"),
        Table("Spoilt images: share flagged; and of untouched ones"),
    )
    finish = []
    for collection in collections:
        finish.append(plan_labels(doubtful, collection, jobs))
        finish.append(plan_strangers(strange, collection, many.features, jobs))
        finish.append(plan_copies(found, collection, jobs))
        finish.append(plan_faults(flagged, collection, jobs))
    jobs.do(options.clean_python)
    for add in finish:
        add()
    versions = ", ".join(f"{name} {number}" for name, number in jobs.versions.items())
    lines = [f"{OURS} on {MODEL}'s features; means of {DRAWS} draws; {versions}"]
    for table in (doubtful, strange, found, flagged):
        lines += [*table.lines(), *([chosen(table)] if table is doubtful else [])]
    lines += behind([doubtful, strange, found, flagged])
    for collection in collections:
        lines += planted_shortcuts(collection, folder)
    lines += ["", "Learning curves", *map(read_on, [*collections, many])]
    return lines + speed(many)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="300 photos: a data set of train.py's")
    parser.add_argument("--many", required=True, help="a zip of some 10,000 images in class folders")
    parser.add_argument("--clean-python", required=True, help="a Python that has cleanlab and cleanvision")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lines = measure(options, Path(folder))
    text = "\n".join(lines)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "bench_inspect.txt").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
