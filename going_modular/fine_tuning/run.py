"""A run of fine_tune.py from its first line to its files, in one process or several."""

import dataclasses
import sys
from pathlib import Path

import torch

from going_modular import features, metrics, model_builder
from going_modular.common import cli, files
from going_modular.common.errors import InputError
from going_modular.data import provenance
from going_modular.evaluation import symptoms
from going_modular.fine_tuning import checkpoints, fingerprint, launch, stages
from going_modular.fine_tuning.job import Job, prepare
from going_modular.fine_tuning.settings import Settings, file_content, read_file
from going_modular.saving import run_folder

SETTINGS = "settings.json"
FILES = (*run_folder.FILES, SETTINGS, "checkpoints")


def is_finished(settings: Settings) -> bool:
    """Tell whether the run that is to be resumed has written all there is."""
    return settings.resume is not None and (settings.resume / run_folder.METRICS).is_file()


def begin(job: Job) -> Job:
    """Say what is about to be done, write down with which settings, and return the job with its folder settled.

    Under torchrun or SLURM the first process writes.
    """
    output = run_folder.make(job.settings.model, job.settings.output)
    if launch.rank() == 0:
        if job.settings.resume is None:
            run_folder.clear(output)
            checkpoints.clear(output)
            fingerprint.write(output, job.splits)
            files.write_json(output / SETTINGS, file_content(job.settings))
        else:
            _note_place(output / SETTINGS, job.settings.data)
    splits = job.splits
    print(
        f"Data: {splits.name}, {splits.origin}; {len(splits.train)} training, {len(splits.validation)} validation and "
        f"{len(splits.test)} test images"
    )
    for note in splits.notes:
        print(note)
    return dataclasses.replace(job, settings=dataclasses.replace(job.settings, output=output))


def take_part(settings: Settings) -> None:
    """Do a run's work as one of several processes; `settings` have its folder."""

    def work() -> None:
        try:
            with launch.ending_on_sigterm():
                finish(prepare(settings))
        except KeyboardInterrupt:  # the process that started this one says what was kept
            sys.exit(cli.INTERRUPTED)

    launch.mute_all_but_first()
    if status := cli.run(work, "fine_tune.py"):
        sys.exit(status)


def finish(job: Job) -> None:
    """Train the stages, test the best weights, and write the run's files from the first process.

    Raises:
        InputError: images that cannot be read, a loss that is not finite, or files that cannot be written; then it says
            what is kept.
    """
    try:
        _finish(job)
    except InputError as error:
        if isinstance(error.__cause__, OSError):
            raise InputError(f"{error}; {what_is_kept(job)}") from error
        raise


def _finish(job: Job) -> None:
    fitted = {}
    for number, stage in enumerate(job.stages):
        fitted[stage.name] = stages.fit(job, stage, is_first=number == 0)
        job.clock.lap(stage.name)
    data, trainer = fitted[job.stages[-1].name].data, fitted[job.stages[-1].name].trainer
    if isinstance(data, stages.FeatureData):
        test_features = data.test
    else:
        test_features = features.extract_distributed(
            job.model,
            job.splits.test,
            device=trainer.strategy.root_device,
            precision=job.feature_precision,
            cache=False,
        )
    logits = model_builder.logits(job.model, test_features.tensors[0])
    job.clock.lap("test")
    if trainer.is_global_zero:
        _write(job, fitted, logits)
    launch.leave()


def what_is_kept(job: Job) -> str:
    """Say what an interrupted run leaves behind."""
    output = job.settings.output
    if output is None:
        return "nothing was kept"
    if checkpoints.any_in(output):
        return f"the finished epochs are kept; go on with --resume {output}"
    return f"no epoch was finished; start again with --resume {output}"


def _note_place(path: Path, data: str) -> None:
    """Write into a run's settings where its data is now, if it has moved."""
    values = read_file(path, Settings)
    if values.get("data") != data:
        files.write_json(path, values | {"data": data})


def _write(job: Job, fitted: dict[str, stages.Fitted], logits: torch.Tensor) -> None:
    """Write the files of a run whose model has the best weights, and print what came out.

    Args:
        job: the run.
        fitted: what came of each stage, by its name.
        logits: (N, C), of the test images.
    """
    settings, splits = job.settings, job.splits
    trained = run_folder.Trained(
        job.model,
        settings.model,
        settings.weights,
        job.feature_precision,
        splits,
        provenance.record(splits),
        settings={name: getattr(settings, name) for name in ("recipe", "batch_size", "seed")}
        | {"device": job.device, "devices": settings.devices * settings.nodes, "precision": job.precision},
        hyperparameters=file_content(settings),
    )
    history, best = fitted[job.stages[-1].name].history, fitted[job.stages[-1].name].best_epoch
    measures = {
        "best_epoch": best + 1,
        "earlier_stages": {stage.name: fitted[stage.name].history for stage in job.stages[:-1]},
        "majority_baseline": metrics.majority_baseline(splits.train.targets, splits.test.targets),
        "val_accuracy": history["val_acc"][best],
    }
    test = metrics.evaluate(logits, splits.test.targets)
    summary = run_folder.finish(
        settings.output, trained, history, logits, test=test, measures=measures, clock=job.clock
    )
    print(
        f"Best epoch: {best + 1} of {summary['epochs']}, by validation loss; its validation accuracy is "
        f"{summary['val_accuracy']:.3f}"
    )
    print(run_folder.report(settings.output, summary, FILES))
    if said := symptoms.find(history, logits, splits.class_names, trained_with=splits.train.targets):
        print(said)
