"""A function of tensors that a GPU repeats as one CUDA graph: one launch in place of hundreds.

What is unusual here: a graph is only trusted after it has answered as the function does, once, with
the first inputs of its shapes. Where it cannot be captured or answers otherwise, the function
itself serves for these shapes, and a warning says why.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from threading import Lock
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger(__name__)

ENVIRONMENT = "TFSASM_GRAPHS"
"""Environment variable that turns graphs on where it is 1. They have not run on a GPU yet."""

_MOST = 16  # graphs that are kept: sizes of tables double, so a video needs few

_WARM_UP = 2  # runs before a capture, in which libraries make what they keep

Function = Callable[..., Any]

_Graph = Callable[[list[Tensor]], Any]

Capture = Callable[[Callable[[], Any]], tuple[Any, Callable[[], None]]]
"""Runs a function and returns its answer, and what computes that anew in place."""


def wanted() -> bool:
    """Whether `TFSASM_GRAPHS` turns them on."""
    return os.environ.get(ENVIRONMENT) == "1"


class Graphs:
    """Graphs of functions, by the function, the shapes of its tensors and all else it is given."""

    def __init__(self, capture: Capture | None = None) -> None:
        """By default `captured` makes them."""
        self._capture = captured if capture is None else capture
        self._kept: dict[Any, _Graph | None] = {}
        self._lock = Lock()

    @property
    def refused(self) -> int:
        """For how many kinds of inputs the function itself serves."""
        return sum(graph is None for graph in self._kept.values())

    def __call__(self, function: Function, *given: Any) -> Any:
        """`function(*given)`, in inference mode, of nested dataclasses of tensors.

        It must not ask for the numbers in them. The answer is new each time.
        """
        inputs, kind, _ = taken_apart(given)
        key = function, kind
        with self._lock:  # until all is queued: the inputs of a graph are those of one call
            if key not in self._kept:
                while len(self._kept) >= _MOST:
                    self._kept.pop(next(iter(self._kept)))
                answer = function(*given)
                self._kept[key] = self._checked(function, given, answer)
                return answer
            graph = self._kept[key]
            return function(*given) if graph is None else graph(inputs)

    def _checked(self, function: Function, given: Any, wanted: Any) -> _Graph | None:
        """A graph that answered what is `wanted`, or None."""
        try:
            graph = self._graph(function, given)
            found = graph(tensors(given))
        except Exception as error:  # of CUDA and its libraries, which share no base
            log.warning("no CUDA graph of a frame (%s); it runs as it is", error)
            return None
        if all(map(_agree, tensors(found), tensors(wanted))):
            return graph
        log.warning("the CUDA graph of a frame is wrong; it runs as it is")
        return None

    def _graph(self, function: Function, given: Any) -> _Graph:
        """The function of other tensors, which are copied to where it was captured."""
        kept, _, again = taken_apart(given)
        kept = [tensor.clone() for tensor in kept]
        own = again(iter(kept))
        answer, replay = self._capture(lambda: function(*own))
        found, _, answered = taken_apart(answer)

        def graph(others: list[Tensor]) -> Any:
            _copy(kept, others)
            replay()
            copies = [torch.empty_like(tensor) for tensor in found]
            _copy(copies, found)
            return answered(iter(copies))

        return graph


def _agree(one: Tensor, other: Tensor) -> bool:
    """Whether they are equal; floating-point numbers to rounding."""
    if not one.is_floating_point():
        return torch.equal(one, other)
    return torch.allclose(one, other, 1e-3, 1e-4, equal_nan=True)


def _copy(goals: list[Tensor], sources: list[Tensor]) -> None:
    """Tensors into others, in one launch for each dtype."""
    for kind in {goal.dtype for goal in goals}:
        rows = [i for i, goal in enumerate(goals) if goal.dtype == kind]
        torch._foreach_copy_([goals[i] for i in rows], [sources[i] for i in rows])


def captured(work: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
    """The answer of `work` in a CUDA graph, and what replays that."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_WARM_UP):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # Other threads decode and encode meanwhile, and may allocate.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        answer = work()
    return answer, graph.replay


def tensors(value: Any) -> list[Tensor]:
    """Those in nested dataclasses and tuples, in order."""
    return taken_apart(value)[0]


def taken_apart(value: Any) -> tuple[list[Tensor], Any, Callable[[Iterator[Tensor]], Any]]:
    """The tensors in nested dataclasses and tuples, in order; their shapes and kinds and all else
    that is there, hashable; and what makes the same of other tensors.
    """
    if isinstance(value, Tensor):
        return [value], (value.shape, value.dtype, value.device), next
    if isinstance(value, tuple):
        names, parts = [], list(value)
    else:
        frozen = is_dataclass(value) and not isinstance(value, type)
        names = [field.name for field in fields(value)] if frozen else []
        parts = [getattr(value, name) for name in names]
    if not parts:
        return [], tuple(value) if isinstance(value, list) else value, lambda others: value
    apart = [taken_apart(part) for part in parts]

    def again(others: Iterator[Tensor]) -> Any:
        changed = [make(others) for _, _, make in apart]
        return replace(value, **dict(zip(names, changed, strict=True))) if names else tuple(changed)

    found = [tensor for part, _, _ in apart for tensor in part]
    return found, (type(value), *(kind for _, kind, _ in apart)), again
