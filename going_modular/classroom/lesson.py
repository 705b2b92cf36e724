"""Train a head on the features of a classroom's images, and measure it on images that it has not seen."""

import math
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset

from going_modular import data_setup, engine, metrics, model_builder
from going_modular.classroom.classifier import Backbone, Classifier
from going_modular.common.seeds import DEFAULT_SEED
from going_modular.data import provenance
from going_modular.data.image_folder import ImageFolder
from going_modular.data.splits import SplitRule, Splits, stratified_split
from going_modular.evaluation import interpret
from going_modular.saving import run_folder

BATCH_SIZE, LEARNING_RATE = 32, 3e-3
UPDATES, MOST_EPOCHS, LEAST_EPOCHS = 100, 60, 10  # a few images need as many updates as many do
HELD_OUT_FROM = 10  # images in every class; with fewer, a fifth of them would say next to nothing
MOST_FOLDS = 5
MOST_WRONG = 8

# what training draws from is the process's, not the thread's
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Mistake:
    """An image that was taken for another class."""

    path: str
    true: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Lesson:
    """A head that was trained, and what was measured of it on images that it, or its like, had not seen."""

    classifier: Classifier
    trained: run_folder.Trained  # its splits' test part is what was measured
    history: dict[str, list[float]]  # cross-validated, the folds' means
    logits: torch.Tensor  # (N, C), of the test images
    folds: int | None  # of the cross-validation; None where a part was held out
    clock: run_folder.Clock

    @cached_property
    def test(self) -> dict[str, object]:
        """What `metrics.evaluate` says of the test images."""
        return metrics.evaluate(self.logits, self.trained.splits.test.targets)

    @property
    def measures(self) -> dict[str, object]:
        """What else metrics.json says of the outcome."""
        splits = self.trained.splits
        baseline = metrics.majority_baseline(splits.train.targets, splits.test.targets)
        return {"majority_baseline": baseline} | ({"cross_validation_folds": self.folds} if self.folds else {})

    @property
    def updates(self) -> int:
        """How many an epoch had; cross-validated, about."""
        return math.ceil(len(self.trained.splits.train) / BATCH_SIZE)

    def sentence(self) -> str:
        """Say how good it is, and how that was measured."""
        low, high = self.test["accuracy_interval"]
        images, right = len(self.logits), round(self.test["accuracy"] * len(self.logits))
        how = (
            f"cross-validated in {self.folds} parts, as a class has fewer than {HELD_OUT_FROM} images: each image was "
            "judged by a head that had not seen it"
            if self.folds
            else "images that were held out of the training"
        )
        return (
            f"{right} of {images} right: accuracy {self.test['accuracy']:.1%} (95% interval {low:.1%} to {high:.1%}), "
            f"{how}. Always answering the largest class would be right in {self.measures['majority_baseline']:.1%}."
        )

    @property
    def most_wrong(self) -> list[Mistake]:
        """The mistakes that the classifier was surest of, the surest first."""
        test = self.trained.splits.test
        chosen = interpret.most_wrong(self.logits, test.targets, MOST_WRONG)
        probabilities = self.logits.softmax(dim=1)
        return [
            Mistake(
                test.samples[i][0],
                test.classes[test.targets[i]],
                test.classes[int(self.logits[i].argmax())],
                float(probabilities[i].max()),
            )
            for i in chosen
        ]


def teach(images: ImageFolder, values: torch.Tensor, *, name: str, model_name: str, backbone: Backbone) -> Lesson:
    """Train a new head.

    With 10 images or more in each class a fifth of them is held out, chosen as `train.py` would choose them. With fewer
    the head is cross-validated, and the one that is kept learns from all of them.

    Args:
        images: N, two classes or more, three of each at least.
        values: their features (N, D).
        name: of the data, for the files of the run.
        model_name: of the backbone, as `create_model` takes it.
        backbone: that gave the features.
    """
    with _ONE_AT_A_TIME:
        clock = run_folder.Clock()
        fewest = min(Counter(images.targets).values())
        folds = min(fewest, MOST_FOLDS) if fewest < HELD_OUT_FROM else None
        engine.set_seeds(DEFAULT_SEED)
        model, _ = model_builder.create_model(model_name, len(images.classes))
        student = _Student(model.to(backbone.device), values, images.targets)
        clock.lap("model")
        if folds:
            splits = Splits(name, images, images, "a classroom", rule=SplitRule(DEFAULT_SEED), source=name)
            history, logits = student.cross_validate(folds)
            unseen = replace(splits, test=images.subset([]))  # the head that is kept has seen all of them
        else:
            train, test = stratified_split(images, seed=DEFAULT_SEED)
            splits = unseen = Splits(name, train, test, "a classroom", rule=SplitRule(DEFAULT_SEED), source=name)
            places = {path: index for index, (path, _) in enumerate(images.samples)}
            kept, out = ([places[path] for path, _ in part.samples] for part in (train, test))
            history, logits = student.learn(kept, out)
        clock.lap("head")
    settings = {"batch_size": BATCH_SIZE, "lr": LEARNING_RATE, "augment": False, "seed": DEFAULT_SEED}
    settings |= {"device": str(backbone.device), "precision": backbone.precision}
    hyperparameters = settings | {"data": name, "model": model_name, "epochs": len(history["train_loss"])}
    trained = run_folder.Trained(
        model, model_name, "DEFAULT", backbone.precision, splits, provenance.record(unseen), settings, hyperparameters
    )
    said = f"taught here, on {len(images)} images"
    return Lesson(Classifier(model, backbone, images.classes, said), trained, history, logits, folds, clock)


class _Student:
    """A model whose head learns, anew each time, from some of the features (N, D), and answers about others."""

    def __init__(self, model: nn.Module, values: torch.Tensor, targets: Sequence[int]) -> None:
        self.model, self.values, self.targets = model, values, torch.tensor(targets)
        self._new = {name: tensor.clone() for name, tensor in model_builder.head(model).state_dict().items()}

    def learn(self, kept: Sequence[int], out: Sequence[int]) -> tuple[dict[str, list[float]], torch.Tensor]:
        """Train on the rows to keep; return the history, tested on the others, and the others' logits."""
        head, device = model_builder.head(self.model), next(self.model.parameters()).device
        head.load_state_dict(self._new)
        model_builder.standardise(self.model, self.values[kept])
        parts = [TensorDataset(self.values[part], self.targets[part]) for part in (kept, out)]
        loaders = data_setup.make_loaders(*parts, batch_size=BATCH_SIZE, num_workers=0)
        epochs = min(max(math.ceil(UPDATES / len(loaders[0])), LEAST_EPOCHS), MOST_EPOCHS)
        optimizer = torch.optim.Adam(head.parameters(), lr=LEARNING_RATE)
        history = engine.train(head, *loaders, optimizer, nn.CrossEntropyLoss(), epochs, device, progress=False)
        return history, model_builder.logits(self.model, self.values[out])

    def cross_validate(self, folds: int) -> tuple[dict[str, list[float]], torch.Tensor]:
        """Judge every row by a head that learned from the others' folds, then let the head learn from all.

        Returns:
            The means of the folds' histories, and logits (N, C) of all rows.
        """
        from sklearn.model_selection import StratifiedKFold  # late: it takes half a second

        dealer = StratifiedKFold(folds, shuffle=True, random_state=DEFAULT_SEED)
        logits = torch.zeros(len(self.values), model_builder.num_classes(self.model))
        histories = []
        for kept, out in dealer.split(self.targets, self.targets):
            history, logits[out] = self.learn(kept, out)
            histories.append(history)
        everything = np.arange(len(self.values))
        self.learn(everything, everything)
        means = {
            quantity: np.mean([history[quantity] for history in histories], axis=0).tolist()
            for quantity in histories[0]
        }
        return means, logits
