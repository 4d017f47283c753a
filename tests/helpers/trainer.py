"""Runs of a small network that tests train."""

from __future__ import annotations

import copy
from functools import cache

import torch

from helpers.fakes import SMALL
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.model import MOTRv2
from tfsasm.training.clip import ClipConfig
from tfsasm.training.recipes import TrainConfig
from tfsasm.training.trainer import start

NETWORK = NetworkConfig(SMALL, short_side=64, max_side=64)
CONFIG = TrainConfig(
    clip=ClipConfig(refresh_matched=True, track_drop=0.2, false_tracks=0.3, denoising=0.3),
    steps=6, lr=1e-3, backbone_lr=0.0, warmup=2, decay_from=0.5, cosine=True, average=0.9,
    neutral_box_heads=True, lengths=((0.0, 2), (0.5, 3)), precision="fp32", workers=0, log_every=1,
    loggers=(),
)  # fmt: skip


def new_run(config=CONFIG, seed=0):
    return start(drawn_model(seed), NETWORK, config)


def drawn_model(seed=0):
    """The small network with its initial values; they are drawn once."""
    return copy.deepcopy(_drawn(seed))


@cache
def _drawn(seed):
    torch.manual_seed(seed)
    return MOTRv2(SMALL)


def trainable(run):
    return {name: p for name, p in run.model.named_parameters() if p.requires_grad}


def equal(one, other):
    """Whether two checkpoints are the same, tensors bit by bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other
