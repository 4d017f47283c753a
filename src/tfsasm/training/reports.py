"""Reports of a training run: JSON lines, TensorBoard, trackio or W&B.

`log.jsonl` is cut back to the step that a run resumes from, so that it holds each step once.
"""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tfsasm.errors import InputError
from tfsasm.files import read_text, write_text

log = logging.getLogger(__name__)

Progress = Callable[[int, Mapping[str, float]], object]
"""What to do with the step and the values of a report."""

LoggerName = Literal["tensorboard", "trackio", "wandb"]


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


@contextmanager
def json_log(path: Path, step: int) -> Iterator[Progress]:
    """A line of JSON per report; lines after `step` are of a run that was cut off, and go."""
    lines = read_text(path).splitlines(keepends=True) if path.exists() else []
    write_text(path, "".join(line for line in lines if _step(line) <= step))  # a link goes, too
    with path.open("a", encoding="utf-8", buffering=1) as file:  # each line at once
        yield lambda step, values: file.write(json.dumps({"step": step, **values}) + "\n")


def is_scored(path: Path, step: int) -> bool:
    """Whether a log has the scores of a validation at `step`."""
    lines = read_text(path).splitlines() if path.exists() else []
    return any(_step(line) == step and '"val/' in line for line in lines)


def _step(line: str) -> float:
    with suppress(ValueError, KeyError, TypeError):  # cut off in the middle
        return float(json.loads(line)["step"])
    return float("inf")


@contextmanager
def tensorboard(output: Path, step: int) -> Iterator[Progress]:
    """TensorBoard files in the folder of a run that goes on at `step`."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(output), purge_step=step + 1 if step else None) as writer:
        yield lambda step, values: [writer.add_scalar(*value, step) for value in values.items()]


@contextmanager
def hub(package: str, output: Path, settings: Mapping[str, Any]) -> Iterator[Progress]:
    """trackio or W&B, which have the same three functions."""
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        problem = f"--logger {package} needs that package: pip install {package}"
        raise InputError(problem) from error
    module.init(project="tfsasm", name=output.resolve().name, config=dict(settings))
    try:
        yield lambda step, values: module.log(dict(values), step=step)
    finally:
        module.finish()


@contextmanager
def loggers(
    names: tuple[LoggerName, ...], output: Path, step: int, settings: Mapping[str, Any]
) -> Iterator[list[Progress]]:
    """`log.jsonl`, and what `names` says. Raises `InputError` for a package that is missing.

    TensorBoard, which is on by default, is left out where it is not installed.
    """
    with ExitStack() as stack:
        made = [stack.enter_context(json_log(output / "log.jsonl", step))]
        for name in names:
            board = name == "tensorboard"
            opened = tensorboard(output, step) if board else hub(name, output, settings)
            try:
                made.append(stack.enter_context(opened))
            except ImportError:
                log.info("no TensorBoard; `pip install tfsasm[train]` brings it")
        yield made
