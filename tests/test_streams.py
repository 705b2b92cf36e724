"""Where the commands' words go: streams that are closed or full, names that hold tabs, formats of a plot, no home."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import COMMANDS, HANGS, LITE0, PACKAGE, call, messages, refusal, succeed
from PIL import Image

from going_modular import predict
from going_modular.common import cli, progress
from going_modular.data import download

pytestmark = pytest.mark.slow  # most start processes

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="only Linux has a device that is always full")
needs_shell = pytest.mark.skipif(os.name == "nt", reason="needs a shell that closes streams")


def shell(line: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(["sh", "-c", line], cwd=cwd, capture_output=True, text=True, timeout=HANGS, check=False)


def command(script: str, *arguments: object) -> str:
    return " ".join([sys.executable, str(PACKAGE / script), *map(str, arguments)])


@needs_shell
@needs_full
@pytest.mark.parametrize("script", COMMANDS)
@pytest.mark.parametrize(("redirection", "why"), [(">&-", "it is closed"), (">/dev/full", "No space left on device")])
def test_help_that_nobody_can_read_is_told_on_the_other_stream(script, redirection, why, tmp_path):
    ended = shell(f"{command(script, '--help')} {redirection}", tmp_path)
    assert ended.stderr == f"{script}: error: standard output cannot be written: {why}\n"
    assert ended.returncode == cli.OUTPUT_LOST


@needs_shell
@needs_full
@pytest.mark.parametrize("script", COMMANDS)
@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_an_error_that_nobody_can_read_is_told_on_the_other_stream(script, redirection, tmp_path):
    ended = shell(f"{command(script, '--nonsense')} {redirection}", tmp_path)
    assert ended.stdout.startswith(f"{script}: error: ")
    assert len(ended.stdout.splitlines()) == 1
    assert ended.returncode == cli.BAD_INPUT
    assert shell(f"{command(script, '--nonsense')} >&- {redirection}", tmp_path).returncode == cli.BAD_INPUT


@needs_shell
@needs_full
@pytest.mark.parametrize("redirection", [">/dev/full", ">&- 2>&-"])
def test_a_training_is_finished_whoever_listens(make_classes, tmp_path, redirection):
    arguments = ("--data", make_classes("data"), *LITE0, "--epochs", 1, "--output", "out")
    ended = shell(f"{command('train.py', *arguments)} {redirection}", tmp_path)
    assert "Traceback" not in ended.stderr + ended.stdout
    assert json.loads((tmp_path / "out/metrics.json").read_text(encoding="utf-8"))["epochs"] == 1
    assert ended.returncode == cli.OUTPUT_LOST
    if redirection == ">/dev/full":
        last = messages(ended.stderr)[-1]
        assert last == "train.py: error: standard output cannot be written: No space left on device"


@needs_full
def test_a_disk_that_fills_up_loses_lines_and_nothing_else(monkeypatch, capsys):
    done = []
    with FULL.open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)

        def work():
            sys.stdout.write("a line\n")
            done.append("work")

        assert cli.run(work, "train.py") == cli.OUTPUT_LOST
        assert sys.stdout is full
    assert done == ["work"]
    assert capsys.readouterr().err == "train.py: error: standard output cannot be written: No space left on device\n"


@needs_full
def test_progress_that_nobody_can_see_is_no_reason_to_fail(monkeypatch, capsys):
    with FULL.open("w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        assert cli.run(lambda: print_bar(3), "train.py") == 0
    assert capsys.readouterr().out == ""


def print_bar(items: int) -> None:
    for _ in progress.bar(range(items), mininterval=0):
        sys.stderr.flush()


def test_a_command_that_is_heard_ends_as_before(capsys):
    assert cli.run(lambda: sys.stdout.write("a line\n"), "train.py") == 0
    assert capsys.readouterr() == ("a line\n", "")


# one line an image


def trained(classes: tuple[str, ...], make_classes) -> Path:
    data = make_classes("data", classes)
    succeed("train.py", "--data", data, *LITE0, "--epochs", 1, "--output", "out")
    return data


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_with_tabs_and_newlines_leave_one_line_of_three_fields_an_image(
    make_classes, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    classes = ("a\tcat", "a\ndog \u202e")
    trained(classes, make_classes)
    capsys.readouterr()
    succeed("predict.py", "data", "--checkpoint", "out/model.safetensors")
    rows = [line.split("\t") for line in capsys.readouterr().out.split("\n")[:-1]]
    assert [len(row) for row in rows] == [3] * 12
    assert {row[1] for row in rows} <= {r"a\tcat", r"a\ndog \u202e"}
    assert {row[0].split("/")[1] for row in rows} == {r"a\tcat", r"a\ndog \u202e"}
    succeed("predict.py", "data", "--checkpoint", "out/model.safetensors", "--json")
    rows = json.loads(capsys.readouterr().out)
    assert {Path(row["path"]).parent.name for row in rows} == set(classes)
    assert {name for row in rows for name in row["probabilities"]} == set(classes)


@pytest.mark.parametrize("text", ["pizza", "寿司 sushi", "بيتزا", "👩🏽‍🍳 pizza", "C:\\new\\table.jpg", "a b"])
def test_usual_names_are_printed_as_they_are(text):
    assert cli.printable(text) == text


@pytest.mark.parametrize(
    ("text", "printed"), [("a\tb", r"a\tb"), ("a\r\nb", r"a\r\nb"), ("\x1b[31m", r"\x1b[31m"), ("a\u2028", r"a\u2028")]
)
def test_what_breaks_a_line_or_steers_a_terminal_is_escaped(text, printed):
    assert cli.printable(text) == printed


# a plot


def test_a_plot_is_written_in_the_format_of_its_extension(make_classes, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    photo = next(trained(("cat", "dog"), make_classes).rglob("*.png"))
    options = (photo, "--checkpoint", "out/model.safetensors", "--plot")
    for name, kind in {"a.jpg": "JPEG", "b.JPEG": "JPEG", "c.webp": "WEBP", "d.png": "PNG", "e": "PNG"}.items():
        succeed("predict.py", *options, name)
        with Image.open(name) as image:
            assert image.format == kind
    for name, start in {"f.pdf": b"%PDF", "g.svg": b"<?xml"}.items():
        succeed("predict.py", *options, name)
        assert Path(name).read_bytes().startswith(start)
    for name in ("h.gif", "i.txt", "j.doc.zip"):
        message = refusal(capsys, "predict.py", *options, name)
        assert repr(name) in message
        assert all(extension in message for extension in predict.PLOTTED)


# folders of others, and none


@pytest.mark.skipif(os.name == "nt", reason="needs folders that are closed to us")
def test_with_the_home_of_another_user_features_are_not_kept_and_the_rest_works(make_classes, tmp_path, monkeypatch):
    home = tmp_path / "home"
    (home / ".cache").mkdir(parents=True)
    prefix = []
    if os.geteuid() == 0:  # root may look everywhere, unless it gives that up
        if not shutil.which("setpriv"):
            pytest.skip("root needs setpriv to give up its rights")
        prefix = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    for name in ("GOING_MODULAR_CACHE", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    make_classes("data")
    home.chmod(0)
    try:
        line = [*prefix, *command("train.py", "--data", "data", "--epochs", 1, "--output", "out").split()]
        ended = subprocess.run(
            line,
            cwd=tmp_path,
            env=os.environ | {"HOME": str(home)},
            capture_output=True,
            text=True,
            timeout=HANGS,
            check=False,
        )
    finally:
        home.chmod(0o700)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("Features are not kept in") == 1
    assert (tmp_path / "out/metrics.json").is_file()
    assert list((home / ".cache").iterdir()) == []


def test_a_user_without_a_home_gets_a_cache_that_goes(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("could not determine the home directory")

    monkeypatch.delenv("GOING_MODULAR_CACHE")
    monkeypatch.setattr(download, "user_cache_dir", fail)  # a user whom the system does not know cannot be made here
    with pytest.warns(UserWarning, match="no home folder.* GOING_MODULAR_CACHE"):
        folder = download.cache_folder()
    assert folder.is_dir()
    assert download.cache_folder() == folder
    download._cache_without_home().cleanup()
    download._cache_without_home.cache_clear()
    assert not folder.exists()


def zipped(folder: Path, name: str) -> Path:
    return Path(shutil.make_archive(str(folder.parent / name), "zip", folder.parent, folder.name))


def test_a_cache_that_cannot_be_written_is_named_and_no_unsound_zip(make_classes, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    archive = zipped(make_classes("data"), "photos")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GOING_MODULAR_CACHE", str(tmp_path / "file" / "cache"))
    message = refusal(capsys, "train.py", "--data", archive.name, *LITE0)
    assert f"'{tmp_path}/file/cache/datasets' cannot be written: Not a directory" in message
    assert "GOING_MODULAR_CACHE" in message
    assert "sound zip" not in message


def test_a_zip_whose_name_is_as_long_as_names_can_be_is_unpacked(make_classes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    archive = zipped(make_classes("data"), "n" * 251)
    assert call("train.py", "--data", archive.name, *LITE0, "--epochs", 1, "--output", "out") == 0


def test_names_in_a_zip_that_are_too_long_are_called_so(make_image, tmp_path, monkeypatch, capsys):
    import zipfile

    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("photos.zip", "w") as packed:
        packed.write(make_image("a.png"), f"cat/{'n' * 300}.png")
    message = refusal(capsys, "train.py", "--data", "photos.zip", *LITE0)
    assert "File name too long; give the zip, or what is in it, shorter names" in message


@pytest.mark.parametrize("weights", ["DEFAULT", "nonsense"])
def test_a_model_that_no_weights_help_is_refused_before_anybody_is_sent_for_them(
    make_classes, tmp_path, monkeypatch, capsys, weights
):
    monkeypatch.chdir(tmp_path)
    data = make_classes("data")
    message = refusal(capsys, "train.py", "--data", data, "--model", "squeezenet1_0", "--weights", weights)
    assert message.endswith("squeezenet1_0 has no Linear at its end: choose another model, such as resnet18")
