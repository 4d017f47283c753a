"""A small network and its export, kept: an export takes half a minute, and old ones must run."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import helpers.fakes  # noqa: F401  (the backbone of that network)

_GOLDEN = Path(__file__).parents[1] / "golden"


class Exported(NamedTuple):
    """What `tfsasm export` made of what."""

    weights: Path = _GOLDEN / "exported.safetensors"
    folder: Path = _GOLDEN / "export"
