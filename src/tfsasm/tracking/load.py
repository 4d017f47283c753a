"""The tracker that users hold: detections and pictures in, detections with identities out.

What is unusual here: it is a shell around `tracker.step`. It keeps one state, so two trackers in a
process share nothing, and it hands on what the user attached to the detection that a track was born
of, since the network itself forgets which box a track came from.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv
import torch

from tfsasm.detection.proposals import Proposals
from tfsasm.errors import InputError
from tfsasm.motrv2.backbone import fold_batch_norms
from tfsasm.motrv2.deformable_attention import in_order, sample_by
from tfsasm.motrv2.fast.model import FastMOTRv2
from tfsasm.motrv2.fast.precision import parse_precision
from tfsasm.motrv2.weights import load_model
from tfsasm.runtime.exported import ExportedNetwork, Runtime
from tfsasm.runtime.support import Proposals as Arrays
from tfsasm.runtime.tracker import TrackerState, begin, report, step
from tfsasm.tracking.config import TrackerConfig, default
from tfsasm.tracking.query import Origins, QueryTracker


def load(
    weights: Path | str = "tiny", config: TrackerConfig | None = None, *,
    short_side: int | None = None, max_side: int | None = None, device: str = "auto",
    precision: str = "auto", exact: bool = False,
) -> QueryTracker:
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
    return QueryTracker(model, network, config or default())


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


def load_exported(
    folder: Path | str, runtime: Runtime = "onnx", config: TrackerConfig | None = None, *,
    threads: int = 2, device: str = "auto", short_side: int | None = None,
    max_side: int | None = None,
) -> ExportedQueryTracker:
    """A tracker from a folder that `tfsasm export` made; `tfsasm.load` for such folders.

    `threads` are those of each graph. Raises `InputError` for what is missing or does not fit.
    """
    network = ExportedNetwork(
        folder, runtime, threads=threads, device=device, short_side=short_side, max_side=max_side
    )
    return ExportedQueryTracker(network, config or default())


class ExportedQueryTracker(QueryTracker):
    """A `Tracker` whose network is an exported one."""

    state: TrackerState  # type: ignore[assignment]

    def __init__(self, network: ExportedNetwork, config: TrackerConfig) -> None:
        self.exported, self.config = network, config
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is the first of another video, ids start at 1."""
        self.state = begin(self.exported, self.config)
        self._origins = Origins()

    def _encode_all(self, images: list[np.ndarray]) -> list[Any]:
        return [self.exported.encode(image) for image in images]

    def _conclude(
        self, features: Any, proposals: Proposals, detections: sv.Detections | None,
        width: int, height: int,
    ) -> sv.Detections:
        found = Arrays(proposals.boxes.numpy(), proposals.scores.numpy())
        self.state, answer = step(self.exported, self.state, features, found, self.config)
        self._origins.learn(answer, detections, self.state.tracks.ids)
        return self._origins.attach(report(answer, width, height, self.config))
