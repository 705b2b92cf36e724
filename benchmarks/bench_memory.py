"""What it brings that tensors' memory is kept for the next ones, and not handed back to the system.

    python benchmarks/bench_memory.py

A forward pass of a folded backbone as `features.extract` makes it, and an update of all of EfficientNet-Lite0 as
`fine_tune.py` makes it, on one thread: each in a process of its own that keeps freed memory, and in one where glibc
does as it does by default, in turns. Prints, and writes `results/bench_memory.txt`, medians over the turns, how many
pages the system had to clear in a pass, and the peak of the process's memory. Linux with glibc; three minutes.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import nn

from going_modular import engine, features, model_builder
from going_modular.common.memory import keep_freed
from going_modular.fine_tuning import recipes

RESULT = Path(__file__).resolve().parent / "results" / "bench_memory.txt"
LITE0, UPDATE = "efficientnet_lite0", "an update of all"
JOBS = (
    *((name, precision) for name in (LITE0, "vit_s_14") for precision in ("fp32", "bf16")),
    *((UPDATE, precision) for precision in ("fp32", "bf16")),
)
TURNS, WARM, PASSES = 3, 2, 8
LEAVE_ALONE = {"MALLOC_PERTURB_": "0"}  # says what is so anyway; keep_freed then changes nothing


def passes(name: str, precision: str) -> dict[str, float]:
    """Return seconds of a pass, pages that were cleared in it, and the process's peak in MB."""
    torch.set_num_threads(1)
    batch_size = features.CPU_BATCH[precision]
    images, labels = torch.randn(batch_size, 3, 224, 224), torch.zeros(batch_size, dtype=torch.int64)
    model, _ = model_builder.create_model(LITE0 if name == UPDATE else name, 3)
    if name == UPDATE:
        recipes.unfreeze(model, None)
        model.to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
        dtype = torch.bfloat16 if precision == "bf16" else None
        batches = [(images.contiguous(memory_format=torch.channels_last), labels)]

        def run() -> None:
            engine.train_step(model, batches, nn.CrossEntropyLoss(), optimizer, "cpu", autocast_dtype=dtype)
    else:
        trunk = model_builder.fold(model_builder.backbone(model).eval()).to(memory_format=torch.channels_last)

        def run() -> None:
            features._forward(images, trunk=trunk, device="cpu", precision=precision)

    keep_freed()
    seconds = []
    for number in range(WARM + PASSES):
        if number == WARM:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    pages = (usage.ru_minflt - before) / PASSES
    return {"seconds": statistics.median(seconds[WARM:]), "pages": pages, "peak": usage.ru_maxrss / 1000}


def measure(name: str, precision: str, environment: dict[str, str]) -> dict[str, float]:
    """Run passes in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, json.dumps([name, precision])],
        env=os.environ | environment, stdout=subprocess.PIPE, check=True, text=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure each job both ways, in turns."""
    lines = [
        f"torch {torch.__version__}, one thread, medians of {TURNS} turns",
        f"{'':34}{'by default':>36}{'kept':>36}",
        f"{'':34}" + f"{'ms a batch':>12}{'pages':>12}{'peak, MB':>12}" * 2 + f"{'times as fast':>16}",
    ]
    print("\n".join(lines))
    for name, precision in JOBS:
        turns = [[measure(name, precision, env) for env in (LEAVE_ALONE, {})] for _ in range(TURNS)]
        default, kept = (
            {key: statistics.median(turn[way][key] for turn in turns) for key in ("seconds", "pages", "peak")}
            for way in (0, 1)
        )
        shown = "".join(
            f"{one['seconds'] * 1e3:12.0f}{one['pages']:12,.0f}{one['peak']:12,.0f}" for one in (default, kept)
        )
        lines.append(f"{f'{name}, {precision}':34}{shown}{default['seconds'] / kept['seconds']:16.2f}")
        print(lines[-1], flush=True)
    RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(passes(*json.loads(sys.argv[1]))))
    else:
        main()
