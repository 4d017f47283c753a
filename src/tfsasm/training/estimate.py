"""What a run will need, by some of its own steps: seconds and memory are measured, not guessed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
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

_LEAST, _MOST, _SECONDS = 4, 40, 30.0  # clips per clip length, and how long they may take
_SLOW, _PATIENCE = 2, 120.0  # clips at least where they are slow, and seconds for them

_MADE, _MAKING = 4, 3.0  # clips at least whose making is timed, and seconds, for 10 times as many


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
) -> Estimate:
    """Take a few clips of a run at each of its clip lengths, and throw away what was learned.

    `model` is the network on its device. The clips of a step are computed one after the other, so
    one is measured and counted for all; the optimiser counts once. The first clip of a length is
    not timed. The clips of so few steps were made while the first one lasted, so that their making
    is timed by itself: where it takes longer than the steps, a run waits for it. Writing
    checkpoints counts.
    """
    run = start(model, network, config)  # type: ignore[arg-type]
    team = distributed.team()
    each = distributed.clips_each(config.batch)
    clips = stream(blocks, workers=config.workers, part=(team.rank, team.size))
    ends = [share for share, _ in config.lengths[1:]] + [1.0]
    seconds = 0.0

    def clip(share: float, count: int = 1) -> float:
        run.step = min(int(share * config.steps) + 1, config.steps - 1)
        began = time.perf_counter()
        train_step(run, list(islice(clips, count)))
        return time.perf_counter() - began

    progress("the first clips")
    clip(0.0, min(each, 2))  # the second one needs its memory beside the gradients of the first
    making = each * _seconds_of_a_clip(blocks, config.workers) if config.workers else 0.0
    optimiser = _seconds_of(run.optimizer.step)
    for (begin, frames), end in zip(config.lengths, ends, strict=True):
        if begin:
            clip(begin)
        taken: list[float] = []
        while _goes_on(taken):
            progress(f"clip {len(taken) + 1} of {frames} frames")
            taken.append(clip(begin))
        alone = max(0.0, sum(taken) / len(taken) - optimiser)
        seconds += (end - begin) * max(making, each * alone + optimiser)
    with TemporaryDirectory() as folder:
        saving = _seconds_of(lambda: save(run, Path(folder)))
    seconds *= 1 + saving / (60 * config.checkpoint_minutes)
    return Estimate(config.steps, seconds, *_memory(run.model.learned_content.device))


def _goes_on(taken: list[float]) -> bool:
    """Whether another clip is to be timed: a quick one more often, a slow one at least twice."""
    spent = sum(taken)
    if len(taken) < _LEAST:
        return len(taken) < _SLOW or spent < _PATIENCE
    return len(taken) < _MOST and spent < _SECONDS


def _seconds_of(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _seconds_of_a_clip(blocks: Blocks, workers: int) -> float:
    """As so many workers make them, measured while they do."""
    began, spent, count, made = time.perf_counter(), 0.0, 0, 0
    while made < _MADE or (made < 10 * _MADE and spent < _MAKING):
        made, count = made + len(blocks(count)), count + 1
        spent = time.perf_counter() - began
    return spent / made / workers


def _memory(device: torch.device) -> tuple[float, str]:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9, str(device)
    return peak_memory() / 1e9, "this process"
