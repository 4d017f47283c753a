"""Streams that break, over a server of this computer."""

import contextlib
import ctypes
import gc
import itertools
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av
import numpy as np
import pytest

from tfsasm.errors import InputError, TruncatedInput
from tfsasm.video.decoder import Decoder
from tfsasm.video.source import open_video


def stream(path, frames=20):
    """An MPEG stream, which has no length."""
    with av.open(str(path), "w", format="mpegts") as file:
        video = file.add_stream("mpeg2video", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for level in range(frames):
            image = np.full((48, 64, 3), 40 + 8 * level, np.uint8)
            file.mux(video.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        file.mux(video.encode(None))
    return path.read_bytes()


@pytest.fixture
def camera(tmp_path):
    """The address of a camera that hangs up after 20 frames, and twice only is there again."""
    data, calls = stream(tmp_path / "a.ts"), []

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self):
            calls.append(self.path)
            if len(calls) > 3:
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://me:secret@127.0.0.1:{server.server_port}/live?token=secret"
    server.shutdown()


def test_a_stream_is_opened_again(camera):
    frames = []
    with open_video(camera, reconnect=1) as source, pytest.raises(TruncatedInput) as caught:
        frames.extend(source)
    numbers = [frame.number for frame in frames]
    assert numbers == list(range(1, len(frames) + 1))
    assert 50 <= len(frames) <= 60
    times = [frame.time for frame in frames]
    assert times == sorted(times)
    assert len(source.problems) == 2
    told = [str(caught.value), source.label, frames[0].name, *source.problems]
    assert "secret" not in " ".join(told)
    assert "not back within 1 s" in told[0]


def test_an_end_ends_the_reading(camera):
    with open_video(camera, end=30, reconnect=1) as source:
        assert len(list(source)) == 30


def test_a_stream_that_never_was_is_an_error_at_once(camera):
    with pytest.raises(InputError, match=r"127\.0\.0\.1:1/live cannot be opened") as caught:
        open_video("rtsp://me:secret@127.0.0.1:1/live", reconnect=60)
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__  # PyAV's error has it


class Allocated(ctypes.Structure):
    """What glibc's `mallinfo2` tells, in its order; bytes, but for the counts of blocks."""

    _fields_ = tuple(
        (name, ctypes.c_size_t) for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
            "fordblks", "keepcost",
        )
    )  # fmt: skip


def allocated():
    """Bytes that are allocated by libraries in C, touched or not."""
    mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo2 is None:
        pytest.skip("mallinfo2 is glibc's, from 2.33 on")
    mallinfo2.restype = Allocated
    told = mallinfo2()
    return told.uordblks + told.hblkhd


@pytest.mark.skipif(sys.platform != "linux", reason="asks the allocator of Linux")
def test_a_connection_reserves_little_memory(tmp_path):
    data = stream(tmp_path / "a.ts")

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):  # until nobody reads any more
                while True:
                    self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with contextlib.ExitStack() as stack:
        stack.callback(server.shutdown)
        address = f"http://127.0.0.1:{server.server_port}/live"
        stack.enter_context(open_video(address))  # what is loaded once is loaded
        before = allocated()
        for _ in range(8):
            stack.enter_context(open_video(address))
        assert (allocated() - before) / 8 < 4e6  # FFmpeg's own choice is above 5e6


def frames_read(path, most):
    """How many frames there were to read, up to `most`."""
    with open_video(path) as source:
        return sum(1 for _ in itertools.islice(source, most))


def test_a_connection_that_is_over_leaves_no_images(tmp_path):
    """Not even until garbage is collected, which is seldom in a program of so many objects."""
    path = tmp_path / "a.ts"
    stream(path)
    gc.collect()
    gc.disable()
    try:
        read = [frames_read(path, most) for most in (0, 1, 99)]
        left = [one for one in gc.get_objects() if type(one) in (av.VideoFrame, Decoder)]
    finally:
        gc.enable()
    assert read == [0, 1, 20]
    assert [one for one in left if isinstance(one, Decoder) or one.width > 2] == []
