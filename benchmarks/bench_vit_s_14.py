"""Our ViT-S/14 against ONNX Runtime on the same weights: images a second through all 12 blocks.

    python benchmarks/bench_vit_s_14.py

Both run in one process and take turns, on as many threads; figures are medians, and the ratio is ours to ONNX Runtime's
in fp32, which is what the package's file holds. The floor is the matrix products of a forward pass alone: no version
could beat it. Prints and writes `results/bench_vit_s_14.txt`; a minute on two cores.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime
import torch
from onnx.utils import Extractor

from going_modular import vit
from going_modular.models import vit_s

RESULTS = Path(__file__).resolve().parent / "results"
BATCH_SIZE, RUNS = 8, 9
TOKENS = "/backbone/layernorm/Add_1_output_0"  # what the file's last LayerNorm puts out


def of_onnx_runtime(images: torch.Tensor) -> Callable[[], object]:
    """Return a function that runs the package's file up to the tokens."""
    whole = onnx.load(vit_s._file())
    whole.graph.value_info.append(onnx.helper.make_tensor_value_info(TOKENS, onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    backbone = Extractor(whole).extract_model(["input_image"], [TOKENS])
    session = onnxruntime.InferenceSession(backbone.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run([TOKENS], {"input_image": images.numpy()})


def of_ours(images: torch.Tensor, dtype: torch.dtype | None) -> Callable[[], object]:
    """Return a function that runs our class on the same weights."""
    model = vit_s.ViTS14(blocks=vit_s.LAYERS).eval()
    model.load_state_dict(vit_s.published())

    @torch.inference_mode()
    def run() -> torch.Tensor:
        with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            return model.tokens(images)

    return run


def products(dtype: torch.dtype) -> Callable[[], object]:
    """Return a function that does the matrix products of a forward pass and nothing else."""
    dim, mlp, heads = vit_s.WIDTH, vit.SMALL["mlp_dim"], vit.SMALL["num_heads"]
    tokens = (vit_s.IMAGE_SIZE // vit_s.PATCH_SIZE) ** 2 + 1
    rows, wide = (torch.randn(BATCH_SIZE * tokens, width, dtype=dtype) for width in (dim, mlp))
    qkv, out, up, down = (
        torch.randn(*shape, dtype=dtype) for shape in ((dim, 3 * dim), (dim, dim), (dim, mlp), (mlp, dim))
    )
    query = torch.randn(BATCH_SIZE * heads, tokens, dim // heads, dtype=dtype)
    scores = torch.randn(BATCH_SIZE * heads, tokens, tokens, dtype=dtype)
    patches = torch.randn(BATCH_SIZE * (tokens - 1), 3 * vit_s.PATCH_SIZE**2, dtype=dtype)
    projection = torch.randn(3 * vit_s.PATCH_SIZE**2, dim, dtype=dtype)

    def run() -> None:
        patches @ projection
        for _ in range(vit_s.LAYERS):
            rows @ qkv, query @ query.transpose(1, 2), scores @ query, rows @ out, rows @ up, wide @ down

    return run


def main() -> None:
    """Measure, print and write."""
    images = torch.randn(BATCH_SIZE, 3, vit_s.IMAGE_SIZE, vit_s.IMAGE_SIZE)
    ways = {
        "ONNX Runtime, fp32": of_onnx_runtime(images),
        "ours, fp32": of_ours(images, None),
        "ours, bf16": of_ours(images, torch.bfloat16),
        "floor, fp32": products(torch.float32),
        "floor, bf16": products(torch.bfloat16),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for run in range(RUNS + 1):  # the first is a warm-up
        for name, work in ways.items():
            start = time.perf_counter()
            work()
            seconds[name] += [time.perf_counter() - start] * (run > 0)
    speeds = {name: BATCH_SIZE / statistics.median(values) for name, values in seconds.items()}
    theirs = speeds["ONNX Runtime, fp32"]
    lines = [f"ViT-S/14, 12 blocks, batches of {BATCH_SIZE}, {torch.get_num_threads()} threads, medians of {RUNS} runs"]
    lines += [f"{name:20}{speed:8.1f} images/s{speed / theirs:8.2f} of ONNX Runtime" for name, speed in speeds.items()]
    print("\n".join(lines))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "bench_vit_s_14.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
