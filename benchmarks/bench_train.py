"""What "paid for once" saves: the usual loop, the same loop tuned, and ours, in one run.

    python benchmarks/bench_train.py --data pizza_steak_sushi.zip --many food101_64px_10classes.zip

Each job runs in a process of its own, timed after its imports: find the data, build the model, train a head for five
epochs, test it. EfficientNet-Lite0 is pretrained; B0 and ViT-B/16 have random weights, which take the same time. It
prints and writes `results/bench_train.json`, its text and two figures; models that were not asked for keep their rows.
Twenty minutes on two cores; Linux and macOS.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
EPOCHS = 5
LITE0 = "efficientnet_lite0"
RUNS = {LITE0: 5, "efficientnet_b0": 3, "vit_b_16": 1}  # the usual loop of ViT-B/16 takes minutes
TARGETS = {  # usual loop, tuned loop: how many times as long as ours
    (LITE0, "auto"): (20, 5),
    (LITE0, "fp32"): (6, 4),
    ("efficientnet_b0", "auto"): (10, None),
    ("vit_b_16", "auto"): (10, None),
}
# the floor was eager PyTorch with its BatchNorms, and the first target for Lite0's usual loop 12
FLOOR_TARGET, EPOCH_TARGET, WARM_TARGET = 1.25, 500, 0.5
TRAIN_IMAGES = (1000, 2000, 4000, 8000)  # beside the 2,000 that are tested on
LABELS = {
    "usual": "usual loop, fp32",
    "tuned": "usual loop, channels-last, bf16",
    "tuned fp32": "usual loop, channels-last, fp32",
    "ours": "ours, bf16",
    "ours fp32": "ours, fp32",
}


def run(script: str, **job: object) -> dict:
    """Run a script of this folder in a process of its own and return the JSON that it prints.

    The usual loop leaves memory to the C library's defaults, as loops do; tuned, it keeps it as ours does.
    """
    environment = os.environ | ({"MALLOC_PERTURB_": "0"} if job.get("method") == "usual" else {})  # see keep_freed
    done = subprocess.run(
        [sys.executable, str(HERE / script), json.dumps(job)],
        env=environment, stdout=subprocess.PIPE, check=True, text=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def best_num_workers(model: str, method: str, data: str | None) -> int:
    """Return the number of reading processes that the usual loop is fastest with, over two epochs."""

    def seconds(workers: int) -> float:
        job = {"model": model, "method": method, "precision": "auto", "data": data, "seed": 0, "epochs": 2}
        return run("jobs.py", **job, num_workers=workers)["epoch"]

    return min((0, 1, 2), key=seconds)


def measure(model: str, data: str | None) -> dict[str, list[dict]]:
    """Run every method on one model, in turn so that a drift of the machine's speed hits all, seed by seed."""
    # what is best for one is best for ViT-B/16, where reading hardly counts, too
    workers = {method: best_num_workers(LITE0, method, data) for method in ("usual", "tuned")}
    measured: dict[str, list[dict]] = {method: [] for method in LABELS}
    for seed in range(RUNS[model]):
        for method in LABELS:
            name, _, precision = method.partition(" ")
            if precision and (model, precision) not in TARGETS:
                continue
            job = {"model": model, "method": name, "precision": precision or "auto", "data": data, "seed": seed}
            measured[method].append(run("jobs.py", **job, epochs=EPOCHS, num_workers=workers.get(name)))
            print(f"  {model} {LABELS[method]}, seed {seed}: {measured[method][-1]['seconds'][-1]:.2f} s")
    return measured


def median(runs: list[dict], key: str) -> float:
    """Return the median over runs; of a list, of its last value."""
    return statistics.median(run[key][-1] if isinstance(run[key], list) else run[key] for run in runs)


def summarise(model: str, measured: dict[str, list[dict]], floors: dict[str, dict]) -> list[dict]:
    """Return a row for each precision of ours: medians, ratios and targets."""
    rows = []
    for method, tuned_method, precision in (("ours", "tuned", "auto"), ("ours fp32", "tuned fp32", "fp32")):
        if not measured[method]:
            continue
        ours, usual, tuned = (median(measured[m], "seconds") for m in (method, "usual", tuned_method))
        epochs = {m: median(measured[m], "epoch") for m in (method, "usual", tuned_method)}
        rows.append(
            {
                "model": model, "precision": precision, "runs": len(measured[method]),
                "usual_s": usual, "tuned_s": tuned, "ours_s": ours,
                "floor_s": floors[precision]["floor"], "floors_s": floors[precision]["engines"],
                "usual_over_ours": usual / ours, "tuned_over_ours": tuned / ours,
                "ours_over_floor": ours / floors[precision]["floor"],
                "epoch_usual_s": epochs["usual"], "epoch_tuned_s": epochs[tuned_method], "epoch_ours_s": epochs[method],
                "epoch_usual_over_ours": epochs["usual"] / epochs[method],
            }
        )  # fmt: skip
    return rows


def second_runs(data: str | None) -> list[float]:
    """Return the seconds that a job spends on features that an earlier one left on disk."""
    with tempfile.TemporaryDirectory() as cache:
        job = {"model": LITE0, "method": "ours", "precision": "auto", "data": data, "seed": 0, "cache": cache}
        return [run("jobs.py", **job, epochs=EPOCHS)["features"] for _ in range(4)][1:]


def report(results: dict) -> str:
    """Return what was measured beside its targets, as text."""
    lines = ["job: data, model, five epochs, test; medians; targets in brackets", ""]
    for row in results["rows"]:
        usual, tuned = TARGETS[row["model"], row["precision"]]
        lines += [
            f"{row['model']}, ours in {row['precision']} ({row['runs']} runs)",
            f"  usual loop {row['usual_s']:.2f} s, tuned {row['tuned_s']:.2f} s, ours {row['ours_s']:.2f} s, "
            "floor " + ", ".join(f"{engine} {seconds:.2f} s" for engine, seconds in row["floors_s"].items()),
            f"  usual / ours {row['usual_over_ours']:.1f} [{usual}], tuned / ours {row['tuned_over_ours']:.1f} "
            f"[{tuned or 'none'}], ours / floor {row['ours_over_floor']:.2f} [at most {FLOOR_TARGET}]",
            f"  one more epoch: usual {row['epoch_usual_s']:.2f} s, tuned {row['epoch_tuned_s']:.2f} s, "
            f"ours {row['epoch_ours_s'] * 1000:.1f} ms; usual / ours {row['epoch_usual_over_ours']:.0f} "
            f"[{EPOCH_TARGET}]",
        ]
    if "warm" in results:
        warm = statistics.median(results["warm"])
        lines += [f"second run, features from disk: {warm:.3f} s [under {WARM_TARGET}]", "", "test accuracy of Lite0:"]
        for method, values in results["accuracies"].items():
            spread = f"{statistics.mean(values):.3f} +/- {statistics.stdev(values):.3f}"
            lines.append(f"  {LABELS[method]}: {spread} ({len(values)} seeds)")
    for grown in results.get("growth", []):
        lines.append(
            f"{grown['images']} images: {grown['seconds'][-1]:.1f} s, {grown['mib'][-1]:.0f} MiB beyond the model; "
            f"the features take {grown['features_mib']:.0f} MiB, a worker {grown['worker_mib']:.0f} MiB, libraries and "
            "model included"
        )
    return "\n".join(lines)


def draw_epochs(measured: dict[str, list[dict]]) -> Figure:
    """Draw time and memory of EfficientNet-Lite0 against epochs."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, key, unit in zip(
        figure.subplots(1, 2), ("seconds", "mib"), ("seconds", "MiB beyond the model"), strict=True
    ):
        for method, runs in measured.items():
            columns = zip(*(run[key] for run in runs), strict=True)
            axes.plot(
                range(1, EPOCHS + 1), [statistics.median(column) for column in columns], "o-", label=LABELS[method]
            )
        axes.set(xlabel="epochs", ylabel=unit, ylim=(0, None), xticks=range(1, EPOCHS + 1))
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def draw_images(grown: list[dict]) -> Figure:
    """Draw time and memory of ours against images, and what the features alone take."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    images = [run["images"] for run in grown]
    left.plot(images, [run["seconds"][-1] for run in grown], "o-", label="ours")
    right.plot(images, [run["mib"][-1] for run in grown], "o-", label="ours")
    right.plot(images, [run["features_mib"] for run in grown], "k--", label="the features, N x D x 4 bytes")
    for axes, unit in ((left, "seconds"), (right, "MiB beyond the model")):
        axes.set(xlabel="images", ylabel=unit, xlim=(0, None), ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def grow(many: str) -> list[dict]:
    """Run our job on more and more images."""
    grown = []
    for images in TRAIN_IMAGES:
        job = {"model": LITE0, "method": "ours", "precision": "auto", "data": many, "seed": 0}
        measured = run("jobs.py", **job, epochs=EPOCHS, images=images)
        grown.append(measured | {"features_mib": measured["images"] * measured["width"] * 4 / 2**20})
        print(f"  {measured['images']} images: {measured['seconds'][-1]:.1f} s, {measured['mib'][-1]:.0f} MiB")
    return grown


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="300 photos: a data set of train.py's; None: the photos, or offline the sample")
    parser.add_argument("--many", help="a zip of some 10,000 images in class folders, for the growth of memory")
    parser.add_argument("--models", nargs="+", choices=RUNS, default=list(RUNS))
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / "bench_train.json"
    results = json.loads(file.read_text()) if file.exists() else {"rows": []}
    for model in options.models:
        measured = measure(model, options.data)
        floors = {p: run("floor.py", model=model, data=options.data, precision=p) for m, p in TARGETS if m == model}
        others = [row for row in results["rows"] if row["model"] != model]
        results["rows"] = sorted(
            others + summarise(model, measured, floors), key=lambda row: list(RUNS).index(row["model"])
        )
        if model == LITE0:
            results["accuracies"] = {method: [run["accuracy"] for run in runs] for method, runs in measured.items()}
            results["warm"] = second_runs(options.data)
            draw_epochs(measured).savefig(RESULTS / "time_and_memory_against_epochs.png", dpi=110)
    if options.many:
        results["growth"] = grow(options.many)
        draw_images(results["growth"]).savefig(RESULTS / "time_and_memory_against_images.png", dpi=110)
    file.write_text(json.dumps(results, indent=2) + "\n")
    text = report(results)
    (RESULTS / "bench_train.txt").write_text(text + "\n")
    print("", text, sep="\n")


if __name__ == "__main__":
    main()
