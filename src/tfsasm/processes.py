"""Processes that work for this one: Ctrl-C is for their parent to decide."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tfsasm.errors import visible


@contextmanager
def without_ctrl_c() -> Iterator[None]:
    """Processes that are started in the block never see Ctrl-C, from their first moment on.

    A terminal sends it to all processes of a command, and one that still loads its packages would
    answer with a traceback. Here it waits until the block ends. Windows has no such mask.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Visible(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def log_visibly() -> None:
    """Log warnings on the error stream, with what a terminal would obey written out."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Visible("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
