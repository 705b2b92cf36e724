"""The package behind the course: data, backbones, the training loop, figures and checkpoints.

Code written for the well-known course finds its modules where it looks for them: `going_modular.going_modular.engine`
is `going_modular.engine`, and `predictions` is `predict`.
"""

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

_NESTED = f"{__name__}.{__name__}"
_PREDICTIONS = f"{__name__}.predictions"


def __getattr__(name: str) -> str:
    """Look the version up when somebody asks for it: that takes longer than all the rest here."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("going-modular")
    except PackageNotFoundError as error:
        raise AttributeError("going_modular is not installed, so that it has no version; pip install -e .") from error


class _TheirNames:
    """Find the modules under the names that they have there; each is loaded once, whatever it is called."""

    @staticmethod
    def find_spec(name: str, *_: object) -> ModuleSpec | None:
        is_theirs = name in (_NESTED, _PREDICTIONS) or name.startswith(f"{_NESTED}.")
        return ModuleSpec(name, _TheirNames) if is_theirs else None

    @staticmethod
    def create_module(_: ModuleSpec) -> None:
        """Leave it to Python: what it makes is replaced at once."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        name = __name__ + module.__name__.removeprefix(_NESTED).removeprefix(__name__)
        sys.modules[module.__name__] = import_module(f"{__name__}.predict" if name == _PREDICTIONS else name)


# before the usual finders, which would load the files anew under the nested names
sys.meta_path.insert(0, _TheirNames)
