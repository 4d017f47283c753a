"""One frame after the other through all stages, each of them timed."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from tfsasm.detection.detectors import Detector
from tfsasm.detection.proposals import Proposals
from tfsasm.motrv2 import network as torch_network
from tfsasm.motrv2.network import TorchNetwork
from tfsasm.processes import page_faults
from tfsasm.runtime import exported
from tfsasm.runtime.exported import ExportedNetwork
from tfsasm.runtime.network import Network, Queries
from tfsasm.tracking import memory
from tfsasm.tracking.config import LifecycleConfig, TrackerConfig, released
from tfsasm.tracking.query import report, step
from tfsasm.tracking.state import Origins, TrackerState, new_tracks
from tfsasm.video.annotate import Annotator
from tfsasm.video.source import open_video
from tfsasm.video.writer import VideoWriter

STAGES = (
    "decode", "preprocess", "detector", "backbone", "encoder", "backbone and encoder",
    "memory read", "decoder", "lifecycle", "memory write", "interaction", "output",
)  # fmt: skip


_INSIDE = {
    "encoder": ("backbone", "preprocess"), "backbone and encoder": ("preprocess",),
    "lifecycle": ("memory read", "decoder", "memory write", "interaction"),
}  # fmt: skip
"""Stages that are timed inside another one."""


class Clock:
    """Milliseconds of each stage, each time that it was there."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.spent = defaultdict[str, list[float]](list)
        self._now = now

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block."""
        began = self._now()
        try:
            yield
        finally:
            self.spent[name].append(1e3 * (self._now() - began))

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, each call of which is that stage."""

        def call(*args: Any, **settings: Any) -> Any:
            with self.stage(name):
                return function(*args, **settings)

        return call


def spent_ms(
    work: Callable[[], object], times: int, now: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Milliseconds of the work, each time."""
    clock = Clock(now)
    for _ in range(times):
        with clock.stage("work"):
            work()
    return clock.spent["work"]


@dataclass(frozen=True)
class Measurement:
    """What a frame costs, on average over a few."""

    stages: dict[str, float]
    """Milliseconds."""
    faults: float
    """Page faults."""

    @property
    def total(self) -> float:
        """Milliseconds, one stage after the other."""
        return sum(self.stages.values())


def measure(
    network: Network, width: int, video: Path, tracks: int, detector: Detector | None = None
) -> Measurement:
    """All frames of a video, each from the same state: so many tracks, and as many detections.

    `width` is that of the network's queries. What is drawn goes into a file beside the video.
    """
    config, clock, frames = steady(), Clock(), 0
    before = busy_state(network, width, config, tracks)
    proposals = some_proposals(tracks).map(network.asarray)
    faults = page_faults()
    with ExitStack() as stack:
        for owner, attribute, name in _watched(network):
            call = clock.timed(name, getattr(owner, attribute))
            stack.enter_context(patch.object(owner, attribute, call))
        source = stack.enter_context(open_video(str(video)))
        drawn = VideoWriter(video.with_name("out.mp4"), source.rate, overwrite=True)
        writer = stack.enter_context(drawn)
        annotator, arriving = Annotator(), iter(source)
        while True:
            with clock.stage("decode"):
                frame = next(arriving, None)
            if frame is None:
                break
            frames += 1
            if detector is not None:
                with clock.stage("detector"):
                    detector(frame)
            features = network.encode([frame.image])[0]
            with clock.stage("lifecycle"):
                _, result = step(network, before, features, proposals, config)
            with clock.stage("output"):
                height, width = frame.image.shape[:2]
                tracked = Origins().attach(report(result, width, height, config))
                writer.write(annotator.annotate(frame.image, tracked), frame.time)
    faults = page_faults() - faults
    per_frame = {name: sum(clock.spent[name]) / frames for name in STAGES if name in clock.spent}
    for outer in per_frame.keys() & _INSIDE:
        per_frame[outer] -= sum(per_frame.get(name, 0.0) for name in _INSIDE[outer])
    return Measurement(per_frame, faults / frames)


def _watched(network: Network) -> list[tuple[Any, str, str]]:
    """Functions of `network`, in PyTorch or exported, as owner and attribute, and their stages."""
    inner: list[tuple[Any, str, str]]
    if isinstance(network, ExportedNetwork):
        encoding, inner = "backbone and encoder", [(exported, "resized_rgb", "preprocess")]
    else:
        assert isinstance(network, TorchNetwork)
        encoding = "encoder"
        inner = [(torch_network, "prepare", "preprocess"),
                 (network.model.backbone, "forward", "backbone")]  # fmt: skip
    return [
        *inner, (network, "encode", encoding), (network, "decode", "decoder"),
        (network, "interact", "interaction"), (memory, "read", "memory read"),
        (memory, "write", "memory write"),
    ]  # fmt: skip


def busy_state(network: Network, width: int, config: TrackerConfig, tracks: int) -> TrackerState:
    """`tracks` tracks all over the image, queries `[tracks, width]`, memories half full."""
    g = torch.Generator().manual_seed(0)
    boxes = torch.rand(tracks, 4, generator=g).numpy() * np.float32(0.3) + np.float32(0.2)
    content = torch.randn(tracks, width, generator=g).numpy()
    new = new_tracks(Queries(content, boxes), config)
    filled = np.arange(config.memory.capacity) >= config.memory.capacity // 2
    remembered = replace(
        new.memory, valid=np.tile(filled, (tracks, 1)),
        features=torch.randn(tracks, config.memory.capacity, width, generator=g).numpy(),
    )  # fmt: skip
    rows = replace(new, ids=np.arange(tracks), memory=remembered)
    return TrackerState(rows.map(network.asarray), next_id=tracks)


def steady() -> TrackerConfig:
    """The released method with scores such that no track is born, dies, or goes unreported."""
    scores = LifecycleConfig(birth_score=2.0, miss_score=0.0)
    return replace(released(), lifecycle=scores, refresh_score=-1.0, report_score=-1.0)


def some_proposals(count: int) -> Proposals:
    """Detections all over the image."""
    g = torch.Generator().manual_seed(1)
    boxes = torch.rand(count, 4, generator=g) * 0.3 + 0.2
    return Proposals(boxes.numpy(), torch.rand(count, generator=g).numpy())


def write_clip(path: Path, height: int, width: int, frames: int) -> None:
    """A video of a moving texture, so that decoding and encoding have work."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    texture = np.kron(coarse, np.ones((8, 8, 1), dtype=np.uint8))[:height, :width]
    with VideoWriter(path, None, overwrite=True) as writer:
        for index in range(frames):
            writer.write(np.roll(texture, 3 * index, axis=1), None)
