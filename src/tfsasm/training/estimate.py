"""What a run will need, by some of its own steps: seconds and memory are measured, not guessed."""

import itertools
import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from tfsasm.motrv2.config import NetworkConfig
from tfsasm.processes import peak_memory
from tfsasm.training import distributed
from tfsasm.training.checkpoints import save
from tfsasm.training.data import Blocks, stream
from tfsasm.training.recipes import TrainConfig
from tfsasm.training.trainer import start, train_step

STEPS = ((2, math.inf), (4, 120.0), (40, 30.0))
"""Clips and seconds: one more is timed while of a pair neither is reached, a slow one twice."""

_MAKING = ((4, math.inf), (40, 3.0))
"""The same for clips as they are made."""


@dataclass(frozen=True)
class Estimate:
    """What a run will need."""

    steps: int
    seconds: float
    """Per step, over the whole run."""
    memory: float
    """Gigabytes at most: of the GPU, else of this process."""
    place: str
    """Whose memory it is."""

    @property
    def hours(self) -> float:
        """Of the whole run, without validation."""
        return self.steps * self.seconds / 3600


def estimate(
    network: NetworkConfig, config: TrainConfig, blocks: Blocks, model: torch.nn.Module,
    progress: Callable[[str], None] = lambda what: None,
    notice: Callable[[str], None] = lambda what: None,
) -> Estimate:
    """Take a few clips of a run at each of its clip lengths, and throw away what was learned.

    `model` is the network on its device. One clip is measured and counted for all of a step, the
    optimiser once, checkpoints too; the first clip of a length is not timed. Making clips is timed
    by itself: where it takes longer than the steps, a run waits for it. `notice` gets after the
    first clip how long all of it may take.
    """
    run = start(model, network, config)  # type: ignore[arg-type]
    each = distributed.clips_each(config.batch)
    ends = [share for share, _ in config.lengths[1:]] + [1.0]
    seconds = 0.0

    def clip(share: float, count: int = 1) -> float:
        run.step = min(int(share * config.steps) + 1, config.steps - 1)
        return _seconds_of(lambda: train_step(run, list(itertools.islice(clips, count))))

    with closing(stream(blocks, workers=config.workers, part=distributed.team())) as clips:
        progress("the first clips")
        pair = min(each, 2)  # the second one needs its memory beside the gradients of the first
        per_frame = clip(0.0, pair) / pair / config.lengths[0][1]
        most = sum(_longest(per_frame * frames) for _, frames in config.lengths)
        minutes = max(1, math.ceil(most / 60))
        notice(f"measuring steps: about {minutes} min at most, judged by the first clip")
        making = each * _seconds_of_a_clip(blocks, config.workers) if config.workers else 0.0
        optimiser = _seconds_of(run.optimizer.step)
        for (begin, frames), end in zip(config.lengths, ends, strict=True):
            if begin:
                clip(begin)
            taken: list[float] = []
            while _goes_on(len(taken), sum(taken), STEPS):
                progress(f"clip {len(taken) + 1} of {frames} frames")
                taken.append(clip(begin))
            alone = max(0.0, sum(taken) / len(taken) - optimiser)
            seconds += (end - begin) * max(making, each * alone + optimiser)
    with TemporaryDirectory() as folder:
        saving = _seconds_of(lambda: save(run, Path(folder)))
    seconds += saving * min(1.0, seconds / (60 * config.checkpoint_minutes or seconds))
    device = run.model.learned_content.device
    if device.type == "cuda":
        memory = torch.cuda.max_memory_allocated(device) / 1e9
        return Estimate(config.steps, seconds, memory, str(device))
    return Estimate(config.steps, seconds, peak_memory() / 1e9, "this process")


def _goes_on(count: int, spent: float, limits: Sequence[tuple[int, float]]) -> bool:
    return any(count < most and spent < seconds for most, seconds in limits)


def _longest(clip: float) -> float:
    """Seconds for one length, whose clips take `clip` each: one that is not timed, and `STEPS`."""
    return clip + max(min(most * clip, seconds + clip) for most, seconds in STEPS)


def _seconds_of(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _seconds_of_a_clip(blocks: Blocks, workers: int) -> float:
    """As so many workers make them, measured while they do."""
    began, spent, made, numbers = time.perf_counter(), 0.0, 0, itertools.count()
    while _goes_on(made, spent, _MAKING):
        made += len(blocks(next(numbers)))
        spent = time.perf_counter() - began
    return spent / made / workers
