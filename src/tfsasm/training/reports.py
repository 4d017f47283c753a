"""Reports of a training run: JSON lines, TensorBoard and the progress that is shown."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

Progress = Callable[[int, Mapping[str, float]], None]
"""What to do with the step and the values of a report."""


class Reports:
    """Averages what the steps report, and writes the means into the folder of the run.

    `log.jsonl` gets a line for `every` steps; TensorBoard the same, where it is installed.
    """

    def __init__(self, output: Path, every: int, progress: Progress | None) -> None:
        self._file = (output / "log.jsonl").open("a", encoding="utf-8")
        self._every, self._progress = every, progress
        self._sums: dict[str, float] = {}
        self._count, self._since = 0, time.monotonic()
        self._board = _tensorboard(output)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Take the values of one step in."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        if step % self._every == 0:
            means = {name: value / self._count for name, value in self._sums.items()}
            now = time.monotonic()
            self.write(step, means | {"seconds": (now - self._since) / self._count})
            self._sums, self._count, self._since = {}, 0, now

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write values at once."""
        rounded = {name: round(value, 5) for name, value in values.items()}
        self._file.write(json.dumps({"step": step, **rounded}) + "\n")
        self._file.flush()
        if self._progress:
            self._progress(step, rounded)
        for name, value in values.items():
            if self._board:
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._board:
            self._board.close()


def _tensorboard(output: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.info("no TensorBoard; `pip install tfsasm[train]` brings it")
        return None
    return SummaryWriter(str(output))
