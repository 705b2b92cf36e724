"""inspect_data.py as a user runs it, and what its page, its map and its counts are made of."""

import base64
import hashlib
import json
import os
import re
import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from commands import LITE0, call, refusal, succeed
from PIL import Image
from planted import clusters
from sklearn.metrics import balanced_accuracy_score

from going_modular import data_setup, inspect_data
from going_modular.common import cli
from going_modular.common.errors import InputError
from going_modular.data import corrections
from going_modular.evaluation import leaks
from going_modular.inspection import atlas, charts, copies, overview, page
from going_modular.inspection.collection import Collection, collect, joined
from going_modular.inspection.findings import Findings
from going_modular.inspection.labels import doubtful_labels
from going_modular.inspection.learning_curve import LearningCurve, Point
from going_modular.inspection.parts import Section
from going_modular.inspection.quality import measure_all
from going_modular.inspection.sections import sections
from going_modular.inspection.strangers import strangeness
from going_modular.inspection.survey import imbalance, survey

COMMAND = "inspect_data.py"
NASTY = "<b>\u202e&'\"<img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def numbers(folder: str = "runs/inspection-data") -> dict:
    return json.loads((Path(folder) / "inspection.json").read_text(encoding="utf-8"))


def data_of_page(text: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def decide(text: str) -> corrections.Corrections:
    Path("corrections.csv").write_text(f"file,action,class_or_group,reason\n{text}", encoding="utf-8")
    return corrections.read("corrections.csv")


def found(collection: Collection, *, flipped: int | None = None, stranger: int | None = None) -> Findings:
    """Return what is found where features are clusters, but of an image with the wrong label, and a stranger."""
    counts = np.bincount(collection.labels)
    features, labels = clusters(tuple(counts), apart=6.0)
    if flipped is not None:
        features[flipped] = features[-1] + 0.01
    if stranger is not None:
        features[stranger] = -40
    prints = leaks.fingerprints(collection.paths)
    qualities = measure_all(collection.paths)
    return Findings(
        collection=collection,
        model="clusters",
        unread={},
        survey=survey(
            collection.labels,
            collection.parts,
            collection.class_names,
            sizes=[(one.width, one.height) for one in qualities],
            formats=[one.format for one in qualities],
        ),
        imbalance=imbalance(labels, labels, len(counts)),
        doubts=doubtful_labels(features, labels, seed=0),
        groups=copies.find(prints, np.eye(len(labels), dtype=np.float32), labels, collection.parts),
        strangeness=strangeness(features),
        qualities=qualities,
        shortcuts=[],
        curve=None,
    )


def rendered(findings: Findings, parts: list[Section], decided: corrections.Corrections | None = None) -> str:
    features, _ = clusters((len(findings.collection.labels),))
    mapped = list(range(len(features)))
    drawn = page.Map(mapped, atlas.lay_out(features, seed=0), atlas.make_sheet(findings.collection.paths), [0])
    pictures = dict(enumerate(atlas.thumbnails(findings.collection.paths)))
    parts = [*parts, drawn.section(len(mapped))]
    return page.render("What is in it?", ["A fact."], parts, findings.collection, pictures, drawn, decided)


# --- what there is ---


def test_images_are_counted_by_class_and_part():
    labels, parts = [0, 0, 1, 0] * 5, ["train", "test", "train", "train"] * 5
    sizes = [(100, 50), (50, 100), (80, 80), (300, 60)] * 5
    taken = survey(labels, parts, ["cat", "dog"], sizes=sizes, formats=["JPEG"] * 15 + ["PNG"] * 5)
    assert taken.counts == {"cat": {"train": 10, "test": 5}, "dog": {"train": 5, "test": 0}}
    assert taken.scarce == {"dog": 5}
    assert taken.unsplittable == []
    assert taken.formats == {"JPEG": 15, "PNG": 5}
    assert taken.shapes == {"landscape": 10, "square": 5, "portrait": 5}
    assert taken.elongated == 5
    assert (taken.width.least, taken.width.median, taken.width.largest) == (50, 90, 300)
    assert taken.short_side.largest == 80
    assert taken.commonest_size[2] == 5


def test_what_imbalance_does_to_accuracy_is_a_number():
    labels = np.repeat([0, 1, 2], [90, 5, 5])
    always = imbalance(labels, np.zeros_like(labels), 3)
    assert (always.accuracy, always.majority_accuracy) == (0.9, 0.9)
    assert always.balanced_accuracy == always.majority_balanced == pytest.approx(1 / 3)
    assert always.is_uneven
    assert always.ratio == 18
    predicted = np.random.default_rng(0).integers(0, 3, len(labels))
    assert imbalance(labels, predicted, 3).balanced_accuracy == pytest.approx(
        balanced_accuracy_score(labels, predicted)
    )
    assert not imbalance(np.repeat([0, 1], [11, 10]), np.full(21, -1), 2).is_uneven
    assert imbalance(labels, np.full_like(labels, -1), 3).accuracy == 0


# --- all images, whatever part they stand in ---


def test_class_folders_have_the_parts_that_training_would_make(make_classes):
    data = make_classes("data", images=15)
    collection, splits = collect(data, seed=3), data_setup.load_splits(data, seed=3)
    parts = dict(zip(collection.paths, collection.parts, strict=True))
    assert {path for path, part in parts.items() if part == "test"} == {path for path, _ in splits.test.samples}
    assert len(collection.files) == 30
    assert collection.files[0] == "cat/0.png"
    assert collection.why_unsplit == ""
    assert len(set(collection.groups)) == 30
    grouped = collect(data, seed=3, group_by=r"^(\d)")
    numbers = {(Path(file).name[0], group) for file, group in zip(grouped.files, grouped.groups, strict=True)}
    assert len(numbers) == len(set(grouped.groups)) == 10
    assert len({(group, part) for group, part in zip(grouped.groups, grouped.parts, strict=True)}) == 10, (
        "a group is parted"
    )


def test_a_split_of_its_own_is_taken_whole(make_classes):
    for part, images in (("train", 4), ("val", 3), ("test", 2)):
        make_classes(f"data/{part}", images=images)
    collection = collect("data", seed=0)
    assert collection.parts == ("train",) * 8 + ("validation",) * 6 + ("test",) * 4
    assert "val/cat/0.png" in collection.files


def test_what_cannot_be_split_is_looked_at_all_the_same(make_classes, make_image):
    make_classes("data")
    make_image("data/rare/one.png")
    with pytest.raises(InputError, match="too few images"):
        data_setup.load_splits("data")
    collection = collect("data", seed=0)
    assert set(collection.parts) == {""}
    assert "1 in rare" in collection.why_unsplit
    assert len(collection.files) == 13
    left_out = collect("data", seed=0, corrections=decide("cat/0.png,leave out,,\nnowhere.png,leave out,,\n"))
    assert len(left_out.files) == 12
    assert any("nowhere.png" in note for note in left_out.notes)


def test_what_cannot_be_used_is_refused(make_classes):
    data = make_classes("data", images=12)
    with pytest.raises(InputError, match="is no regular expression"):
        collect(data, seed=0, group_by="(")
    with pytest.raises(InputError, match="no class cow"):
        collect(data, seed=0, corrections=decide("cat/0.png,move,cow,\n"))
    collection = collect(data, seed=0)
    left, unread = collection.without({0: "it is damaged"})
    assert unread == {collection.files[0]: "it is damaged"}
    assert left.files == collection.files[1:]
    assert len(left.parts) == len(left.groups) == len(left.labels) == 23
    with pytest.raises(InputError, match="no image of cat can be opened"):
        collection.without({i: "it is damaged" for i, name in enumerate(collection.names) if name == "cat"})


def test_images_are_joined_by_either_of_two_numberings():
    numbers = joined([0, 1, 2, 3, 4, 4], [7, 7, 5, 5, 3, 9])
    assert numbers[0] == numbers[1]
    assert numbers[2] == numbers[3]
    assert numbers[4] == numbers[5]
    assert len(set(numbers.tolist())) == 3
    assert len(set(joined(range(4), [5, 1, 2, 0]).tolist())) == 4


# --- the map ---


def test_the_map_keeps_neighbours_together(monkeypatch):
    features, labels = clusters((20, 20, 20))
    for most in (atlas.MOST_LAID_OUT, 40):
        monkeypatch.setattr(atlas, "MOST_LAID_OUT", most)
        layout = atlas.lay_out(features, seed=0)
        assert layout.laid_out == min(most, 60)
        for places in (layout.pca, layout.neighbours):
            assert places.shape == (60, 2)
            assert places.min() >= 0
            assert places.max() <= 1
        apart = np.linalg.norm(layout.neighbours[:, None] - layout.neighbours, axis=2)
        np.fill_diagonal(apart, np.inf)
        assert (labels[apart.argmin(axis=1)] == labels).mean() > 0.95
    again = atlas.lay_out(features, seed=0)
    np.testing.assert_array_equal(again.neighbours, layout.neighbours)


@pytest.mark.parametrize("shape", [(2, 8), (4, 1), (3, 5)])
def test_few_images_have_a_map_too(shape):
    layout = atlas.lay_out(np.random.default_rng(0).normal(size=shape), seed=0)
    assert layout.pca.shape == (shape[0], 2)
    assert layout.neighbours is None
    assert np.isfinite(layout.pca).all()
    same = atlas.lay_out(np.ones(shape), seed=0)
    assert (same.pca == 0.5).all()


def test_of_very_many_images_some_are_drawn(monkeypatch):
    assert atlas.choose(5, seed=0) == [0, 1, 2, 3, 4]
    monkeypatch.setattr(atlas, "MOST_MAPPED", 10)
    chosen = atlas.choose(50, seed=0)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == 10


def test_every_picture_of_the_sheet_stands_in_its_place(tmp_path):
    colours = [(20 * i, 250 - 20 * i, 10 * i) for i in range(11)]
    paths = [tmp_path / f"{i}.png" for i in range(11)]
    for path, colour in zip(paths, colours, strict=True):
        Image.new("RGB", (150, 70), colour).save(path)
    sheet = atlas.make_sheet(paths)
    pixels = np.asarray(Image.open(BytesIO(sheet.jpeg)), dtype=int)
    for i, colour in enumerate(colours):
        row, column = divmod(i, sheet.columns)
        small = pixels[row * sheet.side : (row + 1) * sheet.side, column * sheet.side : (column + 1) * sheet.side]
        assert np.abs(small[4:-4, 4:-4] - colour).max() < 12
    with Image.open(BytesIO(atlas.thumbnails(paths[:1])[0])) as thumbnail:
        assert thumbnail.size == (150, 70)


# --- what the page says ---


def test_every_finding_has_its_section_and_none_of_what_was_kept(make_classes):
    data = make_classes("data", images=12)
    shutil.copy("data/cat/0.png", "data/dog/copy of cat.png")
    shutil.copy("data/cat/1.png", "data/cat/again.png")
    Image.new("RGB", (90, 70), (4, 4, 4)).save("data/dog/night.png")
    findings = found(collect(data, seed=0), flipped=3)
    parts = {part.key: part for part in sections(findings)}
    assert list(parts) == [
        "labels", "two-labels", "leaks", "copies", "strangers", "quality", "shortcuts", "survey", "curve"
    ]  # fmt: skip
    suspect = findings.collection.files[3]
    assert parts["labels"].cards[0].image == 3
    assert parts["labels"].cards[0].proposed == 1
    assert parts["labels"].summary.startswith("1 of 27 images looks like another class")
    [box] = parts["two-labels"].boxes
    assert {findings.collection.files[i] for i in box.members} == {"cat/0.png", "dog/copy of cat.png"}
    [again] = [*parts["leaks"].boxes, *parts["copies"].boxes]
    assert {findings.collection.files[i] for i in again.members} == {"cat/1.png", "cat/again.png"}
    assert "dog/night.png" in [findings.collection.files[card.image] for card in parts["quality"].cards]
    content = findings.content()
    assert content["labels"]["suspects"][0]["file"] == suspect
    assert {tuple(group["classes"]) for group in content["copies"]} == {("cat", "dog"), ("cat",)}
    json.dumps(content)

    decided = decide(
        f"{suspect},keep,,\ndog/night.png,keep,,\ncat/1.png,group,1,\ncat/again.png,group,1,\n"
        "cat/0.png,keep,,\ndog/copy of cat.png,keep,,\n"
    )
    parts = {part.key: part for part in sections(found(collect(data, seed=0, corrections=decided), flipped=3))}
    assert "dog/night.png" not in [findings.collection.files[card.image] for card in parts["quality"].cards]
    assert not parts["two-labels"].boxes
    assert not parts["copies"].boxes
    assert not parts["leaks"].boxes


def test_what_is_scarce_uneven_or_unreadable_is_said(make_classes, make_image):
    data = make_classes("data", ("cat",), images=12)
    make_classes("data", ("dog",), images=3)
    make_image("data/rare/one.png")
    findings = replace(found(collect(data, seed=0)), unread={"cat/broken.png": "it is damaged"})
    part = overview.what_there_is(findings)
    assert part.summary == (
        "16 images in 3 classes; it cannot be split; 2 classes have fewer than 10 images; cat has 12.0 times as many "
        "as rare; 1 image cannot be opened"
    )
    assert "fewer than 10 images, of which no test can tell much: 1 in rare, 3 in dog." in part.sentences[0]
    assert any(
        "accuracy of 0.750 and a balanced accuracy, the mean over classes, of 0.333" in s for s in part.sentences
    )
    assert part.tables[0].rows == [("cat", "12"), ("dog", "3"), ("rare", "1")]
    assert part.tables[-1].rows == [("cat/broken.png", "it is damaged")]
    assert overview.what_more_would_bring(findings).summary == "too few images to tell"


def test_groups_in_one_another_are_named_alike(make_classes):
    data = make_classes("data", images=12)
    scene, pair = copies.Group(copies.SCENE, (2, 7, 9), (0,), ("",)), copies.Group(copies.NEAR, (7, 9), (0,), ("",))
    findings = replace(found(collect(data, seed=0)), groups=[pair, scene])
    [part] = [part for part in sections(findings) if part.key == "copies"]
    assert [box.members for box in part.boxes] == [(7, 9), (2, 7, 9)]
    assert {box.group for box in part.boxes} == {f"like {findings.collection.files[2]}"}


def test_a_stranger_comes_first_until_it_is_kept(make_classes):
    data = make_classes("data", images=12)
    findings = found(collect(data, seed=0), stranger=5)
    [part] = [part for part in sections(findings) if part.key == "strangers"]
    assert part.found
    assert part.cards[0].image == 5
    stranger = findings.collection.files[5]
    assert re.fullmatch(rf"\d+ images? stands? out, first {stranger}", part.summary)
    kept = found(collect(data, seed=0, corrections=decide(f"{stranger},keep,,\n")), stranger=5)
    assert 5 not in kept.strangest


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_what_classes_and_files_are_called_cannot_break_the_page(make_classes):
    data = make_classes("data", ("cat", NASTY), images=6)
    Path("data/cat/a<").mkdir()
    shutil.copy("data/cat/0.png", f"data/{NASTY}/{NASTY}.png")
    shutil.copy("data/cat/1.png", "data/cat/a</script><script>alert(1)<b>.png")
    findings = found(collect(data, seed=0), flipped=1)
    text = rendered(findings, sections(findings), decide("cat/2.png,leave out,,\n"))
    assert "onerror=alert(1)>" not in text
    assert "<script>alert" not in text
    assert text.count("<script") == text.count("</script>") == 2
    assert "\u202e" not in re.sub(r'<script type="application/json".*?</script>', "", text, flags=re.DOTALL)
    told = data_of_page(text)
    assert told["files"] == findings.collection.files
    assert told["classes"] == sorted(["cat", NASTY])
    assert [(row["file"], row["action"]) for row in told["decided"]] == [("cat/2.png", "leave out")]
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text), "the page asks for something from elsewhere"


def test_the_browser_is_told_to_run_the_pages_own_script_and_nothing_else(make_classes):
    findings = found(collect(make_classes("data"), seed=0))
    text = rendered(findings, sections(findings))
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    assert f"script-src &#39;sha256-{digest}&#39;" in policy
    assert policy.startswith("default-src &#39;none&#39;")
    assert "unsafe-inline" not in policy.partition("script-src")[2]


def test_the_learning_curve_is_drawn_inside_its_frame():
    measured = [Point(4 * 2**i, 0.5 + 0.08 * i, 0.4 + 0.08 * i, min(0.6 + 0.08 * i, 1)) for i in range(5)]
    curve = LearningCurve(tuple(measured), Point(75, 0.83, 0.8, 0.86), Point(150, 0.87, 0.82, 0.92))
    chart = charts.learning_curve_chart(curve)
    pairs = [pair.split(",") for text in (chart.measured, chart.further, *chart.bands) for pair in text.split()]
    for x, y in pairs:
        assert chart.left <= float(x) <= chart.right
        assert charts.TOP <= float(y) <= chart.bottom
    assert len(chart.dots) == 5
    heights = [y for _, y in chart.dots]
    assert heights == sorted(heights, reverse=True), "more accuracy stands higher"
    assert [tick.text for tick in chart.x_ticks] == ["4", "8", "16", "32", "64", "150"]


# --- the command ---


def test_a_folder_is_inspected(make_classes, capsys):
    make_classes("data")
    shutil.copy("data/cat/0.png", "data/dog/copy.png")
    Path("data/cat/broken.png").write_bytes(b"\x89PNG\r\n")
    succeed(COMMAND, "--data", "data", *LITE0)
    out = capsys.readouterr().out
    told = numbers()
    assert told["images"] == 13
    assert [row["file"] for row in told["unread"]] == ["cat/broken.png"]
    assert told["copies"][0]["files"] == ["cat/0.png", "dog/copy.png"]
    assert told["copies"][0]["classes"] == ["cat", "dog"]
    assert told["survey"]["scarce"] == {"cat": 6, "dog": 7}
    assert re.search("The same picture under two labels: .*1 identical.*, first cat/0.png and dog/copy.png", out)
    assert "1 image cannot be opened" in out
    assert len(out.splitlines()) <= 16
    text = Path("runs/inspection-data/inspection.html").read_text(encoding="utf-8")
    assert data_of_page(text)["files"] == [file for file in data_of_page(text)["files"] if file != "cat/broken.png"]


@pytest.mark.slow
def test_corrections_are_made_first_and_go_on_in_the_page(make_classes, capsys):
    make_classes("data", images=8)
    shutil.copy("data/cat/0.png", "data/dog/copy.png")
    decide("dog/copy.png,leave out,,a copy\ncat/3.png,move,dog,by eye\n")
    capsys.readouterr()
    succeed(COMMAND, "--data", "data", *LITE0, "--corrections", "corrections.csv", "--json", "--output", "there")
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert told == numbers("there")
    assert told["images"] == 16
    assert copies.IDENTICAL not in [group["kind"] for group in told["copies"]], "the copy is left out"
    assert sum(told["survey"]["counts"]["dog"].values()) == 9
    assert "Corrections: 1 moved to another class, 1 left out" in captured.err
    text = Path("there/inspection.html").read_text(encoding="utf-8")
    assert data_of_page(text)["decided"] == [
        {"file": "cat/3.png", "action": "move", "target": "dog", "reason": "by eye"},
        {"file": "dog/copy.png", "action": "leave out", "target": "", "reason": "a copy"},
    ]


@pytest.mark.slow
def test_an_image_a_class_is_enough_to_be_looked_at(make_classes, capsys):
    make_classes("data", images=1)
    succeed(COMMAND, "--data", "data", *LITE0)
    told = numbers()
    assert told["images"] == 2
    assert told["learning_curve"] is None
    assert told["not_split_because"]
    assert "2 classes have fewer than 10 images" in capsys.readouterr().out


@pytest.mark.slow
def test_the_same_again_says_the_same(make_classes):
    make_classes("data", images=12)
    succeed(COMMAND, "--data", "data", *LITE0)
    first, page_before = numbers(), Path("runs/inspection-data/inspection.html").read_bytes()
    succeed(COMMAND, "--data", "data", *LITE0)
    again = numbers()
    assert first.pop("seconds").keys() == again.pop("seconds").keys()
    assert first == again
    assert Path("runs/inspection-data/inspection.html").read_bytes() == page_before


def test_what_is_refused_writes_nothing(make_classes, capsys):
    make_classes("data")
    assert "no such folder or zip" in refusal(capsys, COMMAND, "--data", "nowhere")
    assert "Unknown model" in refusal(capsys, COMMAND, "--data", "data", "--model", "efficientnet_lite9")
    assert "name a CSV file" in refusal(capsys, COMMAND, "--data", "data", "--corrections", "no.csv")
    Path("taken").write_text("a file")
    assert "cannot be written" in refusal(capsys, COMMAND, "--data", "data", *LITE0, "--output", "taken")
    assert call(COMMAND, "--data", "data", "--seed", "-1") == cli.BAD_INPUT
    settings = inspect_data.Settings(data="nowhere")
    with pytest.raises(InputError, match="nowhere"):
        inspect_data.run(settings)


@pytest.mark.slow
def test_planted_faults_come_first_on_real_photos(photos, tmp_path):
    unpacked = collect(photos, seed=0).folder
    data = Path(shutil.copytree(unpacked, tmp_path / "data"))
    wrong = data / "train/steak/a pizza.jpg"
    shutil.move(sorted((data / "train/pizza").iterdir())[0], wrong)
    leak = data / "test/sushi/seen.jpg"
    Image.open(sorted((data / "train/sushi").iterdir())[0]).convert("RGB").save(leak, quality=60)
    Image.new("RGB", (400, 300), (6, 6, 6)).save(data / "train/sushi/dark.png")
    succeed(COMMAND, "--data", data, *LITE0)
    told = numbers()
    assert "train/steak/a pizza.jpg" in [row["file"] for row in told["labels"]["suspects"][:12]]
    assert any("test/sushi/seen.jpg" in group["files"] and len(group["parts"]) == 2 for group in told["copies"])
    assert "train/sushi/dark.png" in [row["file"] for row in told["quality"]]
    assert 0.85 < told["labels"]["accuracy"] < 1
    assert told["learning_curve"]["ahead"]["accuracy"] > 0.9
