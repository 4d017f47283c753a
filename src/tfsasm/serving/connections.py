"""What a client may hold: a connection for as long as it asks for something, and only so many.

What is unusual here: uvicorn waits for ever for the rest of a request. Who reaches the port, with a
token or without, could hold all files that the process may open, and no camera could connect again.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from starlette.types import Message, Receive
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

if sys.platform != "win32":
    import resource

SILENCE = 20.0
"""Seconds for a whole request, and from one to the next."""

MOST = 512
"""Connections at a time, or half of the files that the process may open."""

_AT_ONCE = 32  # connections that are accepted before any of them can be refused

_LAST_WORDS = 3  # seconds that clients have to go when the server ends


def config_of(app: Any, **others: Any) -> Config:
    """How uvicorn serves `app`: by the one parser whose requests have a largest size."""
    return Config(
        app, http=PatientProtocol, ws="none", log_level="error", access_log=False,
        timeout_graceful_shutdown=_LAST_WORDS, backlog=_AT_ONCE, **others,
    )  # fmt: skip


class PatientProtocol(H11Protocol):
    """A connection that ends when it asks for nothing for `SILENCE`, and if it is one too many."""

    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client is there."""
        super().connection_made(transport)
        self._look_later()
        if len(self.connections) > most_connections():
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def _look_later(self) -> None:
        self._watch = self.loop.call_later(SILENCE, self._look)

    def _look(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()  # not closed, which waits for a client that reads nothing
        else:
            self._look_later()


def most_connections() -> int:
    """How many there may be at a time."""
    if sys.platform == "win32":
        return MOST
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if files == resource.RLIM_INFINITY else min(MOST, files // 2)


def in_time(receive: Receive) -> Receive:
    """`receive` for which a body that has not come within `SILENCE` is that of a client gone."""
    whole = False

    async def received() -> Message:
        nonlocal whole
        if whole:
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), SILENCE)
        except TimeoutError:
            return {"type": "http.disconnect"}
        whole = not message.get("more_body")
        return message

    return received
