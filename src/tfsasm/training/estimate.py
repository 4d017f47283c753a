"""What a run will need, by some of its own steps: seconds and memory are measured, not guessed."""

import time
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

_LEAST, _MOST, _SECONDS = 4, 40, 30.0  # steps per clip length, and how long they may take

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
    network: NetworkConfig, config: TrainConfig, blocks: Blocks, model: torch.nn.Module
) -> Estimate:
    """Take a few steps of a run at each of its clip lengths, and throw them away.

    `model` is the network on its device. The first step of a length is not timed. The clips of so
    few steps were made while the first one lasted, so that their making is timed by itself: where
    it takes longer than the steps, a run waits for it. Writing checkpoints counts.
    """
    run = start(model, network, config)  # type: ignore[arg-type]
    team = distributed.team()
    each = distributed.clips_each(config.batch)
    clips = stream(blocks, workers=config.workers, part=(team.rank, team.size))
    ends = [share for share, _ in config.lengths[1:]] + [1.0]
    seconds = 0.0

    def step(share: float) -> float:
        run.step = min(int(share * config.steps) + 1, config.steps - 1)
        began = time.perf_counter()
        train_step(run, list(islice(clips, each)))
        return time.perf_counter() - began

    step(0.0)
    making = each * _seconds_of_a_clip(blocks, config.workers) if config.workers else 0.0
    for (begin, _), end in zip(config.lengths, ends, strict=True):
        step(begin)
        taken: list[float] = []
        while len(taken) < _LEAST or (len(taken) < _MOST and sum(taken) < _SECONDS):
            taken.append(step(begin))
        seconds += (end - begin) * max(making, sum(taken) / len(taken))
    with TemporaryDirectory() as folder:
        began = time.perf_counter()
        save(run, Path(folder))
        saving = time.perf_counter() - began
    seconds *= 1 + saving / (60 * config.checkpoint_minutes)
    return Estimate(config.steps, seconds, *_memory(run.model.learned_content.device))


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
