"""Work in a second thread, in order: `prefetch` before the main thread needs it, calls after.

PyTorch, OpenCV, FFmpeg and onnxruntime release the interpreter while they compute, so a second
thread is a second core. Queues are short: a live source must not lag, and frames are large.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Semaphore
from typing import Any, Generic, ParamSpec, Self, TypeVar

T = TypeVar("T")

P = ParamSpec("P")

_END: Any = object()


def prefetch(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    """The same items in the same order, up to `depth` of them made in advance by a thread.

    What `items` raises is raised here, after the items before it. Closing the iterator stops the
    thread at its next item. With a depth of 0 there is no thread.
    """
    if depth == 0:
        yield from items
        return
    source = iter(items)
    thread = ThreadPoolExecutor(1, "tfsasm-prefetch")
    waiting: deque[Future[T]] = deque(
        thread.submit(next, source, _END) for _ in range(depth + 1)  # one of them in work
    )
    try:
        while (item := waiting.popleft().result()) is not _END:
            waiting.append(thread.submit(next, source, _END))
            yield item
    finally:
        thread.shutdown(cancel_futures=True)


class BackgroundCalls(Generic[P]):
    """Calls of a function, made one after the other by a thread, up to `depth` of them late.

    An error of the function is raised by the next call, or when the `with` block ends; calls after
    it are not made. The block ends when all calls are done.
    """

    def __init__(self, function: Callable[P, object], depth: int) -> None:
        self._function = function
        self._places = Semaphore(depth + 1)  # one of them in work
        self._thread = ThreadPoolExecutor(1, "tfsasm-background")
        self._error: BaseException | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Call the function soon; waits while too many calls are open."""
        self._raise()
        self._places.acquire()
        self._thread.submit(self._call, *args, **kwargs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, _: object) -> None:
        self._thread.shutdown()
        if error is None:
            self._raise()

    def _call(self, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            if self._error is None:
                self._function(*args, **kwargs)
        except BaseException as error:  # raised in the main thread
            self._error = error
        finally:
            self._places.release()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
