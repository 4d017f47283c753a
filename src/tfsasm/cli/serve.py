"""`tfsasm serve`: live streams tracked as a service."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console

from tfsasm.cli.options import DetectorOptions, EmbedderOptions, Settings, at_least
from tfsasm.cli.parsing import flag
from tfsasm.cli.progress import is_local, print_lines, web_address
from tfsasm.errors import InputError
from tfsasm.files import read_text
from tfsasm.runtime.allocator import give_freed_memory_back, share_heaps

if TYPE_CHECKING:
    from tfsasm.tracking.serving.hub import Hub
    from tfsasm.video.source import Source

TOKEN = "TFSASM_TOKEN"

SHORTEST_TOKEN = 16


@dataclass(frozen=True, kw_only=True)
class Options(DetectorOptions, EmbedderOptions):
    """Track live streams that come and go over HTTP; tracks go out as server-sent events.

    Example: tfsasm serve --port 8000
    """

    streams: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="ADDRESS")]] = ()
    """Streams to begin with (rtsp://camera/live); others are added by POST /streams. All calls are
    described at /docs."""
    host: str = "127.0.0.1"
    """Address to listen on. Another than that of this computer alone needs a token of 16 characters
    or more, in the environment variable TFSASM_TOKEN or in a file."""
    port: int = 8000
    """Port to listen on; 0 for any that is free."""
    token_file: Path | None = None
    """File that holds the token and nothing else."""
    max_streams: int = 16
    """Streams at a time."""
    max_fps: float = 30.0
    """Frames per second of a stream that are tracked at most."""
    max_pixels: int = 1920 * 1200
    """Pixels of a frame; streams with larger ones are refused."""
    remembered: float = 10.0
    """Seconds that a connection may be lost without an end of the identities."""
    workers: int | None = None
    """Threads that detect and track; by default as many as there are cores."""
    set: Settings = ()
    """Single settings of the appearance tracker, as NAME=VALUE: match.max_lost_frames=90."""


def run(options: Options, console: Console, errors: Console) -> None:
    """Serve until Ctrl-C."""
    if missing := [name for name in ("fastapi", "uvicorn", "prometheus_client")
                   if find_spec(name) is None]:  # fmt: skip
        raise InputError(f'tfsasm serve needs {", ".join(missing)}: pip install "tfsasm[serve]"')
    token = _token(options)
    share_heaps()
    from uvicorn import Server

    from tfsasm.tracking.serving.app import make_app
    from tfsasm.tracking.serving.connections import config_of, listen

    class SendsHome(Server):
        """Clients listen for ever, so they are notified when the server ends."""

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            app.state.end()
            super().handle_exit(sig, frame)

    with listen(options.host, options.port) as socket:
        hub = make_hub(options)
        for address in options.streams:
            hub.add(address)
        app = make_app(hub, token)
        server = SendsHome(config_of(app))
        address = web_address(options.host, socket.getsockname()[1])
        print_lines(console, f"listening on {address}, described at /docs; Ctrl-C ends it")
        server.run([socket])


def make_hub(options: Options) -> Hub:
    """The streams and workers of the options. Raises `InputError` and `WeightsError`."""
    from tfsasm.detection.detectors import default_settings, detector
    from tfsasm.settings import pairs, with_settings
    from tfsasm.tracking.appearance.embedders import embedder
    from tfsasm.tracking.appearance.tracker import AppearanceConfig, AppearanceTracker
    from tfsasm.tracking.serving.hub import Hub
    from tfsasm.tracking.serving.stream import StreamLimits

    for name in ("max_streams", "max_pixels", "max_fps", "remembered"):
        if not 0 < getattr(options, name) < float("inf"):
            raise InputError(f"{flag(name)} {getattr(options, name)} is not above 0")
    at_least(options, 1, "workers")
    name = options.detector or "yolox-nano"
    threads = () if name.startswith("hf:") else ("threads=1",)  # the workers share the cores
    settings = default_settings(
        name, score_threshold=options.detector_score, changes=(*threads, *options.detector_set)
    )
    config = with_settings(AppearanceConfig(), pairs(options.set))
    embed = embedder(options.embedder, options.embedder_weights, options.embedder_set)
    return Hub(
        lambda: detector(name, options.detector_weights, settings),
        lambda: AppearanceTracker(embed, config), most=options.max_streams,
        limits=StreamLimits(options.max_fps, options.max_pixels, options.remembered),
        workers=options.workers, open=_connect,
    )  # fmt: skip


def _connect(address: str) -> Source:
    """Open a stream; before, the system gets back the memory of a connection that was lost."""
    from tfsasm.video.source import open_video

    give_freed_memory_back()
    return open_video(address)


def _token(options: Options) -> str | None:
    """The token, if there is one. Raises `InputError` where one is needed, or it is too short."""
    token = os.environ.get(TOKEN) or None
    if options.token_file is not None:
        token = read_text(options.token_file).strip()
    if token is None:
        if not is_local(options.host):
            raise InputError(f"--host {options.host} is open to others, so it needs a token: set "
                             f"{TOKEN}, or give --token-file")
        return None
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
        raise InputError(f"the token must be {SHORTEST_TOKEN} or more ASCII characters; one is "
                         'made by: python -c "import secrets; print(secrets.token_urlsafe())"')
    return token
