"""Our ViT-B/16 against torchvision's: throughput and peak memory.

    python benchmarks/bench_vit.py
    python benchmarks/bench_vit.py --device cuda --batch-size 64

Both models lie in one process and take turns, forward (inference) and forward with backward (training, all parameters);
figures are medians. Peak memory is that of a process of its own for each, model included. The floor is what the matrix
products of a forward pass alone take: no version could beat it. Prints and writes `results/bench_vit_<device>.txt`;
some minutes on two cores.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torchvision
from torch import nn

from going_modular import vit

RESULTS = Path(__file__).resolve().parent / "results"
THROUGHPUT_TARGET, MEMORY_TARGET = 0.95, 1.05
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16}
STEPS = ("forward", "forward+backward")


def build(which: str, device: str) -> nn.Module:
    """Return ViT-B/16 with random weights, ours or torchvision's."""
    if which == "torchvision":
        return torchvision.models.vit_b_16(weights=None).to(device)
    return vit.VisionTransformer(**vit.BASE, patch_size=16, image_size=224, num_classes=1000).to(device)


def step(model: nn.Module, images: torch.Tensor, kind: str, dtype: torch.dtype | None) -> None:
    """Run one step and wait for it."""
    training = kind != "forward"
    model.train(training)
    device = images.device.type
    with torch.set_grad_enabled(training), torch.autocast(device, dtype=dtype or torch.bfloat16, enabled=bool(dtype)):
        logits = model(images)
        loss = logits.float().logsumexp(dim=1).mean()
    if training:
        model.zero_grad(set_to_none=True)
        loss.backward()
    if device == "cuda":
        torch.cuda.synchronize()


def products(batch_size: int, device: str, dtype: torch.dtype | None) -> Callable[[], None]:
    """Return a function that computes the matrix products of one forward pass, and nothing else."""
    tokens, dim, mlp, heads = 197, vit.BASE["hidden_dim"], vit.BASE["mlp_dim"], vit.BASE["num_heads"]
    options = {"device": device, "dtype": dtype or torch.float32}
    rows = torch.randn(batch_size * tokens, dim, **options)
    wide = torch.randn(batch_size * tokens, mlp, **options)
    qkv, out, up, down = (
        torch.randn(*shape, **options) for shape in ((dim, 3 * dim), (dim, dim), (dim, mlp), (mlp, dim))
    )
    query = torch.randn(batch_size * heads, tokens, dim // heads, **options)
    scores = torch.randn(batch_size * heads, tokens, tokens, **options)
    patches = torch.randn(batch_size * (tokens - 1), 3 * 16 * 16, **options)

    def run() -> None:
        patches @ out
        for _ in range(vit.BASE["num_layers"]):
            rows @ qkv, query @ query.transpose(1, 2), scores @ query, rows @ out, rows @ up, wide @ down
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def timed(function: Callable[[], None]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def throughputs(device: str, batch_size: int, runs: int) -> list[dict]:
    """Time both models, in turn so that a drift of the machine's speed hits both."""
    models = {which: build(which, device) for which in ("ours", "torchvision")}
    images = torch.randn(batch_size, 3, 224, 224, device=device)
    rows = []
    for precision, dtype in PRECISIONS.items():
        floor = products(batch_size, device, dtype)
        for kind in STEPS:
            seconds: dict[str, list[float]] = {"ours": [], "torchvision": [], "floor": []}
            for run in range(runs + 1):  # the first is a warm-up
                order = list(models) if run % 2 else list(reversed(models))
                for which in order:
                    spent = timed(partial(step, models[which], images, kind, dtype))
                    seconds[which] += [spent] * (run > 0)
                seconds["floor"] += [timed(floor)] * (run > 0)
            medians = {which: batch_size / statistics.median(values) for which, values in seconds.items()}
            rows.append({"precision": precision, "kind": kind, **medians})
            print(f"  {precision} {kind}: {medians['ours'] / medians['torchvision']:.3f}", flush=True)
    return rows


def peak_mib(job: dict) -> float:
    """Return the peak memory of a process that builds one model and takes three steps."""
    command = [sys.executable, __file__, "--job", json.dumps(job)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return float(done.stdout.splitlines()[-1])


def run_job(job: dict) -> None:
    """Take three steps and print this process's peak memory, or the GPU's, in MiB."""
    model = build(job["which"], job["device"])
    images = torch.randn(job["batch_size"], 3, 224, 224, device=job["device"])
    for _ in range(3):
        step(model, images, job["kind"], PRECISIONS[job["precision"]])
    if job["device"] == "cuda":
        print(torch.cuda.max_memory_allocated() / 2**20)
    else:
        per_unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes on macOS, KiB on Linux
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / per_unit)


def report(rows: list[dict], device: str, batch_size: int, runs: int) -> str:
    """Return the table as text."""
    lines = [
        f"ViT-B/16 on {device}, batches of {batch_size}, medians of {runs} runs; images a second, peak MiB",
        f"targets: throughput at least {THROUGHPUT_TARGET} of torchvision's, memory at most {MEMORY_TARGET}",
        "",
        f"{'':22}{'ours':>9}{'torchvision':>13}{'ratio':>8}{'floor':>9}{'ours MiB':>11}{'theirs MiB':>12}{'ratio':>8}",
    ]
    for row in rows:
        label = f"{row['precision']} {row['kind']}"
        floor = f"{row['floor']:.1f}" if row["kind"] == "forward" else ""
        memory = row["ours_mib"], row["torchvision_mib"]
        lines.append(
            f"{label:22}{row['ours']:9.2f}{row['torchvision']:13.2f}{row['ours'] / row['torchvision']:8.3f}{floor:>9}"
            f"{memory[0]:11.0f}{memory[1]:12.0f}{memory[0] / memory[1]:8.3f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--job", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        run_job(options.job)
        return
    # memory first: a process's peak counts from that of its parent, which is still small
    memory = {
        (precision, kind): {
            f"{which}_mib": peak_mib(
                {"which": which, "device": options.device, "batch_size": options.batch_size}
                | {"kind": kind, "precision": precision}
            )
            for which in ("ours", "torchvision")
        }
        for precision in PRECISIONS
        for kind in STEPS
    }
    rows = [
        row | memory[row["precision"], row["kind"]]
        for row in throughputs(options.device, options.batch_size, options.runs)
    ]
    text = report(rows, options.device, options.batch_size, options.runs)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"bench_vit_{options.device}.txt").write_text(text + "\n")
    print("", text, sep="\n")


if __name__ == "__main__":
    main()
