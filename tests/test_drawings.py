"""The lessons' drawings: each is what its code makes, stands on its own, and is shown with its alternative text."""

import ast
import importlib
import re
from base64 import b64decode
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest

from going_modular import plots
from going_modular.common.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "notebooks" / "drawings").glob("*.svg"))
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("[0-9][0-9]_*.ipynb"))
SVG = "{http://www.w3.org/2000/svg}"
MOST_BYTES, MOST_SENTENCES = 60_000, 2
SMALLEST = 20  # of a font, in units of which a drawing is 700 wide


@pytest.fixture
def tools(monkeypatch):
    """What makes the drawings: its commands and its style."""
    monkeypatch.syspath_prepend(ROOT)  # `python -m tools.draw` is run there
    return {name: importlib.import_module(f"tools.draw.{name}") for name in ("build", "style")}


@pytest.fixture
def empty(tools):
    return tools["style"].Drawing("title", "What is to be seen.", 200)


def shown_in(source: str) -> set[str]:
    """Return the names that a cell gives to `plots.drawing`; what is no Python, such as a magic, has none."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return set()
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {ast.literal_eval(call.args[0]) for call in calls if ast.unparse(call.func) == "plots.drawing"}


def names(paths) -> list[str]:
    return [path.stem for path in paths]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}-{path.stem[:2]}")
def test_every_drawing_that_a_notebook_shows_is_there(path):
    code = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert set().union(*map(shown_in, code)) <= set(names(FILES))


def test_a_drawing_is_found_in_a_cell():
    assert shown_in('x = 1\nplots.drawing("a")') == {"a"}
    assert shown_in('%matplotlib inline\nplots.drawing("a")') == set()


def test_every_drawing_is_one_that_the_code_makes(tools):
    assert sorted(names(FILES)) == sorted(tools["build"].DRAWINGS)


@pytest.mark.parametrize("path", FILES, ids=names(FILES))
def test_the_code_makes_the_same_bytes(path, tools, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tools["build"], "FOLDER", tmp_path / "drawings")
    tools["build"].main([path.stem])
    made = (tmp_path / "drawings" / path.name).read_bytes()
    assert made == path.read_bytes().replace(b"\r\n", b"\n")  # Git on Windows may end lines so
    assert capsys.readouterr().out == f"{path.name}: {len(made):,} bytes\n"


@pytest.mark.parametrize("path", FILES, ids=names(FILES))
def test_a_drawing_is_a_small_picture_that_says_what_it_shows(path):
    root = ElementTree.fromstring(path.read_bytes())
    description = root.findtext(f"{SVG}desc")
    assert (root.tag, root.get("role")) == (f"{SVG}svg", "img")
    assert root.findtext(f"{SVG}title")
    assert description.endswith(".")
    assert len(re.findall(r"\.(?= |$)", description)) <= MOST_SENTENCES
    assert path.stat().st_size < MOST_BYTES


@pytest.mark.parametrize("path", FILES, ids=names(FILES))
def test_a_drawing_needs_nothing_but_itself(path):
    elements = list(ElementTree.fromstring(path.read_bytes()).iter())
    # text would be in whatever font there is
    assert {element.tag.removeprefix(SVG) for element in elements}.isdisjoint(
        {"script", "foreignObject", "image", "style", "text"}
    )
    known = {f"#{element.get('id')}" for element in elements}
    values = [(key, value) for element in elements for key, value in element.items()]
    assert {value for key, value in values if key.endswith("href")} <= known
    assert not [(key, value) for key, value in values if key.startswith("on") or "//" in value or "url(" in value]
    assert path.read_text(encoding="utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "").count("//") == 0


@pytest.mark.parametrize("path", FILES, ids=names(FILES))
def test_a_notebook_shows_the_drawing_with_its_text(path):
    drawing = plots.drawing(path.stem)
    image = ElementTree.fromstring(drawing._repr_html_().replace(">", "/>"))
    kind, _, data = image.get("src").partition(",")
    assert (image.tag, kind, b64decode(data)) == ("img", "data:image/svg+xml;base64", path.read_bytes())
    assert image.get("alt") == repr(drawing) == ElementTree.fromstring(path.read_bytes()).findtext(f"{SVG}desc")
    assert int(image.get("width")) >= 500
    assert "max-width: 100%" in image.get("style")


def test_the_text_cannot_leave_its_attribute():
    text = """"><script>alert('1')</script> & 2"""
    shown = plots.Drawing(b"<svg/>", text)._repr_html_()
    assert shown.count("<") == shown.count(">") == 1
    assert ElementTree.fromstring(shown.replace(">", "/>")).get("alt") == text


def test_a_drawing_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert plots.drawing("vit_block").svg


@pytest.mark.parametrize("name", ["vit_blok", "", "../drawings/vit_block", "vit_block.svg"])
def test_an_unknown_drawing_is_refused_with_what_there_is(name):
    with pytest.raises(InputError, match="no drawing") as caught:
        plots.drawing(name)
    assert repr(name) in str(caught.value)
    assert all(known in str(caught.value) for known in names(FILES))


def test_a_folder_without_drawings_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "DRAWINGS", tmp_path / "drawings")
    with pytest.raises(InputError, match="has none; clone the whole repository"):
        plots.drawing("vit_block")


def test_the_command_refuses_an_unknown_name_and_writes_nothing(tools, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tools["build"], "FOLDER", tmp_path / "drawings")
    with pytest.raises(SystemExit) as caught:
        tools["build"].main(["vit_block", "nonsense"])
    assert caught.value.code == 2
    assert "there is no drawing nonsense; there are " in capsys.readouterr().err
    assert not (tmp_path / "drawings").exists()


@pytest.mark.parametrize(
    ("place", "text", "options", "message"),
    [
        ((350, 104), "bb", {}, "'bb' touches 'aa'"),
        ((360, 100), "bb", {}, "'bb' touches 'aa'"),
        ((10, 150), "bb", {}, "'bb' leaves the card"),
        ((690, 150), "bb", {"anchor": "start"}, "'bb' leaves the card"),
        ((350, 198), "bb", {}, "'bb' leaves the card"),
        ((350, 150), "bb", {"size": SMALLEST - 1}, "too small"),
        ((350, 150), "披", {}, "has no '披'"),
    ],
)
def test_text_that_nobody_could_read_is_refused(empty, place, text, options, message):
    empty.text(350, 100, "aa")
    with pytest.raises(ValueError, match=message):
        empty.text(*place, text, **options)


def test_text_that_has_its_place_is_written(empty):
    before = empty.svg()
    empty.text(350, 100, "aa\nab")
    uses = ElementTree.fromstring(empty.svg()).findall(f".//{SVG}use")
    assert [use.get("href") for use in uses] == ["#r61", "#r61", "#r61", "#r62"]
    assert before.count(b"<use") == 0
