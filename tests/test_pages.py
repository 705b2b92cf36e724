"""Pages and files about the project that hold without a site: every call is run, every command exists."""

import hashlib
import re
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml
from commands import succeed

ROOT = Path(__file__).resolve().parent.parent
ELSEWHERE = (ROOT / "docs/coming_from_elsewhere.md").read_text(encoding="utf-8")
SAMPLE = ROOT / "data/sample/train"
CLASSES = ("pizza", "steak", "sushi")
COMMAND = re.compile(r"python going_modular/(\w+\.py)(.*)")
RUN_ON_THE_LEFT = {"learnpytorch", "timm"}  # the others are not installed


def rows(section: str) -> list[list[list[str]]]:
    """Return the lines of code in each cell of a section's table."""
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[re.findall(r"`([^`]+)`", cell) for cell in line.strip("|").split(" | ")] for line in lines]


def sections() -> dict[str, str]:
    """Return the parts of the page that have a table, by title."""
    return dict(part.split("\n", 1) for part in ELSEWHERE.split("\n## ")[1:])


def run_line(line: str, names: dict) -> None:
    """Run a line of code, or a command, and keep what it named."""
    if found := COMMAND.fullmatch(line):
        succeed(found[1], *found[2].split())
    else:
        exec(line, names)


@pytest.fixture
def names(tmp_path, monkeypatch) -> dict:
    """What the page's first block imports, in a folder with `photos`."""
    for name in CLASSES:
        (tmp_path / "photos" / name).mkdir(parents=True)
        for path in sorted((SAMPLE / name).glob("*.jpg"))[:10]:
            shutil.copy(path, tmp_path / "photos" / name)
    monkeypatch.chdir(tmp_path)
    found = {"photo": next((tmp_path / "photos/pizza").iterdir())}
    exec(re.search(r"```python\n(.*?)```", ELSEWHERE, re.DOTALL)[1], found)
    return found


def assert_runs(section: str, names: dict) -> None:
    table = rows(sections()[section])
    assert len(table) > 5
    left = dict(names)
    for theirs, ours, _ in table:
        assert theirs
        assert ours
        if section in RUN_ON_THE_LEFT:
            for line in theirs:
                run_line(line, left)
        for line in ours:
            run_line(line, names)


@pytest.mark.slow
@pytest.mark.parametrize("section", ["fastai", "Keras"])
def test_each_of_our_calls_runs(section, names):
    assert_runs(section, names)


@pytest.mark.slow
def test_each_call_of_learnpytorch_runs_here(names):
    model, transform = names["model_builder"].create_model("efficientnet_lite0", num_classes=3)
    loader, _, class_names = names["data_setup"].create_dataloaders("photos", "photos", transform, 8)
    names |= {
        "model": model,
        "transform": transform,
        "loader": loader,
        "class_names": class_names,
        "loss_fn": names["nn"].CrossEntropyLoss(),
        "optimizer": names["torch"].optim.Adam(names["model_builder"].head(model).parameters()),
    }
    assert_runs("learnpytorch", names)


@pytest.mark.slow
def test_each_call_of_timm_runs(names):
    timm = pytest.importorskip("timm", reason="no timm; install it with: pip install -e .[timm]")
    names |= {"timm": timm, "images": names["torch"].zeros(1, 3, 224, 224)}
    assert_runs("timm", names)


@pytest.mark.slow
def test_the_cheat_sheet_runs_from_top_to_bottom(names):
    sheet = (ROOT / "docs/cheat_sheet.md").read_text(encoding="utf-8")
    shutil.copy(names["photo"], "photo.jpg")
    for kind, block in re.findall(r"```(python|sh)\n(.*?)```", sheet, re.DOTALL):
        lines = [block] if kind == "python" else block.splitlines()[1:]  # the first is a comment
        for line in lines:
            run_line(line, names)
    assert names["answer"].label in CLASSES


def test_the_printed_cheat_sheet_is_one_page_with_its_fonts_and_of_the_last_text():
    printed = (ROOT / "docs/cheat_sheet.pdf").read_bytes()
    assert re.findall(rb"/Count (\d+)", printed) == [b"1"]
    fonts = len(re.findall(rb"/Type /FontDescriptor\b", printed))
    assert fonts == len(re.findall(rb"/FontFile\d?\b", printed)) > 0
    source = hashlib.sha256((ROOT / "docs/cheat_sheet.md").read_bytes()).hexdigest()
    assert printed.decode("latin-1").splitlines()[-1] == f"% cheat_sheet.md {source}"  # else print it anew


def test_the_page_has_a_table_for_each_library():
    assert list(sections()) == ["learnpytorch", "fastai", "Keras", "timm"]


def test_each_term_is_explained_in_a_sentence():
    glossary = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    entries = re.findall(r"^(\S.*)\n((?:  .+\n)+)", glossary.partition(":sorted:\n")[2], re.MULTILINE)
    assert len(entries) > 50
    for term, text in entries:
        sentence = " ".join(text.split())
        assert sentence.endswith("."), term
        assert ". " not in sentence.replace("e.g. ", ""), term
    assert len({term.lower() for term, _ in entries}) == len(entries)


def test_the_version_is_the_same_everywhere():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version
    assert {"cff-version", "message", "title", "authors", "license"} <= citation.keys()
    assert re.search(r"^## (\S+?),? ", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)[1] == version


@pytest.mark.parametrize("name", ["ci", "site"])
def test_a_workflow_runs_only_what_is_here(name):
    workflow = yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text(encoding="utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    commands = [step["run"] for step in steps if "run" in step]
    told = "\n".join((ROOT / file).read_text(encoding="utf-8") for file in ("README.md", "CONTRIBUTING.md"))
    for command in commands:
        assert command in told, command
    if ".ci/run" in commands:
        assert (ROOT / ".ci/run").stat().st_mode & 0o111


def test_issue_forms_ask_for_something():
    forms = [path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config"]
    assert forms
    for path in forms:
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert form["name"]
        assert form["description"]
        identifiers = [field["id"] for field in form["body"]]
        assert len(set(identifiers)) == len(identifiers) > 0
