"""Export a checkpoint to ONNX: a folder that predicts without torch.

    python going_modular/export.py --output exported                       # the newest run's checkpoint
    python going_modular/export.py --checkpoint runs/mine/model.safetensors --output exported --int8
    python exported/predict_onnx.py photo.jpg                              # NumPy, Pillow and onnxruntime are enough
    python going_modular/export.py --space my-space                        # a Hugging Face Space, as it is

The exported model is run over the run's test images, and nothing is written unless its answers are torch's. Imports of
torch wait until they are needed, so that `--help` comes at once.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from going_modular.common import cli, startup


@dataclass(frozen=True)
class Settings:
    """What is exported, and how; the command's flags mirror it."""

    output: Path | None  # of an ONNX file and what predicts with it
    space: Path | None = None  # of a Space, in place of these
    checkpoint: Path | None = None  # None: the newest run's
    data: str | None = None  # None: the data of the checkpoint's run
    weights: Path | None = None  # the backbone's, where they are a local file
    softmax: bool = False  # answers are probabilities, not logits
    int8: bool = False


def run(settings: Settings) -> Path:
    """Export a checkpoint, prove that it answers as torch does, write the folder and return it; or write a Space.

    Raises:
        InputError: a checkpoint or data that cannot be used, or answers that are not torch's.
    """
    if settings.space is not None:
        return _write_space(settings)
    from going_modular.serving import export_folder, onnx_file

    onnx_file.check_installed()
    export_folder.check(settings.output)

    from going_modular.evaluation import uncertainty
    from going_modular.saving import checkpoint, run_folder
    from going_modular.serving import int8, own_images, proof
    from going_modular.serving.predict_onnx import Classifier

    # 1 the model and the images: its run's test images to measure, of its training images some to calibrate int8 with
    file = settings.checkpoint or run_folder.newest_checkpoint()
    loaded = checkpoint.load(file, weights=settings.weights)
    told = onnx_file.describe(loaded, file, output="probabilities" if settings.softmax else "logits")
    splits, selection = own_images.test_images(file, loaded, settings.data)
    images = proof.thinned(selection.images.relabel(loaded.class_names), proof.MOST_IMAGES)
    print("\n".join([f"Images: {selection.sentence}", *splits.notes]))

    # 2 ONNX, in memory: its answers to the image files must be torch's
    content = onnx_file.convert(loaded.model, told)
    expected = proof.torchs_answers(loaded, images, "fp32", probabilities=settings.softmax)
    fp32 = proof.prove(Classifier(content), images, expected)
    proof.check(fp32)
    models, report = {export_folder.MODEL: content}, {"told": told, "fp32": fp32.numbers()}
    print(
        f"Verified: on {len(images)} images, {told['output']} of up to {fp32.largest:.3g} differ from torch's by at "
        f"most {fp32.difference:.1g}"
    )
    print(f"Accuracy: {fp32.sentence()}")
    if loaded.precision != "fp32":
        usual = proof.torchs_answers(loaded, images, loaded.precision, probabilities=settings.softmax)
        same = int((usual.argmax(axis=1) == fp32.predicted).sum())
        report |= {"same_class_as_predict": same}
        print(f"predict.py computes in {loaded.precision}, the export in fp32: {same} images get the same class")

    # 3 int8
    if settings.int8:
        calibration = own_images.training_images(splits, loaded, int8.IMAGES)
        reader = Classifier(content)
        models[export_folder.INT8] = int8.quantise(content, (reader.see(path) for path, _ in calibration.samples), told)
        small = proof.prove(Classifier(models[export_folder.INT8]), images, expected)
        test = uncertainty.mcnemar(fp32.labels, fp32.predicted, small.predicted)
        report["int8"] = small.numbers() | {"calibrated_on": len(calibration), "against_fp32": test}
        print(f"int8: {small.sentence()}, calibrated on {len(calibration)} training images; {_comparison(test)}")

    # 4 the folder
    export_folder.write(settings.output, models, report)
    sizes = ", ".join(f"{name} ({len(held) / 1e6:.1f} MB)" for name, held in models.items())
    print(f"Wrote: {settings.output}: {sizes}, export.json and what predicts with them")
    print(f"Go on with: python {settings.output / export_folder.SCRIPT} IMAGE")
    return settings.output


def _write_space(settings: Settings) -> Path:
    """Write a Space that tries the checkpoint, with test images of its run as examples, and return its folder."""
    from going_modular.serving import space

    space.check(settings.space)

    from going_modular.saving import checkpoint, run_folder
    from going_modular.serving import own_images

    file = settings.checkpoint or run_folder.newest_checkpoint()
    loaded = checkpoint.load(file)
    splits, selection = own_images.test_images(file, loaded, settings.data)
    examples = own_images.in_turns(selection.images, space.MOST_EXAMPLES)
    space.write(settings.space, file, loaded, examples, data=splits.name)
    print(f"Wrote: {settings.space}: {', '.join(space.FILES)}; {len(examples)} examples from {splits.name}")
    print(f"Go on with: pip install -r {settings.space / space.REQUIREMENTS}; python {settings.space / space.APP}")
    return settings.space


def _comparison(test: dict[str, object]) -> str:
    """Say in a sentence whether int8 costs accuracy."""
    differ = "differ" if test["differ"] else "may be equally good"
    return (
        f"fp32 alone is right on {test['only_a_right']} images, int8 alone on {test['only_b_right']}; McNemar's p is "
        f"{test['p_value']:.3g}: at 5% they {differ}"
    )


def _parser() -> cli.ArgumentParser:
    parser = cli.ArgumentParser(
        prog="export.py", description="Export a checkpoint to ONNX: a folder that predicts without torch."
    )
    add = parser.add_argument
    add("--checkpoint", type=Path, metavar="FILE", help="a run's model.safetensors; None: the newest")
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--output", type=Path, metavar="DIR", help="folder to write the ONNX file into")
    place.add_argument("--space", type=Path, metavar="DIR", help="folder to write a Hugging Face Space into instead")
    add("--int8", action="store_true", help="write the model in int8, too, calibrated on training images")
    add("--softmax", action="store_true", help="let the model give probabilities, not logits")
    add("--data", help="whose test images are to verify it, as for train.py. None: the checkpoint's run's data")
    add("--weights", type=Path, metavar="FILE", help="the backbone's weights, where they are a local file")
    return parser


def _main(arguments: Sequence[str] | None = None) -> None:
    parser = _parser()
    settings = Settings(**vars(parser.parse_args(arguments)))
    if settings.space is not None and (settings.int8 or settings.softmax or settings.weights):
        parser.error("--int8, --softmax and --weights go with --output")
    startup.import_torch()
    run(settings)


def main() -> None:
    """Run the command."""
    sys.exit(cli.run(_main, "export.py"))


if __name__ == "__main__":
    main()
