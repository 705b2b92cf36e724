"""Fine-tune a pretrained backbone with its head, on one device or many.

    python going_modular/fine_tune.py --data photos.zip --model efficientnet_lite0 --recipe head-then-all
    python going_modular/fine_tune.py --config settings.yaml --epochs 20 --output runs/mine
    python going_modular/fine_tune.py --resume runs/mine
    torchrun --nnodes 2 --nproc-per-node 4 ... going_modular/fine_tune.py --nodes 2 --devices 4 --output runs/mine

Imports of torch wait until they are needed, so that `--help` comes at once.
"""

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from going_modular import cli, settings_file
from going_modular.errors import InputError, ProcessDiedError, Terminated

WITH_RESUME = ("devices", "nodes")  # other settings of a resumed run are those that it began with


@dataclass(frozen=True)
class Settings:
    """What a run is made with; a settings file has these keys, the command's flags the most used of them."""

    data: str | None = None  # None: the photos, or the bundled sample where they cannot be had
    train_images: int | None = None  # None: all
    model: str | None = None  # None: EfficientNet-B0, or Lite0 where B0's weights cannot be had
    weights: str | None = "DEFAULT"  # None: random
    recipe: str = "head-then-all"
    epochs: int = 10
    head_epochs: int = 20  # of the head alone, in head-then-all
    batch_size: int = 32  # images an update, over all devices and accumulated batches
    accumulate: int = 1  # batches an update on each device
    lr: float | None = None  # of the last block. None: 1e-4; where the head alone trains, of the head, then None: 1e-3
    head_lr: float = 1e-3  # of a head that is new; after head-then it is `lr`
    layer_decay: float = 0.9  # a block's learning rate, over that of the block after it
    weight_decay: float = 0.05
    batch_norm: bool = False  # let it learn, and normalise by the batch; False: it stays as pretrained
    schedule: str = "cosine"
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.0
    augment: str = "crop"  # of training images, where the backbone learns
    mixup: float = 0.0
    cutmix: float = 0.0
    max_grad_norm: float | None = 1.0
    weight_averaging: float | None = None  # decay an update of an exponential moving average; None: no averaging
    patience: int = 6  # epochs without a better validation loss, after which a stage ends
    devices: int = 1
    nodes: int = 1
    device: str = "auto"
    precision: str = "auto"
    compile: bool = False
    seed: int = 42
    output: Path | None = None  # None: a new folder under runs/
    resume: Path | None = None  # a run's folder, to go on with


def run(settings: Settings) -> Path:
    """Fine-tune, test, write the run's files and return their folder.

    Raises:
        InputError: settings or data that cannot be used, before anything was written; a loss that is not finite.
        KeyboardInterrupt: Ctrl-C; its message says what was kept.
        Terminated: SIGTERM; its message likewise.
        ProcessDiedError: one of several processes ended.
    """
    from going_modular import fine_tune_job, launch

    with launch.ending_on_sigterm():
        job = fine_tune_job.prepare(settings)
        if job.is_finished:
            print(f"{job.output} is finished; nothing to do")
            return job.output
        try:
            job = fine_tune_job.begin(job)
            if settings.devices > 1 and not launch.is_launched():
                launch.start(_worker, (job.settings,), settings.devices)
            else:
                fine_tune_job.finish(job)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(fine_tune_job.what_is_kept(job)) from None
        except Terminated:
            raise Terminated(fine_tune_job.what_is_kept(job)) from None
        except ProcessDiedError as error:
            raise ProcessDiedError(f"{error}; {fine_tune_job.what_is_kept(job)}", error.status) from None
    return job.output


def _worker(settings: Settings) -> None:
    """Take part in a run, as one of several processes."""
    from going_modular import fine_tune_job, launch

    def work() -> None:
        try:
            with launch.ending_on_sigterm():
                fine_tune_job.finish(fine_tune_job.prepare(settings))
        except KeyboardInterrupt:  # the process that started this one says what was kept
            sys.exit(cli.INTERRUPTED)

    launch.mute_all_but_first()
    if status := cli.run(work, "fine_tune.py"):
        sys.exit(status)


def _parser() -> cli.ArgumentParser:
    parser = cli.ArgumentParser(prog="fine_tune.py", description="Fine-tune a pretrained backbone with its head.")
    default = Settings()

    def add(name: str, **options: object) -> None:
        # only what was typed is taken: a settings file comes between
        field = name.removeprefix("--").replace("-", "_")
        value = getattr(default, field, None)
        if value is not None:
            options["help"] += f" (default: {value})"
        parser.add_argument(name, default=cli.argparse.SUPPRESS, **options)

    add("--config", type=Path, metavar="FILE", help="settings, JSON or YAML, such as a run's settings.json; flags win")
    add("--data", help="as for train.py, or eurosat; class folders are split 70/10/20. None: the photos or the sample")
    add("--model", help="as for train.py. None: efficientnet_b0, or Lite0 where B0's weights cannot be had")
    add("--weights", help="a torchvision weights name, a local file of them, or none (random)")
    add("--recipe", help="what learns: head, head-then-all, last-N (blocks) or all")
    add("--epochs", type=cli.positive_int, help="passes over the training images, at most")
    add("--batch-size", type=cli.positive_int, help="images an update, over all devices")
    add("--lr", type=cli.positive_float, help="highest learning rate of the last block. None: 1e-4, for head 1e-3")
    add("--patience", type=cli.positive_int, help="epochs without a better validation loss before it stops")
    add("--devices", type=cli.positive_int, help="processes on this computer, one for each GPU or share of the CPU")
    add("--nodes", type=cli.positive_int, help="computers, each started by torchrun or SLURM")
    add("--device", help="auto, cpu, cuda, cuda:1 or mps")
    add("--precision", choices=("auto", "fp32", "bf16", "fp16"), help="auto: bf16 where the device is built for it")
    add("--resume", type=Path, metavar="DIR", help="go on with the run in this folder; it has its settings")
    add("--seed", type=cli.seed, help="of the split, the head, the order and the augmentation")
    add("--output", type=Path, metavar="DIR", help="folder to write. None: a new one under runs/")
    return parser


def settings_of(options: dict[str, object]) -> Settings:
    """Return the settings that flags describe, with those of a file where one is named.

    Raises:
        InputError: a file that cannot be used, or flags that do not go together.
    """
    options = dict(options)
    if isinstance(options.get("weights"), str) and options["weights"].lower() == "none":
        options["weights"] = None
    config, folder = options.pop("config", None), options.get("resume")
    if folder is not None:
        if others := sorted(options.keys() - {"resume", *WITH_RESUME} | ({"config"} if config else set())):
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in others)
            raise InputError(f"{flags} with --resume: a run goes on with the settings it has; start a new one instead")
        if not (folder / "settings.json").is_file():
            raise InputError(f"--resume {str(folder)!r}: no settings.json there; name the folder of a run")
        config, options["output"] = folder / "settings.json", folder
    values = settings_file.read(config, Settings) if config else {}
    return dataclasses.replace(Settings(), **values | options)


def _main(arguments: Sequence[str] | None = None) -> None:
    settings = settings_of(vars(_parser().parse_args(arguments)))
    from going_modular import launch

    launch.mute_all_but_first()
    run(settings)


def main() -> None:
    """Run the command."""
    sys.exit(cli.run(_main, "fine_tune.py"))


if __name__ == "__main__":
    main()
