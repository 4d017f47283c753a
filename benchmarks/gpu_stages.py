"""Stages of a frame on any device, timed between two moments at which the device is idle.

Unlike `stages`, which times a command's frame on a CPU as it is, every stage here stands alone: a
GPU works behind the host, so a clock around a call in the midst of others would tell nothing.
Stages that a call contains are subtracted from it, and may come out below zero where all is noise.
"""

from __future__ import annotations

import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from tfsasm.experiments.speed.limits import needs, processor
from tfsasm.experiments.speed.stages import busy_state, some_proposals, steady
from tfsasm.experiments.speed.variants import load_network
from tfsasm.motrv2.deformable_attention import ENVIRONMENT, attend, plain
from tfsasm.motrv2.fast import triton_attention
from tfsasm.motrv2.fast.graphs import ENVIRONMENT as GRAPHS
from tfsasm.motrv2.fast.kernels import Shapes
from tfsasm.motrv2.fast.model import FastMOTRv2
from tfsasm.motrv2.fast.precision import KINDS, parse_precision
from tfsasm.motrv2.network import TorchNetwork, prepare_there
from tfsasm.pytorch import upload, whole_float32
from tfsasm.runtime.network import Prediction, Queries
from tfsasm.tracking import memory
from tfsasm.tracking.config import NO_ID
from tfsasm.tracking.memory import Observation
from tfsasm.tracking.query import QueryTracker, report, step
from tfsasm.tracking.state import (
    TrackerState,
    TrackOutput,
    Tracks,
    asked_rows,
    new_tracks,
    settled,
    with_empty_rows,
    with_room,
)
from tfsasm.tracking.streams import Together, in_turn
from tfsasm.video.source import Frame

TRACKS = 20
"""Tracks, and as many detections."""

Milliseconds = dict[str, float]


@dataclass(frozen=True)
class Timer:
    """Medians on a device, of `rounds` runs after `warm_up` that are not counted."""

    device: torch.device
    rounds: int = 10
    warm_up: int = 2

    def ms(self, work: Callable[[], object]) -> float:
        """Milliseconds until the device is done."""
        spent = []
        for _ in range(self.warm_up + self.rounds):
            self._wait()
            began = time.perf_counter()
            work()
            self._wait()
            spent.append(1e3 * (time.perf_counter() - began))
        return statistics.median(spent[self.warm_up :])

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@contextmanager
def variable(name: str, value: str) -> Iterator[None]:
    """Inside, that variable of the environment has this value."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def sampling(name: str) -> AbstractContextManager[None]:
    """Inside, `TFSASM_SAMPLING` is this."""
    return variable(ENVIRONMENT, name)


def graphs(number: int) -> AbstractContextManager[None]:
    """Inside, `TFSASM_GRAPHS` is this."""
    return variable(GRAPHS, str(number))


class Subject:
    """A network on a device, and a frame of a `size` (height, width) with tracks and detections."""

    def __init__(
        self, timer: Timer, name: str, precision: str, kernel: str, size: tuple[int, int]
    ) -> None:
        """`name` is tiny or full (random weights); `kernel` is a value of `TFSASM_SAMPLING`."""
        self.timer, self.kernel, self.size = timer, kernel, size
        model, config = load_network(name, None)
        kind = timer.device.type
        made = FastMOTRv2(model.to(timer.device), parse_precision(precision, kind))
        self.network = TorchNetwork(made, config, resize_there=kind == "cuda", padded=True)
        rng = np.random.default_rng(0)
        self.image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        self.config = steady()
        found = with_empty_rows(some_proposals(TRACKS))
        self.proposals = found.map(self.network.asarray)
        self.count = self.network.asarray(np.array(TRACKS))
        state = busy_state(self.network, config.model.width, self.config, TRACKS)
        state = with_room(state, self.network.learned + len(found), self.config)
        next_id = self.network.asarray(np.array(TRACKS))
        self.state = replace(state, live=TRACKS, next_id=next_id)

    @torch.inference_mode()
    def frame(self, pixels: torch.Tensor) -> TrackOutput:
        """A frame from its normalised `pixels` `[1, 3, h, w]` to its output, on the device."""
        with sampling(self.kernel):
            return self._step(self._encode(pixels))[1]

    @torch.inference_mode()
    def pixels(self, batch: int = 1) -> torch.Tensor:
        """The frame so many times, prepared on the device."""
        frames = upload(self.image, self.timer.device)[None].expand(batch, -1, -1, -1)
        config = self.network.config
        return prepare_there(frames, config.short_side, config.max_side)

    @torch.inference_mode()
    def stages(self, batch: int) -> Milliseconds:
        """Each stage of one frame, encoded in batches of so many; `frame` is all of it."""
        ms, network, tracks = self.timer.ms, self.network, self.state.tracks
        with sampling(self.kernel), graphs(0):
            pixels, (queries, alive) = self.pixels(batch), self._queries()
            features = network.encode([self.image])[0]
            answer = network.decode(features, queries, alive)
            backbone = ms(lambda: network.model.stages(pixels)) / batch
            encoded = ms(lambda: self._encode(pixels)) / batch
            whole = ms(lambda: network.encode([self.image] * batch)) / batch
            decoder = ms(lambda: network.decode(features, queries, alive))
            views = ms(lambda: self._remember(answer[: len(tracks)]))
            interaction = ms(lambda: self._interact(answer[: len(tracks)]))
            stepped = ms(lambda: self._step(features))
            reported = ms(lambda: self._report(features))
        return {
            "prepare": whole - encoded, "backbone": backbone, "encoder": encoded - backbone,
            "decoder": decoder, "memory": views, "interaction": interaction,
            "lifecycle": stepped - decoder - views - interaction, "report": reported - stepped,
            "frame": whole + reported,
        }  # fmt: skip

    def streams(self, count: int) -> Milliseconds:
        """A frame of each of so many videos, encoded together as by `tfsasm track --streams`."""
        together = Together(QueryTracker(self.network, self.config))
        run = in_turn((self._video(together) for _ in range(count)), count)
        with sampling(self.kernel), closing(run):
            for _ in range(4 * count):  # until all have begun
                next(run)
            spent = self.timer.ms(lambda: [next(run) for _ in range(count)])
        return {"all": spent, "frames per second": 1e3 * count / spent}

    def as_graph(self) -> Milliseconds:
        """All of a frame after encoding, as it is and by `TFSASM_GRAPHS=1`; raises if refused."""
        features = self.network.encode([self.image])[0]
        found = {}
        with sampling(self.kernel):
            for number, name in enumerate(("as it is", "as a graph")):
                with graphs(number):
                    found[name] = self.timer.ms(lambda: self._report(features))
        if self.network.graphs.refused:
            raise RuntimeError("no graph, or a wrong one")
        return found

    def _video(self, together: Together) -> Iterator[object]:
        """What is reported of each frame of a video without an end."""
        frames = itertools.repeat((Frame(self.image, 1, "", None), self.proposals))
        with closing(together.prepared(frames)) as prepared:
            for _, _, features in prepared:
                yield self._report(features)

    def _encode(self, pixels: torch.Tensor) -> Any:
        with whole_float32(self.timer.device):
            return self.network.model.encode(pixels)

    def _queries(self) -> tuple[Queries, torch.Tensor]:
        """Those of a frame, and which rows are some."""
        new = new_tracks(self.network.queries(self.proposals.boxes, self.proposals.scores),
                         self.config)  # fmt: skip
        tracks = Tracks.cat([new, self.state.tracks])
        return tracks.queries, asked_rows(tracks.ids, self.network.learned + self.count)

    def _remember(self, answer: Prediction) -> object:
        seen = Observation(
            answer.embeddings, answer.scores, answer.scores, answer.scores, answer.scores > 0
        )
        views = memory.write(self.state.tracks.memory, seen, self.config.memory)
        return memory.read(views, answer.embeddings)

    def _interact(self, answer: Prediction) -> object:
        tracks = self.state.tracks
        content, alive = tracks.queries.content, tracks.ids != NO_ID
        return self.network.interact(content, answer.boxes, answer.embeddings, alive)

    def _step(self, features: Any) -> tuple[TrackerState, TrackOutput]:
        given = self.network, self.state, features, self.proposals, self.config, self.count
        return step(*given)

    def _report(self, features: Any) -> object:
        _, output = settled(*self._step(features))
        return report(output, self.size[1], self.size[0], self.config)


def attention_alone(
    timer: Timer, precision: str, shapes: Shapes, heads: int, blocks: tuple[int, ...]
) -> Milliseconds:
    """Attention among all tokens without its products: the Triton kernel by the size of its blocks,
    with gradients, and PyTorch's way in float32.
    """
    device, dtype = timer.device, KINDS[precision]
    tokens, levels = sum(h * w for h, w in shapes), len(shapes)
    value, offsets, logits = (
        torch.randn(1, tokens, *sides, device=device).to(dtype)
        for sides in ((heads, 32), (heads, levels, 4, 2), (heads, levels, 4))
    )
    given = [value, offsets, logits, torch.rand(1, tokens, levels, 2, device=device)]
    found, usual = {}, triton_attention.ELEMENTS
    with torch.inference_mode():
        for elements in blocks:
            triton_attention.ELEMENTS = elements
            found[f"triton, {elements}"] = timer.ms(lambda: _attend(given, shapes))
        triton_attention.ELEMENTS = usual
        first, second, third, fourth = (t.float() for t in given)
        found["pytorch"] = timer.ms(lambda: attend(first, shapes, second, third, fourth, plain))
    tracked = [t.clone().requires_grad_() for t in given]
    toward = torch.ones(1, tokens, heads * 32, device=device, dtype=dtype)

    def train() -> None:
        torch.autograd.grad(_attend(tracked, shapes), tracked, toward)

    return found | {"triton, with gradients": timer.ms(train)}


def attention_bytes(precision: str, shapes: Shapes, heads: int) -> float:
    """What the attention of a layer reads and writes if it does so once: values, offsets, logits,
    reference points (float32) and answers.
    """
    tokens, places = sum(h * w for h, w in shapes), heads * len(shapes) * 4
    wide = 2 * heads * 32 + 3 * places
    return tokens * (wide * KINDS[precision].itemsize + 2 * len(shapes) * 4)


def _attend(given: list[torch.Tensor], shapes: Shapes) -> torch.Tensor:
    value, offsets, logits, reference = given
    return triton_attention.attend(value, shapes, offsets, logits, reference)


def rates(timer: Timer, side: int, megabytes: int) -> dict[str, float]:
    """TFLOP per second of a square matrix product by precision, and GB per second copied."""
    found = {}
    for kind in ("fp32", "bf16", "fp16") if timer.device.type == "cuda" else ("fp32", "bf16"):
        x = torch.randn(side, side, device=timer.device).to(KINDS[kind])
        found[kind] = 2 * side**3 / timer.ms(lambda: x @ x) / 1e9  # noqa: B023
    copied = torch.zeros(megabytes * 2**20, dtype=torch.uint8, device=timer.device)
    return found | {"copied": 2 * copied.nbytes / timer.ms(copied.clone) / 1e6}


def device_name(device: torch.device) -> str:
    """The card, or the processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()


def needed(name: str, size: tuple[int, int]) -> dict[str, float]:
    """GFLOP of each part of a frame."""
    return needs(load_network(name, None)[1], *size, 10 + 2 * TRACKS)[0]
