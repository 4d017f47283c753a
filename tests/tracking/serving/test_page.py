"""The server of a page: ranges of its videos, and nothing else of the disk."""

from __future__ import annotations

import http.client
import socket
import threading

import pytest

from tfsasm.errors import InputError
from tfsasm.tracking.serving.page import PageServer, asked

CONTENT = bytes(range(256)) * 4


@pytest.fixture
def server(tmp_path):
    (tmp_path / "v.mp4").write_bytes(CONTENT)
    (tmp_path / "secret.txt").write_text("mine")
    videos = {"video-1.mp4": tmp_path / "v.mp4", "video-2.mp4": tmp_path / "gone.mp4"}
    with PageServer("<p>page", videos, 0) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def ask(server, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer, answer.read()


def test_the_page_is_at_the_root(server):
    answer, body = ask(server, "/")
    assert (answer.status, body) == (200, b"<p>page")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(("wanted", "status", "part"), [
    pytest.param(None, 200, slice(None), id="whole"),
    pytest.param("bytes=10-19", 206, slice(10, 20), id="a part"),
    pytest.param("bytes=1000-", 206, slice(1000, None), id="from a byte on"),
    pytest.param("bytes=-24", 206, slice(-24, None), id="the last ones"),
    pytest.param("bytes=1000-9999", 206, slice(1000, None), id="beyond the end"),
    pytest.param("bytes=0-", 200, slice(None), id="from the first on"),
    pytest.param("bytes=5000-", 416, slice(0, 0), id="behind the end"),
    pytest.param("bytes=0-1,5-6", 200, slice(None), id="several: all"),
    pytest.param("lines=1-2", 200, slice(None), id="another unit: all"),
])  # fmt: skip
def test_a_video_comes_in_the_parts_that_are_asked_for(server, wanted, status, part):
    answer, body = ask(server, "/video-1.mp4", **({"Range": wanted} if wanted else {}))
    assert answer.status == status
    assert body == CONTENT[part]
    if status == 206:
        start = part.indices(len(CONTENT))[0]
        end = start + len(body) - 1
        assert answer.headers["Content-Range"] == f"bytes {start}-{end}/{len(CONTENT)}"
        assert answer.headers["Content-Type"] == "video/mp4"


def test_a_head_has_no_body(server):
    answer, body = ask(server, "/video-1.mp4", "HEAD")
    assert (answer.status, answer.headers["Content-Length"], body) == (200, "1024", b"")


@pytest.mark.parametrize("path", [
    "/secret.txt", "/../secret.txt", "/video-1.mp4/../secret.txt", "/%2e%2e/secret.txt",
    "//secret.txt",
    "/v.mp4", "/etc/passwd", "/video-2.mp4", "/video-1.mp4%00", "/page.html",
])  # fmt: skip
def test_nothing_else_of_the_disk_is_served(server, path):
    answer, body = ask(server, path)
    assert (answer.status, body) == (404, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_it_takes_nothing(server, method):
    assert ask(server, "/", method)[0].status == 501


def test_a_foreign_name_that_leads_here_is_refused(server):
    """Else a site could point its own name at this address and read the answers."""
    assert ask(server, "/", Host="evil.example")[0].status == 403
    assert ask(server, "/", Host=f"localhost:{server.server_port}")[0].status == 200


def test_it_listens_on_this_machine_alone(server):
    assert server.server_address[0] == "127.0.0.1"
    assert server.address == f"http://127.0.0.1:{server.server_port}/"


def test_a_browser_that_has_seen_enough_ends_nothing(server):
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.server_port)) as connection:
            connection.sendall(b"GET /video-1.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert ask(server, "/")[0].status == 200


def test_without_a_port_one_that_is_free_is_taken():
    with PageServer("", {}) as one, PageServer("", {}) as other:
        assert one.server_port != other.server_port


def test_a_port_that_is_taken_is_said(server):
    with pytest.raises(InputError, match=f"port {server.server_port} cannot be had"):
        PageServer("", {}, server.server_port)
    with pytest.raises(InputError, match="there is no port 70000"):
        PageServer("", {}, 70000)


def test_a_range_of_an_empty_file():
    assert asked("", 0) == range(0)
    assert asked("bytes=0-", 0) is None
