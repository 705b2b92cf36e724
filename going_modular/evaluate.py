"""Measure a trained classifier: the numbers, how sure they are, and what the model looks at.

    python going_modular/evaluate.py --data photos.zip
    python going_modular/evaluate.py --data xrays --positive pneumonia --checkpoint runs/mine/model.safetensors
    python going_modular/evaluate.py --data photos.zip --checkpoint a/model.safetensors --against b/model.safetensors

Imports of torch wait until they are needed, so that `--help` comes at once.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from going_modular import cli

SPLITS = ("test", "train")


@dataclass(frozen=True)
class Settings:
    """What is evaluated, and how; the command's flags mirror it."""

    data: str | None = None  # None: the photos, or the bundled sample where they cannot be had
    checkpoint: Path | None = None  # None: the newest run's
    split: str = "test"
    positive: str | None = None  # of two classes, the one that is looked for
    against: Path | None = None  # another checkpoint, compared on the same images
    weights: Path | None = None  # the backbone's, where they are a local file
    device: str = "auto"
    seed: int = 42  # of the split, where the data brings none, and of the bootstrap
    output: Path | None = None  # None: a folder beside the checkpoint


def run(settings: Settings) -> Path:
    """Evaluate a checkpoint, write the report and return its folder.

    Raises:
        InputError: a checkpoint or data that cannot be used, or that do not go together.
    """
    from going_modular import evaluation

    subject = evaluation.prepare(settings)
    report = evaluation.measure(subject)
    evaluation.write(subject, report)
    evaluation.summarize(subject, report)
    return subject.output


def _parser() -> cli.ArgumentParser:
    parser = cli.ArgumentParser(prog="evaluate.py", description="Measure a trained classifier on labelled images.")
    add, default = parser.add_argument, Settings()
    add("--data", help="as for train.py. None: the photos, or the sample where they cannot be had")
    add("--checkpoint", type=Path, metavar="FILE", help="a run's model.safetensors; None: the newest")
    add("--split", choices=SPLITS, default=default.split, help="which images")
    add("--positive", metavar="CLASS", help="of two classes the one that is looked for, such as the disease")
    add("--against", type=Path, metavar="FILE", help="another checkpoint, compared on the same images")
    add("--weights", type=Path, metavar="FILE", help="the backbone's weights, where they are a local file")
    add("--device", default=default.device, help="auto, cpu, cuda, cuda:1 or mps")
    add("--seed", type=cli.seed, default=default.seed, help="of the split, as in training, and of the bootstrap")
    add("--output", type=Path, metavar="DIR", help="folder to write. None: evaluation/ beside the checkpoint")
    return parser


def _main(arguments: Sequence[str] | None = None) -> None:
    run(Settings(**vars(_parser().parse_args(arguments))))


def main() -> None:
    """Run the command."""
    sys.exit(cli.run(_main, "evaluate.py"))


if __name__ == "__main__":
    main()
