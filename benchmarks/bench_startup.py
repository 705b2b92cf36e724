"""How long commands take whose work is done: everything cached, what is left is importing, and for train.py figures.

    python benchmarks/bench_startup.py --data pizza_steak_sushi.zip

The floor is `import torch, torchvision`. It and each command run in turn, in processes of their own, after a round that
fills the caches; ratios are to the floor of the same round, of seconds and of the processor's. On a busy machine the
latter say more. `--help` stands beside Python doing nothing. Prints and writes `results/bench_startup.txt`; three
minutes on two cores; Linux and macOS.
"""

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from going_modular import data_setup
from going_modular.data import sources

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "going_modular"
FLOOR, NOTHING = "import torch, torchvision", "pass"
RATIOS = {"train.py": 1.35, "predict.py": 1.25, "evaluate.py": None}  # to the floor, at most
HELP_SECONDS = 0.1
COMMANDS = ("train.py", "fine_tune.py", "evaluate.py", "predict.py")
Seconds = tuple[float, float]  # by the clock, and of the processor


def seconds(words: list[str], folder: Path) -> Seconds:
    """Run Python with these words; return the seconds that it took."""
    environment = os.environ | {"GOING_MODULAR_OFFLINE": "1", "GOING_MODULAR_CACHE": str(folder / "cache")}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    took, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"bench_startup.py: error: {' '.join(words)}: {done.stderr.splitlines()[-1]}")
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(jobs: dict[str, list[str]], runs: int, folder: Path) -> dict[str, list[Seconds]]:
    """Run all jobs in turn, as often as asked for, after a round that does not count."""
    rounds = [{name: seconds(words, folder) for name, words in jobs.items()} for _ in range(1 + runs)]
    return {name: [one[name] for one in rounds[1:]] for name in jobs}


def table(measured: dict[str, list[Seconds]], targets: dict[str, float | None]) -> list[str]:
    """Return a line a command: medians, and those of the ratios to the floor's of the same round."""
    lines = [f"{'':34}{'seconds':>8}{'ratio':>7}{'CPU s':>8}{'ratio':>7}{'at most':>9}"]
    for name, runs in measured.items():
        medians = [statistics.median(column) for column in zip(*runs, strict=True)]
        pairs = [(run[0] / floor[0], run[1] / floor[1]) for run, floor in zip(runs, measured[FLOOR], strict=True)]
        ratios = [statistics.median(column) for column in zip(*pairs, strict=True)]
        most = targets.get(name)
        lines.append(
            f"{name:34}{medians[0]:8.2f}{ratios[0]:7.2f}{medians[1]:8.2f}{ratios[1]:7.2f}{most or '':>9}".rstrip()
        )
    return lines


def help_table(measured: dict[str, list[Seconds]]) -> list[str]:
    """Return a line a command: the median seconds of `--help`."""
    lines = [f"{'':34}{'seconds':>8}{'':7}{'CPU s':>8}{'':7}{'at most':>9}"]
    for name, runs in measured.items():
        wall, cpu = (statistics.median(column) for column in zip(*runs, strict=True))
        lines.append(f"{name:34}{wall:8.3f}{'':7}{cpu:8.3f}{'':7}{HELP_SECONDS if name != NOTHING else '':>9}".rstrip())
    return lines


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="sample", help="a data set of train.py's with a test part of its own")
    parser.add_argument("--runs", type=int, default=7, help="of each command")
    options = parser.parse_args()
    data = sources.from_anywhere(options.data)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = ["--checkpoint", "runs/model.safetensors"]
        words = {
            "train.py": ["--data", data, "--model", "efficientnet_lite0", "--output", "runs"],
            "predict.py": [data_setup.load_splits(data).test.samples[0][0], *checkpoint],
            "evaluate.py": ["--data", data, *checkpoint],
        }
        jobs = {name: [str(PACKAGE / name), *arguments] for name, arguments in words.items()}
        measured = measure({FLOOR: ["-c", FLOOR], **jobs}, options.runs, folder)
        helps = {f"{name} --help": [str(PACKAGE / name), "--help"] for name in COMMANDS}
        shown = measure({NOTHING: ["-c", NOTHING], **helps}, options.runs, folder)
    machine = f"{platform.machine()}, torch {torch.__version__}, {os.cpu_count()} cores"
    what = f"EfficientNet-Lite0, {Path(options.data).name}, everything cached; medians of {options.runs} rounds"
    text = "\n".join([machine, what, "", *table(measured, RATIOS), "", *help_table(shown)])
    (HERE / "results" / "bench_startup.txt").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
