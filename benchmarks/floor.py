"""The floor: decode each image once and run one forward pass, over all cores, and nothing else.

No version of the job could take less. Processes are started, models built, compiled and warmed up before the clock
runs; images are dealt out evenly; every core decodes and computes its own. Two engines run the folded backbone: PyTorch
as it is, and `torch.compile` with frozen weights, which takes up to a minute first; the best engine and batch size
count. ViT-B/16 is not compiled: in bf16 that took 355 s where PyTorch as it is took 18 s (torch 2.15, two cores).
"""

import functools
import json
import multiprocessing
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

from going_modular import data_setup, model_builder
from going_modular.common import device
from going_modular.common.memory import keep_freed
from going_modular.data import images

BATCH_SIZES = (4, 8, 16)
NOT_COMPILED = ("vit_b_16",)
RUNS = 3


def prepare(name: str, engine: str, precision: str) -> tuple[Callable[[torch.Tensor], None], Callable]:
    """Return what maps a batch to features, and the transform, on one thread."""
    torch.set_num_threads(1)
    keep_freed()
    torch.manual_seed(0)
    weights = "DEFAULT" if name == "efficientnet_lite0" else None
    model, transform = model_builder.create_model(name, 3, weights=weights)
    trunk = model_builder.fold(model_builder.backbone(model)).to(memory_format=torch.channels_last)
    if engine == "compiled":
        return compiled(trunk, precision), transform
    return functools.partial(eager, trunk, precision), transform


@torch.inference_mode()
def eager(trunk: nn.Module, precision: str, batch: torch.Tensor) -> None:
    """Run one batch as features.py does."""
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        trunk(batch.contiguous(memory_format=torch.channels_last))


def compiled(trunk: nn.Module, precision: str) -> Callable[[torch.Tensor], None]:
    """Return the network compiled, its weights constants in the format that it computes with."""
    import torch._inductor.config

    torch._inductor.config.freezing = True
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    run = torch.compile(trunk.to(dtype))

    @torch.no_grad()
    def forward(batch: torch.Tensor) -> None:
        run(batch.to(dtype).contiguous(memory_format=torch.channels_last))

    return forward


def share(name: str, paths: list[str], batch_size: int, precision: str, engine: str, gates: tuple) -> None:
    """Decode and compute some images between two barriers."""
    forward, transform = prepare(name, engine, precision)

    def run(some: list[str]) -> None:
        batch = torch.stack([transform(images.open_image(path)) for path in some])
        if len(some) < batch_size and engine == "compiled":  # another size would be compiled anew
            batch = torch.cat([batch, batch.new_zeros(batch_size - len(some), *batch.shape[1:])])
        forward(batch)

    for _ in range(3):
        run(paths[:batch_size])
    run(paths[-(len(paths) % batch_size or batch_size) :])
    for _ in range(RUNS):
        gates[0].wait()
        for i in range(0, len(paths), batch_size):
            run(paths[i : i + batch_size])
        gates[1].wait()


def seconds(name: str, paths: list[str], batch_size: int, precision: str, engine: str) -> float:
    """Return the median over a few runs."""
    cores = max(device.default_num_workers(), 1)
    gates = tuple(multiprocessing.Barrier(cores + 1) for _ in range(2))
    workers = [
        multiprocessing.Process(target=share, args=(name, paths[i::cores], batch_size, precision, engine, gates))
        for i in range(cores)
    ]
    for worker in workers:
        worker.start()
    taken = []
    for _ in range(RUNS):
        gates[0].wait()
        start = time.perf_counter()
        gates[1].wait()
        taken.append(time.perf_counter() - start)
    for worker in workers:
        worker.join()
    return sorted(taken)[RUNS // 2]


def measure(name: str, data: str | None, precision: str) -> dict:
    """Return the floor in seconds, what reached it, and the least of each engine."""
    splits = data_setup.load_splits(data)
    paths = [path for path, _ in splits.train.samples + splits.test.samples]
    of_eager = {size: seconds(name, paths, size, precision, "eager") for size in BATCH_SIZES}
    best_size = min(of_eager, key=of_eager.get)
    engines = {"eager": of_eager[best_size]}
    if name not in NOT_COMPILED:
        engines["compiled"] = seconds(name, paths, best_size, precision, "compiled")
    best = min(engines, key=engines.get)
    return {"floor": engines[best], "engine": best, "batch_size": best_size, "engines": engines}


if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    print(json.dumps(measure(job["model"], job["data"], device.resolve_precision(job["precision"], "cpu"))))
