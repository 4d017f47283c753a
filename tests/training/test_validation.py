"""Held-out scores: they repeat, and come from clips that training never sees."""

from __future__ import annotations

import torch

from helpers.scenes import NETWORK, lively_model
from tfsasm.datasets.synthetic.sequences import sequence_seed
from tfsasm.training import validation
from tfsasm.training.data import SyntheticBlocks


def test_held_out_scores_repeat_and_leave_the_model_alone():
    model = lively_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = validation.held_out_scores(model, NETWORK, 2, frames=3)
    assert set(first) == {"HOTA", "DetA", "AssA", "MOTA", "IDF1"}
    assert validation.held_out_scores(model, NETWORK, 2, frames=3) == first
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_held_out_sequences_are_never_trained_on():
    """Not even by a run with their seed, since the seeds of clips are made in another way."""
    held_out = {sequence_seed(validation.HELD_OUT, index) for index in range(20)}
    rendered = [
        seed for run in (0, 1, validation.HELD_OUT) for block in range(10)
        for seed in SyntheticBlocks(run).sequence_seeds(block)
    ]  # fmt: skip
    assert len(held_out) == 20
    assert len(rendered) == 3 * 10 * SyntheticBlocks(0).sampling.sequences
    assert not held_out & set(rendered)
