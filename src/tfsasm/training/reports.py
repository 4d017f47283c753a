"""Reports of a training run: JSON lines, TensorBoard, trackio or W&B, and progress as it is shown.

`log.jsonl` is cut back to the step that a run resumes from, so that it holds each step once.
"""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from tfsasm.errors import InputError
from tfsasm.files import read_text, write_text

log = logging.getLogger(__name__)

Progress = Callable[[int, Mapping[str, float]], None]
"""What to do with the step and the values of a report."""

LoggerName = Literal["tensorboard", "trackio", "wandb"]


class Logger(Protocol):
    """Something that keeps the values of a run by step."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Keep values by name."""

    def close(self) -> None:
        """No more will come."""


@dataclass(frozen=True)
class Means:
    """Sums over some steps, from which their means are taken."""

    sums: Mapping[str, float] = field(default_factory=dict)
    count: int = 0

    def plus(self, values: Mapping[str, float]) -> Means:
        """With the values of one step more."""
        sums = {name: self.sums.get(name, 0.0) + value for name, value in values.items()}
        return Means(sums, self.count + 1)

    def values(self) -> dict[str, float]:
        """The means by name."""
        return {name: value / self.count for name, value in self.sums.items()}


class JsonLog:
    """A line of JSON per report; lines after `step` are of a run that was cut off, and go."""

    def __init__(self, path: Path, step: int) -> None:
        lines = read_text(path).splitlines(keepends=True) if path.exists() else []
        write_text(path, "".join(line for line in lines if _step(line) <= step))  # a link goes, too
        self._file = path.open("a", encoding="utf-8")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write a line, at once."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):  # cut off in the middle
        return float("inf")


class TensorBoard:
    """TensorBoard files in the folder of the run."""

    def __init__(self, output: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(output), purge_step=step + 1 if step else None)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Keep values by name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the files."""
        self._writer.close()


class Hub:
    """trackio or W&B, which have the same three functions."""

    def __init__(self, package: str, output: Path, settings: Mapping[str, Any]) -> None:
        try:
            self._hub: Any = importlib.import_module(package)
        except ImportError as error:
            raise InputError(f"--logger {package} needs that package: pip install {package}") from (
                error
            )
        self._hub.init(project="tfsasm", name=output.resolve().name, config=dict(settings))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Keep values by name."""
        self._hub.log(dict(values), step=step)

    def close(self) -> None:
        """No more will come."""
        self._hub.finish()


def make_loggers(
    names: tuple[LoggerName, ...], output: Path, step: int, settings: Mapping[str, Any]
) -> list[Logger]:
    """`log.jsonl`, and what `names` says. Raises `InputError` for a package that is missing.

    TensorBoard, which is on by default, is left out where it is not installed.
    """
    made: list[Logger] = [JsonLog(output / "log.jsonl", step)]
    for name in names:
        if name != "tensorboard":
            made.append(Hub(name, output, settings))
            continue
        try:
            made.append(TensorBoard(output, step))
        except ImportError:
            log.info("no TensorBoard; `pip install tfsasm[train]` brings it")
    return made
