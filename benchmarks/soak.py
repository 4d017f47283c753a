"""`tfsasm serve` under load for a while: cameras that film people, one of them killed now and then.

Everything is on this machine: a process of cameras (MPEG transport streams over HTTP), the service,
and here a client that listens to every stream.

    python benchmarks/soak.py --minutes 10 --json soak.json
"""

from __future__ import annotations

import http.client
import itertools
import json
import multiprocessing
import os
import socketserver
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import tyro

import tfsasm
from tfsasm.experiments.speed.limits import processor
from tfsasm.files import write_json
from tfsasm.video.source import open_video

PEOPLE = Path(tfsasm.__file__).parent / "clips" / "people.mp4"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How long, how many, how often."""

    minutes: float = 10.0
    streams: int = 16
    fps: float = 10.0
    """Of each camera."""
    width: int = 320
    height: int = 240
    every: float = 20.0
    """Seconds between two kills."""
    away: float = 2.0
    """Seconds that a killed camera is away."""
    workers: int | None = None
    json: Path | None = None


# Cameras, in a process of their own


def cameras(options: Options, port: Any, kills: Any) -> None:
    """Serve cameras 0, 1, ... at `/NUMBER`; `kills` gives numbers to hang up for a while."""
    with open_video(PEOPLE) as source:
        size = options.width, options.height
        images = [cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA) for frame in source]
    back = [0.0] * options.streams  # when each is there again, by the monotonic clock

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            number = int(self.path.strip("/"))
            if time.monotonic() < back[number]:
                self.send_error(503)
                return
            self.send_response(200)
            self.end_headers()
            try:
                film(self.wfile, images, number, options, lambda: time.monotonic() < back[number])
            except (OSError, av.error.PyAVCallbackError):  # the service hung up
                return

        def log_message(self, *_: object) -> None:
            pass

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads, request_queue_size = True, 64

    server = Server(("127.0.0.1", 0), Camera)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port.put(server.server_address[1])
    while (number := kills.get()) is not None:
        back[number] = time.monotonic() + options.away


def film(file: Any, images: list[np.ndarray], begin: int, options: Options, killed: Any) -> None:
    """Send frames at the rate of the camera until it is killed."""
    begin *= len(images) // options.streams  # cameras do not show the same
    with av.open(file, "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=round(options.fps))
        stream.width, stream.height, stream.pix_fmt = options.width, options.height, "yuv420p"
        stream.codec_context.max_b_frames, stream.bit_rate = 0, 1_000_000
        container.flags |= av.container.Flags.flush_packets.value
        start = time.monotonic()
        for index in itertools.count():
            if killed():
                return
            image = images[(begin + index) % len(images)]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
            time.sleep(max(0.0, start + (index + 1) / options.fps - time.monotonic()))


# The client


@dataclass
class Heard:
    """What came of one stream."""

    ages: list[float] = field(default_factory=list)
    """Milliseconds."""
    times: list[float] = field(default_factory=list)
    """When each answer came."""
    sessions: set[int] = field(default_factory=set)
    last: dict[str, Any] = field(default_factory=dict)


def listen(port: int, name: str, heard: Heard) -> None:
    """Read the events of a stream until the service ends."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", f"/streams/{name}/events")
    response = connection.getresponse()
    try:
        while line := response.readline():
            if line.startswith(b"data: {\"stream\""):
                event = json.loads(line[6:])
                heard.ages.append(event["age_ms"])
                heard.times.append(time.monotonic())
                heard.sessions.add(event["session"])
                heard.last = event
    except (OSError, http.client.HTTPException):
        return


def call(port: int, method: str, path: str, body: object = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
    return json.loads(connection.getresponse().read())


def memory(process: int) -> float:
    """Resident memory of a process in MB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main(options: Options) -> None:
    """Run it, and print what was measured."""
    context = multiprocessing.get_context("spawn")
    port, kills = context.Queue(), context.Queue()
    filming = context.Process(target=cameras, args=(options, port, kills), daemon=True)
    filming.start()
    source = port.get(timeout=300)  # a busy machine loads packages slowly
    workers = ["--workers", str(options.workers)] if options.workers else []
    service = subprocess.Popen(
        [sys.executable, "-m", "tfsasm", "serve", "--port", "18700",
         "--max-streams", str(options.streams), *workers],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert service.stdout is not None
    service.stdout.readline()
    names = [f"camera-{number}" for number in range(options.streams)]
    heard = {name: Heard() for name in names}
    try:
        measured = run(options, source, service.pid, heard, kills)
    finally:
        ended = service.poll()
        service.terminate()
        _, errors = service.communicate(timeout=60)
        if ended is not None:
            print(f"the service ended by itself with {ended}: {errors[-3000:]}")
        kills.put(None)
        filming.join(10)
    measured["stderr"] = errors.splitlines()[:20]
    print(json.dumps(measured, indent=2))
    if options.json:
        write_json(options.json, measured)


def run(
    options: Options, source: int, service: int, heard: dict[str, Heard], kills: Any
) -> dict[str, Any]:
    """The cameras on, kills in turn, memory every second."""
    port = 18700
    while True:
        try:
            call(port, "GET", "/health")
            break
        except OSError:
            time.sleep(0.2)
    for number, name in enumerate(heard):
        call(port, "POST", "/streams", {"address": f"http://127.0.0.1:{source}/{number}",
                                        "name": name})  # fmt: skip
        threading.Thread(target=listen, args=(port, name, heard[name]), daemon=True).start()
    began, killed, resident = time.monotonic(), Counter[str](), []
    end, due = began + 60 * options.minutes, began + options.every
    turn = itertools.cycle(enumerate(heard))
    while time.monotonic() < end:
        time.sleep(1)
        resident.append(memory(service))
        if time.monotonic() >= due and time.monotonic() + options.every / 2 < end:
            number, name = next(turn)
            kills.put(number)
            killed[name] += 1
            due += options.every
    streams = call(port, "GET", "/streams")
    return summary(options, heard, killed, resident, streams)


def summary(
    options: Options, heard: dict[str, Heard], killed: Counter[str], resident: list[float],
    streams: list[dict[str, Any]],
) -> dict[str, Any]:
    """Latency, fairness, losses and memory."""
    ages = np.concatenate([one.ages for one in heard.values()])
    tracked = [stream["frames"]["tracked"] for stream in streams]
    silences = [max(np.diff(one.times), default=0.0) for one in heard.values()]
    settled = resident[len(resident) // 4 :]
    slope = np.polyfit(np.arange(len(settled)), settled, 1)[0] * 60
    load = {name: sum(stream["frames"][name] for stream in streams)
            for name in ("read", "tracked", "dropped", "skipped", "failed", "reconnects")}
    return {
        "options": {**asdict(options), "json": None}, "machine": processor(),
        "cores": os.cpu_count(), "load_average": os.getloadavg(), "frames": load,
        "age_ms": {f"p{q}": round(float(np.percentile(ages, q)), 1) for q in (50, 90, 99, 100)},
        "answers_per_second": round(load["tracked"] / (60 * options.minutes), 1),
        "tracked_by_stream": {"least": min(tracked), "most": max(tracked)},
        "longest_silence_s": round(float(max(silences)), 2),
        "kills": sum(killed.values()),
        "live_at_the_end": sum(stream["state"] == "live" for stream in streams),
        "sessions": max(stream["session"] for stream in streams),
        "memory_mb": {"after_a_quarter": round(settled[0]), "at_the_end": round(settled[-1]),
                      "most": round(max(resident)), "slope_per_minute": round(float(slope), 2),
                      "by_minute": [round(float(np.median(resident[at : at + 60])))
                                    for at in range(0, len(resident), 60)]},
    }  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Options))
