"""Eight bits in place of 32: the weights and what passes between layers as whole numbers, each times a scale.

A network's values are rounded to 256 steps (Jacob et al., 2018, https://arxiv.org/abs/1712.05877). The steps of the
weights are known from the weights, a scale for each output channel; those of what passes between layers are taken from
images that are run through it once, the calibration: they must not be those that it is measured on.

The weights of dense layers have 128 steps. Where an x86 processor has no VNNI, ONNX Runtime adds two products at a time
in 16 bits, and cuts off sums that are too large for them (https://onnxruntime.ai/docs/performance/model-optimizations/
quantization.html, "When and why do I need to try U8U8?"). Two products with seven-bit weights always fit, so a file
answers there as it does elsewhere. Depthwise convolutions are added up in 32 bits, and keep 256.
"""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from going_modular.serving import onnx_file

if TYPE_CHECKING:
    import onnx

IMAGES = 128  # to calibrate with
# What takes the time, and what cuts off the values after it: these are left out then, as the 256 steps end where they
# cut. Counted from before the cut, the steps of EfficientNet-Lite0's maps would be so coarse that its logits are off by
# six times as much.
OPERATORS = ["Conv", "Gemm", "MatMul", "Clip", "Relu"]


def quantise(content: bytes, images: Iterator[np.ndarray], told: Mapping[str, str]) -> bytes:
    """Return an ONNX file in int8.

    Args:
        content: of the ONNX file, in fp32.
        images: to calibrate with, each (3, side, side), float32, as the model sees it.
        told: the metadata of the new file.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quant_pre_process, quantize_static

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(images, None)
            return None if image is None else {onnx_file.INPUT: image[None]}

    with tempfile.TemporaryDirectory() as folder:
        prepared, quantised = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        quant_pre_process(onnx.load_from_string(content), prepared)
        all_steps = {kernel: [{"axis": 0, "reduce_range": False}] for kernel in _depthwise(onnx.load(prepared).graph)}
        quantize_static(
            prepared,
            quantised,
            Reader(),
            op_types_to_quantize=OPERATORS,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=True,
            extra_options={"TensorQuantOverrides": all_steps},
        )
        return onnx_file.with_metadata(onnx.load(quantised), told)


def _depthwise(network: "onnx.GraphProto") -> list[str]:
    """Return the names of the weights of convolutions that see one channel each."""
    kernels = {tensor.name: tensor.dims for tensor in network.initializer}
    convolutions = [node for node in network.node if node.op_type == "Conv"]
    return [node.input[1] for node in convolutions if kernels[node.input[1]][1] == 1]
