"""Kinds of options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

OptionalFile = Annotated[Path | None, tyro.conf.arg(metavar="FILE")]
OptionalCount = Annotated[int | None, tyro.conf.arg(metavar="N")]
OptionalScore = Annotated[float | None, tyro.conf.arg(metavar="SCORE")]
Dataset = Literal[
    "dancetrack", "mot15", "mot16", "mot17", "mot20", "sportsmot", "mot", "bdd100k"
]
OptionalName = Annotated[str | None, tyro.conf.arg(metavar="NAME")]
Settings = Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE")]
InputPath = tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="INPUT")]]
OutputPath = tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="OUTPUT")]]
PrecisionText = Annotated[str, tyro.conf.arg(metavar="KIND|PART=KIND,...")]
"""Numbers that the network computes with; see `tfsasm.load`."""
