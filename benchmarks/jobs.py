"""One job of the benchmark in a process of its own: `python benchmarks/jobs.py '{"method": "ours", ...}'` prints JSON.

Time starts after the imports and ends with the test accuracy; memory is the process's peak beyond its peak before the
first image.
"""

import itertools
import json
import resource
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, RandomSampler, TensorDataset

from going_modular import data_setup, engine, features, model_builder

BATCH_SIZE, LR = 32, 1e-3
MANY_EPOCHS = 200  # to time an epoch of a few milliseconds


def peak_mib() -> float:
    """Return this process's peak memory in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run the job that the first argument describes and print what it took."""
    job = json.loads(sys.argv[1])
    start = time.perf_counter()
    splits = data_setup.load_splits(job["data"])
    if job.get("images"):
        splits = data_setup.Splits(splits.name, shortened(splits.train, job["images"]), splits.test, splits.origin)
    engine.set_seeds(job["seed"])
    weights = "DEFAULT" if job["model"] == "efficientnet_lite0" else None
    model, transform = model_builder.create_model(job["model"], len(splits.class_names), weights=weights)
    splits.train.transform = splits.test.transform = transform
    baseline = peak_mib()

    run = ours if job["method"] == "ours" else usual_loop
    measured = run(job, model, splits, start)
    measured["mib"] = [mib - baseline for mib in measured["mib"]]
    print(json.dumps(measured))


def shortened(dataset: data_setup.ImageFolder, images: int) -> data_setup.ImageFolder:
    """Return every so-manieth image, so that all classes stay."""
    images = min(images, len(dataset))
    return dataset.subset([i * len(dataset) // images for i in range(images)])


def make_loaders(train: Dataset, test: Dataset, job: dict, num_workers: int = 0) -> tuple[DataLoader, DataLoader]:
    """Make DataLoaders that shuffle alike for all methods, however many processes read.

    The order comes from a generator of its own, so that torch's is left to Dropout: all methods see the same batches
    and drop the same features.
    """
    order = RandomSampler(train, generator=torch.Generator().manual_seed(job["seed"]))
    options = {"num_workers": num_workers, "persistent_workers": num_workers > 0, "generator": torch.Generator()}
    return DataLoader(train, BATCH_SIZE, sampler=order, **options), DataLoader(test, BATCH_SIZE, **options)


def usual_loop(job: dict, model: nn.Module, splits: data_setup.Splits, start: float) -> dict:
    """Train the head with the backbone in every epoch, as tutorials do; `tuned`: channels-last, and bf16 if auto."""
    tuned = job["method"] == "tuned"
    autocast_dtype = torch.bfloat16 if tuned and job["precision"] == "auto" else None
    if tuned:
        model = model.to(memory_format=torch.channels_last)
    loaders = make_loaders(splits.train, splits.test, job, job["num_workers"])
    seconds, mib = [], []

    def note(_: dict) -> None:
        seconds.append(time.perf_counter() - start)
        mib.append(peak_mib())

    optimizer = torch.optim.Adam(model_builder.head(model).parameters(), lr=LR)
    results = engine.train(
        model, *loaders, optimizer, nn.CrossEntropyLoss(), job["epochs"], "cpu",
        autocast_dtype=autocast_dtype, progress=False, on_epoch_end=note,
    )  # fmt: skip
    epochs = sorted(later - earlier for earlier, later in itertools.pairwise(seconds))
    return {"seconds": seconds, "mib": mib, "epoch": epochs[len(epochs) // 2],
            "accuracy": results["test_acc"][-1]}  # fmt: skip


def ours(job: dict, model: nn.Module, splits: data_setup.Splits, start: float) -> dict:
    """Run the backbone once, then train the head on features."""
    seconds, mib = [], []

    def note(_: dict) -> None:
        seconds.append(time.perf_counter() - start)
        mib.append(peak_mib())

    before = time.perf_counter()
    values, labels = features.extract(
        model,
        ConcatDataset([splits.train, splits.test]),
        precision=job["precision"],
        cache=Path(job["cache"]) if job.get("cache") else False,
        progress=False,
    ).tensors
    extracting = time.perf_counter() - before
    border = len(splits.train)
    train, test = (TensorDataset(values[part], labels[part]) for part in (slice(border), slice(border, None)))
    loaders = make_loaders(train, test, job)
    head = model_builder.head(model)
    optimizer = torch.optim.Adam(head.parameters(), lr=LR)
    results = engine.train(
        head, *loaders, optimizer, nn.CrossEntropyLoss(), job["epochs"], "cpu", progress=False, on_epoch_end=note
    )
    before = time.perf_counter()
    more = MANY_EPOCHS if len(train) < 1000 else 1
    engine.train(head, *loaders, optimizer, nn.CrossEntropyLoss(), more, "cpu", progress=False)
    return {"seconds": seconds, "mib": mib, "epoch": (time.perf_counter() - before) / more, "features": extracting,
            "accuracy": results["test_acc"][-1], "images": len(values), "width": values.shape[1],
            "worker_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024}  # fmt: skip


if __name__ == "__main__":
    main()
