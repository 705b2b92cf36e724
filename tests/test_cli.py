"""The commands as a user runs them: processes with their flags, exit statuses and signals."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import HANGS, LITE0, PACKAGE, messages, refusal, start

from going_modular.common import cli
from going_modular.saving import checkpoint


@pytest.mark.slow
@pytest.mark.parametrize("script", ["train.py", "predict.py", "fine_tune.py", "evaluate.py", "inspect_data.py"])
def test_help_comes_without_torch(script, tmp_path):
    code = (
        "import runpy, sys\n"
        "sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'torchvision', 'numpy', 'sklearn', 'matplotlib', 'PIL', 'lightning', 'yaml'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()\n"
    )
    line = [sys.executable, "-c", code, str(PACKAGE / script), "--help"]
    finished = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=HANGS, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith(f"usage: {script}")
    flags = "data model weights epochs batch-size lr seed device precision augment no-cache output"
    more = "config recipe patience devices nodes resume"
    expected = {
        "train.py": flags,
        "predict.py": "checkpoint weights json plot reject-below",
        "evaluate.py": "data checkpoint split positive against weights device seed output",
        "inspect_data.py": "data model group-by corrections seed device no-cache json output",
        "fine_tune.py": flags.replace("augment no-cache ", more + " "),
    }
    for flag in expected[script].split():
        assert f"--{flag}" in finished.stdout
    if script == "train.py":
        for default in ("(default: 5)", "(default: 32)", "(default: 0.001)", "(default: 42)"):
            assert default in finished.stdout


@pytest.mark.slow
def test_two_equal_runs_at_once_write_equal_models_into_folders_of_their_own(make_classes, tmp_path):
    arguments = ("train.py", "--data", make_classes("data"), *LITE0, "--epochs", 2)
    both = [start(*arguments, cwd=tmp_path) for _ in range(2)]
    for process in both:
        _, stderr = process.communicate(timeout=HANGS)
        assert process.returncode == 0, stderr
    first, second = (tmp_path / "runs").iterdir()
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_ctrl_c_while_training_keeps_the_finished_epochs(make_classes, tmp_path):
    data = make_classes("data")
    with start("train.py", "--data", data, *LITE0, "--epochs", 1_000_000, cwd=tmp_path) as process:
        for line in process.stdout:
            if line.startswith("Epoch 3/"):
                break
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it, too
        _, stderr = process.communicate(timeout=HANGS)
    assert process.returncode == cli.INTERRUPTED
    [message] = messages(stderr)
    [folder] = (tmp_path / "runs").iterdir()
    kept = re.fullmatch(r"train\.py: interrupted; epochs 1 to (\d+) are kept in (.*)", message)
    assert tmp_path / kept[2] == folder

    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    epochs = int(kept[1])
    assert epochs >= 3
    assert metrics["interrupted"] is True
    assert metrics["epochs"] == epochs
    assert {len(values) for values in metrics["history"].values()} == {epochs}
    loaded = checkpoint.load(folder / "model.safetensors")
    assert loaded.class_names == ["cat", "dog"]
    assert loaded.metrics == {"interrupted": True}


@pytest.mark.slow
def test_ctrl_c_during_features_ends_and_keeps_what_is_done(tmp_path):
    with start("train.py", "--data", "sample", *LITE0, cwd=tmp_path) as process:
        seen = ""
        while not re.search(r"Features: +[1-9]", seen) and (character := process.stderr.read(1)):
            seen += character
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=HANGS)
    assert process.returncode == cli.INTERRUPTED
    cache = Path(os.environ["GOING_MODULAR_CACHE"])
    assert messages((seen + stderr).replace("\rFeatures", "\nFeatures"))[-1:] == [
        f"train.py: interrupted; the features so far are kept in {cache}"
    ]
    assert "Traceback" not in stderr
    assert list((cache / "features").rglob("*.safetensors"))
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_at_any_other_moment(capsys):
    def interrupted():
        raise KeyboardInterrupt

    assert cli.run(interrupted, "train.py") == cli.INTERRUPTED
    assert capsys.readouterr().err == "train.py: interrupted; nothing was kept\n"


@pytest.mark.parametrize(
    "flags",
    [
        ("--epochs", "0"),
        ("--epochs", "-1"),
        ("--epochs", "abc"),
        ("--epochs", "1.5"),
        ("--lr", "-1"),
        ("--lr", "0"),
        ("--lr", "nan"),
        ("--lr", "inf"),
        ("--lr", "1e38"),
        ("--batch-size", "0"),
        ("--seed", "-1"),
        ("--seed", "4294967296"),
        ("--precision", "fp8"),
        ("--unknown", "1"),
        ("--epoch", "3"),
    ],
)
def test_bad_flags_are_named(flags, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = refusal(capsys, "train.py", f"{flags[0]}={flags[1]}")
    assert flags[0] in message
    assert flags[1] in message
    assert message.endswith("see train.py --help")
