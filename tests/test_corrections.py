"""Corrections: what a person decided about images changes labels, parts and splits, and no image."""

import shutil

import pytest
from commands import LITE0, refusal, succeed
from PIL import Image

from going_modular import data_setup
from going_modular.common.errors import InputError
from going_modular.data import corrections

HEADER = "file,action,class_or_group,reason\n"


@pytest.fixture
def data(tmp_path):
    """Return a folder of two classes with twenty images each."""
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(20):
            colour = (10 * i, 200 if name == "cat" else 20, 100)
            Image.new("RGB", (40, 40), colour).save(tmp_path / "data" / name / f"{i:02}.png")
    return tmp_path / "data"


@pytest.fixture
def decide(tmp_path):
    """Return a function that writes rows into a file of corrections and returns it."""

    def write(*rows: str, header: str = HEADER):
        file = tmp_path / "corrections.csv"
        file.write_text(header + "".join(f"{row}\n" for row in rows), encoding="utf-8")
        return file

    return write


def labels_by_place(splits) -> dict[str, str]:
    """Return the class of each image by its path below the data."""
    parts = [part for part in (splits.train, splits.validation, splits.test) if part is not None]
    return {
        corrections.place(path, splits.folder): part.classes[label] for part in parts for path, label in part.samples
    }


def test_images_are_moved_and_left_out_and_no_file_is_touched(data, decide):
    before = {path: path.read_bytes() for path in data.rglob("*.png")}
    file = decide("cat/03.png,move,dog,a dog", "dog/05.png,leave out,,blurred", "dog/06.png,keep,,fine")
    labels = labels_by_place(data_setup.load_splits(data, corrections=file))
    assert labels["cat/03.png"] == "dog"
    assert "dog/05.png" not in labels
    assert labels["dog/06.png"] == "dog"
    assert len(labels) == 39
    assert {path: path.read_bytes() for path in data.rglob("*.png")} == before


def test_applying_twice_is_applying_once(data, decide):
    file = decide("cat/03.png,move,dog,", "dog/05.png,leave out,,", "cat/01.png,group,a,", "cat/02.png,group,a,")
    splits = data_setup.load_splits(data, corrections=file)
    decided = corrections.read(file)
    for part in (splits.train, splits.test):
        again = decided.apply(part, splits.folder)
        assert again.samples == part.samples
        assert again.groups == {path: part.groups[path] for path, _ in part.samples if path in part.groups}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("validation", [False, True])
def test_a_group_never_stands_on_both_sides(data, decide, seed, validation):
    burst = {f"cat/{i:02}.png" for i in range(4, 9)}
    file = decide(*(f"{place},group,burst," for place in sorted(burst)))
    splits = data_setup.load_splits(data, seed=seed, validation=validation, corrections=file)
    parts = [part for part in (splits.train, splits.validation, splits.test) if part is not None]
    holding = [part for part in parts if burst & {corrections.place(path, data) for path, _ in part.samples}]
    assert len(holding) == 1
    assert len(labels_by_place(splits)) == 40


def test_groups_of_names_and_of_corrections_are_linked(data, decide):
    file = decide("cat/00.png,group,x,", "dog/19.png,group,x,")
    pattern = r"(\d)\d"  # 0 and 1: two groups, which the correction makes one
    assert "1 groups" in refusal_of(data_setup.load_splits, data, group_by=pattern, corrections=file)


def test_of_a_group_that_the_test_folder_has_nothing_is_trained_on(data, decide, tmp_path):
    for part, kept in (("train", range(14)), ("test", range(14, 20))):
        for name in ("cat", "dog"):
            (tmp_path / "own" / part / name).mkdir(parents=True)
            for i in kept:
                shutil.copy(data / name / f"{i:02}.png", tmp_path / "own" / part / name)
    file = decide("train/cat/03.png,group,plate,", "test/cat/15.png,group,plate,", "train/dog/00.png,group,other,")
    splits = data_setup.load_splits(tmp_path / "own", corrections=file)
    labels = labels_by_place(splits)
    assert "train/cat/03.png" not in labels
    assert {"test/cat/15.png", "train/dog/00.png"} <= labels.keys()
    assert "Corrections: 1 training images left out, of groups that stand in another part" in splits.notes


def test_a_file_that_is_gone_is_one_line(data, decide):
    splits = data_setup.load_splits(data, corrections=decide("cat/03.png,move,dog,", "cat/99.png,leave out,,"))
    told = [note for note in splits.notes if note.startswith("Corrections")]
    assert told == [
        f"Corrections: 1 moved to another class, by corrections.csv ({splits.rule.corrections})",
        "Corrections: 1 file that the data has not: cat/99.png",
    ]


def test_the_digest_tells_decisions_and_nothing_else(decide):
    rows = ["a/1.png,move,b,why", "a/2.png,leave out,,"]
    first = corrections.read(decide(*rows)).digest
    assert corrections.read(decide(*reversed(rows))).digest == first
    assert corrections.read(decide("a/1.png,move,b,", rows[1], rows[1])).digest == first
    assert corrections.read(decide("a/1.png,move,c,why", rows[1])).digest != first
    assert (
        corrections.read(decide("a\\1.png;MOVE;b;", "a/2.png;leave out;;", header=HEADER.replace(",", ";"))).digest
        == first
    )


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        (["cat/00.png,move,horse,"], "no class horse in the data; it has cat, dog"),
        (["cat/00.png,move,,"], "line 2: 'move' needs the name of a class"),
        (["cat/00.png,keep,,", "cat/00.png,remove,,"], "line 3: no action 'remove'; there are keep, move"),
        (["cat/00.png,move,dog,", "cat/00.png,move,cat,"], "line 3: 'cat/00.png' has 'move' to 'dog' and to 'cat'"),
        (["cat/00.png,keep,,", "cat/00.png,leave out,,"], "line 3: 'cat/00.png' has 'keep' and 'leave out'"),
        ([",keep,,"], "line 2: it names no file"),
        ([f"cat/{i:02}.png,leave out,," for i in range(20)], "leave no image of cat"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_one_line(data, decide, rows, named):
    assert named in refusal_of(data_setup.load_splits, data, corrections=decide(*rows))


def test_what_is_no_such_file_is_one_line(data, decide, tmp_path):
    (tmp_path / "photo.csv").write_bytes(bytes(range(256)))
    for file, named in (
        (tmp_path / "none.csv", "No such file"),
        (tmp_path / "photo.csv", "not UTF-8"),
        (tmp_path, "folder"),
        (decide(header="name,what\n"), "does not name the column file, action, class_or_group"),
    ):
        message = refusal_of(data_setup.load_splits, data, corrections=file)
        assert named in message
        assert "\n" not in message


def refusal_of(function, *arguments, **options) -> str:
    with pytest.raises(InputError) as refused:
        function(*arguments, **options)
    return str(refused.value)


@pytest.mark.slow
def test_every_command_takes_them_and_a_checkpoint_knows_which(data, decide, tmp_path, capsys):
    rows = ["cat/03.png,move,dog,", "dog/05.png,leave out,,"]
    file = decide(*rows)
    digest = corrections.read(file).digest
    common = ["--data", data, *LITE0, "--epochs", "1"]

    succeed("train.py", *common, "--corrections", file, "--output", tmp_path / "run")
    assert f"1 moved to another class, 1 left out, by corrections.csv ({digest})" in capsys.readouterr().out
    measure = ["--checkpoint", tmp_path / "run/model.safetensors", "--split", "train"]
    succeed("evaluate.py", *measure)
    assert f"the model was trained with some ({digest}), none are made here" in capsys.readouterr().out
    succeed("evaluate.py", *measure, "--corrections", file)
    assert "the model was trained with" not in capsys.readouterr().out

    succeed("fine_tune.py", *common, "--recipe", "head", "--corrections", file, "--output", tmp_path / "tuned")
    (tmp_path / "tuned/metrics.json").unlink()  # as if it were not finished
    succeed("fine_tune.py", "--resume", tmp_path / "tuned")
    (tmp_path / "tuned/metrics.json").unlink()
    decide(*rows, "cat/04.png,move,dog,")
    assert "cat/04.png -> dog" in refusal(capsys, "fine_tune.py", "--resume", tmp_path / "tuned")
    refused = refusal(capsys, "train.py", *common, "--corrections", tmp_path / "gone.csv", "--output", tmp_path / "x")
    assert "gone.csv" in refused
