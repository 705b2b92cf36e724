"""EfficientNet-Lite0's features in the folds in which ViT-S/14's were chosen: two backbones on the same images.

    python benchmarks/choose_lite0.py --data sample pizza_steak_sushi.zip

Heads, folds, seeds and repeats are those of `choose_vit_s_14.py`; only training images are read. Figures are mean
accuracy and standard deviation over the repeats. Prints and writes `results/choose_lite0.txt`; a minute on two cores.
"""

import argparse
import statistics
from pathlib import Path

import choose_vit_s_14

from going_modular import data_setup, features, model_builder


def main() -> None:
    """Measure Lite0 on every data set, as the features are and standardised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["sample"], help="names, folders or zips")
    model, transform = model_builder.create_model("efficientnet_lite0", 3)
    lines = []
    for data in parser.parse_args().data:
        images = data_setup.load_splits(data).train.with_transform(transform)
        values, labels = features.extract(model, images, cache=False, progress=False).tensors
        for standardised in (False, True):
            scores = [
                choose_vit_s_14.accuracy(values, labels, standardised, repeat)
                for repeat in range(choose_vit_s_14.REPEATS)
            ]
            told = "standardised" if standardised else "as they are "
            lines.append(
                f"{Path(data).stem:20} | efficientnet_lite0 | {told} | {statistics.mean(scores):.3f} +/- "
                f"{statistics.stdev(scores):.3f}"
            )
            print(lines[-1], flush=True)
    (choose_vit_s_14.RESULTS / "choose_lite0.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
