"""Predict the class of images, from notebooks and from the command line.

    python going_modular/predict.py photo.jpg                  # with the newest run's checkpoint
    python going_modular/predict.py photos/ --json
    python going_modular/predict.py photos/ --reject-below 0.8
    python going_modular/predict.py photos/ --views 10         # test-time augmentation: 10 views of each, averaged
    python going_modular/predict.py photo.jpg --plot prediction.png --checkpoint runs/first/model.safetensors

Imports of torch wait until they are needed, so that `--help` comes at once.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from going_modular.common import cli, startup
from going_modular.common.errors import InputError, listed

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from going_modular.data.provenance import Provenance
    from going_modular.saving.checkpoint import Checkpoint

MAX_PLOTTED = 64  # images in one figure
PLOTTED = (".png", ".jpg", ".jpeg", ".webp", ".pdf", ".svg")  # formats of that figure; without an extension PNG
MANY = 100  # images; more get a progress bar
REJECTED = "(rejected)"  # in place of a class name


@dataclass(frozen=True)
class Prediction:
    """What a classifier says of an image."""

    label: str
    probability: float  # of the most probable class, in [0, 1]
    probabilities: dict[str, float]  # of every class, summing to 1


def predict(image: "str | Path | Image.Image", loaded: "Checkpoint", *, views: int = 1) -> Prediction:
    """Predict the class of one image.

    Args:
        image: a path, or a PIL image of any mode, turned and converted as its file would be.
        loaded: what `checkpoint.load` returns.
        views: look at the image in so many ways, 1 to 10, and average the probabilities; see `data/views.py`.

    Raises:
        InputError: the image cannot be opened, or there are not so many views.
    """
    return predict_all([image], loaded, views=views)[0]


def predict_all(
    images: "Sequence[str | Path | Image.Image]", loaded: "Checkpoint", *, views: int = 1
) -> list[Prediction]:
    """Predict the class of images, in the precision that the head was trained in.

    Args:
        images: paths, or PIL images of any mode.
        loaded: what `checkpoint.load` returns.
        views: as for `predict`.

    Raises:
        InputError: images that cannot be opened; the first of many are named. Or there are not so many views.
    """
    predictions, problems = _predict_readable(images, loaded, views=views, progress=False)
    if problems:
        raise InputError(f"{len(problems)} unreadable: {listed(list(problems.values()))}")
    return predictions


def pred_and_plot_image(
    model: "torch.nn.Module",
    class_names: list[str],
    image_path: str | Path,
    image_size: tuple[int, int] = (224, 224),
    transform: Callable | None = None,
    device: "torch.device | str | None" = None,
    *,
    trained_on: "Provenance | None" = None,
) -> None:
    """Predict the class of an image file and draw the image with the answer, as pyplot's current figure.

    A notebook shows it at the end of the cell; elsewhere `plt.show()` does. `plt.savefig` and `plt.title` have it, too.

    Args:
        model: maps images (1, 3, H, W) to logits (1, C).
        class_names: C names.
        image_path: an image of any kind.
        image_size: height and width to resize to, in pixels, where no transform is given.
        transform: maps a PIL image to a tensor (3, H, W); by default it resizes to `image_size` and normalises with
            ImageNet's mean and standard deviation.
        device: where to compute; by default where the model is.
        trained_on: what `checkpoint.load` says of the model's training; the title then says of an image that it was
            seen there.

    Raises:
        InputError: the image cannot be opened, or the model has more or fewer outputs than there are names.
    """
    import torch
    from matplotlib import pyplot as plt

    from going_modular.common.fonts import drawable, fonts_for
    from going_modular.data import provenance, resizing
    from going_modular.data.images import open_image

    image = open_image(image_path)
    if transform is None:
        transform = _imagenet_transform(image_size)
    if device is None:
        device = next((tensor.device for tensor in chain(model.parameters(), model.buffers())), "cpu")
    model.to(device).eval()
    scaled = open_image(image_path, short_side=resizing.short_side(transform))  # as `predict` reads it
    with torch.inference_mode():
        logits = model(transform(scaled).unsqueeze(0).to(device))  # (1, 3, H, W) -> (1, C)
    logits = logits.float().cpu()
    _check_finite(logits, [image_path])
    prediction = _prediction(logits.softmax(dim=1)[0].tolist(), class_names)

    shown = drawable([prediction.label])[prediction.label]
    with plt.rc_context({"font.family": fonts_for([shown])}):
        plt.figure()
        plt.imshow(image)
        seen = trained_on is not None and trained_on.has_seen(provenance.digest([image_path]))[0]
        title = f"Pred: {shown} | Prob: {prediction.probability:.3f}" + (" | seen in training" if seen else "")
        plt.title(title, parse_math=False)
        plt.axis("off")


class _Unlabelled:
    """Images without labels, each in several views, one after the other, as a data set."""

    def __init__(self, images: "Sequence[str | Path | Image.Image]", views: Sequence[Callable]) -> None:
        self.images = images
        self.views = views
        self.transform = views[0]  # by which the others see, too: it must not be random
        self._opened: tuple[int, int | None, Image.Image] | None = None  # the last one, for its next view

    def __len__(self) -> int:
        return len(self.images) * len(self.views)

    def __getitem__(self, index: int) -> tuple:
        which, view = divmod(index, len(self.views))
        return self.views[view](self._open(which, self.views[view])), 0

    def _open(self, which: int, view: Callable) -> "Image.Image":
        from going_modular.data import images, resizing

        side = resizing.short_side(view)
        if self._opened is None or self._opened[:2] != (which, side):
            image = self.images[which]
            is_file = isinstance(image, str | Path)
            opened = images.open_image(image, short_side=side) if is_file else images.upright_rgb(image)
            self._opened = which, side, opened
        return self._opened[2]


def _predict_readable(
    images: "Sequence[str | Path | Image.Image]", loaded: "Checkpoint", *, views: int, progress: bool
) -> tuple[list[Prediction], dict[int, str]]:
    """Predict the class of those images that can be opened; return what is wrong with the others, by index."""
    from going_modular import features, model_builder
    from going_modular.common.device import wished_precision
    from going_modular.data.views import average, views_of

    device = next(loaded.model.parameters()).device
    extracted, unreadable = features.extract_readable(
        loaded.model,
        _Unlabelled(images, views_of(loaded.transform, views)),
        device=device,
        precision=wished_precision(loaded.precision, device),
        cache=False,
        progress=progress,
    )
    problems = {index // views: problem for index, problem in unreadable.items()}
    # a file may have changed between two of its views: what is averaged is all of them
    seen = [index // views for index in range(len(images) * views) if index not in unreadable]
    is_whole = [index not in problems for index in seen]
    logits = model_builder.logits(loaded.model, extracted.tensors[0][is_whole])
    logits = logits.reshape(len(logits) // views, views, logits.shape[1])  # (N, V, C)
    _check_finite(logits.flatten(1), [image for index, image in enumerate(images) if index not in problems])
    probabilities = average(logits.transpose(0, 1)).softmax(dim=1)
    return [_prediction(row, loaded.class_names) for row in probabilities.tolist()], problems


def _imagenet_transform(image_size: tuple[int, int]) -> Callable:
    from torchvision import transforms

    return transforms.Compose(
        [
            transforms.Resize(image_size),
            transforms.ToTensor(),
            transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        ]
    )


def _check_finite(logits: "torch.Tensor", images: "Sequence[str | Path | Image.Image]") -> None:
    """Raise where a model's answer to an image is no number: a class would come out all the same."""
    if len(bad := (~logits.isfinite().all(dim=1)).nonzero().flatten()):
        image = images[bad[0]]
        named = repr(str(image)) if isinstance(image, str | Path) else "one of them"
        raise InputError(
            f"The model's answers to {len(bad)} of {len(logits)} images, such as {named}, are not finite: its weights "
            "are damaged; train again"
        )


def _prediction(row: Sequence[float], class_names: Sequence[str]) -> Prediction:
    if len(class_names) != len(row):
        raise InputError(f"{len(class_names)} class_names for a model with {len(row)} outputs; give one name an output")
    best = max(range(len(row)), key=row.__getitem__)
    return Prediction(class_names[best], row[best], dict(zip(class_names, row, strict=True)))


def _parser() -> cli.ArgumentParser:
    parser = cli.ArgumentParser(
        prog="predict.py",
        description="Predict the class of images: a line each, path, class and probability with tabs between. A tab or "
        "another control character in a name is printed as \\t and the like; --json has the name as it is.",
    )
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="image files, or folders of them")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="a run's model.safetensors; None: the newest")
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="the backbone's weights, where they are a local file"
    )
    parser.add_argument(
        "--reject-below",
        type=cli.probability,
        metavar="P",
        help="give no class to images whose top probability is below this; evaluate.py draws what that brings",
    )
    parser.add_argument(
        "--views",
        type=cli.views,
        default=1,
        metavar="N",
        help="look at each image in so many ways, 1 to 10, and average the probabilities",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--json", action="store_true", help="print one JSON list with the probability of every class")
    drawn = f"draw the first {MAX_PLOTTED} images into this file, one of {', '.join(PLOTTED)}"
    parser.add_argument("--plot", type=Path, metavar="FILE", help=drawn)
    return parser


def _find_images(paths: Sequence[Path]) -> list[Path]:
    """Return image files: those named, and those in the folders named, at any depth."""
    from going_modular.data.walk import count_extensions, notes, order, walk

    files, folders = [], []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        [found] = walk(path)
        if not found.images:
            unread = f" ({count_extensions(found.unread)} cannot be read)" if found.unread else ""
            raise InputError(f"Folder {str(path)!r} has no images{unread}; name a folder or files that are images")
        files += sorted(found.images, key=order)
        folders.append(found)
    for note in notes(folders):
        print(note, file=sys.stderr)  # standard output is for predictions
    return files


def _main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    from going_modular.common.files import check_writable

    # what cannot be used is told before torch is imported
    paths = _find_images(options.images)
    if options.plot:
        if options.plot.is_dir():
            raise InputError(f"--plot {str(options.plot)!r} is a folder; name a PNG file")
        if options.plot.suffix.lower() not in ("", *PLOTTED):
            raise InputError(f"--plot {str(options.plot)!r}: name a file that ends in one of {', '.join(PLOTTED)}")
        check_writable(options.plot.parent)
    startup.import_torch()
    from going_modular.common.device import choose_device
    from going_modular.saving import checkpoint, run_folder

    file = options.checkpoint or run_folder.newest_checkpoint()
    loaded = checkpoint.load(file, weights=options.weights, device=choose_device(options.device))
    predictions, problems = _predict_readable(
        paths, loaded, views=options.views, progress=len(paths) * options.views > MANY
    )
    paths = [path for index, path in enumerate(paths) if index not in problems]
    if options.reject_below is not None:
        predictions = [replace(p, label=REJECTED) if p.probability < options.reject_below else p for p in predictions]

    _print(paths, predictions, loaded, as_json=options.json)
    if options.plot and paths:
        _plot(paths[:MAX_PLOTTED], predictions, options.plot)
    if problems:
        raise InputError(listed(list(problems.values())))


def _print(paths: Sequence[Path], predictions: Sequence[Prediction], loaded: "Checkpoint", *, as_json: bool) -> None:
    if as_json:
        from going_modular.common import files
        from going_modular.data import provenance

        known = loaded.trained_on
        seen = known.has_seen(provenance.digest(paths)).tolist() if known else [None] * len(paths)
        rows = [{"path": str(path), **asdict(p)} for path, p in zip(paths, predictions, strict=True)]
        for row, was_seen in zip(rows, seen, strict=True):
            row["label"] = None if row["label"] == REJECTED else row["label"]
            row["seen_in_training"] = was_seen  # None: the checkpoint is an older one, and does not say
        print(files.json_text(rows, indent=2, ensure_ascii=True))  # whatever standard output's encoding
        return
    for path, prediction in zip(paths, predictions, strict=True):
        fields = (cli.printable(str(path)), cli.printable(prediction.label), f"{prediction.probability:.3f}")
        print(*fields, sep="\t")


def _plot(paths: Sequence[Path], predictions: Sequence[Prediction], file: Path) -> None:
    from going_modular import plots
    from going_modular.data.images import open_image

    shown = predictions[: len(paths)]
    figure = plots.prediction_grid(
        [plots.square(open_image(path, short_side=plots.SQUARE)) for path in paths],
        [p.label for p in shown],
        [p.probability for p in shown],
        columns=min(4, len(paths)),
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    plots.save(figure, file)


def main() -> None:
    """Run the command."""
    sys.exit(cli.run(_main, "predict.py"))


if __name__ == "__main__":
    main()
