"""What features cost on a GPU: memory a pixel, and exact fp32 against TF32 and bf16.

    python benchmarks/bench_gpu.py

Each backbone has random weights and images of the size that its weights want. Memory is what a pass takes at its peak
beyond weights and images, in bytes for each pixel of the batch: `features.GPU_BYTES` must be above it. Speed is of a
pass over images that are on the GPU, as `features.extract` computes it; TF32 is what torch computes by default where it
says fp32. Figures are medians. Prints and writes `results/bench_gpu.txt`; 20 s on an H100.
"""

import statistics
import sys
import time
from pathlib import Path

import torch

from going_modular import features, model_builder
from going_modular.common.device import exact_fp32

RESULTS = Path(__file__).resolve().parent / "results"
MODELS = ("efficientnet_lite0", "efficientnet_b0", "efficientnet_b7", "resnet50", "vit_b_16")
REPEATS = 5
WAYS = ("tf32", "fp32", "bf16")


def forward(trunk: torch.nn.Module, images: torch.Tensor, way: str) -> None:
    """Run one pass and wait for it."""
    with torch.inference_mode(), torch.autocast("cuda", dtype=torch.bfloat16, enabled=way == "bf16"):
        if way == "fp32":
            with exact_fp32():
                trunk(images)
        else:
            trunk(images)
    torch.cuda.synchronize()


def measure(name: str) -> dict[str, float]:
    """Return a backbone's image side, batch, bytes a pixel and images a second, each by way."""
    model, transform = model_builder.create_model(name, 3, weights=None)
    side = transform.crop_size[0]
    trunk = model_builder.backbone(model.cuda()).eval()
    batch = max(1, features.GPU_BATCH * features.GPU_SIDE**2 // side**2)
    images = torch.rand(batch, 3, side, side, device="cuda")
    row = {"side": side, "batch": batch}
    for way in WAYS:
        forward(trunk, images, way)  # libraries choose their kernels
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        seconds = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            forward(trunk, images, way)
            seconds.append(time.perf_counter() - start)
        row[f"{way} bytes"] = (torch.cuda.max_memory_allocated() - before) / (batch * side**2)
        row[f"{way} images/s"] = batch / statistics.median(seconds)
    return row


def main() -> None:
    """Measure every backbone."""
    if not torch.cuda.is_available():
        sys.exit("bench_gpu.py: error: there is no CUDA GPU here")
    lines = [f"{torch.cuda.get_device_name()}, torch {torch.__version__}; {REPEATS} repeats, medians"]
    columns = ["side", "batch", *(f"{way} bytes" for way in WAYS), *(f"{way} images/s" for way in WAYS)]
    lines.append(" | ".join(["model".ljust(18), *(column.rjust(13) for column in columns), "tf32 / fp32".rjust(12)]))
    for name in MODELS:
        row = measure(name)
        ratio = row["tf32 images/s"] / row["fp32 images/s"]
        lines.append(" | ".join([name.ljust(18), *(f"{row[column]:13.0f}" for column in columns), f"{ratio:12.2f}"]))
        print(lines[-1], flush=True)
        torch.cuda.empty_cache()
    print("\n".join(lines))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "bench_gpu.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
