"""Files whole or not at all, and which names are hidden."""

import os
from pathlib import Path

import pytest

from going_modular.common import files
from going_modular.common.errors import InputError


def test_a_file_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "metrics.json"
    files.write_json(path, {"name": "pizza é"})
    files.write_json(path, {"name": "steak"})
    assert path.read_text(encoding="utf-8") == '{\n  "name": "steak"\n}\n'
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("method", ["open", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch, method):
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(self, *_):
        self.touch()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, method, fail)
        with pytest.raises(InputError, match="No space left on device; name another folder"):
            files.write_bytes(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_under_the_usual_temporary_name_is_not_followed(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "report.json.part").symlink_to(tmp_path / "mine")
    files.write_json(tmp_path / "report.json", {"a": 1})
    assert (tmp_path / "mine").read_text() == "mine"
    assert (tmp_path / "report.json.part").is_symlink()


def test_a_name_as_long_as_names_can_be_is_written(tmp_path):
    path = tmp_path / ("n" * 250 + ".json")
    files.write_json(path, {})
    assert path.read_text() == "{}\n"


@pytest.mark.parametrize("name", [".DS_Store", "._photo.jpg", ".ipynb_checkpoints", "__MACOSX", "__pycache__"])
def test_what_nobody_means_is_hidden(name):
    assert files.is_hidden(name)


@pytest.mark.parametrize("name", ["photo.jpg", "__something__", "_", "a.b", "__"])
def test_what_somebody_may_mean_is_not_hidden(name):
    assert not files.is_hidden(name)
