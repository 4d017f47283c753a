"""The files of an export: three graphs, and a JSON with what stands between them.

No network is described here, only what a runner needs to know of one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfsasm.errors import InputError
from tfsasm.files import write_text
from tfsasm.tables import Floats

MANIFEST = "tfsasm.json"

GRAPHS = ("encode", "decode", "interact")

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml"}
"""What a graph of each format is called, after its name."""

_FORMAT = 1

_COUNTS = ("short_side", "max_side", "levels", "parameters")

_AGAIN = "make it again with tfsasm export"


@dataclass(frozen=True)
class Manifest:
    """What is known of an exported network beside its graphs."""

    short_side: int
    """Pixels of the image's shorter side after resizing."""
    max_side: int
    """Most pixels of its longer side."""
    levels: int
    """Feature levels, so many maps go from `encode` to `decode`."""
    parameters: int
    """How many numbers were learned."""
    learned_content: Floats
    """`[Q, C]`."""
    learned_boxes: Floats
    """`[Q, 4]` normalised cxcywh."""
    proposal_content: Floats
    """`[1, C]`."""


def level_names(levels: int) -> list[str]:
    """Names of the maps that `encode` gives and `decode` takes."""
    return [f"level_{index}" for index in range(levels)]


def names_of(graph: str, levels: int) -> tuple[list[str], list[str]]:
    """Names of the inputs and of the outputs of one of `GRAPHS`, in order."""
    maps = level_names(levels)
    return {
        "encode": (["image"], maps),
        "decode": (
            ["content", "boxes", *maps], ["scores", "last_boxes", "first_boxes", "embeddings"]
        ),
        "interact": (["content", "boxes", "embeddings"], ["next_content"]),
    }[graph]


def write_manifest(folder: Path, manifest: Manifest, about: Mapping[str, Any]) -> None:
    """Write the JSON of an export; `about` is for people to read."""
    arrays = {
        name: value.tolist()  # float32 survives the decimal digits exactly
        for name, value in vars(manifest).items() if isinstance(value, np.ndarray)
    }  # fmt: skip
    record = {"format": _FORMAT, **about, **vars(manifest), **arrays}
    write_text(folder / MANIFEST, json.dumps(record, indent=1) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Read the JSON of an export. Raises `InputError` for one that is missing or damaged."""
    path = folder / MANIFEST
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {what}; give the folder that tfsasm export made")
    if not path.is_file():
        raise InputError(f"{folder} has no {MANIFEST}; give the folder that tfsasm export made")
    try:
        record = json.loads(path.read_bytes())
        if record["format"] != _FORMAT:
            raise ValueError(f"its format is {record['format']!r}, not {_FORMAT}")
        counts = {name: _count(record, name) for name in _COUNTS}
        content = _table(record, "learned_content")
        boxes = _table(record, "learned_boxes", len(content), 4)
        proposal = _table(record, "proposal_content", 1, content.shape[1])
        return Manifest(
            **counts, learned_content=content, learned_boxes=boxes, proposal_content=proposal
        )
    except (ValueError, TypeError, KeyError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise InputError(f"{path} is not the record of an export: {reason}; {_AGAIN}") from error


def _count(record: Mapping[str, Any], name: str) -> int:
    value = record[name]
    if type(value) is not int or value < 1:
        raise ValueError(f"{name} is {value!r}, not a whole number from 1 up")
    return value


def _table(record: Mapping[str, Any], name: str, *shape: int) -> Floats:
    """A table of finite numbers, of this shape if one is given."""
    table = np.array(record[name], dtype=np.float32)
    if table.ndim != 2 or shape not in ((), table.shape) or not np.isfinite(table).all():
        wanted = " x ".join(map(str, shape)) or "rows of"
        raise ValueError(f"{name} is not a table of {wanted} numbers")
    return table


def graph_file(folder: Path, graph: str, runtime: str) -> Path:
    """The file of a graph for a runtime; OpenVINO reads ONNX files too.

    Raises `InputError` when there is none.
    """
    suffixes = dict.fromkeys((SUFFIXES[runtime], SUFFIXES["onnx"]))
    tried = [folder / f"{graph}{suffix}" for suffix in suffixes]
    if found := next((path for path in tried if path.is_file()), None):
        return found
    raise InputError(
        f"{folder} has no {tried[0].name}; make it with tfsasm export --format {runtime}"
    )
