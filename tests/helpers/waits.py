"""What would make the host wait for a GPU, seen on a CPU."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode

READ_BY_THE_HOST = {
    "item", "_local_scalar_dense", "is_nonzero", "nonzero", "nonzero_numpy", "masked_select",
    "unique", "_unique2", "equal", "lift_fresh",
}  # fmt: skip
"""Operations whose answer the host must have, and numbers of the host that become a tensor."""


class HostWaits(TorchDispatchMode):
    """Names, in order, of the operations inside a block for which the host would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        rows = name == "where" and len(args) == 1
        mask = name.startswith("index") and any(
            isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8)
            for index in (args[1] if isinstance(args[1], list | tuple) else ())
        )
        if name in READ_BY_THE_HOST or rows or mask:
            self.names.append(name)
        return function(*args, **(kwargs or {}))
