"""Train a new head on a frozen, pretrained backbone.

    python going_modular/train.py
    python going_modular/train.py --data photos.zip --model efficientnet_lite0 --epochs 10 --lr 0.003
    python going_modular/train.py --data photos.zip --find-lr    # suggests a learning rate, trains nothing

Imports of torch wait until they are needed, so that `--help` comes at once.
"""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from going_modular.common import cli, startup
from going_modular.common.seeds import DEFAULT_SEED

if TYPE_CHECKING:
    from going_modular.evaluation.range_test import RangeTest

RANGE_TEST_FILES = ("learning_rate.png", "learning_rate.json")


@dataclass(frozen=True)
class Settings:
    """What a run is made with; the command's flags mirror it."""

    data: str | None = None  # None: the photos, or the bundled sample where they cannot be had
    model: str | None = None  # None: EfficientNet-B0, or Lite0 where B0's weights cannot be had
    weights: str | None = "DEFAULT"  # None: random
    epochs: int = 5
    batch_size: int = 32
    lr: float = 1e-3
    find_lr: bool = False  # in place of training
    seed: int = DEFAULT_SEED
    group_by: str | None = None  # None: every image for itself
    corrections: Path | None = None  # a file of them, made before the split
    device: str = "auto"
    precision: str = "auto"
    augment: bool = False
    cache: bool = True
    output: Path | None = None  # None: a new folder under runs/


def run(settings: Settings) -> Path:
    """Train a head, test it, write the run's files and return their folder; or look for a learning rate.

    Raises:
        InputError: settings or data that cannot be used, before anything was written.
        KeyboardInterrupt: Ctrl-C; its message says what was kept.
    """
    import torch
    from torch import nn
    from torch.utils.data import ConcatDataset

    from going_modular import data_setup, engine, features, metrics, model_builder
    from going_modular.common.device import choose_device, resolve_precision
    from going_modular.data import images, provenance
    from going_modular.evaluation import range_test, symptoms
    from going_modular.inspection import glance
    from going_modular.saving import run_folder

    # what cannot be used is told before anything is downloaded
    clock = run_folder.Clock()
    run_folder.check_output(settings.output)
    device = choose_device(settings.device)
    precision = resolve_precision(settings.precision, device)
    model_builder.check_name(settings.model, settings.weights)

    # 1 data
    splits = data_setup.load_splits(
        settings.data, seed=settings.seed, group_by=settings.group_by, corrections=settings.corrections
    )
    print(f"Data: {splits.name}, {splits.origin}; {len(splits.train)} training and {len(splits.test)} test images")
    for note in splits.notes:
        print(note)
    clock.lap("data")

    # 2 model: a frozen, pretrained backbone and a new head
    name = model_builder.resolve_name(settings.model, settings.weights)
    engine.set_seeds(settings.seed)
    model, transform = model_builder.create_model(name, len(splits.class_names), weights=settings.weights)
    splits = splits.with_transform(transform)
    head = model_builder.head(model.to(device))
    clock.lap("model")

    # 3 features: the frozen backbone runs over every image once; augmented images need it in every epoch
    if settings.augment:
        images.check_readable([path for path, _ in splits.train.samples + splits.test.samples])
        train_data, test_data = splits.train.with_transform(data_setup.augment(transform)), splits.test
        learner, autocast_dtype = model, torch.bfloat16 if precision == "bf16" else None
        clock.lap("data")
        if model_builder.standardises(model):
            seen = features.extract(model, splits.train, device=device, precision=precision, cache=settings.cache)
            model_builder.standardise(model, seen.tensors[0])
            clock.lap("features")
    else:
        parts = [splits.train, splits.test]  # in one pass: the processes start once
        extracted = features.extract(
            model, ConcatDataset(parts), device=device, precision=precision, cache=settings.cache
        )
        train_data, test_data = features.divide(extracted, parts)
        model_builder.standardise(model, train_data.tensors[0])
        learner, autocast_dtype = head, None  # the features have their precision already
        clock.lap("features")

    # fingerprints of images are kept on disk, too
    compares = settings.cache and not settings.augment
    known = [data.tensors[0] for data in (train_data, test_data)] if compares else []
    for line in glance.lines(splits, *known):
        print(line)

    # 4 train the head
    workers = None if settings.augment else 0
    loaders = data_setup.make_loaders(train_data, test_data, batch_size=settings.batch_size, num_workers=workers)
    optimizer = torch.optim.Adam(head.parameters(), lr=settings.lr)
    if settings.find_lr:
        found = range_test.find_learning_rate(
            learner, loaders[0], nn.CrossEntropyLoss(), optimizer, device, autocast_dtype=autocast_dtype
        )
        measured = {"data": splits.name, "model": name, "precision": precision, "optimizer": "Adam"}
        return _keep_range_test(settings, found, measured)
    trained = run_folder.Trained(
        model,
        name,
        settings.weights,
        precision,
        splits,
        provenance.record(splits),
        settings={field: getattr(settings, field) for field in ("batch_size", "lr", "augment", "seed")}
        | {"device": device, "precision": precision},
        hyperparameters=asdict(settings) | {"model": name, "device": device, "precision": precision},
    )
    diverged = engine.DivergedError
    with run_folder.KeepFinishedEpochs(trained, settings.output, clock, diverged=diverged) as finished_epochs:
        history = engine.train(
            learner,
            *loaders,
            optimizer,
            nn.CrossEntropyLoss(),
            settings.epochs,
            device,
            autocast_dtype=autocast_dtype,
            on_epoch_end=finished_epochs.remember,
        )
        clock.lap("head")

        # 5 test
        if settings.augment:
            test_data = features.extract(model, splits.test, device=device, precision=precision, cache=False)
            clock.lap("features")
        logits = model_builder.logits(model, test_data.tensors[0])
        test = metrics.evaluate(logits, splits.test.targets)
        baseline = metrics.majority_baseline(splits.train.targets, splits.test.targets)
        clock.lap("head")

        # 6 save
        output = finished_epochs.make_folder()
        run_folder.log_history(output, "head", history, updates=len(loaders[0]))
        summary = run_folder.finish(
            output, trained, history, logits, test=test, measures={"majority_baseline": baseline}, clock=clock
        )

    # 7 report
    print(run_folder.report(output, summary))
    if said := symptoms.find(history, logits, splits.class_names, trained_with=splits.train.targets):
        print(said)
    return output


def _keep_range_test(settings: Settings, found: "RangeTest", measured: dict[str, str]) -> Path:
    """Write the curve of a range test and its numbers, print what it suggests, and return their folder."""
    from going_modular import plots
    from going_modular.common import files
    from going_modular.saving import run_folder

    output = run_folder.make(f"{measured['model']}-find-lr", settings.output)
    picture, numbers = (output / name for name in RANGE_TEST_FILES)
    suggestion = found.suggestion
    plots.save(plots.learning_rates(found.rates, found.losses, found.smoothed, suggestion), picture)
    measured |= {field: getattr(settings, field) for field in ("batch_size", "augment", "seed")}
    files.write_json(numbers, {**measured, "suggestion": suggestion, **asdict(found)})
    if suggestion is None:
        print("Learning rate: none is suggested, as the loss does not fall at any")
    else:
        print(f"Learning rate: {suggestion:g} is suggested, where the smoothed loss falls fastest")
    print(f"Wrote: {picture} and {numbers.name}; nothing was trained")
    if suggestion is not None:
        print(f"Go on with: {_command(replace(settings, find_lr=False, lr=suggestion))}")
    return output


def _command(settings: Settings) -> str:
    """Return the command with these settings, to type in the current folder."""
    script = Path(__file__)
    words = ["python", str(script.relative_to(Path.cwd()) if script.is_relative_to(Path.cwd()) else script)]
    for field in fields(settings):
        value, flag = getattr(settings, field.name), f"--{field.name.replace('_', '-')}"
        if value == field.default:
            continue
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-"))
        else:
            words += [flag, "none" if value is None else str(value)]
    return shlex.join(words)


def _parser() -> cli.ArgumentParser:
    parser = cli.ArgumentParser(prog="train.py", description="Train a new head on a frozen, pretrained backbone.")
    add, default = parser.add_argument, Settings()
    add(
        "--data",
        help="pizza_steak_sushi, pizza_steak_sushi_20_percent or sample; a folder with train/ and test/; a folder of "
        "class folders, split 80/20; or a zip of either. None: the photos, or the sample where they cannot be had",
    )
    add(
        "--model",
        help="a torchvision classifier, efficientnet_lite0, vit_s_14, timm/ before the name of one of timm's, or "
        "hybrid_ before an EfficientNet's; vit: vit_b_16, or vit_s_14. None: efficientnet_b0, or Lite0. The second of "
        "two is taken where the first's weights cannot be had",
    )
    add("--weights", default=default.weights, help="a torchvision weights name, a local file of them, or none (random)")
    add("--epochs", type=cli.positive_int, default=default.epochs, help="passes over the training images")
    add("--batch-size", type=cli.positive_int, default=default.batch_size, help="images an update")
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument("--lr", type=cli.positive_float, default=default.lr, help="Adam's learning rate")
    rate.add_argument(
        "--find-lr",
        action="store_true",
        help="train nothing: try learning rates from 1e-7 to 10, draw the loss at each and suggest one",
    )
    add("--seed", type=cli.seed, default=default.seed, help="of the head, the shuffling and the 80/20 split")
    add(
        "--group-by",
        metavar="PATTERN",
        help="split class folders by group: a regular expression on the file's name whose first group names the "
        "patient, table or scene. None: by image",
    )
    add(
        "--corrections",
        type=Path,
        metavar="FILE",
        help="images that belong elsewhere, as inspect_data.py's page has them",
    )
    add("--device", default=default.device, help="auto, cpu, cuda, cuda:1 or mps")
    add(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default=default.precision,
        help="of the backbone; auto: bf16 where the device is built for it",
    )
    add("--augment", action="store_true", help="augment training images: the usual loop, without cached features")
    add("--no-cache", dest="cache", action="store_false", help="neither read nor write the features kept on disk")
    add("--output", type=Path, metavar="DIR", help="folder to write. None: a new one under runs/")
    return parser


def _main(arguments: Sequence[str] | None = None) -> None:
    options = vars(_parser().parse_args(arguments))
    if options["weights"].lower() == "none":
        options["weights"] = None
    startup.import_torch()
    run(Settings(**options))


def main() -> None:
    """Run the command."""
    sys.exit(cli.run(_main, "train.py"))


if __name__ == "__main__":
    main()
