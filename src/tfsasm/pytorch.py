"""Where networks run."""

from __future__ import annotations

import torch

from tfsasm.errors import InputError


def find_device(name: str) -> torch.device:
    """The device of that name; `auto` takes a GPU where there is one.

    Raises `InputError` for a device that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(
            f"no device {name!r} here ({reason}); give cpu, or auto for what there is"
        ) from error
    return torch.device(name)
