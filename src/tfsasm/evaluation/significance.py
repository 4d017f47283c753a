"""Differences between trackers on the same sequences, with bootstrap intervals.

Sequences differ by far more than trackers do, so only differences within a sequence count. The
interval estimates what the mean difference might have been on other sequences of the same kind: it
resamples sequences, with replacement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from tfsasm.errors import InputError
from tfsasm.evaluation.metrics import Report

METRICS = ("HOTA", "AssA", "IDF1")

DRAWS = 2000


@dataclass(frozen=True)
class Difference:
    """The mean difference of a metric over sequences, in its own units.

    It is a mean of sequences, each counting alike, so it is not the difference of the combined
    scores. `low` and `high` are the 95 % bootstrap interval, None for a single sequence, which has
    no spread to draw from.
    """

    name: str
    against: str
    metric: str
    mean: float
    low: float | None
    high: float | None
    sequences: dict[str, float]

    @property
    def text(self) -> str:
        """The mean and its interval, such as `+1.25 [-0.10, +2.40]`."""
        interval = "" if self.low is None else f" [{self.low:+.2f}, {self.high:+.2f}]"
        return f"{self.mean:+.2f}{interval}"

    def to_json(self) -> dict[str, Any]:
        """All of it by name, ready for `json.dump`."""
        return dict(vars(self))


def differences(
    reports: Mapping[str, Report], against: str | None = None, metrics: tuple[str, ...] = METRICS
) -> list[Difference]:
    """The differences of every report from the one named `against`, by default the first.

    Every metric draws the same sequences. Raises `InputError` when the reports are not of the same
    sequences, or there is none of that name.
    """
    base = next(iter(reports)) if against is None else against
    if base not in reports:
        raise InputError(f"nothing to compare against: {base!r} is not among {', '.join(reports)}")
    names = list(reports[base].sequences)
    others = [name for name in reports if set(reports[name].sequences) != set(names)]
    if others:
        raise InputError(f"{others[0]} and {base} are not of the same sequences")
    draws = np.random.default_rng(0).integers(len(names), size=(DRAWS, len(names)))
    theirs, found = reports[base].sequences, []
    for name, metric in product([name for name in reports if name != base], metrics):
        ours, low, high = reports[name].sequences, None, None
        each = {key: getattr(ours[key], metric) - getattr(theirs[key], metric) for key in names}
        values = np.array(list(each.values()), dtype=np.float64)
        if len(names) > 1:
            low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5]).tolist()
        found.append(Difference(name, base, metric, float(values.mean()), low, high, each))
    return found
