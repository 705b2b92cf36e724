import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from going_modular.common.errors import InputError
from going_modular.fine_tuning.settings import Settings, file_content, read_file, settings_of


@dataclass(frozen=True)
class Small:
    name: str | None = None
    count: int = 1
    rate: float | None = None
    warm: bool = False
    output: Path | None = None


def read(tmp_path, text: str) -> dict:
    path = tmp_path / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return read_file(path, Small)


def test_what_is_written_is_read_again(tmp_path):
    settings = Small(name="été", count=3, rate=1e-4, warm=True, output=tmp_path)
    text = json.dumps(file_content(settings), ensure_ascii=False)
    assert Small(**read(tmp_path, text)) == replace(settings, output=None)


def test_yaml_and_its_ways_to_write_numbers(tmp_path):
    assert read(tmp_path, "count: 2\nrate: 1e-4\n") == {"count": 2, "rate": 1e-4}
    assert read(tmp_path, "rate: 3\nname: null") == {"rate": 3.0, "name": None}
    assert isinstance(read(tmp_path, "rate: 3")["rate"], float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs: 3", "unknown epochs; the keys are name, count, rate, warm"),
        ("output: there", "unknown output"),
        ("1: 2", "unknown 1"),
        ("count: many", "count is 'many', which is not of type int"),
        ("count: true", "count is True, which is not of type int"),
        ("count: 1.5", "count is 1.5"),
        ("count: null", "count is None"),
        ("warm: 1", "warm is 1, which is not of type bool"),
        ("rate: fast", "rate is 'fast', which is not of type float or none"),
        ("name: [a]", "name is ['a'], which is not of type str or none"),
        ("- a", "must have a line 'key: value'"),
        ("", "must have a line 'key: value'"),
        ("a: b: c", "cannot be read as YAML or JSON"),
        ("!!python/object/apply:os.system ['touch exploded']", "cannot be read as YAML or JSON"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, text, message):
    with pytest.raises(InputError) as error:
        read(tmp_path, text)
    assert message in str(error.value)
    assert not Path("exploded").exists()


def test_bytes_and_missing_files_are_errors(tmp_path):
    path = tmp_path / "settings.yaml"
    with pytest.raises(InputError, match="no such file"):
        read_file(path, Small)
    path.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(InputError, match="cannot be read"):
        read_file(path, Small)


def test_flags_win_over_the_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"epochs": 7, "mixup": 0.2, "data": "a"}))
    settings = settings_of({"config": path, "data": "b", "weights": "none"})
    assert settings == replace(Settings(), epochs=7, mixup=0.2, data="b", weights=None)


def test_a_resumed_run_keeps_its_settings(tmp_path):
    (tmp_path / "settings.json").write_text(json.dumps({"epochs": 7, "devices": 2}))
    settings = settings_of({"resume": tmp_path, "devices": 1})
    assert settings == replace(Settings(), epochs=7, resume=tmp_path, output=tmp_path)
    for options in ({"epochs": 3}, {"config": tmp_path / "settings.json"}, {"output": tmp_path}):
        with pytest.raises(InputError, match=f"--{next(iter(options))} with --resume"):
            settings_of({"resume": tmp_path, **options})
    with pytest.raises(InputError, match=r"no settings\.json there"):
        settings_of({"resume": tmp_path / "nothing"})
