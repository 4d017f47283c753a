"""Birth, absence and death of identities, on nothing but scores (SPEC 6.1).

An identity is an integer that a query carries; `NOBODY` marks a query without one. Pure functions:
the caller keeps the counter, so two trackers never share a number.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tfsasm.settings import NOBODY, LifecycleConfig


@dataclass(frozen=True)
class Census:
    """Who is who after one frame. All `[N]`, in query order."""

    ids: Tensor
    """Identity or `NOBODY`, int64."""
    missed: Tensor
    """Consecutive frames absent, int64."""
    born: Tensor
    """Got its identity in this frame, bool."""
    next_id: int
    """The first number not given away yet."""


def advance(
    ids: Tensor, missed: Tensor, scores: Tensor, next_id: int, config: LifecycleConfig,
    *, may_be_born: Tensor | None = None,
) -> Census:
    """Judge all queries of one frame.

    `ids` and `missed` `[N]` int64, `scores` `[N]`. `may_be_born` `[N]` bool bars queries from
    birth (default: all may). New identities are numbered in query order from `next_id`.
    """
    confident = scores >= config.birth_score
    missed = torch.where(confident, 0, missed)
    nobody = ids == NOBODY
    born = nobody & confident if may_be_born is None else nobody & confident & may_be_born
    absent = ~nobody & (scores < config.miss_score)

    numbers = next_id + born.long().cumsum(0) - 1
    missed = missed + absent.long()
    dead = absent & (missed >= config.miss_tolerance)
    ids = torch.where(born, numbers, torch.where(dead, NOBODY, ids))
    return Census(ids, missed, born, next_id + int(born.sum()))
