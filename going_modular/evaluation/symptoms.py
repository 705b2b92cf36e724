"""What a finished training shows that went wrong, in a line with its usual cause."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import torch

NEARLY_GUESSING = 0.02  # of ln C: a training loss that never falls further below it
RISEN = 1.05  # times the first training loss
MOST_OF_ALL = 0.9  # share of the training images that explains why only their class is predicted
LOWER_RATE = "the learning rate is too high: try a tenth of it, or train.py --find-lr"


def find(
    history: Mapping[str, Sequence[float]],
    logits: torch.Tensor,
    class_names: Sequence[str],
    *,
    trained_with: Sequence[int],
) -> str | None:
    """Name what went wrong, the worst first, and what it usually comes from; None where nothing shows.

    Args:
        history: `train_loss`, a finite value an epoch, as `engine.train` returns it.
        logits: (N, C), of the test images.
        class_names: C names.
        trained_with: the labels of the training images.
    """
    losses, guessing = history["train_loss"], math.log(len(class_names))
    predicted = logits.argmax(dim=1).unique().tolist()
    if len(predicted) == 1 and len(logits) > 1:
        most, count = Counter(trained_with).most_common(1)[0]
        share = count / len(trained_with)
        cause = LOWER_RATE
        if most == predicted[0] and share >= MOST_OF_ALL:
            cause = f"{share:.0%} of the training images are of that class: gather more of the others"
        elif _is_guessing(losses, guessing):
            cause = "nothing was learned: see whether labels go with their images, and try ten times the learning rate"
        found = f"all {len(logits)} test images are called {class_names[predicted[0]]!r}"
    elif losses[-1] > RISEN * losses[0]:
        found, cause = f"the training loss rose, from {losses[0]:.3g} to {losses[-1]:.3g}", LOWER_RATE
    elif _is_guessing(losses, guessing):
        found = f"the training loss stays at {losses[-1]:.3f}; guessing gives ln {len(class_names)} = {guessing:.3f}"
        cause = "labels do not go with their images, or the learning rate is too low: try ten times as much"
    else:
        return None
    return f"What went wrong: {found}. The usual cause: {cause}"


def _is_guessing(losses: Sequence[float], guessing: float) -> bool:
    """Tell whether a loss begins about where guessing does and never falls much below."""
    return min(losses) > (1 - NEARLY_GUESSING) * guessing and losses[-1] < (1 + NEARLY_GUESSING) * guessing
