"""One frame after the other through all stages, each of them timed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tfsasm.detection.detectors import Detector
from tfsasm.detection.proposals import Proposals
from tfsasm.motrv2 import network as torch_network
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.network import TorchNetwork
from tfsasm.processes import page_faults
from tfsasm.runtime import exported
from tfsasm.runtime.exported import ExportedNetwork
from tfsasm.runtime.network import Network, Queries
from tfsasm.tracking import memory
from tfsasm.tracking.config import LifecycleConfig, TrackerConfig, released
from tfsasm.tracking.origins import Origins
from tfsasm.tracking.query import report, step
from tfsasm.tracking.state import TrackerState, Tracks
from tfsasm.video.annotate import Annotator
from tfsasm.video.source import open_video
from tfsasm.video.writer import VideoWriter

STAGES = (
    "decode", "preprocess", "detector", "backbone", "encoder", "backbone and encoder",
    "memory read", "decoder", "lifecycle", "memory write", "interaction", "output",
)  # fmt: skip


@dataclass(frozen=True)
class Workload:
    """What is to be done in each frame."""

    video: Path
    network: NetworkConfig
    config: TrackerConfig
    proposals: Proposals
    tracks: int
    detector: Detector | None = None


@dataclass
class Clock:
    """Seconds by stage; an inner stage counts in the outer one too until `own` subtracts it."""

    spent: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.spent[name] = self.spent.get(name, 0.0) + time.perf_counter() - began

    @contextmanager
    def watch(self, owner: Any, attribute: str, name: str) -> Iterator[None]:
        """Time the calls of a function of a module or an object inside the block."""
        function = getattr(owner, attribute)
        own = attribute in vars(owner)

        def timed(*args: Any, **settings: Any) -> Any:
            with self.stage(name):
                return function(*args, **settings)

        setattr(owner, attribute, timed)
        try:
            yield
        finally:
            if own:
                setattr(owner, attribute, function)
            else:
                delattr(owner, attribute)

    def own(self, outer: str, *inner: str) -> None:
        """Subtract the stages inside `outer` from it."""
        if outer in self.spent:
            self.spent[outer] -= sum(self.spent.get(name, 0.0) for name in inner)


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


@dataclass(frozen=True)
class Variant:
    """A network that is timed, and the same tracks for each frame."""

    network: Network
    before: TrackerState
    """What the tracker knows before a frame."""
    proposals: Proposals
    watched: tuple[tuple[Any, str, str], ...]
    """Functions, as owner and attribute, and the stages that they are."""


def prepare_variant(network: Network, work: Workload) -> Variant:
    """`network`, in PyTorch or exported, with the tracks of the workload."""
    inner: list[tuple[Any, str, str]]
    if isinstance(network, ExportedNetwork):
        encoding, inner = "backbone and encoder", [(exported, "resized_rgb", "preprocess")]
    else:
        assert isinstance(network, TorchNetwork)
        encoding = "encoder"
        inner = [(torch_network, "prepare", "preprocess"),
                 (network.model.backbone, "forward", "backbone")]  # fmt: skip
    width = work.network.model.width
    return Variant(
        network, busy_state(network, width, work.config, work.tracks),
        work.proposals.map(network.asarray),
        (
            *inner, (network, "encode", encoding), (network, "decode", "decoder"),
            (network, "interact", "interaction"), (memory, "read", "memory read"),
            (memory, "write", "memory write"),
        ),
    )  # fmt: skip


def measure(variant: Variant, work: Workload, output: Path) -> Measurement:
    """All frames of the workload's video, each from the same state."""
    clock, frames = Clock(), 0
    network, config = variant.network, work.config
    faults = page_faults()
    with ExitStack() as stack:
        for owner, attribute, name in variant.watched:
            stack.enter_context(clock.watch(owner, attribute, name))
        source = stack.enter_context(open_video(str(work.video)))
        writer = stack.enter_context(VideoWriter(output, source.rate, overwrite=True))
        annotator, arriving = Annotator(), iter(source)
        while True:
            with clock.stage("decode"):
                frame = next(arriving, None)
            if frame is None:
                break
            frames += 1
            if work.detector is not None:
                with clock.stage("detector"):
                    work.detector(frame)
            features = network.encode([frame.image])[0]
            with clock.stage("lifecycle"):
                _, result = step(network, variant.before, features, variant.proposals, config)
            with clock.stage("output"):
                height, width = frame.image.shape[:2]
                tracks = Origins().attach(report(result, width, height, config))
                writer.write(annotator.annotate(frame.image, tracks), frame.time)
    faults = page_faults() - faults
    clock.own("encoder", "backbone", "preprocess")
    clock.own("backbone and encoder", "preprocess")
    clock.own("lifecycle", "memory read", "decoder", "memory write", "interaction")
    per_frame = {name: 1e3 * clock.spent[name] / frames for name in STAGES if name in clock.spent}
    return Measurement(per_frame, faults / frames)


def busy_state(network: Network, width: int, config: TrackerConfig, tracks: int) -> TrackerState:
    """`tracks` tracks all over the image, queries `[tracks, width]`, memories half full."""
    g = torch.Generator().manual_seed(0)
    boxes = torch.rand(tracks, 4, generator=g).numpy() * np.float32(0.3) + np.float32(0.2)
    content = torch.randn(tracks, width, generator=g).numpy()
    empty = memory.empty(content, config.memory)
    filled = np.arange(config.memory.capacity) >= config.memory.capacity // 2
    remembered = replace(
        empty, valid=np.tile(filled, (tracks, 1)),
        features=torch.randn(tracks, config.memory.capacity, width, generator=g).numpy(),
    )  # fmt: skip
    zeros = np.zeros(tracks, dtype=np.int64)
    velocity = np.zeros((tracks, 2), dtype=np.float32)
    rows = Tracks(np.arange(tracks), zeros, Queries(content, boxes), remembered, velocity)
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
