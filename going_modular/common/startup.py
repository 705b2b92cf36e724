"""A quick start of the commands: torch is imported while the garbage collector rests."""

import atexit
import gc
import sys


def import_torch() -> None:
    """Import torch and torchvision, unless somebody did, and keep what they make out of the garbage collector's sight.

    They make some million objects, which stay until the process ends. To look through all of these for garbage, time
    and again, takes a tenth of the time that `train.py` takes with everything cached, and more in `predict.py`.
    """
    if "torch" in sys.modules or not gc.isenabled():
        return
    gc.disable()
    try:
        import torch  # noqa: F401
        import torchvision  # noqa: F401
    finally:
        gc.enable()
    gc.freeze()
    atexit.register(gc.unfreeze)  # C++ libraries report leaks where Python ends without having seen their objects
