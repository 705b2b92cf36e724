"""Measure a trained classifier: the numbers, how sure they are, and what the model looks at.

    python going_modular/evaluate.py --data photos.zip
    python going_modular/evaluate.py --data xrays --positive pneumonia --checkpoint runs/mine/model.safetensors
    python going_modular/evaluate.py --data photos.zip --checkpoint a/model.safetensors --against b/model.safetensors
    python going_modular/evaluate.py --data photos.zip --views 10      # test-time augmentation, and what it gains

Imports of torch wait until they are needed, so that `--help` comes at once.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from going_modular.common import cli, startup
from going_modular.common.seeds import DEFAULT_SEED

if TYPE_CHECKING:
    import torch

    from going_modular.data.image_folder import ImageFolder
    from going_modular.saving.checkpoint import Checkpoint

SPLITS = ("test", "train", "all")


@dataclass(frozen=True)
class Settings:
    """What is evaluated, and how; the command's flags mirror it."""

    data: str | None = None  # None: the data of the checkpoint's run
    checkpoint: Path | None = None  # None: the newest run's
    split: str = "test"
    positive: str | None = None  # of two classes, the one that is looked for
    against: Path | None = None  # another checkpoint, compared on the same images
    weights: Path | None = None  # the backbone's, where they are a local file
    views: int = 1  # of each image, averaged
    device: str = "auto"
    seed: int = DEFAULT_SEED  # of the bootstrap, and of the split of data that the run did not have
    corrections: Path | None = None  # a file of them, made before the split
    output: Path | None = None  # None: a folder beside the checkpoint


def run(settings: Settings) -> Path:
    """Evaluate a checkpoint, write the report and return its folder.

    Raises:
        InputError: a checkpoint or data that cannot be used, or that do not go together.
    """
    import torch

    from going_modular import data_setup, metrics
    from going_modular.common.device import choose_device
    from going_modular.common.errors import InputError, listed
    from going_modular.common.files import check_writable, refuse_links
    from going_modular.data.views import average
    from going_modular.data.walk import canonical
    from going_modular.evaluation import leaks, uncertainty
    from going_modular.evaluation.selection import is_own, seen_and_unseen, select, with_note_on_corrections
    from going_modular.saving import checkpoint, run_folder

    # 1 the model, and perhaps another
    file = settings.checkpoint or run_folder.newest_checkpoint()
    check_writable(settings.output or file.parent)
    if settings.output is None:
        refuse_links(file.parent, [run_folder.EVALUATION])
    device = choose_device(settings.device)
    loaded = checkpoint.load(file, weights=settings.weights, device=device)
    names, positive = loaded.class_names, settings.positive and canonical(settings.positive)
    if positive is not None and (len(names) != 2 or positive not in names):
        wanted = f"one of {listed(names, ', ')}" if len(names) == 2 else "a model of two classes"
        raise InputError(f"--positive {positive!r} needs {wanted}; this one knows {listed(names, ', ')}")
    against = checkpoint.load(settings.against, device=device) if settings.against else None
    if against and sorted(against.class_names) != sorted(names):
        raise InputError(
            f"--against {str(settings.against)!r} knows {listed(against.class_names, ', ')}, not {listed(names, ', ')}"
        )

    # 2 the images, split as for training where the model was trained on them, labelled as the model counts its classes
    trained_on = loaded.trained_on
    data = settings.data or run_folder.data_of(file, trained_on)
    splits = data_setup.load_splits(data, seed=settings.seed, corrections=settings.corrections)
    if is_own(splits, trained_on):
        rule = asdict(trained_on.rule) | {"corrections": settings.corrections}
        splits = data_setup.load_splits(data, **rule)
        splits = with_note_on_corrections(splits, trained_on)
    selection = select(splits, trained_on, settings.split)
    dataset = selection.images.relabel(names).with_transform(loaded.transform)
    labels = torch.tensor(dataset.targets)
    print("\n".join([f"Images: {selection.sentence}", *splits.notes]))

    # 3 the model runs over them, once a view, in the precision that its head was trained in
    by_view, seconds = _look(loaded, dataset, device, settings.views)
    if not by_view.isfinite().all():
        raise InputError(f"Checkpoint {str(file)!r}: the model's answers are not finite; train again")
    logits = average(by_view)

    # 4 what comes out, measured
    content = {
        "checkpoint": str(file),
        "model": loaded.model_name,
        "data": splits.name,
        "split": settings.split,
        "images": selection.sentence,
        "n": len(labels),
        "class_names": names,
        "positive": positive,
    }
    content |= metrics.report(logits, labels, names, positive=positive, seed=settings.seed)
    content |= seen_and_unseen(selection, logits, labels)
    if settings.views > 1:
        usual = by_view[0].argmax(dim=1)
        content["views"] = {
            "n": settings.views,
            "accuracy_one_view": (usual == labels).double().mean().item(),
            **uncertainty.mcnemar(labels, logits.argmax(dim=1), usual),
            "seconds": sum(seconds),
            "seconds_one_view": seconds[0],
        }
    if against:
        their_views, _ = _look(against, dataset, device, settings.views)
        if not their_views.isfinite().all():
            raise InputError(f"--against {str(settings.against)!r}: the model's answers are not finite; train again")
        theirs = average(their_views)[:, [against.class_names.index(name) for name in names]]
        test = uncertainty.mcnemar(labels, logits.argmax(dim=1), theirs.argmax(dim=1))
        content["against"] = {"checkpoint": str(settings.against), **test}
    pairs = leaks.find(*([Path(path) for path, _ in part.samples] for part in (splits.train, splits.test)))
    content["in_both_splits"] = [
        {"train": str(pair.train), "test": str(pair.test), "kind": pair.kind} for pair in pairs
    ]

    # 5 the report
    from going_modular.evaluation.report import Report, Subject  # late: it brings Matplotlib

    subject = Subject(
        checkpoint=file,
        model=loaded.model,
        model_name=loaded.model_name,
        transform=loaded.transform,
        dataset=dataset,
        data=splits.name,
        origin=splits.origin,
        split=settings.split,
        images=selection.sentence,
        positive=positive,
    )
    report = Report(subject, content, logits, labels)
    output = settings.output or file.parent / "evaluation"
    report.write(output)
    print(report.summary())
    print(f"Wrote: {output / 'report.html'}, report.json and the figures beside it")
    return output


def _look(loaded: "Checkpoint", dataset: "ImageFolder", device: str, views: int) -> tuple["torch.Tensor", list[float]]:
    """Return the logits (V, N, C) that a model gives so many views of each image, and the seconds that each took.

    Features of a view are kept on disk as others are, so that the next evaluation takes less.
    """
    import torch

    from going_modular import features
    from going_modular.common.device import wished_precision
    from going_modular.data.views import views_of

    precision = wished_precision(loaded.precision, device)
    logits, seconds = [], []
    for view in views_of(loaded.transform, views):
        start = time.perf_counter()
        logits.append(features.logits(loaded.model, dataset.with_transform(view), device=device, precision=precision))
        seconds.append(time.perf_counter() - start)
    return torch.stack(logits), seconds


def _parser() -> cli.ArgumentParser:
    parser = cli.ArgumentParser(prog="evaluate.py", description="Measure a trained classifier on labelled images.")
    add, default = parser.add_argument, Settings()
    add("--data", help="as for train.py. None: the data that the checkpoint's run had")
    add("--checkpoint", type=Path, metavar="FILE", help="a run's model.safetensors; None: the newest")
    add("--split", choices=SPLITS, default=default.split, help="which images; test: of its own data those of the run")
    add("--positive", metavar="CLASS", help="of two classes the one that is looked for, such as the disease")
    add("--against", type=Path, metavar="FILE", help="another checkpoint, compared on the same images")
    add("--weights", type=Path, metavar="FILE", help="the backbone's weights, where they are a local file")
    add(
        "--views",
        type=cli.views,
        default=default.views,
        metavar="N",
        help="look at each image in so many ways, 1 to 10, average the probabilities, and tell what that gains",
    )
    add("--device", default=default.device, help="auto, cpu, cuda, cuda:1 or mps")
    add("--seed", type=cli.seed, default=default.seed, help="of the bootstrap, and of other data's split")
    add("--corrections", type=Path, metavar="FILE", help="images that belong elsewhere, as for train.py")
    add("--output", type=Path, metavar="DIR", help="folder to write. None: evaluation/ beside the checkpoint")
    return parser


def _main(arguments: Sequence[str] | None = None) -> None:
    settings = Settings(**vars(_parser().parse_args(arguments)))
    startup.import_torch()
    run(settings)


def main() -> None:
    """Run the command."""
    sys.exit(cli.run(_main, "evaluate.py"))


if __name__ == "__main__":
    main()
