"""The HTTP interface of a hub: FastAPI, with its page of all calls at `/docs`.

Threads that track never wait for a client: each has a queue of its own, of which it misses the
oldest. Prometheus gets the counters of each stream as they are now, and how old answers were.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import Annotated, Any, Generic, TypeVar

import cv2
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.security import HTTPBearer
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Histogram,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from pydantic import BaseModel, Field

from tfsasm.errors import InputError
from tfsasm.tracking.serving.connections import local_only, small_bodies
from tfsasm.tracking.serving.hub import Full, Hub, Taken, Unknown
from tfsasm.tracking.serving.stream import Answer, LiveStream
from tfsasm.video.annotate import Annotator

MOST_CLIENTS, EVENTS_KEPT, PICTURES_KEPT = 16, 32, 2  # of each stream; each client's own

QUIET = 10.0  # seconds without an answer after which a client hears that the connection is there

_CODES: dict[type[InputError], int] = {Unknown: 404, Taken: 409, Full: 429}

_COUNTERS = {
    "read": "Frames that were decoded.",
    "tracked": "Frames with an answer.",
    "dropped": "Frames that were replaced by a newer one before there was time.",
    "skipped": "Frames above the limit per second.",
    "failed": "Frames that the detector or the tracker could not take.",
    "reconnects": "Connections that were lost and came back.",
}

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

T = TypeVar("T")


class NewStream(BaseModel):
    """A stream to track."""

    address: str = Field(max_length=2000, examples=["rtsp://user:password@camera/live"])
    name: str | None = Field(None, description="Up to 64 letters, digits, `.`, `_` and `-`.")
    fps: float | None = Field(None, description="Frames per second to track at most.")


class StreamStatus(BaseModel):
    """A stream as it is now. Its address is without user, password and keys."""

    name: str
    address: str
    state: str
    problem: str
    session: int
    tracks: int
    frames: dict[str, int]


def make_app(hub: Hub, token: str | None = None) -> FastAPI:
    """The interface of `hub`, which ends with it; `state.end()` sends all clients home before.

    With a `token`, everything but `/health` and the page of calls needs it: `Authorization: Bearer
    TOKEN`, or `?token=` where a browser cannot send that. Without one, only requests to this
    computer by its local names are answered.
    """
    events: Subscribers[str] = Subscribers(MOST_CLIENTS, EVENTS_KEPT)
    pictures: Subscribers[bytes] = Subscribers(MOST_CLIENTS, PICTURES_KEPT)
    registry, ages = metrics_of(hub)
    annotator = Annotator()

    def publish(stream: LiveStream, answer: Answer) -> None:
        ages.labels(stream.name).observe(answer.age)
        if events.listening(stream.name):
            events.offer(stream.name, json.dumps(answer.event))
        if pictures.listening(stream.name):
            image = annotator.annotate(answer.image, answer.tracks)
            pictures.offer(stream.name, cv2.imencode(".jpg", image)[1].tobytes())

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        hub.close()

    def end() -> None:
        events.end()
        pictures.end()

    hub.listener = publish
    allowed = [Depends(HTTPBearer(auto_error=False)), Depends(_checker(token or ""))]
    app = FastAPI(
        title="tfsasm serve", description="Live streams, tracked.", lifespan=life,
        redoc_url=None, redirect_slashes=False,  # that answers before a token is asked for
    )  # fmt: skip
    calls = APIRouter(dependencies=[] if token is None else allowed)
    if token is None:
        app.add_middleware(local_only)
    app.state.end = end
    app.add_middleware(small_bodies)
    app.exception_handler(InputError)(_refused)
    app.exception_handler(RequestValidationError)(_malformed)

    @calls.get("/streams")
    def all_streams() -> list[StreamStatus]:
        """Every stream."""
        return [status(stream) for stream in hub.streams()]

    @calls.post("/streams", status_code=201)
    def add(new: NewStream) -> StreamStatus:
        """Begin to track a stream."""
        return status(hub.add(new.address, new.name, new.fps))

    @calls.get("/streams/{name}")
    def one(name: str) -> StreamStatus:
        """One stream."""
        return status(hub.get(name))

    @calls.delete("/streams/{name}", status_code=204, response_model=None)
    def remove(name: str) -> None:
        """End a stream; whoever listens to it gets an `end`."""
        hub.remove(name)
        events.offer(name, None)
        pictures.offer(name, None)
        ages.remove_by_labels({"stream": name})

    @calls.get("/streams/{name}/events")
    async def follow(name: str) -> StreamingResponse:
        """Server-sent events `tracks`, one per tracked frame, with its age in milliseconds.

        A client that cannot keep up misses the oldest.
        """
        _check_room(hub, events, name)
        return StreamingResponse(
            _followed(events, name, _as_event, ": quiet\n\n", "event: end\ndata: {}\n\n"),
            media_type="text/event-stream", headers={"Cache-Control": "no-store"},
        )  # fmt: skip

    @calls.get("/streams/{name}/preview")
    async def preview(name: str) -> StreamingResponse:
        """The frames with their tracks as motion JPEG, drawn only while a client reads it."""
        _check_room(hub, pictures, name)
        return StreamingResponse(
            _followed(pictures, name, _as_part, b"", b"--frame--\r\n"),
            media_type="multipart/x-mixed-replace; boundary=frame",
            headers={"Cache-Control": "no-store"},
        )  # fmt: skip

    @calls.get("/metrics")
    def all_metrics() -> Response:
        """Everything that is counted, for Prometheus."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/health")
    def health(response: Response) -> dict[str, Any]:
        """Whether all workers live; needs no token."""
        response.status_code = 200 if hub.healthy else 503
        return {"healthy": hub.healthy, "streams": len(hub.streams())}

    app.include_router(calls)
    return app


def status(stream: LiveStream) -> StreamStatus:
    """What the interface says of a stream."""
    return StreamStatus(
        name=stream.name, address=stream.label, state=stream.state, problem=stream.problem,
        session=stream.session, tracks=stream.tracks, frames=asdict(stream.counts),
    )  # fmt: skip


def _checker(token: str) -> Callable[[Request], None]:
    def check(request: Request, token_: Annotated[str, Query(alias="token")] = "") -> None:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ") or token_
        if not secrets.compare_digest(given.encode(), token.encode()):
            raise HTTPException(401, "a token is needed", {"WWW-Authenticate": "Bearer"})

    return check


def _check_room(hub: Hub, subscribers: Subscribers[Any], name: str) -> None:
    hub.get(name)
    if subscribers.full(name):
        raise Full(f"{subscribers.most} clients listen to {name} already")


async def _refused(_: Request, error: InputError) -> Response:
    return JSONResponse({"detail": str(error)}, _CODES.get(type(error), 422))


async def _malformed(_: Request, error: RequestValidationError) -> Response:
    """What is wrong and where, without what was sent: that may hold a password, or be no text."""
    wrong = [{key: one[key] for key in ("type", "loc", "msg")} for one in error.errors()]
    return JSONResponse({"detail": wrong}, 422)


async def _followed(
    subscribers: Subscribers[Any], name: str, form: Callable[[Any], str | bytes],
    quiet: str | bytes, end: str | bytes,
) -> AsyncIterator[str | bytes]:
    """What a client gets until the stream is removed or the client goes."""
    subscriber = subscribers.join(name)
    if subscriber is None:
        yield end
        return
    try:
        yield quiet
        async for item in subscriber.items(QUIET):
            yield quiet if item is None else form(item)
        yield end
    finally:
        subscribers.leave(name, subscriber)


def _as_event(text: str) -> str:
    return f"event: tracks\ndata: {text}\n\n"


def _as_part(jpeg: bytes) -> bytes:
    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
    return head.encode() + jpeg + b"\r\n"


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


class _Streams(Collector):
    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """A sample per stream and metric, at the moment of the scrape."""
        streams = self._hub.streams()
        for name, text in _COUNTERS.items():
            full = "tfsasm_reconnects" if name == "reconnects" else f"tfsasm_frames_{name}"
            family = CounterMetricFamily(full, text, labels=["stream"])
            for stream in streams:
                family.add_metric([stream.name], getattr(stream.counts, name))
            yield family
        tracks = GaugeMetricFamily("tfsasm_tracks", "Of the last frame.", labels=["stream"])
        live = GaugeMetricFamily("tfsasm_live", "1 while it is connected.", labels=["stream"])
        for stream in streams:
            tracks.add_metric([stream.name], stream.tracks)
            live.add_metric([stream.name], float(stream.state == "live"))
        yield from (tracks, live)


def metrics_of(hub: Hub) -> tuple[CollectorRegistry, Histogram]:
    """The metrics of a hub, and the one that takes the age of each answer, by stream."""
    made = CollectorRegistry()
    made.register(_Streams(hub))
    ages = Histogram(
        "tfsasm_age_seconds", "From the reading of a frame to its answer.", ["stream"],
        buckets=_SECONDS, registry=made,
    )  # fmt: skip
    return made, ages
