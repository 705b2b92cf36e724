"""timm's models by name, `timm/test_resnet`: built, trained, kept and measured as any other."""

import hashlib
import http.server
import json
import sys
import threading
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
import timm
import timm_oracle
import torch
from commands import call, refusal, run, succeed, write_classes
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.data import create_transform, resolve_data_config
from timm.optim import param_groups_layer_decay
from torch import nn

from going_modular import data_setup, engine, features, model_builder
from going_modular.common.errors import InputError
from going_modular.evaluation import interpret
from going_modular.fine_tuning import recipes
from going_modular.models import pretrained, timm_models, timm_weights
from going_modular.saving import checkpoint

NAME, FULL_NAME = "timm/test_resnet", "timm/test_resnet.r160_in1k"
TINY = [NAME, "timm/test_vit", "timm/test_efficientnet", "timm/test_convnext"]
HUB_FILE = "/timm/test_resnet.r160_in1k/resolve/main/model.safetensors"


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    """Keep the hub's cache folder to the test; return it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def write_weights(path: Path, name: str, *, seed: int = 0) -> dict[str, torch.Tensor]:
    """Write weights of a model of timm's to a file, as the hub has them; return them."""
    torch.manual_seed(seed)
    tensors = timm.create_model(name.removeprefix(timm_weights.PREFIX)).state_dict()
    (save_file if path.suffix == ".safetensors" else torch.save)(tensors, path)
    return tensors


def error_of(function, *arguments, **options) -> str:
    with pytest.raises(InputError) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def read(path: str | Path) -> dict:
    return json.loads(Path(path).read_text(encoding="utf-8"))


# models


@pytest.mark.parametrize("name", [*TINY, "timm/efficientvit_b0", "timm/rexnet_100"])
def test_a_model_is_a_frozen_backbone_and_a_new_linear(name):
    model, transform = model_builder.create_model(name, 3, weights=None)
    assert timm_models.is_model(model)
    assert not model.training
    head, trunk = model_builder.head(model), model_builder.backbone(model)
    learning = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    assert learning == {id(parameter) for parameter in head.parameters()}
    [side] = transform.crop_size
    images = torch.randn(2, 3, side, side)
    with torch.inference_mode():
        found = trunk(images)
        assert found.shape == (2, model_builder.feature_width(model))
        assert model(images).shape == (2, 3)
        torch.testing.assert_close(head(found), model(images), rtol=0, atol=0)


def test_a_dropout_before_the_classifier_is_part_of_the_head():
    head = model_builder.head(model_builder.create_model("timm/rexnet_100", 3, weights=None)[0])
    assert [type(module) for module in head] == [nn.Dropout, nn.Linear]
    assert head[0].p == timm.create_model("rexnet_100").head.drop.p == 0.2


@pytest.mark.parametrize("extension", ["safetensors", "pth"])
def test_the_backbone_computes_what_timms_computes_with_the_same_file(tmp_path, extension):
    path = tmp_path / f"weights.{extension}"
    tensors = write_weights(path, "timm/test_vit")
    model, _ = model_builder.create_model("timm/test_vit", 3, weights=path)
    theirs = timm.create_model("test_vit", num_classes=0)
    theirs.load_state_dict({name: value for name, value in tensors.items() if not name.startswith("head.")})
    images = torch.randn(2, 3, 160, 160)
    with torch.inference_mode():
        torch.testing.assert_close(model_builder.backbone(model)(images), theirs.eval()(images), rtol=0, atol=0)
    assert "state_dict" not in model.pretrained_cfg  # a second copy of the weights


def test_weights_without_a_classifier_get_one(tmp_path):
    """DINOv2's have none."""
    name = "vit_small_patch14_dinov2"
    assert timm.get_pretrained_cfg(name).num_classes == 0
    model, transform = model_builder.create_model(f"timm/{name}", 3, weights=None)
    assert (model_builder.feature_width(model), model_builder.num_classes(model)) == (384, 3)
    assert (transform.crop_size, transform.resize_size) == ([518], [518])


def test_a_check_of_the_name_leaves_the_random_numbers_alone():
    heads = []
    for _ in range(2):
        timm_models._check_end.cache_clear()
        engine.set_seeds(3)
        if heads:
            pretrained.entry(NAME, None)
        heads.append(model_builder.head(model_builder.create_model(NAME, 3, weights=None)[0]).weight)
    assert torch.equal(*heads)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm/test_resnte", "Unknown model 'timm/test_resnte'; try one of timm/test_resnet"),
        ("timm/resnet18.a9_in1k", "Unknown model 'timm/resnet18.a9_in1k': timm's weights of resnet18 are a1_in1k, a2_"),
        ("timm/", "Unknown model 'timm/'; timm.list_models() lists"),
        ("timm/hf-hub:timm/resnet18.a1_in1k", "Unknown model 'timm/hf-hub:timm/resnet18.a1_in1k'"),
        ("timm/local-dir:/tmp", "Unknown model 'timm/local-dir:/tmp'"),
        ("timm/*", "Unknown model 'timm/*'"),
        ("hybrid_timm/efficientnet_b0", "Unknown model 'hybrid_timm/efficientnet_b0'"),
        ("timm/dla34", "timm/dla34 does not end in a single Linear: choose another model, such as timm/resnet18"),
        ("timm/deit_tiny_distilled_patch16_224", "does not end in a single Linear"),  # two
        ("timm/crossvit_tiny_240", "does not end in a single Linear"),  # a list
        ("timm/resnet50_clip", "does not end in a single Linear"),  # one, on every token
        ("timm/mobilenetv5_300m_enc", "does not end in a single Linear"),  # none
    ],
)
def test_names_that_cannot_be_had_are_refused_in_one_line(name, message):
    assert message in error_of(model_builder.create_model, name, 3, weights=None)
    assert message in error_of(pretrained.entry, name, "DEFAULT")


@pytest.mark.parametrize(
    "change", [{"input_size": (3, 160, 224)}, {"input_size": (1, 160, 160)}, {"crop_mode": "border"}]
)
def test_a_model_for_other_images_is_refused(monkeypatch, change):
    """timm has a few of a billion parameters; a small one says the same here."""
    config = replace(timm.get_pretrained_cfg(FULL_NAME.removeprefix("timm/")), **change)
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: config)
    timm_weights.weights_of.cache_clear()
    error = error_of(pretrained.entry, NAME, None)
    assert f"{FULL_NAME} does not take square images of three channels" in error


def test_a_model_that_this_timm_cannot_build_ends_in_one_line(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no such\nlayer")

    timm_models._check_end.cache_clear()
    monkeypatch.setattr(timm, "create_model", fail)
    assert f"{NAME} cannot be used (no such layer): choose another" in error_of(pretrained.entry, NAME, None)


def test_weights_of_half_precision_are_taken(tmp_path):
    tensors = {name: value.half() for name, value in write_weights(tmp_path / "full.pth", NAME).items()}
    save_file(tensors, tmp_path / "half.safetensors")
    model, _ = model_builder.create_model(NAME, 3, weights=tmp_path / "half.safetensors")
    assert torch.equal(model.state_dict()["conv1.0.weight"], tensors["conv1.0.weight"].float())


@pytest.mark.parametrize("named", ["timm/test_resnet.r160_in1k", "r160", "a1_in1k", "r160_in1k@", "no.pth"])
def test_unknown_weights_are_told_the_known_tags(named):
    error = error_of(model_builder.create_model, NAME, 3, weights=named)
    assert f"Weights {named!r}: no such file, and {NAME} has no weights of that name; it has r160_in1k" in error


def test_without_timm_one_line_says_how_to_get_it(monkeypatch):
    timm_weights.weights_of.cache_clear()
    monkeypatch.setitem(sys.modules, "timm", None)  # what makes an import fail
    assert "timm/test_resnet needs the package timm: pip install timm" in error_of(pretrained.entry, NAME, None)
    assert pretrained.entry("resnet18", None)


@pytest.mark.slow
def test_timm_is_imported_only_for_its_own_names(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        "from going_modular import evaluate, fine_tune, model_builder, predict, train\n"
        "from going_modular.evaluation import interpret\n"
        "from going_modular.fine_tuning import recipes\n"
        "model, _ = model_builder.create_model('efficientnet_lite0', 3)\n"
        "recipes.unfreeze(model, 2)\n"
        "print([name for name in ('timm', 'huggingface_hub') if name in sys.modules])\n"
    )
    ended = run(program, cwd=tmp_path)
    assert (ended.returncode, ended.stdout.strip()) == (0, "[]"), ended.stderr


# transforms


def tagged(*patterns: str) -> list[str]:
    return [name for pattern in patterns for name in timm.list_models(pattern, include_tags=True)]


@pytest.mark.parametrize(
    "name", tagged("test_*", "resnet18", "efficientnet_b0", "convnext_base", "vit_small_patch14_dinov2", "cait_xxs24_*")
)
def test_the_transform_gives_the_pixels_of_timms_own(name):
    config = resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    theirs = create_transform(**config, is_training=False)
    ours = pretrained.entry(f"timm/{name}", None).transforms()
    for size in ((601, 433), (90, 301)):
        image = Image.effect_noise(size, 80).convert("RGB")
        torch.testing.assert_close(ours(image), theirs(image), rtol=0, atol=0)


def test_transforms_of_every_kind_of_configuration_are_compared_above():
    configs = [timm.get_pretrained_cfg(name) for name in tagged("resnet18", "convnext_base", "cait_xxs24_*")]
    assert {config.crop_mode for config in configs} == {"center", "squash"}
    assert {config.interpolation for config in configs} == {"bicubic", "bilinear"}
    assert {config.crop_pct for config in configs} >= {0.875, 0.95, 1.0}


def test_images_can_be_shown_and_augmented_by_it():
    transform = pretrained.entry("timm/test_vit", None).transforms()
    image = Image.new("RGB", (200, 300), (200, 100, 50))
    [shown] = interpret.denormalize(transform(image)[None], transform)
    assert shown.size == (160, 160)
    assert shown.getpixel((80, 80)) == pytest.approx((200, 100, 50), abs=1)
    assert data_setup.augment(transform)(image).shape == (3, 160, 160)


# blocks


@pytest.mark.parametrize(("name", "count"), [(NAME, 5), ("timm/test_vit", 7), ("timm/test_efficientnet", 6)])
def test_blocks_are_the_whole_backbone_in_order_of_depth(name, count):
    model, _ = model_builder.create_model(name, 3, weights=None)
    blocks = recipes.blocks(model)
    assert len(blocks) == count
    everything = [id(parameter) for block in blocks for parameter in block]
    assert len(everything) == len(set(everything))
    assert set(everything) == {id(parameter) for parameter in model_builder.backbone(model).parameters()}
    recipes.unfreeze(model, 1, batch_norm=True)
    learns = [all(parameter.requires_grad for parameter in block) for block in recipes.blocks(model)]
    assert learns == [False] * (count - 1) + [True]


@pytest.mark.parametrize("name", TINY)
def test_learning_rates_by_layer_are_timms_own(name):
    model, _ = model_builder.create_model(name, 3, weights=None)
    recipes.unfreeze(model, None, batch_norm=True)
    ours = {
        id(parameter): group["lr"]
        for group in recipes.parameter_groups(model, lr=1.0, head_lr=9.0, layer_decay=0.5, weight_decay=0.05)
        for parameter in group["params"]
    }
    theirs = {
        id(parameter): group["lr_scale"]
        for group in param_groups_layer_decay(model_builder.backbone(model), layer_decay=0.5)
        for parameter in group["params"]
    }
    # a norm before the classifier is a layer of its own for timm; for us it belongs to the block before it
    is_matrix = {id(parameter): parameter.ndim > 1 for parameter in model.parameters()}
    factors = {ours[key] / theirs[key] for key in theirs if is_matrix[key] or ours[key] < 1}
    assert len(factors) == 1, factors
    assert ours.keys() - theirs.keys() == {id(parameter) for parameter in model_builder.head(model).parameters()}


def test_a_model_that_timm_does_not_group_is_cut_as_any_other():
    model, _ = model_builder.create_model("timm/poolformer_s12", 3, weights=None)
    assert not hasattr(model, "group_matcher")
    assert len(recipes.blocks(model)) > 3


# where it looks


@pytest.mark.parametrize("name", [NAME, "timm/test_convnext", "timm/test_efficientnet"])
def test_grad_cam_of_a_cnn_reads_the_map_before_its_head(name):
    model, _ = model_builder.create_model(name, 3, weights=None)
    images = torch.randn(2, 3, 160, 160)
    maps, method = interpret.explain(model, images)
    assert (maps.shape, method) == ((2, 160, 160), "Grad-CAM")
    seen = []
    last = interpret._last_map(model, images[:1])
    with last.register_forward_hook(lambda _, __, output: seen.append(output)), torch.no_grad():
        expected = model.forward_features(images[:1])
    torch.testing.assert_close(seen[-1], expected)


@pytest.mark.parametrize("name", ["timm/test_vit", "timm/test_mambaout", "timm/swin_tiny_patch4_window7_224"])
def test_tokens_and_channels_that_come_last_are_no_map(name):
    model, transform = model_builder.create_model(name, 3, weights=None)
    [side] = transform.crop_size
    assert "makes no feature map" in error_of(interpret.explain, model, torch.randn(1, 3, side, side))


# weights


def test_a_name_of_weights_offline_names_their_address_and_a_remedy(hub):
    error = error_of(model_builder.create_model, NAME, 3)
    assert f"The weights of {FULL_NAME} are not in {hub}, and GOING_MODULAR_OFFLINE is set" in error
    assert f"get https://huggingface.co{HUB_FILE} on another computer and pass the file as weights" in error
    assert pretrained.availability(NAME) is None
    assert model_builder.first_available(NAME, "efficientnet_lite0") == "efficientnet_lite0"


def test_a_model_without_weights_says_so():
    assert timm.get_pretrained_cfg("vit_base_patch16_18x2_224").tag == "untrained"
    error = error_of(pretrained.state_dict, "timm/vit_base_patch16_18x2_224", "DEFAULT")
    assert "timm has no weights for timm/vit_base_patch16_18x2_224" in error
    assert "pass a local file" in error


def test_weights_that_the_hub_lacks_name_their_address(server):
    error = error_of(pretrained.state_dict, "timm/gcvit_xxtiny", "DEFAULT")
    assert "are not on the Hugging Face hub; or get https://github.com/" in error
    assert server.asked == []


def test_files_that_do_not_fit_are_refused(tmp_path):
    tensors = write_weights(tmp_path / "right.pth", NAME)
    cases = {
        "list": ([1, 2], "the file holds a list, not a dict of tensors"),
        "empty": ({}, "Weights do not fit timm/test_resnet.r160_in1k: the file is empty"),
        "fewer": ({"fc.weight": tensors["fc.weight"]}, "Weights do not fit"),
        "numbers": (dict.fromkeys(tensors, 1), "Weights do not fit"),
        "shape": (tensors | {"conv1.0.weight": torch.zeros(3)}, "Weights do not fit"),
        "keys": ({1: torch.zeros(3)}, "Weights do not fit"),
    }
    for name, (content, message) in cases.items():
        path = tmp_path / f"{name}.pth"
        torch.save(content, path)
        assert message in error_of(model_builder.create_model, NAME, 3, weights=path), name


def test_a_foreign_file_is_refused_where_timm_is_lenient():
    foreign = {"other.weight": torch.ones(2, 2)}
    name = "vit_base_patch16_siglip_gap_224"
    with torch.device("meta"):  # 86 million parameters without memory
        assert timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"state_dict": dict(foreign)})
        error = error_of(timm_models.build, pretrained.entry(f"timm/{name}", None), 3, foreign)
    assert "none of the file's tensors is in the model" in error


@pytest.fixture
def hub_server(monkeypatch):
    """Serve `files`, contents by path, on loopback as the hub does; `asked` lists what was asked for."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.server.asked.append(f"{self.command} {self.path}")
            content = self.server.files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            if content is not None:
                digest = hashlib.sha256(content).hexdigest()
                self.send_header("ETag", f'"{digest}"')
                self.send_header("X-Repo-Commit", digest[:40])
            self.end_headers()

        def do_GET(self):
            self.do_HEAD()
            self.wfile.write(self.server.files.get(self.path, b""))

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("GOING_MODULAR_OFFLINE")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        served.files, served.asked = {}, []
        threading.Thread(target=served.serve_forever, args=(0.01,), daemon=True).start()
        # what the variable HF_ENDPOINT sets where the client is imported
        address = f"http://127.0.0.1:{served.server_port}"
        template = huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE
        changed = template.replace(huggingface_hub.constants.ENDPOINT, address)
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", changed)
        timm_weights.weights_of.cache_clear()
        yield served
        served.shutdown()
    timm_weights.weights_of.cache_clear()


def test_weights_come_from_the_hub_once(hub_server, hub, tmp_path, monkeypatch):
    tensors = write_weights(tmp_path / "theirs.safetensors", NAME)
    content = (tmp_path / "theirs.safetensors").read_bytes()
    hub_server.files[HUB_FILE] = content
    assert pretrained.availability(NAME) == "its weights can be downloaded"
    for named in ("DEFAULT", "r160_in1k"):
        model, _ = model_builder.create_model(NAME, 3, weights=named)
        assert torch.equal(model.state_dict()["conv1.0.weight"], tensors["conv1.0.weight"])
    assert [line for line in hub_server.asked if line.startswith("GET")].count(f"GET {HUB_FILE}") == 1
    asked = len(hub_server.asked)
    digits = hashlib.sha256(content).hexdigest()[:16]
    assert pretrained.describe(NAME, "DEFAULT") == f"r160_in1k@{digits}"

    monkeypatch.setenv("GOING_MODULAR_OFFLINE", "1")
    assert pretrained.availability(NAME).startswith(f"its weights are in {hub}")
    model_builder.create_model(FULL_NAME, 3)
    assert len(hub_server.asked) == asked


def test_a_hub_without_the_file_ends_in_one_line(hub_server):
    error = error_of(model_builder.create_model, NAME, 3)
    assert f"Cannot download the weights of {FULL_NAME}: " in error
    assert "on another computer and pass the file as weights" in error


def test_a_head_is_put_only_on_the_weights_that_it_was_trained_on(hub_server, hub, tmp_path):
    write_weights(tmp_path / "theirs.safetensors", NAME)
    write_weights(tmp_path / "others.safetensors", NAME, seed=1)
    hub_server.files[HUB_FILE] = (tmp_path / "theirs.safetensors").read_bytes()
    model, _ = model_builder.create_model(NAME, 2)
    path = checkpoint.save("head.safetensors", model, model_name=NAME, weights="DEFAULT", class_names=["a", "b"])
    assert set(load_file(path)) == {"weight", "bias"}
    assert path.stat().st_size < 4000
    images = torch.randn(2, 3, 160, 160)
    for options in ({}, {"weights": "theirs.safetensors"}):
        loaded = checkpoint.load(path, **options)
        with torch.inference_mode():
            torch.testing.assert_close(loaded.model(images), model(images), rtol=0, atol=0)
    assert "are not those that" in error_of(checkpoint.load, path, weights="others.safetensors")

    # a file of that name is none of the weights
    Path(loaded.weights).write_bytes(b"")
    checkpoint.load(path)

    # the hub has others now
    for blob in hub.rglob("blobs/*"):
        blob.write_bytes((tmp_path / "others.safetensors").read_bytes())
    error = error_of(checkpoint.load, path)
    assert "are not those that were trained on" in error
    assert "pass the file of those as weights (--weights)" in error


def test_a_damaged_file_in_the_hubs_folder_is_named(hub_server, hub):
    hub_server.files[HUB_FILE] = b"half a file"
    assert f"Cannot read weights from '{hub}" in error_of(model_builder.create_model, NAME, 3)


def test_a_checkpoint_from_a_stranger_reaches_no_other_source(tmp_path, monkeypatch):
    model, _ = model_builder.create_model(NAME, 2, weights=None)
    path = checkpoint.save("a.safetensors", model, model_name=NAME, weights=None, class_names=["a", "b"])
    for name in ("timm/hf-hub:owner/model", "timm/local-dir:.", "timm/../model"):
        text = path.read_bytes()
        header = text[8 : 8 + int.from_bytes(text[:8], "little")]
        forged = header.replace(NAME.encode(), name.encode())
        Path("b.safetensors").write_bytes(len(forged).to_bytes(8, "little") + forged + text[8 + len(header) :])
        assert f"Unknown model {name!r}" in error_of(checkpoint.load, "b.safetensors")


# features and commands


@pytest.mark.parametrize("name", [NAME, "timm/test_vit"])
def test_features_kept_on_disk_are_those_of_the_model(make_classes, tmp_path, name):
    model, transform = model_builder.create_model(name, 2, weights=None)
    dataset = data_setup.load_splits(make_classes("pets")).train.with_transform(transform)
    first = features.extract(model, dataset, device="cpu", precision="fp32", cache=tmp_path / "kept")
    again = features.extract(model, dataset, device="cpu", precision="fp32", cache=tmp_path / "kept")
    images = torch.stack([image for image, _ in dataset])
    with torch.inference_mode():
        expected = model_builder.backbone(model)(images)
    torch.testing.assert_close(first.tensors[0], expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(first.tensors[0], again.tensors[0])
    assert list((tmp_path / "kept").rglob("*.safetensors"))


@pytest.fixture(params=["none", "weights.safetensors"])
def weights(request, tmp_path) -> str:
    """Return random weights or a local file, as a command takes them."""
    if request.param != "none":
        write_weights(tmp_path / request.param, "timm/test_vit")
    return request.param


@pytest.mark.slow
def test_the_commands_take_a_model_of_timms(make_classes, weights, capsys):
    data = make_classes("pets", images=10)
    chosen = ("--data", data, "--model", "timm/test_vit", "--weights", weights)
    succeed("train.py", *chosen, "--epochs", 2)
    [folder] = Path("runs").iterdir()  # named after the model, whose name has a slash
    metrics, file = read(folder / "metrics.json"), folder / "model.safetensors"
    assert metrics["model"] == "timm/test_vit"
    given = () if weights == "none" else ("--weights", weights)
    assert (set(load_file(file)) >= {"cls_token"}) == (weights == "none")

    succeed("predict.py", data / "cat", "--checkpoint", file, *given)
    assert capsys.readouterr().out.count("cat") >= 10
    succeed("evaluate.py", "--data", data, "--checkpoint", file, *given)
    report = read(folder / "evaluation/report.json")
    assert report["accuracy"]["value"] == metrics["test_accuracy"]
    assert not (folder / "evaluation/looked_at.png").exists()

    succeed("fine_tune.py", *chosen, "--recipe", "last-2", "--epochs", 2, "--batch-size", 4, "--output", "runs/tuned")
    assert read("runs/tuned/metrics.json")["recipe"] == "last-2"
    assert checkpoint.load("runs/tuned/model.safetensors").model_name == "timm/test_vit"
    succeed("evaluate.py", "--data", data, "--checkpoint", "runs/tuned/model.safetensors")


@pytest.mark.slow
def test_a_cnn_of_timms_is_augmented_tuned_whole_and_looked_into(make_classes, tmp_path):
    data = make_classes("pets", images=10)
    write_weights(tmp_path / "weights.pth", NAME)
    chosen = ("--data", data, "--model", NAME, "--weights", "weights.pth")
    succeed("train.py", *chosen, "--epochs", 1, "--augment", "--output", "runs/augmented")
    assert set(load_file("runs/augmented/model.safetensors")) >= {"weight", "bias"}
    arguments = ("--recipe", "head-then-all", "--epochs", 1, "--batch-size", 4, "--output", "runs/tuned")
    succeed("fine_tune.py", *chosen, *arguments)
    succeed("evaluate.py", "--data", data, "--checkpoint", "runs/tuned/model.safetensors")
    assert Path("runs/tuned/evaluation/looked_at.png").exists()


def test_a_mistyped_name_ends_each_command_before_anything_is_written(tmp_path, capsys):
    write_classes(tmp_path, "pets")
    for script in ("train.py", "fine_tune.py"):
        message = refusal(capsys, script, "--data", "pets", "--model", "timm/test_resnte", "--weights", "none")
        assert "Unknown model 'timm/test_resnte'; try one of timm/test_resnet" in message
        message = refusal(capsys, script, "--data", "pets", "--model", NAME)
        assert "The weights of timm/test_resnet.r160_in1k are not in" in message
    assert call("train.py", "--help") == 0


# the second oracle


def test_the_oracle_is_timms_class_with_every_tensor():
    """tests/test_vit_s.py compares ours to it; here, that renaming leaves nothing out and puts nothing twice."""
    theirs = timm.create_model("vit_small_patch14_dinov2", img_size=224, num_classes=0).state_dict()
    stored = {}
    for i in range(timm_oracle.BLOCKS):
        layer = f"backbone.encoder.layer.{i}."
        for stem, shapes in {
            "attention.attention.query": ((384, 384), (384,)),
            "attention.attention.key": ((384, 384), (384,)),
            "attention.attention.value": ((384, 384), (384,)),
            "attention.output.dense": ((384, 384), (384,)),
            "mlp.fc1": ((1536, 384), (1536,)),
            "mlp.fc2": ((384, 1536), (384,)),
            "norm1": ((384,), (384,)),
            "norm2": ((384,), (384,)),
        }.items():
            stored |= {
                f"{layer}{stem}.{kind}": torch.randn(s) for kind, s in zip(("weight", "bias"), shapes, strict=True)
            }
        stored |= {f"{layer}layer_scale{n}.lambda1": torch.randn(384) for n in (1, 2)}
    stored |= {
        "backbone.embeddings.cls_token": torch.randn(1, 1, 384),
        "backbone.embeddings.patch_embeddings.projection.weight": torch.randn(384, 3, 14, 14),
        "backbone.embeddings.patch_embeddings.projection.bias": torch.randn(384),
        "backbone.layernorm.weight": torch.randn(384),
        "backbone.layernorm.bias": torch.randn(384),
        "class_position": torch.randn(1, 1, 384),
        "patch_positions": torch.randn(1, 37 * 37, 384),
    }
    model = timm_oracle.vit_s_14(stored)
    assert model.state_dict().keys() == theirs.keys()
    assert torch.equal(model.pos_embed[:, :1], stored["class_position"])
    with torch.inference_mode():
        assert model.forward_features(torch.zeros(1, 3, 224, 224)).shape == (1, 257, 384)
