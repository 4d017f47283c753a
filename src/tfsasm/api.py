"""The tracker that users hold: detections and pictures in, detections with identities out.

What is unusual here: it is a shell around `tracker.step`. It keeps one state, so two trackers in a
process share nothing, and it hands on what the user attached to the detection that a track was born
of, since the network itself forgets which box a track came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from importlib.resources import files
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import supervision as sv
import torch

from tfsasm.config import default
from tfsasm.detect import ProposalSource
from tfsasm.errors import InputError
from tfsasm.intake import as_proposals, open_frames, proposal_source
from tfsasm.model import Features, MOTRv2
from tfsasm.model.backbone import fold_batch_norms
from tfsasm.model.deform_attn import sample_by
from tfsasm.model.fast import FastMOTRv2
from tfsasm.model.image import prepare
from tfsasm.model.precision import parse_precision
from tfsasm.model.sampling import in_order
from tfsasm.model.weights import NetworkConfig, load_model
from tfsasm.pipeline import ahead
from tfsasm.pixels import as_bgr
from tfsasm.proposals import Proposals
from tfsasm.runtime.tracker import Answer as ArrayAnswer
from tfsasm.runtime.tracker import Report as ArrayReport
from tfsasm.tracker import Answer, Report, TrackerConfig, TrackerState, begin, report, step
from tfsasm.video import Frame, Source


def load(
    weights: Path | str = "tiny", config: TrackerConfig | None = None, *,
    short_side: int | None = None, max_side: int | None = None, device: str = "auto",
    precision: str = "auto", exact: bool = False,
) -> Tracker:
    """A tracker from a checkpoint: `"tiny"` (in the package), ours or a published file.

    `config` is the method (`tfsasm.config`), by default `default()`. `short_side` and `max_side`
    override the scale of the images that the network was made for, in pixels. `device` is a torch
    device; `auto` takes a GPU where there is one. `precision` is that of convolutions and matrix
    products: fp32, bf16 or fp16, or of single parts, `"backbone=bf16,encoder=fp32,decoder=fp32"`;
    auto is fp32, the same on every device. `exact` sums in the order of the released code, not in
    the quickest (docs/fidelity.md). Raises `WeightsError` for a file that cannot be loaded or does
    not fit, `InputError` for a side below 1, or a device that is not there or cannot do it.
    """
    for name, side in (("short_side", short_side), ("max_side", max_side)):
        if side is not None and side < 1:
            raise InputError(f"{name} is {side}; give a number of pixels from 1 up")
    place = _device(device)
    path = embedded("tiny") if str(weights) == "tiny" else Path(weights)
    model, network = load_model(path)
    network = replace(
        network, short_side=short_side or network.short_side, max_side=max_side or network.max_side
    )
    model = model.to(place)
    if exact and precision != "auto":
        raise InputError(f"precision {precision} sums in another order than the released code")
    if exact:
        sample_by(in_order, model)
        if network.model.backbone != "resnet50":  # the published trunk stays as published
            model.backbone = fold_batch_norms(model.backbone)
    else:
        model = FastMOTRv2(model, parse_precision(precision, place.type))
    return Tracker(model, network, config or default())


def _device(name: str) -> torch.device:
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


def embedded(name: str) -> Path:
    """Path of a checkpoint that ships in the package."""
    return Path(str(files("tfsasm") / "weights" / f"{name}.safetensors"))


class Tracker:
    """Follows objects through one video at a time."""

    def __init__(self, model: MOTRv2, network: NetworkConfig, config: TrackerConfig) -> None:
        self.model, self.network, self.config = model, network, config
        self.state: TrackerState = begin(model, config)
        self._origins = Origins()

    def reset(self) -> None:
        """Forget everything: the next frame is the first of another video, ids start at 1."""
        self.state = begin(self.model, self.config)
        self._origins = Origins()

    def update(
        self, detections: sv.Detections | Proposals | None, frame: np.ndarray
    ) -> sv.Detections:
        """Track one frame; call it for every frame, also when nothing was detected.

        `detections` are any detector's, `xyxy` in pixels of `frame`; `frame` is uint8 BGR
        `[H, W, 3]` (grey and BGRA are converted). Returns the tracks: `tracker_id` from 1,
        `confidence`, pixel `xyxy` (not clipped to the image), and `class_id` and `data` of the
        detection that each track was born of. Raises `InputError` for a box with NaN, infinity or
        no area, naming its row, and for a frame that is not an image; the state is then as before.
        """
        image = as_bgr(frame)
        height, width = image.shape[:2]
        if not isinstance(detections, Proposals):
            proposals = as_proposals(detections, width, height)
        else:
            proposals, detections = detections, None
        return self._conclude(self._encode(image), proposals, detections, width, height)

    def track(
        self, source: Source | Path | str | int, *,
        detections: ProposalSource | Path | str | None = None,
        detector: ProposalSource | str | None = None,
        start: int = 1, end: int | None = None, stride: int = 1,
        order: Literal["natural", "name"] = "natural", in_advance: int = 2,
        batch: int = 1,
    ) -> Iterator[tuple[Frame, sv.Detections]]:
        """Track a whole video, folder, camera or stream, from a fresh state, frame by frame.

        Give either `detections` (a MOT det.txt or det_db JSON) or a `detector` (a name such as
        `"yolox-nano"`), or for either any function of a `Frame` that returns `Proposals`. `start`,
        `end` (inclusive) and `stride` count frames from 1. One thread decodes and detects, another
        encodes, each up to `in_advance` frames before they are tracked; 0 for neither. `batch`
        frames of one size are encoded together, which a live source should not wait for. Raises
        `InputError` for what cannot be used and `TruncatedInput` after the last good frame of a
        damaged source. An opened `Source` brings its own range and order.
        """
        proposals = proposal_source(detections, detector, source)
        opened = open_frames(source, start=start, end=end, stride=stride, order=order)
        self.reset()
        looked = ((frame, proposals(frame)) for frame in opened)
        with (
            opened, closing(ahead(looked, in_advance)) as found,
            closing(ahead(self._encoded(found, batch), in_advance)) as ready,
        ):  # fmt: skip
            for frame, boxes, features in ready:
                height, width = frame.image.shape[:2]
                yield frame, self._conclude(features, boxes, None, width, height)

    def _encoded(
        self, found: Iterable[tuple[Frame, Proposals]], batch: int
    ) -> Iterator[tuple[Frame, Proposals, Features]]:
        """Frames with the part of their work that needs no state done, `batch` at a time."""
        for _, run in groupby(found, key=lambda pair: pair[0].image.shape):
            while some := list(islice(run, batch)):
                features = self._encode_all([frame.image for frame, _ in some])
                for (frame, boxes), encoded in zip(some, features, strict=True):
                    yield frame, boxes, encoded

    def _encode(self, image: np.ndarray) -> Features:
        """The part of a frame's work that needs no state."""
        return self._encode_all([image])[0]

    def _encode_all(self, images: list[np.ndarray]) -> list[Features]:
        """The same of images of one size, in one batch."""
        sides = self.network.short_side, self.network.max_side
        pixels = torch.cat([prepare(image, *sides) for image in images])
        with torch.inference_mode():
            features = self.model.encode(pixels.to(self.model.learned_content.device))
        if len(images) == 1:
            return [features]
        return [features[index] for index in range(len(images))]

    def _conclude(
        self, features: Features, proposals: Proposals, detections: sv.Detections | None,
        width: int, height: int,
    ) -> sv.Detections:
        """The rest of it: one step of the state, reported in pixels."""
        proposals = proposals.to(self.model.learned_content.device)
        self.state, answer = step(self.model, self.state, features, proposals, self.config)
        self._origins.learn(answer, detections, self.state.tracks.ids)
        return self._origins.attach(report(answer, width, height, self.config).to("cpu"))


class Origins:
    """What came with the detection that each live track was born of."""

    def __init__(self) -> None:
        self._class_ids: dict[int, int] = {}
        self._data: dict[int, dict[str, Any]] = {}

    def learn(
        self, answer: Answer | ArrayAnswer, detections: sv.Detections | None,
        live: torch.Tensor | np.ndarray,
    ) -> None:
        """Take over the data of tracks that are born, reported or not; forget those that died."""
        if detections is not None:
            for identity, source in zip(answer.ids.tolist(), answer.sources.tolist(), strict=True):
                if source >= 0:
                    self._learn(identity, detections, source)
        alive = set(live.tolist())
        self._class_ids = {i: value for i, value in self._class_ids.items() if i in alive}
        self._data = {i: value for i, value in self._data.items() if i in alive}

    def attach(self, told: Report | ArrayReport) -> sv.Detections:
        """The report as `supervision.Detections`, with what is known of each track."""
        ids = told.ids.tolist()
        keys = {key for identity in ids for key in self._data.get(identity, {})}
        classes = [self._class_ids.get(identity, 0) for identity in ids]
        return sv.Detections(
            xyxy=np.asarray(told.xyxy).reshape(-1, 4),
            confidence=np.asarray(told.scores),
            class_id=np.asarray(classes, dtype=int),
            tracker_id=np.asarray(ids, dtype=int) + 1,
            data={key: self._column(key, ids) for key in sorted(keys)},
        )

    def _learn(self, identity: int, detections: sv.Detections, row: int) -> None:
        if detections.class_id is not None:
            self._class_ids[identity] = int(detections.class_id[row])
        self._data[identity] = {key: values[row] for key, values in detections.data.items()}

    def _column(self, key: str, ids: list[int]) -> np.ndarray:
        """One row per track; as objects where a track has none (None) or shapes differ."""
        values: list[Any] = [self._data.get(identity, {}).get(key) for identity in ids]
        if all(value is not None for value in values) and len({np.shape(v) for v in values}) == 1:
            return np.asarray(values)
        column = np.empty(len(values), dtype=object)
        for row, value in enumerate(values):
            column[row] = value
        return column
