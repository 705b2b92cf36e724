"""Fine-tuning the last two blocks for ten epochs: the frozen blocks in every epoch, as before, and once.

    python benchmarks/bench_prefix.py --data pizza_steak_sushi.zip
    python benchmarks/bench_prefix.py --models vit_s_14 --runs 1

Both ways are the stage of fine_tune.py from its first line to its best checkpoint, in one process, taking turns;
figures are medians, and what a head standardises by has been kept before. The floor is what the blocks that learn cost
alone: forward, backward and update on maps in memory, by a bare loop. `Computing alone` is how many times as fast that
loop is with the frozen blocks before it once as with them in every epoch: without reading, which the usual way does in
every epoch, too, and without validation and checkpoints.
Prints, and writes `results/bench_prefix.txt`; ten minutes on two cores.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional as F

from going_modular import engine
from going_modular.common.device import exact_fp32, memory_format
from going_modular.fine_tuning import prefix, recipes, stages
from going_modular.fine_tuning.job import Job, prepare
from going_modular.fine_tuning.run import begin
from going_modular.fine_tuning.settings import Settings

RESULTS = Path(__file__).resolve().parent / "results"
BLOCKS, STEPS = 2, 5  # steps that are timed for the floor


@dataclass(frozen=True)
class Costs:
    """Seconds for all epochs' work on training images, without reading them."""

    learning: float  # of the blocks that learn, in all epochs
    frozen: float  # of those below, once


def settings_of(arguments: argparse.Namespace, model: str, output: Path) -> Settings:
    """Return the run's settings: no augmentation, no early stop."""
    return Settings(
        data=arguments.data,
        model=model,
        recipe=f"last-{BLOCKS}",
        augment="none",
        epochs=arguments.epochs,
        patience=arguments.epochs,
        device=arguments.device,
        precision=arguments.precision,
        output=output,
    )


def seconds(settings: Settings, *, once: bool) -> float:
    """Return how long the stage takes."""
    what_changes = stages._what_changes
    if not once:
        stages._what_changes = lambda _: "as it was measured before"
    try:
        job = begin(prepare(settings))
        start = time.perf_counter()
        stages.fit(job, job.stages[0], is_first=True)
        return time.perf_counter() - start
    finally:
        stages._what_changes = what_changes


def timed(work: Callable[[], object], device: str) -> float:
    """Return the median of some runs in seconds."""
    taken = []
    for _ in range(STEPS + 1):
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def costs(job: Job) -> Costs:
    """Measure the parts alone, on a batch of images in memory."""
    model, settings = job.model.to(job.device, memory_format=memory_format(job.device)), job.settings
    recipes.unfreeze(model, BLOCKS)
    below, rest = prefix.split(model, blocks=BLOCKS)
    optimizer = torch.optim.AdamW([parameter for parameter in model.parameters() if parameter.requires_grad])
    batch = [job.splits.train[i] for i in range(settings.batch_size)]
    images = torch.stack([image for image, _ in batch]).to(job.device, memory_format=memory_format(job.device))
    labels = torch.tensor([label for _, label in batch], device=job.device)
    mixed = torch.autocast(torch.device(job.device).type, dtype=torch.bfloat16, enabled=job.precision == "bf16")

    @torch.no_grad()
    def look() -> torch.Tensor:
        with mixed:
            return below(images)

    model.eval()
    maps = look()
    frozen = timed(look, job.device)
    engine.set_train_mode(model)

    def learn() -> None:
        with mixed:
            loss = F.cross_entropy(rest(maps), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    batches = len(job.splits.train) / settings.batch_size
    return Costs(timed(learn, job.device) * batches * settings.epochs, frozen * batches)


def measure(arguments: argparse.Namespace, name: str) -> list[str]:
    """Return the lines of a model."""
    usual, once = [], []
    with tempfile.TemporaryDirectory() as folder:
        job = prepare(settings_of(arguments, name, Path(folder) / "costs"))
        with exact_fp32():
            parts = costs(job)
        seconds(settings_of(arguments, name, Path(folder) / "warm"), once=True)  # what a head standardises by is kept
        for run in range(arguments.runs):
            usual.append(seconds(settings_of(arguments, name, Path(folder) / f"usual{run}"), once=False))
            once.append(seconds(settings_of(arguments, name, Path(folder) / f"once{run}"), once=True))
    before, now = statistics.median(usual), statistics.median(once)
    alone = (arguments.epochs * parts.frozen + parts.learning) / (parts.frozen + parts.learning)
    return [
        f"{name}, {job.precision}, {len(job.splits.train)} training images, {arguments.epochs} epochs",
        f"  frozen blocks in every epoch  {before:7.2f} s",
        f"  frozen blocks once            {now:7.2f} s   {before / now:.1f} times as fast",
        f"  floor, what learns alone      {parts.learning:7.2f} s   {now / parts.learning:.2f} times the floor",
        f"  frozen blocks alone, a pass   {parts.frozen:7.2f} s   computing alone: {alone:.1f} times as fast",
    ]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--data", help="as for fine_tune.py (default: the photos or the sample)")
    parser.add_argument("--models", nargs="+", default=["efficientnet_lite0", "vit_s_14"])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--runs", type=int, default=3, help="of each way (default: 3)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))
    arguments = parser.parse_args()
    lines = [f"torch {torch.__version__}, {arguments.device}, {torch.get_num_threads()} threads"]
    for name in arguments.models:
        lines += measure(arguments, name)
    print("\n".join(lines))
    (RESULTS / "bench_prefix.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
