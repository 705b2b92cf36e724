"""What ViT-S/14 hands to a head: after which block, with or without the patches' mean, standardised or not.

    python benchmarks/choose_vit_s_14.py --data sample pizza_steak_sushi.zip

Chosen by 5-fold cross-validation on training images alone; the test images are not read. A head is trained on each
choice of features as `train.py` trains it (Dropout, Linear, Adam at 3e-3, 10 epochs, batches of 32), in each fold with
another seed, three times over. Figures are mean accuracy and standard deviation over the repeats. Of the choices within
one standard error of the best (of an accuracy over so many images) that with the fewest blocks is taken, as Hastie et
al., 2009, The Elements of Statistical Learning, section 7.10, advise. Prints and writes `results/choose_vit_s_14.txt`;
some three minutes on two cores.
"""

import argparse
import itertools
import statistics
from pathlib import Path

import torch
from sklearn.model_selection import StratifiedKFold
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from going_modular import data_setup, engine
from going_modular.models import vit_s
from going_modular.models.standardise import Standardise

RESULTS = Path(__file__).resolve().parent / "results"
AFTER = (8, 9, 10, 11, 12)
POOLINGS = ("class", "class+mean")
FOLDS, REPEATS, EPOCHS, LR, BATCH_SIZE = 5, 3, 10, 3e-3, 32


@torch.inference_mode()
def features_of(data: str) -> tuple[dict[tuple[int, str], torch.Tensor], torch.Tensor]:
    """Return the features (N, D) of the training images by block and pooling, and their labels."""
    model = vit_s.ViTS14(blocks=vit_s.LAYERS)
    model.load_state_dict(vit_s.published())
    model.eval()
    images = data_setup.load_splits(data).train.with_transform(vit_s.ViTS14Weights.DEFAULT.transforms())
    rows, labels = {key: [] for key in itertools.product(AFTER, POOLINGS)}, []
    for batch, targets in DataLoader(images, 16):
        labels.append(targets)
        for after in AFTER:
            tokens = model.tokens(batch, after=after)
            rows[after, "class"].append(tokens[:, 0])
            rows[after, "class+mean"].append(torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=1))
    return {key: torch.cat(values).clone() for key, values in rows.items()}, torch.cat(labels)


def accuracy(features: torch.Tensor, labels: torch.Tensor, standardised: bool, repeat: int) -> float:
    """Return the share of training images that heads trained without them classify rightly."""
    right = 0
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=repeat).split(features, labels)
    for fold, (rest, held_out) in enumerate(folds):
        engine.set_seeds(100 * repeat + fold)
        width = features.shape[1]
        head = nn.Sequential(Standardise(width), nn.Dropout(0.2), nn.Linear(width, int(labels.max()) + 1))
        if standardised:
            head[0].fit(features[rest])
        loader = DataLoader(TensorDataset(features[rest], labels[rest]), BATCH_SIZE, shuffle=True)
        optimizer = torch.optim.Adam(head.parameters(), lr=LR)
        for _ in range(EPOCHS):
            engine.train_step(head, loader, nn.CrossEntropyLoss(), optimizer, "cpu")
        predicted = head.eval()(features[held_out]).argmax(dim=1)
        right += (predicted == labels[held_out]).sum().item()
    return right / len(labels)


def main() -> None:
    """Measure every choice on every data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["sample"], help="names, folders or zips")
    lines, means, images = [], {}, 0
    for data in parser.parse_args().data:
        features, labels = features_of(data)
        images += len(labels)
        for (after, pooling), values in features.items():
            for standardised in (False, True):
                scores = [accuracy(values, labels, standardised, repeat) for repeat in range(REPEATS)]
                mean = statistics.mean(scores)
                means.setdefault((after, pooling, standardised), []).append(mean)
                told = "standardised" if standardised else "as they are "
                lines.append(
                    f"{Path(data).stem:20} | block {after:2} | {pooling:10} | {told} | {mean:.3f} +/- "
                    f"{statistics.stdev(scores):.3f}"
                )
                print(lines[-1], flush=True)
    on_average = {choice: statistics.mean(values) for choice, values in means.items()}
    best = max(on_average, key=on_average.get)
    error = (on_average[best] * (1 - on_average[best]) / images) ** 0.5
    near = [choice for choice, mean in on_average.items() if mean >= on_average[best] - error]
    for what, choice in (("best on average", best), ("taken", min(near, key=lambda one: (one[0], -on_average[one])))):
        told = "standardised" if choice[2] else "as they are"
        lines.append(f"{what}: block {choice[0]}, {choice[1]}, {told}: {on_average[choice]:.3f}")
        print(lines[-1])
    lines.append(f"standard error: {error:.3f} ({images} images)")
    print(lines[-1])
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "choose_vit_s_14.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
