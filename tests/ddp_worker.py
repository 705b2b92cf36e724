"""What each process of a distributed run does in tests; a module of its own, so that it can spawn."""

import json
from pathlib import Path

import lightning
import torch
from torchvision.transforms import v2

from going_modular import engine, features, model_builder
from going_modular.data.image_folder import ImageFolder
from going_modular.fine_tuning import run, stages
from going_modular.fine_tuning.lightning_parts import Classifier, Data
from going_modular.fine_tuning.settings import Settings

IMAGE_SIZE = 32


def dataset(folder: Path) -> ImageFolder:
    transform = v2.Compose(
        [v2.Resize((IMAGE_SIZE, IMAGE_SIZE)), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
    )
    return ImageFolder(folder, transform=transform)


class Counting(Classifier):
    """Also writes down what is validated; its model has neither batch statistics nor Dropout."""

    def on_validation_epoch_start(self):
        super().on_validation_epoch_start()
        self.seen = []

    def validation_step(self, batch, batch_idx):
        super().validation_step(batch, batch_idx)
        self.seen += [image.double().sum().item() for image in batch[0]]


def tiny() -> torch.nn.Module:
    engine.set_seeds(0)
    return model_builder.TinyVGG(3, 4, 2, image_size=IMAGE_SIZE)


def train(folder: Path, output: Path, processes: int, options: dict) -> None:
    """Train a small network and write its weights and measures, those of each process apart."""
    torch.set_num_threads(1)
    data = Data(
        dataset(folder / "train"),
        dataset(folder / "val"),
        batch_size=8,
        seed=3,
        num_workers=0,
        accumulate=options.get("accumulate", 1),
    )
    model = tiny()
    groups = [{"name": "all", "params": list(model.parameters()), "lr": 0.01, "weight_decay": 0.01}]
    module = Counting(model, groups, num_classes=2, seed=3, schedule="constant")
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        max_epochs=options.get("epochs", 2),
        accumulate_grad_batches=options.get("accumulate", 1),
        gradient_clip_val=options.get("clip"),
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data)
    together = features.extract_distributed(lite0(), dataset(folder / "val"), cache=False, precision="fp32")
    torch.save(
        {
            "model": model.state_dict(),
            "history": module.history,
            "confusion": module.val_confusion.compute(),
            "features": together.tensors,
        },
        output / f"rank{trainer.global_rank}.pt",
    )
    (output / f"seen{trainer.global_rank}.json").write_text(json.dumps(module.seen))


def lite0() -> torch.nn.Module:
    engine.set_seeds(0)
    return model_builder.create_model("efficientnet_lite0", 2)[0]


def fail(rank_to_fail: int, how: str) -> None:
    """Wait for the others in a collective operation, or end as one of the tests wants."""
    import os
    import signal

    from going_modular.fine_tuning import launch

    torch.distributed.init_process_group("gloo", rank=launch.rank(), world_size=int(os.environ["WORLD_SIZE"]))
    torch.distributed.barrier()
    if launch.rank() == rank_to_fail:
        if how == "exit":
            raise SystemExit(2)
        if how == "error":
            raise ValueError("a bug")
        os.kill(os.getpid(), getattr(signal, how))
    torch.distributed.barrier()


def take_part_on_images(settings: Settings) -> None:
    """Do a run's work as one of several processes, with the frozen blocks in every epoch."""
    stages._what_changes = lambda _: "the test wants it"
    run.take_part(settings)
