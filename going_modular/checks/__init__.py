"""The checks behind the exercises, a module a notebook: `checks.nb01.scale(your_function)` says how it did.

Modules are imported when they are first asked for.
"""

import importlib
import pkgutil
from types import ModuleType

__all__ = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name.startswith("nb"))


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"There are no checks {name!r}; there are {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
