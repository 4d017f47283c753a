"""The HTTP interface of a hub: FastAPI, with its page of all calls at `/docs`."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any

import cv2
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field

from tfsasm.errors import InputError
from tfsasm.tracking.serving import metrics
from tfsasm.tracking.serving.connections import LocalOnly, SmallBodies
from tfsasm.tracking.serving.hub import Full, Hub, Taken, Unknown
from tfsasm.tracking.serving.stream import Answer, LiveStream
from tfsasm.tracking.serving.subscribers import Subscribers
from tfsasm.video.annotate import Annotator

MOST_CLIENTS, EVENTS_KEPT, PICTURES_KEPT = 16, 32, 2  # of each stream; each client's own

QUIET = 10.0  # seconds without an answer after which a client hears that the connection is there

_CODES: dict[type[InputError], int] = {Unknown: 404, Taken: 409, Full: 429}


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
    registry, ages = metrics.registry(hub)
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
        app.add_middleware(LocalOnly)
    app.state.end = end
    app.add_middleware(SmallBodies)
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
