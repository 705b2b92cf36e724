"""A second device for computers that have none: `twin`, whose tensors keep their values beside the CPU's.

It computes what the CPU computes, and refuses what a GPU refuses: to mix its tensors with the CPU's, to hand its values
to NumPy, and, as Apple's do, float64. So a tensor or a model that was left behind fails here, too. `install()` makes it
a device of torch, by its key for backends of others, PrivateUse1, for as long as the process runs; it comes before the
process's first backward pass, which starts a thread for each device.
"""

from collections.abc import Callable
from functools import cache, wraps

import torch
from torch.utils import backend_registration
from torch.utils._pytree import tree_leaves, tree_map

NAME = "twin"
IS_POSSIBLE = hasattr(backend_registration, "_setup_privateuseone_for_python_backend")  # torch 2.9
# a GPU takes the CPU's tensors where it copies, and as indices
MAY_MIX = {
    *("aten::copy_", "aten::_copy_from", "aten::_to_copy", "aten::set_", "aten::to"),
    *("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"),
}
MATH = 0  # the way of attention that every device knows


class Twin(torch.Tensor):
    """A tensor on the device; `values` is one on the CPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, values: torch.Tensor) -> "Twin":
        if values.dtype == torch.float64:
            raise TypeError(f"{NAME} has no float64; use float32")
        size, stride, offset = values.size(), values.stride(), values.storage_offset()
        options = {"dtype": values.dtype, "layout": values.layout, "device": f"{NAME}:0"}
        return torch.Tensor._make_wrapper_subclass(cls, size, stride, offset, **options)

    def __init__(self, values: torch.Tensor) -> None:
        self.values = values

    def __repr__(self) -> str:
        return f"Twin({self.values})"

    def tolist(self) -> list:
        return self.values.tolist()

    def __format__(self, specification: str) -> str:
        return format(self.values, specification)

    def __reduce_ex__(self, protocol: int) -> tuple:
        return self.values.__reduce_ex__(protocol)  # what is loaded from a file is on the CPU

    @classmethod
    def __torch_dispatch__(cls, op, types, args=(), kwargs=None):
        return compute(op, *args, **(kwargs or {}))


def is_twin(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.device.type == NAME


def compute(op, *args, **kwargs):
    """Do an operation of torch, some of whose tensors are on the device, or whose result shall be."""
    tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
    name = op._schema.name
    if name not in MAY_MIX and any(tensor.ndim and not is_twin(tensor) for tensor in tensors):
        raise RuntimeError(f"{op}: expected all tensors to be on the same device, {NAME} and cpu are not")
    if name == "aten::_fused_sdp_choice":
        return MATH
    stays = kwargs.get("device") is None or torch.device(kwargs["device"]).type == NAME
    if kwargs.get("device") is not None and stays:
        kwargs["device"] = torch.device("cpu")
    kwargs.pop("pin_memory", None)
    inner_args, inner_kwargs = tree_map(lambda value: value.values if is_twin(value) else value, (args, kwargs))
    results = op(*inner_args, **inner_kwargs)
    if not isinstance(results, tuple):
        return _wrap(results, op._schema.returns[0] if op._schema.returns else None, op, args, kwargs, stays)
    return tuple(
        _wrap(result, declared, op, args, kwargs, stays)
        for result, declared in zip(results, op._schema.returns, strict=True)
    )


def _wrap(result, declared, op, args, kwargs, stays):
    """Put a result on the device; what an operation wrote into its argument is that argument."""
    if declared is not None and declared.alias_info is not None and declared.alias_info.is_write:
        for index, argument in enumerate(op._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.before_set == declared.alias_info.before_set:
                written = args[index] if index < len(args) else kwargs[argument.name]
                if written.shape != result.shape:  # torch makes it empty, and fills it
                    written.data, written.values = Twin(result), result
                return written
    return tree_map(lambda value: Twin(value) if stays and isinstance(value, torch.Tensor) else value, result)


class Module:
    """What torch asks of a device, as `torch.twin`."""

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        """Draw from the CPU's generator."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    def empty_cache(self) -> None:
        """Have none."""


@cache
def install() -> None:
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=Module())
    library = torch.library.Library("_", "IMPL")
    library.fallback(compute, "PrivateUse1")  # what makes tensors has none to be dispatched by
    install.library = library  # it is undone with the last reference


def by_way_of_the_cpu(make: Callable) -> Callable:
    """Return `torch.tensor` or `torch.as_tensor` for this device, too: torch fails where they make subclasses."""

    @wraps(make)
    def made(*args, device=None, **kwargs):
        if device is None or torch.device(device).type != NAME:
            return make(*args, device=device, **kwargs)
        return make(*args, **kwargs).to(device)

    return made
