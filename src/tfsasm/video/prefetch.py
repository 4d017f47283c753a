"""Work done beside the main thread, in order: `ahead` of it or `behind` it.

PyTorch, OpenCV, FFmpeg and onnxruntime let go of the interpreter while they compute, so a second
thread is a second core. Queues are short: a live source must not lag, and frames are large.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from types import TracebackType
from typing import Generic, ParamSpec, Self, TypeVar

T = TypeVar("T")

P = ParamSpec("P")

_PATIENCE = 0.1  # seconds between two looks at whether the other side is still there


def prefetch(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    """The same items in the same order, up to `depth` of them made in advance by a thread.

    What `items` raises is raised here, after the items before it. Closing the iterator stops the
    thread at its next item. With a depth of 0 there is no thread.
    """
    if depth == 0:
        yield from items
        return
    ready: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(depth)
    done = threading.Event()

    def put(item: tuple[T] | BaseException | None) -> None:
        while not done.is_set():
            try:
                return ready.put(item, timeout=_PATIENCE)
            except queue.Full:
                continue

    def make() -> None:
        try:
            for item in items:
                put((item,))
                if done.is_set():
                    return
            put(None)
        except BaseException as error:  # whatever it is, the other side must hear of it
            put(error)

    thread = threading.Thread(target=make, name="tfsasm-ahead", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]
    finally:
        done.set()
        thread.join()


class BackgroundCalls(Generic[P]):
    """Calls of a function, made one after the other by a thread, up to `depth` of them late.

    An error of the function is raised by the next call, or when the `with` block ends; calls after
    it are not made. The block ends when all calls are done.
    """

    def __init__(self, function: Callable[P, object], depth: int) -> None:
        self._function = function
        self._calls: queue.Queue[Callable[[], object] | None] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="tfsasm-behind", daemon=True)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Call the function soon; waits while too many calls are open."""
        self._raise()
        self._calls.put(lambda: self._function(*args, **kwargs))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._calls.put(None)
        self._thread.join()
        if error is None:
            self._raise()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            if self._error is not None:
                continue  # keep the queue moving, so that nobody waits for ever
            try:
                call()
            except BaseException as error:
                self._error = error

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
