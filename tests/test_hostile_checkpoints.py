"""Checkpoints, settings and run folders from strangers: they are data, in bounded memory, and one line says what ails.

Each is refused before a model is built or weights are fetched, where its header or its size tells.
"""

import json
import os
import pickle
import shutil
import struct
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from commands import LITE0, call, messages, refusal, succeed, write_classes, write_image
from limited import STATUS, memory, snapshot
from safetensors import safe_open
from safetensors.torch import save_file

from going_modular import model_builder, predict
from going_modular.common import cli, errors, files, fonts, strict_json
from going_modular.common.errors import InputError
from going_modular.evaluation import report
from going_modular.fine_tuning import checkpoints, sound
from going_modular.fine_tuning.settings import Settings, read_file
from going_modular.models import pretrained
from going_modular.saving import checkpoint, checkpoint_header, run_folder

NAME = "efficientnet_lite0"
GIB = 2**30
needs_limit = pytest.mark.skipif(not STATUS.exists(), reason="only Linux holds a process to an amount of memory")
needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")


@pytest.fixture(scope="module")
def trained():
    """Return a model, what a checkpoint of it says, and the tensors of its head."""
    torch.manual_seed(0)
    return model_builder.create_model(NAME, 3)[0]


@pytest.fixture
def described(trained, tmp_path) -> dict:
    path = checkpoint.save(
        tmp_path / "sound.safetensors", trained, model_name=NAME, weights="DEFAULT", class_names=["a", "b", "c"]
    )
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()[checkpoint.FORMAT])


@pytest.fixture
def head(trained) -> dict[str, torch.Tensor]:
    return model_builder.head(trained).state_dict()


def write(path: Path, tensors: dict, described: dict | str) -> Path:
    text = described if isinstance(described, str) else json.dumps(described)
    save_file(tensors, path, metadata={checkpoint.FORMAT: text})
    return path


def error_of(function, *arguments, **options) -> str:
    with pytest.raises(InputError) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    return str(caught.value)


# what the header tells


@needs_limit
def test_a_million_class_names_cost_no_memory(tmp_path, head, described):
    path = write(tmp_path / "x", head, described | {"class_names": [str(i) for i in range(1_000_000)]})
    with memory(GIB // 2):
        assert "does not fit efficientnet_lite0 with the 1000000 classes it names" in error_of(checkpoint.load, path)


@needs_limit
def test_a_large_model_is_not_built_for_a_small_file(tmp_path, head, described):
    with memory(GIB // 4):  # vit_h_14 takes 2.5
        for part in ("head", "model"):
            change = {"model": "vit_h_14", "weights": "IMAGENET1K_SWAG_E2E_V1", "part": part}
            path = write(tmp_path / "x", head, described | change)
            assert "does not fit vit_h_14 with the 3 classes" in error_of(checkpoint.load, path)


def test_weights_are_not_fetched_for_a_head_that_does_not_fit(tmp_path, head, described, monkeypatch):
    def refuse(*_):
        raise AssertionError("weights are fetched")

    monkeypatch.setattr(pretrained, "state_dict", refuse)
    path = write(tmp_path / "x", head, described | {"model": "resnet50", "weights": "IMAGENET1K_V2"})
    assert "does not fit resnet50" in error_of(checkpoint.load, path)


def header_only(path: Path, header: bytes, length: int | None = None) -> Path:
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header)
    return path


def test_a_header_has_a_largest_size(tmp_path):
    path = header_only(tmp_path / "x", b"{}", 2**60)
    assert "is damaged (it ends in its header)" in error_of(checkpoint.load, path)
    with path.open("ab") as file:
        file.truncate(2**31)  # a sparse file
    header_only(tmp_path / "y", b"{}", 2**30)
    with (tmp_path / "y").open("r+b") as file:
        file.truncate(2**31)
    assert "its header has 1,073,741,824 bytes, more than any" in error_of(checkpoint.load, tmp_path / "y")


@needs_limit
def test_very_many_tensors_cost_little(tmp_path, described):
    entries = {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(50_000)}
    entries["__metadata__"] = {checkpoint.FORMAT: json.dumps(described)}
    path = header_only(tmp_path / "x", json.dumps(entries).encode())
    with memory(GIB // 4):
        assert "does not fit efficientnet_lite0" in error_of(checkpoint.load, path)


@pytest.mark.parametrize("change", [
    {"dtype": "F99"}, {"dtype": 7}, {"shape": "3"}, {"shape": [-3, 1280]}, {"shape": [2**70]}, {"shape": [3.0, 1280]},
    {"shape": [True, 1280]}, {"data_offsets": [0]}, {"data_offsets": None}, {"data_offsets": [0, 10**30]},
    {"dtype": "C64"}, {"dtype": "I8"}, {"shape": []},
])  # fmt: skip
def test_an_odd_entry_of_the_header_is_refused(tmp_path, head, described, change):
    path = write(tmp_path / "x", head, described)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["1.weight"] |= change
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    message = error_of(checkpoint.load, path)
    assert "is damaged (" in message or "does not fit efficientnet_lite0" in message


@pytest.mark.parametrize("kind", [torch.int8, torch.complex64, torch.bool])
def test_weights_that_are_no_floats_are_refused(tmp_path, head, described, kind):
    try:
        path = write(tmp_path / "x", {name: tensor.to(kind) for name, tensor in head.items()}, described)
    except KeyError:
        pytest.skip(f"safetensors before 0.7 does not write {kind}")
    assert "does not fit efficientnet_lite0" in error_of(checkpoint.load, path)


def test_floats_of_another_length_are_read(tmp_path, head, described):
    path = write(tmp_path / "x", {name: tensor.half() for name, tensor in head.items()}, described)
    assert checkpoint.load(path).class_names == ["a", "b", "c"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, head, described, value):
    head["1.bias"] = torch.tensor([0.0, value, 0.0])
    path = write(tmp_path / "x", head, described)
    assert "is damaged (its weights are not finite)" in error_of(checkpoint.load, path)
    wide = {name: tensor.double() for name, tensor in head.items()}
    wide["1.bias"] = torch.full((3,), 1e300, dtype=torch.float64)  # finite, but not in a model's float32
    assert "are not finite" in error_of(checkpoint.load, write(tmp_path / "y", wide, described))


@pytest.mark.parametrize("name", ["vit_b_16", "swin_v2_t", "regnet_y_400mf", "maxvit_t", "googlenet", "hybrid_" + NAME])
def test_what_needs_no_memory_has_the_shapes_of_what_does(name):
    entry = pretrained.entry(name, None)
    with checkpoint_header._WithoutNumbers():
        model = model_builder.assemble(name, 3, entry)
    built = model_builder.assemble(name, 3, entry)
    assert any(tensor.is_meta for tensor in model.state_dict().values())
    assert [(key, tensor.shape, tensor.dtype) for key, tensor in model.state_dict().items()] == [
        (key, tensor.shape, tensor.dtype) for key, tensor in built.state_dict().items()
    ]


# what the description tells


@pytest.mark.parametrize(("text", "told"), [
    ('{"metrics": ' + "9" * 5000 + "}", "it has a number of 5000 digits"),
    ('{"metrics": ' + "[" * 500 + "]" * 500 + "}", "it is nested too deep"),
    ('{"metrics": ' + "[" * 100_000 + "]" * 100_000 + "}", "it is nested too deep"),
    ('{"model": "resnet18", "model": "vit_b_16"}', "it has a key twice"),
    ('{"class_names": ["\\ud800"]}', "surrogates not allowed"),
    ('{"metrics": {"a": [{"b": "\\udfff"}]}}', "surrogates not allowed"),
])  # fmt: skip
def test_json_that_no_writer_writes_is_refused(tmp_path, head, text, told):
    message = error_of(checkpoint.load, write(tmp_path / "x", head, text))
    assert "is damaged (" in message
    assert told in message


def test_json_is_read_as_it_is():
    value = {"a": [1, -2.5e300, None, True, "é", {"b": []}], "c": 10**300}
    assert strict_json.loads(json.dumps(value)) == value
    assert strict_json.loads(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize("change", [
    {"class_names": ["a", "a", "c"]},
    {"class_names": ["e\u0301", "\xe9", "c"]},  # one name on macOS
    {"class_names": ["a", "b", "c" * 1001]},
    {"model": "r" * 1000},
    {"weights": "r" * 1000},
    {"weights": {"file": "a", "sha256": "0" * 65}},
    *({"trained_on": {"data": "d", "seed": 1, "validation": True, "group_by": None} | change} for change in (
        {"data": "../d"}, {"data": "/d"}, {"data": ".."}, {"data": "a\0b"}, {"data": "d" * 300}, {"data": None},
        {"seed": -1}, {"seed": 2**32}, {"seed": 1.0}, {"seed": True}, {"validation": 1}, {"group_by": "(" * 1001},
    )),
])  # fmt: skip
def test_an_odd_value_is_named(tmp_path, head, described, change):
    [field] = change
    path = write(tmp_path / "x", head | {"trained_on.train": torch.zeros(1, 8, dtype=torch.uint8)}, described | change)
    assert f"is damaged (its {field}" in error_of(checkpoint.load, path)


def test_what_would_not_be_read_is_not_written(tmp_path, trained):
    options = {"model_name": NAME, "weights": "DEFAULT"}
    for names in (["a", "a", "b"], ["a", "b", "c" * 1001]):
        assert "must be different texts" in error_of(
            checkpoint.save, tmp_path / "x", trained, class_names=names, **options
        )
    metrics = {"accuracy": 0.5, "confusion_matrix": [[0] * 1500] * 1500}
    checkpoint.save(tmp_path / "x", trained, class_names=["a", "b", "c"], metrics=metrics, **options)
    assert checkpoint.load(tmp_path / "x").metrics == {"accuracy": 0.5}


# a name is no path


def test_a_file_that_bears_the_name_of_weights_is_not_taken_for_them(tmp_path, head, described, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "x", head, described)
    for name in ("IMAGENET1K_V1", "DEFAULT", "EfficientNetLite0Weights.IMAGENET1K_V1"):
        torch.save({"planted": torch.zeros(1)}, tmp_path / name)
        assert pretrained.describe(NAME, name) == "IMAGENET1K_V1", "a name that is typed is a name, too"
        assert "Weights do not fit" in error_of(model_builder.create_model, NAME, 3, weights=tmp_path / name)
    assert checkpoint.load(path).weights == "IMAGENET1K_V1"
    assert "Weights do not fit" in error_of(model_builder.create_model, NAME, 3, weights="./IMAGENET1K_V1")
    assert "Weights do not fit" in error_of(model_builder.create_model, NAME, 3, weights=Path("IMAGENET1K_V1"))


@pytest.mark.parametrize("name", ["planted.pth", "DEFAULT", "IMAGENET1K_V2"])
def test_a_checkpoint_names_no_file(tmp_path, head, described, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    torch.save(pretrained.state_dict(NAME, "DEFAULT"), tmp_path / name)
    path = write(tmp_path / "x", head, described | {"weights": name})
    assert f"has no weights named {name!r}" in error_of(checkpoint.load, path)


# answers that are no numbers, and names that steer


@pytest.mark.slow
def test_answers_that_are_not_finite_are_no_prediction(tmp_path, trained, described, head, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    image = write_image(tmp_path, "photo.png")
    head["1.weight"] = torch.full_like(head["1.weight"], 3e38)
    write(tmp_path / "x", head, described | {"class_names": ["pizza", "steak", "sushi"]})
    message = refusal(capsys, "predict.py", image, "--checkpoint", "x")
    assert "The model's answers to 1 of 1 images" in message
    assert "photo.png', are not finite" in message
    data = write_classes(tmp_path, "data", ("pizza", "steak", "sushi"))
    message = refusal(capsys, "evaluate.py", "--data", data, "--checkpoint", "x", "--output", "out")
    assert "the model's answers are not finite" in message

    class Broken(torch.nn.Module):
        def forward(self, images):
            return images.new_full((len(images), 2), float("nan"))

    assert "are not finite" in error_of(predict.pred_and_plot_image, Broken(), ["a", "b"], image)


STEERING = ["\x1b[31m", "\x9b", "\u202e", "\u2066", "\u200e", "\u200f", "\u061c", "\u200b", "\u2060", "\ufeff", "\xad"]


@pytest.mark.parametrize("steering", STEERING, ids=ascii)
def test_what_steers_or_hides_is_shown(steering, capsys):
    name = f"pi{steering}zza"
    shown = name.encode("ascii", "backslashreplace").decode().replace("\x1b", "\\x1b")
    assert cli.printable(name) == shown
    assert steering[0] not in fonts.drawable([name])[name]
    page = report.render(name, [name], [name], [report.Table(name, ("class",), [(name,)])])
    assert page.count(shown) == 6
    assert steering[0] not in page

    def say() -> None:
        sys.stdout.write(f"{name}\n")
        raise InputError(name)

    assert cli.run(say, "say") == cli.BAD_INPUT
    captured = capsys.readouterr()
    assert steering[0] not in captured.out + captured.err
    assert json.loads(f'"{captured.out.strip()}"') == name, "what is printed stays JSON where it was"


@pytest.mark.parametrize(
    "name", ["پیتزا", "می\u200cخواهم", "فّ", "פיצה", "披萨", "пицца", "👨\u200d🍳", "naïve", "क्\u200dष"]
)
def test_letters_of_any_script_stay(name, capsys):
    assert cli.printable(name) == name
    assert cli.run(lambda: sys.stdout.write(f"{name}\n"), "say") == 0
    assert capsys.readouterr().out == f"{name}\n"


def test_a_long_error_is_cut_and_keeps_its_end(capsys):
    def fail() -> None:
        raise InputError(f"No {'x' * 100_000}; name another")

    assert cli.run(fail, "say") == cli.BAD_INPUT
    [line] = messages(capsys.readouterr().err)
    assert line.startswith("say: error: No xxx")
    assert line.endswith("xxx; name another")
    assert len(line) < 1100


# settings


def aliases(levels: int) -> str:
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, levels))]
    return "\n".join([*lines, f"epochs: *a{levels - 1}"])


@pytest.mark.parametrize(("text", "told"), [
    (aliases(40), "it has an anchor or alias"),
    ("epochs: &a 3\nhead_epochs: *a", "it has an anchor or alias"),
    ("[" * 100_000, "it is nested too deep"),
    ("{a: " * 10_000, "it is nested too deep"),
    ("- " * 20_000, "it is nested too deep"),
    ('{"epochs": ' + "[" * 50_000 + "]" * 50_000, "it has more than 100,000 bytes"),
    ("epochs: 3\nepochs: 4", "the key 'epochs' is there twice"),
    ('{"epochs": 3, "epochs": 4}', "the key 'epochs' is there twice"),
    ("<<: {epochs: 3}", "the key '<<' is there twice, or merges others"),
    ("epochs: !!int '3'", "it has a tag"),
    ("epochs: !!python/object/apply:os.getcwd []", "it has a tag"),
    ("epochs: !x 3", "it has a tag"),
    ("epochs: " + "9" * 5000, "cannot be read as YAML or JSON"),
    ("epochs: 0x" + "f" * 20_000, "not"),
    ("epochs: [0x" + "f" * 20_000 + "]", "epochs is a list, which is not of type int"),
    ("? 0x" + "f" * 20_000 + "\n: 1", "unknown a number of more than 20 digits"),
    ("? [a]\n: 1", "cannot be read as YAML or JSON"),
    ("model: \x1b[31m", "cannot be read as YAML or JSON"),
    ("model: [" + "x, " * 30_000 + "]", "which is not of type str"),
    ("\n".join(f"key{i}: 1" for i in range(5000)), "4,990 more"),
])  # fmt: skip
@needs_limit
def test_settings_that_make_much_of_little_are_refused(tmp_path, text, told):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with memory(GIB // 4):
        if told == "not":
            assert read_file(path, Settings)["epochs"] > 10**9  # its range is checked with the others
        else:
            assert told in error_of(read_file, path, Settings)


# run folders


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """Return a folder with `data` and a run of two epochs, which its settings say are three."""
    place = tmp_path_factory.mktemp("run")
    write_classes(place, "data", images=12)
    arguments = ("--data", place / "data", *LITE0, "--recipe", "head", "--batch-size", 6, "--precision", "fp32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOING_MODULAR_OFFLINE", "1")
        succeed("fine_tune.py", *arguments, "--epochs", 2, "--output", place / "run")
    (place / "run/metrics.json").unlink()
    settings = json.loads((place / "run/settings.json").read_text()) | {"epochs": 3}
    (place / "run/settings.json").write_text(json.dumps(settings))
    return place


@pytest.fixture
def run(finished, tmp_path, monkeypatch) -> Path:
    """Return a copy of that run, in the current folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished / "run", "run")
    Path("elsewhere").mkdir()
    Path("elsewhere/kept.txt").write_text("kept")
    return Path("run")


@pytest.mark.slow
def test_a_run_goes_on_with_what_it_wrote_itself(run):
    succeed("fine_tune.py", "--resume", run)
    assert json.loads((run / "metrics.json").read_text())["epochs"] == 3


READ = ["settings.json", "checkpoints/images.json", "checkpoints/head/last.ckpt", "checkpoints/head/best.ckpt"]


@pytest.mark.parametrize("kind", ["folder", pytest.param("pipe", marks=needs_pipes), "huge", "link"])
@pytest.mark.parametrize("name", READ)
def test_what_stands_in_place_of_a_file_is_refused(run, capsys, name, kind):
    path = run / name
    before = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(10**11)
    else:
        Path("elsewhere/file").write_bytes(before)
        path.symlink_to(Path("elsewhere/file").resolve())
    if path.name == "last.ckpt":  # else the run goes on from the other
        (path.parent / "best.ckpt").unlink()
    with memory(2 * GIB):
        status = call("fine_tune.py", "--resume", run)
    [message] = messages(capsys.readouterr().err)
    assert status == cli.BAD_INPUT
    assert message.startswith("fine_tune.py: error: ")
    assert snapshot(Path("elsewhere")).keys() == {"kept.txt", *(["file"] if kind == "link" else [])}
    if kind == "link":
        assert Path("elsewhere/file").read_bytes() == before


@pytest.mark.parametrize("name", ["checkpoints", "checkpoints/head", "tensorboard", "tensorboard/head", "evaluation"])
def test_no_folder_of_a_run_is_a_link(run, capsys, name):
    if (run / name).exists():
        shutil.move(run / name, "elsewhere/moved")
        (run / name).symlink_to(Path("elsewhere/moved").resolve())
    else:
        (run / name).symlink_to(Path("elsewhere").resolve())
    before = snapshot(Path("elsewhere"))
    assert f"'run/{name}' is a link" in refusal(capsys, "fine_tune.py", "--resume", run)
    assert snapshot(Path("elsewhere")) == before
    if name != "checkpoints":
        shutil.rmtree(run / "checkpoints")
        if (run / name).is_symlink():
            for script in ("fine_tune.py", "train.py"):
                assert f"'run/{name}' is a link" in refusal(capsys, script, *LITE0, "--data", "sample", "--output", run)


def test_a_planted_link_to_a_file_that_is_not_there_is_not_followed(run, capsys):
    (run / "tensorboard/head/hparams.yaml").unlink()
    (run / "tensorboard/head/hparams.yaml").symlink_to(Path("elsewhere/new.yaml").resolve())
    assert "hparams.yaml' is a link" in refusal(capsys, "fine_tune.py", "--resume", run)
    assert snapshot(Path("elsewhere")).keys() == {"kept.txt"}


def test_the_weights_in_a_runs_settings_are_a_name_or_a_full_path(run, capsys):
    settings = json.loads((run / "settings.json").read_text())
    torch.save(pretrained.state_dict(NAME, "DEFAULT"), "planted.pth")
    for model in (NAME, None):
        (run / "settings.json").write_text(json.dumps(settings | {"weights": "planted.pth", "model": model}))
        message = refusal(capsys, "fine_tune.py", "--resume", run)
        assert "'planted.pth'" in message
    assert pretrained.from_anywhere(NAME, "planted.pth") == str(Path("planted.pth").resolve())
    assert pretrained.from_anywhere(NAME, "DEFAULT") == "DEFAULT"


def test_a_metrics_file_beside_a_checkpoint_may_be_anything(tmp_path, described, head):
    path = write(
        tmp_path / "model.safetensors",
        head | {"trained_on.train": torch.zeros(1, 8, dtype=torch.uint8)},
        described | {"trained_on": {"data": "sample", "seed": 1, "validation": False, "group_by": None}},
    )
    trained_on = checkpoint.load(path).trained_on
    for text in ("[" * 100_000, '{"data_source": "a\\u0000b"}', '{"data_source": 7}', "\xff"):
        (tmp_path / "metrics.json").write_text(text, encoding="latin-1")
        assert run_folder.data_of(path, trained_on) == "sample"
    (tmp_path / "metrics.json").unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "metrics.json")
        assert run_folder.data_of(path, trained_on) == "sample"


# checkpoints of a stage


def archive(path: Path, content: object, **options) -> Path:
    """Write a checkpoint as torch does, changed: `compress`, `prefix`, `twice`."""
    torch.save(content, path)
    if options:
        with zipfile.ZipFile(path) as packed:
            members = {member: packed.read(member) for member in packed.infolist()}
        method = zipfile.ZIP_DEFLATED if options.get("compress") else zipfile.ZIP_STORED
        with zipfile.ZipFile(path, "w", method) as packed:
            for member, inner in members.items():
                packed.writestr(member.filename, inner)
                if options.get("twice"):
                    packed.writestr(member.filename.upper(), inner)
    if prefix := options.get("prefix"):
        path.write_bytes(prefix + path.read_bytes())
    return path


class Calls:
    """Is pickled as a call of one of the functions that weights-only reading allows."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@needs_limit
@pytest.mark.parametrize("content", [
    pytest.param({"a": Calls(bytearray, 4 * GIB)}, id="bytearray"),
    pytest.param({"a": torch.zeros(1).expand(10**9)}, id="expanded"),
    pytest.param({"a": [torch.zeros(1).expand(10**8) for _ in range(20)]}, id="many expanded"),
    pytest.param({"a": torch.zeros(3, device="meta")}, id="meta"),
    pytest.param({"a": {1, 2}}, id="set"),
    pytest.param({"a": 10**30}, id="number"),
])  # fmt: skip
def test_a_checkpoint_that_claims_more_than_it_has_is_not_opened(tmp_path, content):
    path = archive(tmp_path / "last.ckpt", content)
    with memory(GIB):
        assert "is damaged, or holds more than tensors" in error_of(checkpoints.read, path, most=2**26)


@pytest.mark.slow
@needs_limit
@pytest.mark.parametrize("options", [{"compress": True}, {"prefix": b"x"}, {"twice": True}])
def test_an_archive_that_torch_does_not_write_is_not_opened(tmp_path, options):
    path = archive(tmp_path / "last.ckpt", {"a": torch.zeros(50_000_000)}, **options)
    with memory(GIB // 8):
        assert "is damaged, or holds more than tensors" in error_of(checkpoints.read, path, most=2**26)


def test_levels_without_end_are_not_followed(tmp_path):
    deep = []
    for _ in range(60):
        deep = [deep]
    endless = {"a": []}
    endless["a"].append(endless)
    for content in (deep, {"a": deep}):
        assert "damaged" in error_of(checkpoints.read, archive(tmp_path / "last.ckpt", content))
    assert checkpoints.read(archive(tmp_path / "last.ckpt", endless))["a"]
    (tmp_path / "old.ckpt").write_bytes(pickle.dumps({"a": 1}))
    assert "damaged" in error_of(checkpoints.read, tmp_path / "old.ckpt")


def test_room_for_a_checkpoint_grows_with_its_module():
    small, large = (sound.most_bytes(torch.nn.Linear(width, 1000)) for width in (10, 10_000))
    assert large - small >= 4 * 9990 * 1000 * 4


@pytest.mark.slow
@pytest.mark.parametrize("change", [
    lambda content: content["callbacks"][next(iter(content["callbacks"]))].update(patience="x"),
    lambda content: content["lr_schedulers"][0]["_schedulers"][0].update(base_lrs=[None]),
    lambda content: content["lr_schedulers"][0].update(_milestones="x"),
    lambda content: content["optimizer_states"][0]["param_groups"][0].update(betas="x"),
    lambda content: content["optimizer_states"][0]["param_groups"][0].update(eps=None),
    lambda content: content["optimizer_states"][0]["state"][0].update(step=torch.zeros(3)),
])  # fmt: skip
def test_what_shows_in_the_first_epoch_only_is_told_in_a_line_too(run, capsys, change):
    for path in (run / "checkpoints/head").glob("*.ckpt"):
        content = torch.load(path, weights_only=True)
        change(content)
        torch.save(content, path)
    status = call("fine_tune.py", "--resume", run)
    lines = messages(capsys.readouterr().err)
    assert (status, len(lines)) in ((0, 0), (cli.BAD_INPUT, 1)), lines


def test_texts_in_errors_are_short(tmp_path):
    assert len(errors.shortened("x" * 10**6)) <= errors.LONGEST
    with pytest.raises(OSError, match="more than 10 bytes"):
        files.read_bytes(write_image(tmp_path, "a.png"), most=10)
