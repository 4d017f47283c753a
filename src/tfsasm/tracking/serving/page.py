"""A page and its videos on this machine alone, for videos that are too long to open from disk.

What is unusual here: no path of a request ever becomes a path of the disk. There is the page at
`/`, and a fixed list of videos by names that this program has given them.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from pathlib import Path
from typing import IO

from tfsasm.errors import InputError
from tfsasm.files import reading

ADDRESS = "127.0.0.1"

PORT = 8421

_HEADERS = {
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin", "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}  # fmt: skip

_CHUNK = 1 << 18


class PageServer(ThreadingHTTPServer):
    """Serves `page` and `videos`, by their names in it, on 127.0.0.1 until it is shut down.

    Without a `port` it is 8421, or any that is free. `address` is what a browser opens. Raises
    `InputError` when the port cannot be had.
    """

    daemon_threads = True

    def __init__(self, page: str, videos: Mapping[str, Path], port: int | None = None) -> None:
        self.page, self.videos = page.encode(), {f"/{name}": path for name, path in videos.items()}
        self._bind(port)
        self.address = f"http://{ADDRESS}:{self.server_port}/"
        self.hosts = {f"{host}:{self.server_port}" for host in (ADDRESS, "localhost")}

    def _bind(self, port: int | None) -> None:
        if port is not None and not 0 <= port <= 65535:
            raise InputError(f"there is no port {port}; give one of 1024 to 65535")
        try:
            super().__init__((ADDRESS, PORT if port is None else port), _Handler)
        except OSError as error:
            if port is not None:
                raise InputError(f"port {port} cannot be had: {error.strerror}") from error
            super().__init__((ADDRESS, 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "tfsasm", ""
    timeout = 60  # seconds without a request

    def do_GET(self) -> None:
        """The page, a video or a part of it, or nothing."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """The same without its content."""
        self._answer(body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""

    def _answer(self, *, body: bool) -> None:
        # A name that leads here and is not ours is another site's, which may not read this.
        if self.headers.get("Host") not in self.server.hosts:
            self._head(HTTPStatus.FORBIDDEN, {})
            return
        path = self.path.partition("?")[0]
        if path == "/":
            size = str(len(self.server.page))
            self._head(HTTPStatus.OK, {"Content-Type": "text/html; charset=utf-8",
                                       "Content-Length": size})  # fmt: skip
            if body:
                self.wfile.write(self.server.page)
        elif path in self.server.videos:
            try:
                self._video(self.server.videos[path], body=body)
            except (ConnectionError, TimeoutError):  # the browser has seen enough
                self.close_connection = True
        else:
            self._head(HTTPStatus.NOT_FOUND, {})

    def _video(self, path: Path, *, body: bool) -> None:
        try:
            with reading(path):
                file = path.open("rb")
        except InputError:
            self._head(HTTPStatus.NOT_FOUND, {})
            return
        with file:
            size = file.seek(0, 2)
            part = asked(self.headers.get("Range", ""), size)
            if part is None:
                self._head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                           {"Content-Range": f"bytes */{size}"})  # fmt: skip
                return
            headers = {"Content-Type": mimetypes.guess_type(path.name)[0] or "video/mp4",
                       "Content-Length": str(len(part)), "Accept-Ranges": "bytes"}  # fmt: skip
            whole = len(part) == size
            if not whole:
                headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
            self._head(HTTPStatus.OK if whole else HTTPStatus.PARTIAL_CONTENT, headers)
            if body:
                _copy(file, part, self.wfile)

    def _head(self, status: HTTPStatus, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **_HEADERS, **headers}.items():
            self.send_header(name, value)
        self.end_headers()


def asked(header: str, size: int) -> range | None:
    """The bytes of a file that a `Range` header asks for: all, if it has no single range.

    None where the file does not reach.
    """
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header.strip())
    if not found or found[1] == found[2] == "":
        return range(size)
    if not found[1]:  # the last ones
        part = range(max(0, size - int(found[2])), size)
    else:
        part = range(int(found[1]), min(size, int(found[2]) + 1) if found[2] else size)
    return part if len(part) else None


def _copy(file: IO[bytes], part: range, to: BufferedIOBase) -> None:
    file.seek(part.start)
    left = len(part)
    while left and (chunk := file.read(min(left, _CHUNK))):
        to.write(chunk)
        left -= len(chunk)
