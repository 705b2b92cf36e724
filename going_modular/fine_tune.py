"""Fine-tune a pretrained backbone with its head, on one device or many.

    python going_modular/fine_tune.py --data photos.zip --model efficientnet_lite0 --recipe head-then-all
    python going_modular/fine_tune.py --config settings.yaml --epochs 20 --output runs/mine
    python going_modular/fine_tune.py --resume runs/mine
    torchrun --nnodes 2 --nproc-per-node 4 ... going_modular/fine_tune.py --nodes 2 --devices 4 --output runs/mine

Imports of torch wait until they are needed, so that `--help` comes at once.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from going_modular.common import cli, startup
from going_modular.common.errors import ProcessDiedError, Terminated
from going_modular.fine_tuning.settings import Settings, settings_of


def run(settings: Settings) -> Path:
    """Fine-tune, test, write the run's files and return their folder.

    Raises:
        InputError: settings or data that cannot be used, before anything was written; a loss that is not finite.
        KeyboardInterrupt: Ctrl-C; its message says what was kept.
        Terminated: SIGTERM; its message likewise.
        ProcessDiedError: one of several processes ended.
    """
    from going_modular.fine_tuning import launch
    from going_modular.fine_tuning.job import prepare
    from going_modular.fine_tuning.run import begin, finish, is_finished, take_part, what_is_kept

    with launch.ending_on_sigterm():
        if is_finished(settings):
            print(f"{settings.resume} is finished; nothing to do")
            return settings.resume
        job = prepare(settings)
        try:
            job = begin(job)
            if settings.devices > 1 and not launch.is_launched():
                launch.start(take_part, (job.settings,), settings.devices)
            else:
                finish(job)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(what_is_kept(job)) from None
        except Terminated:
            raise Terminated(what_is_kept(job)) from None
        except ProcessDiedError as error:
            raise ProcessDiedError(f"{error}; {what_is_kept(job)}", error.status) from None
    return job.settings.output


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
    add(
        "--augment",
        choices=("none", "crop", "randaugment"),
        help="what varies the images that blocks learn from; with none and last-N, the blocks below run once",
    )
    add("--epochs", type=cli.positive_int, help="passes over the training images, at most")
    add("--batch-size", type=cli.positive_int, help="images an update, over all devices")
    add("--lr", type=cli.positive_float, help="highest learning rate of the last block. None: 1e-4, for head 1e-3")
    add("--patience", type=cli.positive_int, help="epochs without a better validation loss before it stops")
    add("--devices", type=cli.positive_int, help="processes on this computer, one for each GPU or share of the CPU")
    add("--nodes", type=cli.positive_int, help="computers, each started by torchrun or SLURM")
    add("--device", help="auto, cpu, cuda, cuda:1 or mps")
    add("--precision", choices=("auto", "fp32", "bf16", "fp16"), help="auto: bf16 where the device is built for it")
    add(
        "--resume",
        type=Path,
        metavar="DIR",
        help="go on with the run in this folder; --data names where its images are now",
    )
    add("--seed", type=cli.seed, help="of the split, the head, the order and the augmentation")
    add("--group-by", metavar="PATTERN", help="split by group, as for train.py. None: by image")
    add("--corrections", metavar="FILE", help="images that belong elsewhere, as inspect_data.py's page has them")
    add("--output", type=Path, metavar="DIR", help="folder to write. None: a new one under runs/")
    return parser


def _main(arguments: Sequence[str] | None = None) -> None:
    settings = settings_of(vars(_parser().parse_args(arguments)))
    startup.import_torch()
    from going_modular.fine_tuning import launch

    launch.check_variables()
    launch.mute_all_but_first()
    run(settings)


def main() -> None:
    """Run the command."""
    sys.exit(cli.run(_main, "fine_tune.py"))


if __name__ == "__main__":
    main()
