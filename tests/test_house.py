"""The house: which part of the package may import which, no circle anywhere, and quick tests of every module.

All is read from the code, not run.
"""

import ast
import subprocess
import symtable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = {"train", "fine_tune", "evaluate", "predict", "inspect_data", "export", "compare", "app"}

# what a part may import beside itself and `common`
MAY_IMPORT = {
    "common": set(),
    "data": set(),
    "vit": set(),
    "engine": set(),
    "plots": set(),
    "data_setup": {"data"},
    "models": {"vit", "data"},
    "model_builder": {"models"},
    "evaluation": {"vit", "models", "plots", "data", "engine"},
    "features": {"model_builder", "data"},
    "metrics": {"evaluation"},
    "saving": {"model_builder", "models", "plots", "data"},
}
MAY_IMPORT["fine_tuning"] = set(MAY_IMPORT)
MAY_IMPORT["inspection"] = {"data", "models", "model_builder", "evaluation", "features"}
MAY_IMPORT["utils"] = {"engine", "plots"}
MAY_IMPORT["serving"] = set(MAY_IMPORT)  # what export, compare and the like need beneath them
MAY_IMPORT["classroom"] = set(MAY_IMPORT)  # beneath app
MAY_IMPORT |= {name: set(MAY_IMPORT) for name in (*COMMANDS, "checks")}


def modules(folder: Path) -> dict[str, Path]:
    """Return the Python files under a folder by their dotted names."""
    files = sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)
    names = [path.relative_to(folder.parent).with_suffix("").parts for path in files]
    return {
        ".".join(name[:-1] if name[-1] == "__init__" else name): path for name, path in zip(names, files, strict=True)
    }


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """Return the modules, of those known, that a file imports: at its top, in functions and under TYPE_CHECKING."""
    wanted = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            wanted |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            wanted |= {name if name in known else node.module for name in inner}
    return wanted & known.keys()


def part_of(module: str) -> str | None:
    """Return the part of the package that a module belongs to: `going_modular.data.images` to `data`."""
    _, _, inner = module.partition(".")
    return inner.partition(".")[0] or None


def forbidden(package: Path) -> list[str]:
    """Return the imports that `MAY_IMPORT` does not allow."""
    known = modules(package)
    arrows = [(part_of(module), part_of(other)) for module, path in known.items() for other in imports(path, known)]
    return sorted(
        {f"{here} -> {there}" for here, there in arrows if there not in ({here, "common", None} | MAY_IMPORT[here])}
    )


def circle(folders: list[Path]) -> list[str]:
    """Return the modules of a circle of imports, or nothing."""
    known = {name: path for folder in folders for name, path in modules(folder).items()}
    try:
        TopologicalSorter({name: imports(path, known) - {name} for name, path in known.items()}).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def missing_names(folder: Path) -> list[str]:
    """Return what scripts import from a script beside them that does not define it."""
    scripts = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.py")}
    tables = {name: symtable.symtable(text, name, "exec") for name, text in scripts.items()}
    defined = {
        name: {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
        for name, table in tables.items()
    }
    return sorted(
        f"{name}: {node.module}.{alias.name}"
        for name, text in scripts.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and node.module in scripts
        for alias in node.names
        if alias.name not in defined[node.module]
    )


def is_slow(node: ast.AST) -> bool:
    """Tell whether a test is marked slow, or a statement marks its whole file."""
    if isinstance(node, ast.Assign):
        return "pytestmark" in ast.unparse(node.targets) and "mark.slow" in ast.unparse(node.value)
    return any("mark.slow" in ast.unparse(mark) for mark in getattr(node, "decorator_list", []))


def quick_uses(test_file: Path, known: dict[str, Path]) -> set[str]:
    """Return the modules that a test file imports by name and uses in what is left of it without its slow tests."""
    body = ast.parse(test_file.read_text(encoding="utf-8")).body
    left = [node for node in body if not is_slow(node)]
    has_tests = any(isinstance(node, ast.FunctionDef) and node.name.startswith("test_") for node in left)
    if not has_tests or any(isinstance(node, ast.Assign) and is_slow(node) for node in body):
        return set()
    used = {node.id for part in left for node in ast.walk(part) if isinstance(node, ast.Name)}
    found = set()
    for node in ast.walk(ast.Module(left, [])):
        for alias in node.names if isinstance(node, ast.Import | ast.ImportFrom) else []:
            full = f"{node.module}.{alias.name}" if isinstance(node, ast.ImportFrom) else alias.name
            if (alias.asname or alias.name).partition(".")[0] in used:
                found.add(full if full in known else full.rpartition(".")[0])
    return found & known.keys()


def untouched(package: Path, tests: Path) -> list[str]:
    """Return the modules that no quick test touches by name; a folder's __init__.py stands for its modules."""
    known = {name: path for name, path in modules(package).items() if path.name != "__init__.py"}
    return sorted(known.keys() - {name for path in tests.glob("test_*.py") for name in quick_uses(path, known)})


def write(folder: Path, **sources: str) -> Path:
    """Write modules by their dotted names; return the package."""
    for name, source in sources.items():
        path = folder / "going_modular" / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return folder / "going_modular"


def test_every_import_is_one_that_the_house_allows():
    assert forbidden(ROOT / "going_modular") == []


def test_there_is_no_circle_in_the_repository():
    assert circle([ROOT / folder for folder in ("going_modular", "tools", "tests", "benchmarks")]) == []


@pytest.mark.parametrize(
    "source",
    [
        "from going_modular import train",
        "from going_modular.train import run",
        "import going_modular.train",
        "def later():\n    from going_modular import train",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from going_modular.train import run",
    ],
)
def test_a_planted_arrow_is_seen(tmp_path, source):
    package = write(tmp_path, __init__="", engine=source, train="", common__errors="")
    assert forbidden(package) == ["engine -> train"]


def test_a_planted_circle_is_seen(tmp_path):
    package = write(tmp_path, data__a="from going_modular.data import b", data__b="import going_modular.data.a")
    assert forbidden(package) == []
    assert set(circle([package])) == {"going_modular.data.a", "going_modular.data.b"}


def test_benchmarks_import_only_what_their_neighbours_define():
    assert missing_names(ROOT / "benchmarks") == []


def test_a_name_that_a_neighbour_lost_is_seen(tmp_path):
    sources = {
        "a": "from b import KEPT, call, inner, lost, moved, used",
        "b": "from c import moved\nKEPT = 1\ndef call():\n    inner = used\nprint(used)",
    }
    assert missing_names(write(tmp_path, **sources, c="")) == ["a: b.inner", "a: b.lost", "a: b.used", "b: c.moved"]


def test_the_package_shows_its_names_and_its_folders():
    tracked = subprocess.run(
        ["git", "ls-files", "going_modular"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if not tracked:
        pytest.skip("no git here: what is tracked cannot be told from what lies about")
    shown = {Path(path).relative_to("going_modular").parts[0] for path in tracked}
    assert {name for name in shown if name.endswith(".py")} == {
        f"{name}.py"
        for name in (
            "__init__",
            "data_setup",
            "model_builder",
            "features",
            "engine",
            "metrics",
            "plots",
            "vit",
            "utils",
            *COMMANDS,
        )
    }
    assert {name for name in shown if "." not in name} == {
        "checks", "classroom", "common", "data", "models", "saving", "evaluation", "fine_tuning", "inspection",
        "serving",
    }  # fmt: skip


def test_the_quick_tests_touch_every_module():
    assert untouched(ROOT / "going_modular", ROOT / "tests") == []


@pytest.mark.parametrize(
    "source",
    [
        "from going_modular import engine\n\ndef test_a():\n    engine.train()",
        "from going_modular.engine import train as fit\n\ndef test_a():\n    fit()",
        "import going_modular.engine\n\ndef test_a():\n    going_modular.engine.train()",
    ],
)
def test_a_module_without_quick_tests_is_seen(tmp_path, source):
    package = write(tmp_path, __init__="", engine="")
    file = tmp_path / "test_engine.py"
    for text, found in (
        (source, []),
        (source.replace("def", "import pytest\n\n@pytest.mark.slow\ndef"), ["going_modular.engine"]),
        (f"{source}\npytestmark = [pytest.mark.slow]", ["going_modular.engine"]),
        (source.rpartition("\n")[0] + "\n    pass", ["going_modular.engine"]),
        (source.replace("test_a", "helper"), ["going_modular.engine"]),
    ):
        file.write_text(text)
        assert untouched(package, tmp_path) == found, text
