"""Twin of `tfsasm.lifecycle` in NumPy: birth, absence and death of identities (SPEC 6.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfsasm.runtime.boxes import Floats, Integers, Mask
from tfsasm.tracking.config import NO_ID, LifecycleConfig


@dataclass(frozen=True)
class Census:
    """Who is who after one frame, in query order; as `tfsasm.lifecycle.Census`."""

    ids: Integers
    missed: Integers
    born: Mask
    next_id: int


def advance(
    ids: Integers, missed: Integers, scores: Floats, next_id: int, config: LifecycleConfig,
    may_be_born: Mask,
) -> Census:
    """Judge all queries `[N]` of one frame; new identities are numbered from `next_id`."""
    confident = scores >= config.birth_score
    missed = np.where(confident, 0, missed)
    nobody = ids == NO_ID
    born = nobody & confident & may_be_born
    absent = ~nobody & (scores < config.miss_score)

    missed = missed + absent
    dead = absent & (missed >= config.miss_tolerance)
    ids = np.where(born, next_id + born.cumsum() - 1, np.where(dead, NO_ID, ids))
    return Census(ids, missed, born, next_id + int(born.sum()))
