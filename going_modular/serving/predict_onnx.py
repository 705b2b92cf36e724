"""Say what images show by an exported model, without torch: NumPy, Pillow and onnxruntime do.

    python predict_onnx.py photo.jpg other.png                  # a line each: path, class and probability
    python predict_onnx.py --model model-int8.onnx photo.jpg

The model's file tells its classes, and what becomes of an image before the model sees it. `export.py` writes this
file beside the model, with three more that open images: keep them together.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from going_modular.data import upright


class Classifier:
    """A model that `export.py` wrote; `file` is its path, or the file's bytes."""

    def __init__(self, file: str | bytes) -> None:
        self.session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        told = self.session.get_modelmeta().custom_metadata_map
        self.class_names, self.transform = json.loads(told["class_names"]), json.loads(told["transform"])
        self.gives_probabilities = told["output"] == "probabilities"

    def see(self, path: str | Path) -> np.ndarray:
        """Return what the model sees of an image file: float32, (3, side, side)."""
        seen, side = self.transform, self.transform["crop"]
        Image.init()
        with Image.open(path, formats=[name for name in upright.FORMATS if name in Image.OPEN]) as opened:
            image = upright.straighten(*upright.decode(opened, seen["short_side"]))
        size = seen["resize"][::-1]  # width and height, or the short side
        if len(size) == 1:
            size = [int(size[0] * length / min(image.size)) for length in image.size]
        image = image.resize(size, Image.Resampling[seen["interpolation"]])
        left, top = (round((length - side) / 2) for length in size)
        pixels = np.asarray(image.crop((left, top, left + side, top + side)), np.float32) / np.float32(255)
        return ((pixels - np.float32(seen["mean"])) / np.float32(seen["std"])).transpose(2, 0, 1)

    def answer(self, images: np.ndarray) -> np.ndarray:
        """Return logits, or probabilities where the model gives these, (B, C), of images (B, 3, side, side)."""
        return self.session.run(None, {"images": images})[0]

    def probabilities(self, path: str | Path) -> np.ndarray:
        """Return the probability of each class, (C,), of an image file."""
        [answer] = self.answer(self.see(path)[None])
        powers = answer if self.gives_probabilities else np.exp(answer - answer.max())
        return powers / powers.sum()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what the images show that a command line names; return 2 where one cannot be opened, else 0."""
    parser = argparse.ArgumentParser(description="Say what images show: a line each, path, class and probability.")
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    parser.add_argument("--model", default=str(Path(__file__).with_name("model.onnx")), help="a file of export.py's")
    options = parser.parse_args(arguments)
    classifier, status = Classifier(options.model), 0
    for path in options.images:
        try:
            probabilities = classifier.probabilities(path)
        except Exception as error:  # of damaged files Pillow raises nearly anything
            print(f"predict_onnx.py: error: {printable(f'{path}: {error}')}", file=sys.stderr)
            status = 2
        else:
            best = probabilities.argmax()
            print(printable(path), printable(classifier.class_names[best]), f"{probabilities[best]:.3f}", sep="\t")
    return status


def printable(text: str) -> str:
    """Return a text as one field of a line, tabs and the like escaped."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


if __name__ == "__main__":
    sys.exit(main())
