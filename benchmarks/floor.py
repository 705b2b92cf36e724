"""The floor: decode each image once and run one forward pass, over all cores, and nothing else.

No version of the job could take less. Processes are started, models built and warmed up before the clock runs; images
are dealt out evenly; every core decodes and computes its own. The best batch size counts.
"""

import json
import multiprocessing
import sys
import time

import torch

from going_modular import data_setup, model_builder
from going_modular.common import device
from going_modular.data import images

BATCH_SIZES = (4, 8, 16)
RUNS = 3


def share(name: str, paths: list[str], batch_size: int, precision: str, gates: tuple) -> None:
    """Decode and compute some images between two barriers."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    weights = "DEFAULT" if name == "efficientnet_lite0" else None
    model, transform = model_builder.create_model(name, 3, weights=weights)
    trunk = model_builder.backbone(model).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def forward(some: list[str]) -> None:
        batch = torch.stack([transform(images.open_image(path)) for path in some])
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            trunk(batch.contiguous(memory_format=torch.channels_last))

    forward(paths[:batch_size])
    for _ in range(RUNS):
        gates[0].wait()
        for i in range(0, len(paths), batch_size):
            forward(paths[i : i + batch_size])
        gates[1].wait()


def measure(name: str, data: str | None, precision: str) -> float:
    """Return the floor in seconds: for the best batch size, the median of a few runs."""
    splits = data_setup.load_splits(data)
    paths = [path for path, _ in splits.train.samples + splits.test.samples]
    cores = max(device.default_num_workers(), 1)
    medians = []
    for batch_size in BATCH_SIZES:
        gates = tuple(multiprocessing.Barrier(cores + 1) for _ in range(2))
        workers = [
            multiprocessing.Process(target=share, args=(name, paths[i::cores], batch_size, precision, gates))
            for i in range(cores)
        ]
        for worker in workers:
            worker.start()
        seconds = []
        for _ in range(RUNS):
            gates[0].wait()
            start = time.perf_counter()
            gates[1].wait()
            seconds.append(time.perf_counter() - start)
        for worker in workers:
            worker.join()
        medians.append(sorted(seconds)[RUNS // 2])
    return min(medians)


if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    print(json.dumps({"floor": measure(job["model"], job["data"], device.resolve_precision(job["precision"], "cpu"))}))
