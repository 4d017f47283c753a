"""From the threads that track to the clients that listen, none of which can hold up the others."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class Subscriber(Generic[T]):
    """What a client has not read yet, the newest `kept` of it. Made in an event loop."""

    def __init__(self, kept: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[T | None] = asyncio.Queue(kept)

    def offer(self, item: T | None) -> None:
        """Give it an item, or None for the end; from any thread."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._put, item)

    async def items(self, patience: float) -> AsyncIterator[T | None]:
        """What is offered, and None after each `patience` seconds without; until the end."""
        while True:
            try:
                item = await asyncio.wait_for(self._queue.get(), patience)
            except TimeoutError:
                yield None
                continue
            if item is None:
                return
            yield item

    def _put(self, item: T | None) -> None:
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(item)


class Subscribers(Generic[T]):
    """Subscribers by the name of what they listen to, at most `most` of each."""

    def __init__(self, most: int, kept: int) -> None:
        self.most, self._kept = most, kept
        self._of: dict[str, set[Subscriber[T]]] = defaultdict(set)

    def join(self, name: str) -> Subscriber[T] | None:
        """A new one; None when there are too many."""
        if self.full(name):
            return None
        subscriber: Subscriber[T] = Subscriber(self._kept)
        self._of[name] = self._of[name] | {subscriber}  # threads may be reading the old set
        return subscriber

    def leave(self, name: str, subscriber: Subscriber[T]) -> None:
        """It listens no more."""
        self._of[name] = self._of[name] - {subscriber}
        if not self._of[name]:
            self._of.pop(name, None)

    def full(self, name: str) -> bool:
        """Whether no more may listen."""
        return len(self._of.get(name, ())) >= self.most

    def listening(self, name: str) -> bool:
        """Whether anybody does; from any thread."""
        return bool(self._of.get(name))

    def end(self) -> None:
        """The end for everybody; from any thread."""
        for name in list(self._of):
            self.offer(name, None)

    def offer(self, name: str, item: T | None) -> None:
        """Give all of a name an item, or None for the end; from any thread."""
        for subscriber in self._of.get(name, ()):
            subscriber.offer(item)
