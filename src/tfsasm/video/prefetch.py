"""Work in a second thread, in order: `prefetch` before the main thread needs it, calls after.

PyTorch, OpenCV, FFmpeg and onnxruntime release the interpreter while they compute, so a second
thread is a second core. Queues are short: a live source must not lag, and frames are large.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Semaphore
from typing import Any, ParamSpec, TypeVar

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


@contextmanager
def background_calls(function: Callable[P, object], depth: int) -> Iterator[Callable[P, None]]:
    """Calls of a function, made one after the other by a thread, up to `depth` of them late.

    An error of the function is raised by the next call, or when the block ends; calls after it are
    not made. The block ends when all calls are done.
    """
    places = Semaphore(depth + 1)  # one of them in work
    errors: list[BaseException] = []

    def work(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            if not errors:
                function(*args, **kwargs)
        except BaseException as error:  # raised in the main thread
            errors.append(error)
        finally:
            places.release()

    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        if errors:
            raise errors[0]
        places.acquire()
        thread.submit(work, *args, **kwargs)

    with ThreadPoolExecutor(1, "tfsasm-background") as thread:
        yield call
    if errors:
        raise errors[0]
