"""A tiny ONNX model with the metadata of an export, made without torch's exporter, which takes seconds."""

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from going_modular.serving import onnx_file

NAMES = ["cat", "dog", "owl"]


def metadata(transform, *, names=NAMES, output="logits"):
    """Return what an export says of itself, as `onnx_file.describe` does of a checkpoint."""
    return {
        "class_names": json.dumps(names),
        "transform": json.dumps(onnx_file.describe_transform(transform)),
        "output": output,
        "model": "tiny",
        "weights": "null",
        "precision": "fp32",
        "checkpoint_sha256": "0" * 64,
    }


def build(told, *, channels=16, seed=0):
    """Return an ONNX file: a convolution, the mean over the map, a Linear, and a softmax for probabilities."""
    rng, classes = np.random.default_rng(seed), len(json.loads(told["class_names"]))
    weights = {
        "kernel": rng.normal(size=(channels, 3, 3, 3)),
        "kernel_bias": rng.normal(size=channels),
        "matrix": rng.normal(size=(channels, classes)),
        "bias": rng.normal(size=classes),
    }
    last = told["output"]
    nodes = [
        helper.make_node("Conv", ["images", "kernel", "kernel_bias"], ["map"], strides=[2, 2]),
        helper.make_node("Relu", ["map"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "matrix", "bias"], ["logits"]),
    ]
    if last == "probabilities":
        nodes.append(helper.make_node("Softmax", ["logits"], [last], axis=1))
    side = json.loads(told["transform"])["crop"]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, side, side])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return onnx_file.with_metadata(model, told)
