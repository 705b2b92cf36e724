import random
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset
from torchvision.transforms import v2

from going_modular import data_setup, engine, features, model_builder
from going_modular.common import device
from going_modular.common.errors import InputError
from going_modular.data import download, feature_store
from going_modular.data.feature_store import FeatureStore


@pytest.fixture
def lite0():
    """Return EfficientNet-Lite0 with a new head for two classes, and its transform."""
    torch.manual_seed(0)
    return model_builder.create_model("efficientnet_lite0", num_classes=2)


@pytest.fixture
def pets(make_classes, lite0):
    """Return 2 x 20 images of noise: more than are read before worker processes start."""
    return data_setup.ImageFolder(make_classes("pets", images=20), transform=lite0[1])


def count_images(model, monkeypatch) -> list[int]:
    """Count the images that the backbone sees, in this process."""
    seen, original = [], model_builder.backbone

    def counting(model):
        trunk = original(model)
        trunk.register_forward_pre_hook(
            # what is not in inference mode is noise, by which `fold` compares
            lambda _, inputs: seen.append(len(inputs[0])) if torch.is_inference_mode_enabled() else None
        )
        return trunk

    monkeypatch.setattr(model_builder, "backbone", counting)
    return seen


def extract(model, dataset, **options):
    return features.extract(model, dataset, **({"precision": "fp32", "num_workers": 0, "progress": False} | options))


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 2])
def test_features_are_the_backbones_in_data_set_order(lite0, pets, num_workers):
    model, _ = lite0
    values, labels = extract(model, pets, num_workers=num_workers).tensors
    with torch.inference_mode():
        expected = model_builder.backbone(model)(torch.stack([image for image, _ in pets]))
    torch.testing.assert_close(values, expected, rtol=1e-3, atol=1e-5)
    assert labels.tolist() == pets.targets
    assert (values.dtype, values.shape) == (torch.float32, (40, 1280))


def test_features_can_enter_autograd(lite0, pets):
    values, labels = extract(lite0[0], Subset(pets, range(4))).tensors
    assert not values.is_inference()
    loss = nn.functional.cross_entropy(model_builder.head(lite0[0])(values), labels)
    loss.backward()
    assert model_builder.head(lite0[0])[1].weight.grad.abs().sum() > 0


def train_head(module, head, train, test, *, epochs: int = 3):
    engine.set_seeds(7)
    loaders = data_setup.make_loaders(train, test, batch_size=16, num_workers=0)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    return engine.train(module, *loaders, optimizer, nn.CrossEntropyLoss(), epochs, "cpu", progress=False)


@pytest.mark.slow
def test_cached_training_gives_the_head_and_history_of_uncached_training(pets, lite0):
    _, transform = lite0
    pets.transform = transform
    trained = []
    for cached in (True, False):
        torch.manual_seed(0)
        model, _ = model_builder.create_model("efficientnet_lite0", num_classes=2)
        head = model_builder.head(model)
        assert head[0].p == 0.2  # Dropout's draws are part of the claim
        train, test = pets.subset(range(0, 40, 2)), pets.subset(range(1, 40, 2))
        if cached:
            train, test = extract(model, train, cache=False), extract(model, test, cache=False)
        results = train_head(head if cached else model, head, train, test)
        trained.append((results, {name: tensor.clone() for name, tensor in head.state_dict().items()}))
    torch.testing.assert_close(trained[0], trained[1], rtol=1e-3, atol=1e-4)
    assert trained[0][0]["train_loss"][0] != trained[0][0]["train_loss"][-1]


@pytest.mark.slow
def test_the_backbone_runs_once_an_image(lite0, pets, monkeypatch, tmp_path):
    seen = count_images(lite0[0], monkeypatch)
    first = extract(lite0[0], pets, cache=tmp_path / "cache").tensors
    assert sum(seen) == 40
    second = extract(lite0[0], pets, cache=tmp_path / "cache").tensors
    assert sum(seen) == 40
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.slow
def test_only_new_images_are_computed(lite0, pets, monkeypatch, tmp_path):
    cache = tmp_path / "cache"
    extract(lite0[0], pets.subset(range(10)), cache=cache)
    seen = count_images(lite0[0], monkeypatch)
    everything = extract(lite0[0], ConcatDataset([pets.subset(range(5, 20)), Subset(pets, [0, 39])]), cache=cache)
    assert sum(seen) == 11
    assert everything.tensors[1].tolist() == [pets.targets[i] for i in [*range(5, 20), 0, 39]]
    torch.testing.assert_close(
        everything.tensors[0], extract(lite0[0], pets, cache=False).tensors[0][[*range(5, 20), 0, 39]]
    )


def change_image(model, pets):
    path = pets.samples[0][0]
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    return 1


def change_weights(model, pets):
    with torch.no_grad():
        model.features[0][0].weight[0, 0, 0, 0] += 0.5
    return len(pets)


def change_statistics(model, pets):
    model.features[0][1].running_mean += 0.5
    return len(pets)


def change_transform(model, pets):
    pets.transform.transform[0].resize_size = [232]
    return len(pets)


class Brighter(torch.nn.Module):
    """A transform whose repr keeps its setting to itself."""

    def __init__(self, transform, amount: float) -> None:
        super().__init__()
        self.transform, self.amount = [transform], amount

    def forward(self, image):
        return self.transform[0](image) + self.amount


def change_what_repr_does_not_show(model, pets):
    before = repr(pets.transform)
    pets.transform.amount += 0.5
    assert repr(pets.transform) == before
    return len(pets)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [change_image, change_weights, change_statistics, change_transform, change_what_repr_does_not_show]
)
def test_the_cache_knows_what_features_depend_on(change, lite0, pets, monkeypatch, tmp_path):
    cache = tmp_path / "cache"
    few = pets.subset(range(8))
    few.transform = Brighter(few.transform, 0.0)
    extract(lite0[0], few, cache=cache)
    expected = change(lite0[0], few)
    seen = count_images(lite0[0], monkeypatch)
    again = extract(lite0[0], few, cache=cache).tensors[0]
    assert sum(seen) == expected
    torch.testing.assert_close(again, extract(lite0[0], few, cache=False).tensors[0], rtol=1e-3, atol=1e-5)


def test_the_cache_knows_the_precision_but_not_the_head(lite0, pets, monkeypatch, tmp_path):
    cache = tmp_path / "cache"
    few = pets.subset(range(8))
    extract(lite0[0], few, cache=cache)
    other, _ = model_builder.create_model("efficientnet_lite0", num_classes=5)
    seen = count_images(other, monkeypatch)
    extract(other, few, cache=cache)
    assert sum(seen) == 0
    extract(other, few, cache=cache, precision="bf16")
    assert sum(seen) == 8


@pytest.mark.slow
def test_a_renamed_image_is_found_again(lite0, pets, monkeypatch, tmp_path):
    extract(lite0[0], pets, cache=tmp_path / "cache")
    seen = count_images(lite0[0], monkeypatch)
    moved = pets.samples[0][0] + ".moved.png"
    pets.samples[0] = (str(download.Path(pets.samples[0][0]).rename(moved)), 0)
    extract(lite0[0], pets, cache=tmp_path / "cache")
    assert sum(seen) == 0


def test_the_default_cache_is_on_disk_and_can_be_switched_off(lite0, pets):
    few = pets.subset(range(3))
    extract(lite0[0], few, cache=False)
    assert not download.cache_folder().exists()
    extract(lite0[0], few)
    assert len(list((download.cache_folder() / "features").glob("*/*.safetensors"))) == 1


@pytest.mark.slow
def test_a_damaged_shard_is_computed_again(lite0, pets, tmp_path):
    cache = tmp_path / "cache"
    expected = extract(lite0[0], pets, cache=cache).tensors[0]
    [shard] = cache.glob("*/*.safetensors")
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    assert torch.equal(extract(lite0[0], pets, cache=cache).tensors[0], expected)
    assert torch.equal(extract(lite0[0], pets, cache=cache).tensors[0], expected)


@pytest.mark.parametrize(
    "error",
    [
        OSError(24, "Too many open files"),
        RuntimeError("unable to open file in read-only mode: Too many open files (24)"),  # safetensors' other word
    ],
)
def test_a_shard_that_cannot_be_opened_now_is_kept(lite0, pets, tmp_path, monkeypatch, error):
    cache, few = tmp_path / "cache", pets.subset(range(3))
    expected = extract(lite0[0], few, cache=cache).tensors[0]
    [shard] = cache.glob("*/*.safetensors")

    def refuse(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(feature_store, "safe_open", refuse)
        patch.setattr(feature_store.FeatureStore, "write", lambda *_: None)
        assert torch.equal(extract(lite0[0], few, cache=cache).tensors[0], expected)
    assert shard.is_file()


def test_a_shard_of_another_shape_is_computed_again(lite0, pets, tmp_path):
    cache, few = tmp_path / "cache", pets.subset(range(3))
    expected = extract(lite0[0], few, cache=cache).tensors[0]
    [shard] = cache.glob("*/*.safetensors")
    stored = safetensors.torch.load(shard.read_bytes())  # not a view of the file, which is written over
    for features_of in (stored["features"][:2], stored["features"][:, :7].contiguous(), stored["features"][0]):
        safetensors.torch.save_file(stored | {"features": features_of}, shard)
        assert torch.equal(extract(lite0[0], few, cache=cache).tensors[0], expected)


@pytest.mark.slow
def test_many_images_are_kept_in_shards(lite0, pets, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "SHARD_IMAGES", 16)
    cache = tmp_path / "cache"
    expected = extract(lite0[0], pets, cache=cache).tensors[0]
    shards = [len(safetensors.torch.load_file(shard)["features"]) for shard in cache.glob("*/*.safetensors")]
    assert len(shards) > 1
    assert sum(shards) == len(pets)
    monkeypatch.setattr(features, "_forward", None)  # nothing is computed again
    assert torch.equal(extract(lite0[0], pets, cache=cache).tensors[0], expected)


def test_a_cache_that_cannot_be_written_costs_a_warning(lite0, pets, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="Features are not kept"):
        extracted = extract(lite0[0], pets.subset(range(3)), cache=tmp_path / "file")
    assert extracted.tensors[0].isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 2])
def test_unreadable_images_are_all_named_and_the_others_kept(lite0, pets, monkeypatch, tmp_path, num_workers):
    bad = [pets.samples[i][0] for i in (3, 30)]
    for path in bad:
        download.Path(path).write_bytes(b"no image")
    with pytest.raises(InputError, match=r"^2 unreadable") as error:
        extract(lite0[0], pets, cache=tmp_path / "cache", num_workers=num_workers)
    assert all(path in str(error.value) for path in bad)
    seen = count_images(lite0[0], monkeypatch)
    extract(lite0[0], pets.subset([i for i in range(40) if i not in (3, 30)]), cache=tmp_path / "cache")
    assert sum(seen) == 0


RANDOM_TRANSFORMS = [
    v2.RandomHorizontalFlip(),
    v2.RandomApply([v2.Grayscale(3)], p=0.01),
    v2.RandomResizedCrop(64),
    v2.ColorJitter(brightness=0.1),
    v2.TrivialAugmentWide(),
    v2.Lambda(lambda image: image if random.random() < 0.999 else image.rotate(90)),
    v2.Lambda(lambda image: image if np.random.rand() < 0.999 else image.rotate(90)),
    v2.Lambda(lambda image: image.rotate(float(np.random.default_rng().integers(1, 360)))),
]


@pytest.mark.parametrize("transform", RANDOM_TRANSFORMS, ids=lambda transform: type(transform).__name__)
def test_random_transforms_are_refused(lite0, pets, transform):
    pets.transform = v2.Compose([transform, lite0[1]])
    with pytest.raises(InputError, match="random"):
        extract(lite0[0], Subset(pets, [0, 1]))


def test_another_thread_that_draws_meanwhile_makes_no_transform_random(lite0, pets):
    calls = iter(range(100))

    def fixed(image):
        if next(calls) < 3:  # as if it were the other thread
            random.random()
        return lite0[1](image)

    pets.transform = fixed
    assert len(extract(lite0[0], Subset(pets, [0, 1]), cache=False)) == 2


@pytest.mark.slow
def test_extracting_leaves_every_random_generator_alone(lite0, pets):
    def draw():
        engine.set_seeds(9)
        if draw.extract_first:
            extract(lite0[0], pets, num_workers=draw.num_workers, progress=True, cache=False)
        return random.random(), np.random.rand(), torch.rand(1).item()

    draw.extract_first = False
    expected = draw()
    draw.extract_first = True
    for draw.num_workers in (0, 2):
        assert draw() == expected


def test_data_sets_that_are_no_image_folders_stay_in_memory(lite0):
    dataset = TensorDataset(torch.randn(3, 3, 64, 64), torch.tensor([1, 0, 1]))
    values, labels = extract(lite0[0], dataset).tensors
    assert values.shape == (3, 1280)
    assert labels.tolist() == [1, 0, 1]
    assert not download.cache_folder().exists()


def test_bf16_is_close_to_fp32_and_not_equal(lite0, pets):
    few = pets.subset(range(4))
    fp32, bf16 = (extract(lite0[0], few, precision=p, cache=False).tensors[0] for p in ("fp32", "bf16"))
    assert bf16.dtype == torch.float32
    assert not torch.equal(fp32, bf16)
    assert (fp32 - bf16).norm() / fp32.norm() < 0.05


def test_resolve_precision(monkeypatch):
    for capability, expected in [("avx512_bf16", "bf16"), ("amx_bf16", "bf16"), ("avx2", "fp32")]:
        able = {capability: True}
        monkeypatch.setattr(
            torch.cpu, "get_capabilities", lambda able=able: able, raising=False
        )  # older torch has none
        assert device.resolve_precision("auto", "cpu") == expected
        assert device.resolve_precision("fp32", "cpu") == "fp32"
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert device.resolve_precision("auto", "cpu") == "fp32"
    with pytest.raises(InputError, match="'fp16'"):
        device.resolve_precision("fp16", "cpu")


def test_an_empty_data_set_is_refused(lite0, pets):
    with pytest.raises(InputError, match="empty"):
        extract(lite0[0], pets.subset([]))


def test_inference_runs_channels_last_and_in_inference_mode(lite0, pets, monkeypatch):
    seen, original = [], model_builder.backbone

    def watching(model):
        trunk = original(model)
        trunk.register_forward_pre_hook(
            lambda _, inputs: seen.append(
                (inputs[0].is_contiguous(memory_format=torch.channels_last), torch.is_inference_mode_enabled())
            )
        )
        return trunk

    monkeypatch.setattr(model_builder, "backbone", watching)
    extract(lite0[0], pets.subset(range(4)))
    by_fold = 2
    assert seen[by_fold:] == [(True, True)]


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_stopped_extraction_keeps_what_it_finished(make_classes, tmp_path, sent):
    folder, cache = make_classes("pets", images=40), tmp_path / "cache"
    script = f"""
        import os
        from going_modular import data_setup, features, model_builder
        model, transform = model_builder.create_model("efficientnet_lite0", 2)
        dataset = data_setup.ImageFolder({str(folder)!r}, transform)
        original, batches = features._forward, 0
        def stop_after_three(items, **options):
            global batches
            batches += 1
            if batches > 3:
                os.kill(os.getpid(), {int(sent)})
            return original(items, **options)
        features._forward = stop_after_three
        features.SHARD_IMAGES = 16
        features.extract(model, dataset, num_workers=0, cache={str(cache)!r})
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    if sent == signal.SIGKILL:
        assert run.returncode == -sent
    else:  # torch._dynamo, once imported, makes -2 of an interrupt a 1
        assert run.returncode
        assert f"KeyboardInterrupt: the features so far are kept in {cache}" in run.stderr
    [store] = cache.iterdir()
    kept = FeatureStore(store)
    hashes = feature_store.hash_files([path for path, _ in data_setup.ImageFolder(folder).samples])
    found = kept.read(hashes, torch.empty(80, 1280))
    assert 16 <= found.sum() < 80


@pytest.mark.slow
def test_loader_trains_on_what_extract_returns(lite0, pets):
    loader = DataLoader(extract(lite0[0], pets, cache=False), 32, shuffle=True)
    batch, labels = next(iter(loader))
    assert (batch.shape, labels.shape) == ((32, 1280), (32,))
