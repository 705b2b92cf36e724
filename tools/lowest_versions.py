"""Run the quick tests on the lowest versions that pyproject.toml allows.

    python tools/lowest_versions.py                                  # makes an environment, tests, removes it
    python tools/lowest_versions.py --python python3.11 --folder lowest     # keeps it, to look into
    python tools/lowest_versions.py -- tests/test_engine.py -n 0     # arguments for pytest

What the package and its extras need at run time is installed at its lowest, and so needs 8 GB with torch's CUDA
libraries; what only maintainers need comes as requirements.txt pins it. Where this fails, mend the code or raise the
bound: a range says what works.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
MAINTAINERS = ("dev", "site")  # the extras that nobody needs at run time


def lowest(requirements: Iterable[str]) -> dict[str, str]:
    """Return the lowest version of each package that all of the requirements allow.

    Args:
        requirements: such as `numpy>=2` or `torch>=2.6,!=2.13.0`.

    Raises:
        ValueError: a requirement has no lower bound, or excludes it.
    """
    found: dict[str, Version] = {}
    for text in requirements:
        requirement = Requirement(text)
        bounds = [Version(part.version) for part in requirement.specifier if part.operator in (">=", "==", "~=")]
        if not bounds or max(bounds) not in requirement.specifier:
            raise ValueError(f"{text!r} names no lowest version; write NAME>=VERSION")
        found[requirement.name] = max(bounds[0], *bounds, found.get(requirement.name, bounds[0]))
    return {name: str(version) for name, version in found.items()}


def runtime_requirements(pyproject: Path) -> list[str]:
    """Return what the package and its extras need, without what only maintainers do."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    extras = [texts for name, texts in project["optional-dependencies"].items() if name not in MAINTAINERS]
    return [*project["dependencies"], *(text for texts in extras for text in texts)]


def maintainers_pins(pyproject: Path, pins: Path) -> list[str]:
    """Return what only maintainers need, as requirements.txt pins it."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    wanted = {Requirement(text).name for extra in MAINTAINERS for text in project["optional-dependencies"][extra]}
    lines = pins.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if re.split("[=<>!~]", line)[0] in wanted]


def make_environment(folder: Path, python: str) -> Path:
    """Make a virtual environment with the lowest versions and this package; return its Python.

    Raises:
        subprocess.CalledProcessError: a version cannot be installed on this Python, or not beside the others.
    """
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    inner = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    pins = [f"{name}=={version}" for name, version in lowest(runtime_requirements(ROOT / "pyproject.toml")).items()]
    others = maintainers_pins(ROOT / "pyproject.toml", ROOT / "requirements.txt")
    install = [inner, "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, *pins, *others], check=True)
    subprocess.run([*install, "--no-deps", "-e", str(ROOT)], check=True)
    return inner


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--python", default=sys.executable, help="the interpreter to make the environment of")
    parser.add_argument("--folder", type=Path, help="where to make and keep the environment; None: it is removed")
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="for pytest, after --; by default -m quick")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        python = make_environment(options.folder or Path(temporary) / "environment", options.python)
        subprocess.run([python, "-VV"], check=True)
        subprocess.run([python, "-m", "pip", "list", "--format=freeze"], check=True)
        tests = [python, "-m", "pytest", *(options.arguments or ["-m", "quick"])]
        sys.exit(subprocess.run(tests, cwd=ROOT, check=False).returncode)


if __name__ == "__main__":
    main()
