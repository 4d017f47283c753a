"""An export: three graphs, a JSON with what stands between them, and both as a `Network`.

No network is described in the JSON, only what a runner needs to know of one.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tfsasm.errors import InputError
from tfsasm.files import field, numbers, read_json, shown, write_text
from tfsasm.runtime.network import InNumPy, Prediction, Queries, predicted
from tfsasm.runtime.preprocess import resized_rgb, resized_shape
from tfsasm.runtime.sessions import AGAIN, OPENERS
from tfsasm.tables import Floats

Runtime = Literal["onnx", "openvino"]

Features = list[Floats]
"""An encoded image: `[1, h, w, C]` per level."""

MANIFEST = "tfsasm.json"

GRAPHS = ("encode", "decode", "interact")

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml"}
"""What a graph of each format is called, after its name."""

_FORMAT = 1

_COUNTS = {"short_side": 100_000, "max_side": 100_000, "levels": 100, "parameters": 10**12,
           "queries_per_track": 100}  # fmt: skip
"""Whole numbers of the record, and the most that makes sense."""


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
    kind: str = "motrv2"
    """Or `motr`, whose contents are two vectors each, and which takes no detections."""
    queries_per_track: int = 1
    """More where sets of them follow one object (CO-MOT), which takes no detections either."""

    @property
    def own_preset(self) -> str | None:
        """The method of a network that finds objects itself, by name; None for one of detections.
        """
        return "motr" if self.kind == "motr" else "motrv2" if self.queries_per_track > 1 else None

    @property
    def width(self) -> int:
        """Channels of the maps and of an embedding."""
        return self.learned_content.shape[1] // (2 if self.kind == "motr" else 1)


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
    record = {"format": _FORMAT, **about, **vars(manifest)}
    # float32 survives the decimal digits exactly
    text = json.dumps(record, indent=1, default=np.ndarray.tolist)
    write_text(folder / MANIFEST, text + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Read the JSON of an export. Raises `InputError` for one that is missing or damaged."""
    path = folder / MANIFEST
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {what}; give the folder that tfsasm export made")
    if not path.is_file():
        raise InputError(f"{folder} has no {MANIFEST}; give the folder that tfsasm export made")
    try:
        record = read_json(path)
        if (version := field(record, "format", int)) != _FORMAT:
            raise ValueError(f"its format is {version}, not {_FORMAT}")
        record = {"kind": Manifest.kind, "queries_per_track": Manifest.queries_per_track} | record
        counts = {name: _count(record, name) for name in _COUNTS}
        content = _table(record, "learned_content")
        boxes = _table(record, "learned_boxes", len(content), 4)
        proposal = _table(record, "proposal_content", 1, content.shape[1])
        if (kind := field(record, "kind", str)) not in ("motrv2", "motr"):
            raise ValueError(f"kind is {shown(kind)}, not motrv2 or motr")
        if len(boxes) % (sets := counts["queries_per_track"]):
            raise ValueError(f"{len(boxes)} learned_boxes are no sets of {sets}")
        return Manifest(
            learned_content=content, learned_boxes=boxes, proposal_content=proposal, kind=kind,
            **counts,
        )  # fmt: skip
    except InputError as error:
        raise InputError(f"{error}; {AGAIN}") from error
    except ValueError as error:
        raise InputError(f"{path} is not the record of an export: {error}; {AGAIN}") from error


def _count(record: Any, name: str) -> int:
    value: int = field(record, name, int)
    most = _COUNTS[name]
    if 1 <= value <= most:
        return value
    raise ValueError(f"{name} is {shown(value)}, not a whole number from 1 to {most:,}")


def _table(record: Any, name: str, *shape: int) -> Floats:
    """A table of finite numbers, of this shape if one is given."""
    rows = field(record, name, list)
    width = len(rows[0]) if rows and isinstance(rows[0], list) else 0
    even = all(isinstance(row, list) and len(row) == width for row in rows)
    if not even or not width or shape not in ((), (len(rows), width)):
        wanted = " x ".join(map(str, shape)) or "rows of"
        raise ValueError(f"{name} is not a table of {wanted} numbers")
    return np.array([numbers(row, f"a row of {name}") for row in rows], dtype=np.float32)


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


class ExportedNetwork(InNumPy):
    """A `Network` on NumPy arrays. Not thread-safe within one of its calls.

    Its queries are single; `in_sets` makes those of `manifest.queries_per_track` of them.
    """

    def __init__(
        self, folder: Path | str, runtime: Runtime = "onnx", *, threads: int = 1,
        device: str = "auto", short_side: int | None = None, max_side: int | None = None,
    ) -> None:
        """Open what `tfsasm export` made. `short_side` and `max_side` override its image scale.

        Raises `InputError` for a folder, a file, a device or a package that is missing or unfit.
        """
        folder = Path(folder)
        self.manifest: Manifest = read_manifest(folder)
        self.short_side = short_side or self.manifest.short_side
        self.max_side = max_side or self.manifest.max_side
        levels = self.manifest.levels
        paths = [graph_file(folder, name, runtime) for name in GRAPHS]
        opened = OPENERS[runtime](threads, device)
        self._encode, self._decode, self._interact = (
            opened(path, *names_of(name, levels)) for name, path in zip(GRAPHS, paths, strict=True)
        )
        self._levels = level_names(levels)
        self.proposals = self.manifest.kind == "motrv2"
        self.preset = "default" if self.proposals else "motr"
        self.learned, self.parameters = len(self.manifest.learned_boxes), self.manifest.parameters
        self._probe(folder)

    def _probe(self, folder: Path) -> None:
        """Run the graphs on nothing, so that a misfit to the record shows before any work.

        With several queries at once: a decoder whose first call has a single query answers every
        later one wrongly in OpenVINO 2026.4.
        """
        channels, width = self.manifest.learned_content.shape[1], self.manifest.width
        queries = Queries(np.zeros((7, channels), np.float32), np.full((7, 4), 0.5, np.float32))
        try:
            maps = [np.zeros((1, 3, 2, width), np.float32)] * len(self._levels)
            prediction = self.decode(maps, queries)
            self.interact(queries.content, queries.boxes, prediction.embeddings)
            self.classes = prediction.class_scores.shape[1]
        except Exception as error:  # the runtimes' errors share no base of their own
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InputError(
                f"the graphs in {folder} do not fit its {MANIFEST}, which has {channels} channels "
                f"({reason}); {AGAIN}"
            ) from error

    def encode(self, images: Sequence[np.ndarray]) -> list[Features]:
        """Features of uint8 BGR images `[H, W, 3]`, one after the other."""
        sizes = self.short_side, self.max_side
        return [list(self._encode({"image": resized_rgb(image, *sizes)})) for image in images]

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width inside the network of an image of that size."""
        return resized_shape(height, width, self.short_side, self.max_side)

    def queries(self, boxes: Floats, scores: Floats) -> Queries:
        """New queries of a frame: the learned ones, then one per detection `[P, 4]`, `[P]`."""
        known = self.manifest
        if not self.proposals:
            return Queries(known.learned_content, known.learned_boxes)
        content = embed_scores(scores, known.learned_content.shape[1]) + known.proposal_content
        return Queries(
            content=np.concat([known.learned_content, content]),
            boxes=np.concat([known.learned_boxes, boxes]),
        )

    def decode(self, features: Features, queries: Queries, alive: None = None) -> Prediction:
        """Predictions for Q queries in one image."""
        if len(queries) == 0:
            none = queries.boxes
            scores = np.zeros((0, self.classes) if self.classes > 1 else 0, np.float32)
            embeddings = np.zeros((0, self.manifest.width), np.float32)
            return predicted(scores, none, none, embeddings)
        maps = dict(zip(self._levels, features, strict=True))
        return predicted(
            *self._decode({"content": queries.content, "boxes": queries.boxes} | maps)
        )

    def interact(
        self, content: Floats, boxes: Floats, embeddings: Floats, alive: None = None
    ) -> Floats:
        """Content `[A, C]` of the next frame for A tracks."""
        return self._interact({"content": content, "boxes": boxes, "embeddings": embeddings})[0]


def embed_scores(scores: Floats, features: int) -> Floats:
    """Sine encoding `[P, features]` of scores `[P]`, as `embed_coordinates` in PyTorch (SPEC 5.1).
    """
    index = np.arange(features, dtype=np.float32)
    wavelength = np.float32(10000) ** (2 * (index // 2) / np.float32(features))
    phase = scores[:, None] * np.float32(2 * math.pi) / wavelength
    waves = np.stack([np.sin(phase[:, 0::2]), np.cos(phase[:, 1::2])], axis=-1)
    return waves.reshape(len(scores), features)
