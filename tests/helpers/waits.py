"""What would make the host wait for a GPU, seen without one.

On the device `meta` tensors are shapes without numbers: whatever asks for one raises.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

READ_BY_THE_HOST = {
    "item", "_local_scalar_dense", "is_nonzero", "nonzero", "nonzero_numpy", "masked_select",
    "unique", "_unique", "_unique2", "isin", "equal", "bincount", "lift_fresh",
}  # fmt: skip
"""Operations whose answer the host must have, or within which it waits, and numbers of the host
that become a tensor."""


class HostWaits(TorchDispatchMode):
    """Names, in order, of the operations inside a block for which the host would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, function.overloadpacket.__name__
        if self._reads(name, args):
            self.names.append(name)
            return function(*args, **kwargs)
        found = NotImplemented
        if function.namespace == "aten":
            with self:  # what it is made of
                found = function.decompose(*args, **kwargs)
        if found is NotImplemented:
            given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
            devices = {tensor.device.type for tensor in given}
            if to := kwargs.get("device"):
                devices.add(torch.device(to).type)
            if len(devices) > 1:  # a copy
                self.names.append(name)
            found = function(*args, **kwargs)
        return found

    def _reads(self, name: str, args: tuple[Any, ...]) -> bool:
        rows = name == "where" and len(args) == 1
        mask = name.startswith("index") and any(
            isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8)
            for index in (args[1] if isinstance(args[1], list | tuple) else ())
        )
        return name in READ_BY_THE_HOST or rows or mask
