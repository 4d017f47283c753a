"""How wide the numbers of each part of the network are."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields

import torch

from tfsasm.errors import InputError

KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""What users call them."""


@dataclass(frozen=True)
class Precision:
    """What convolutions and matrix products of each part take and give."""

    backbone: torch.dtype = torch.float32
    """Blocks that cannot bear it stay float32; see `FastTrunk`."""
    encoder: torch.dtype = torch.float32
    decoder: torch.dtype = torch.float32
    """The values of its tokens; its queries stay float32."""

    @classmethod
    def everywhere(cls, dtype: torch.dtype) -> Precision:
        """The same in all parts."""
        return cls(dtype, dtype, dtype)


def parse_precision(text: str, device: str = "cpu") -> Precision:
    """What `text` asks for: a kind for all parts, or `backbone=bf16,decoder=bf16`.

    `auto` is fp32, and so is a part that is not named. Raises `InputError` for anything else, and
    for what this type of device cannot do.
    """
    precision = _parse(text)
    if torch.float16 in astuple(precision) and device == "cpu":
        raise InputError("fp16 is for GPUs; on a CPU take bf16 or fp32")
    return precision


def _parse(text: str) -> Precision:
    if text == "auto":
        return Precision()
    if text in KINDS:
        return Precision.everywhere(KINDS[text])
    if "=" not in text:
        raise InputError(f"precision is one of auto, {_known()}, not {text!r}; {_EXAMPLE}")
    parts: dict[str, torch.dtype] = {}
    for piece in text.split(","):
        name, _, kind = piece.strip().partition("=")
        if name not in _PARTS:
            raise InputError(f"precision has the parts {', '.join(_PARTS)}, not {name!r}")
        if name in parts:
            raise InputError(f"precision names the {name} twice: {text!r}")
        if kind not in KINDS:
            raise InputError(f"precision of the {name} is one of {_known()}, not {kind!r}")
        parts[name] = KINDS[kind]
    return Precision(**parts)


_PARTS = [field.name for field in fields(Precision)]
_EXAMPLE = "or for single parts, such as backbone=bf16,encoder=fp32"


def _known() -> str:
    return ", ".join(KINDS)
