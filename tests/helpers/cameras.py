"""Cameras that are none: frames as a source gives them, at the moment that a test wants them."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from tfsasm.detection.proposals import Proposals
from tfsasm.errors import InputError, TruncatedInput
from tfsasm.video.addresses import public_address
from tfsasm.video.source import Frame

CUT = object()
"""Given in place of a frame, it breaks the connection; an exception is raised."""


def image(height: int = 48, width: int = 64) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


class Camera:
    """Opened by its address, as `open_video` opens one; `give` is what it sends next."""

    count: int | None = None

    def __init__(self) -> None:
        self.given: queue.Queue[Any] = queue.Queue()
        self.opened = 0
        self.there = True

    def give(self, *items: Any) -> None:
        for item in items:
            self.given.put(item)

    def open(self, address: str) -> Self:
        if not self.there:
            raise InputError(f"{public_address(address)} cannot be opened: nobody answers")
        self.opened += 1
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        number = 0
        while (item := self.given.get()) is not CUT:
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            number += 1
            yield Frame(item, number, f"x#{number}", number / 25)
        raise TruncatedInput("connection lost")


def person(frame: Frame) -> Proposals:
    """A detector that finds one person in the same place."""
    return Proposals(np.array([[0.5, 0.5, 0.4, 0.8]], np.float32), np.array([0.9], np.float32))


def until(what: Any, seconds: float = 60.0) -> Any:
    """Wait until a function returns something true, and return that."""
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.002)
    return value
