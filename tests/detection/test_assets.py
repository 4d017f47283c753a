"""The download cache, against a server on this machine and a port nobody listens on."""

import contextlib
import hashlib
import http.server
import socket
import sys
import threading

import pytest

from tfsasm import files
from tfsasm.detection import assets
from tfsasm.errors import InputError

CONTENT = bytes(range(256)) * 2000


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the name asked for."""

    def do_GET(self):
        self.server.asked.append(self.path)
        if "absent" in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if "page" in self.path else "application/x")
        self.send_header("Content-Length", str(len(CONTENT) + (9 if "short" in self.path else 0)))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *_):
        """Quiet."""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TFSASM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.asked = []
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        running.url = f"http://127.0.0.1:{running.server_port}"
        yield running
        running.shutdown()
        thread.join()


def test_a_file_is_downloaded_once_and_its_checksum_kept(server, cache, capfd):
    url = f"{server.url}/once.onnx"
    path = assets.fetch(url)
    assert path == cache / "once.onnx"
    assert path.read_bytes() == CONTENT
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert (cache / "once.onnx.sha256").read_text() == f"{digest}  once.onnx\n"
    assert assets.fetch(url) == path
    assert server.asked.count("/once.onnx") == 1
    assert sorted(file.name for file in cache.iterdir()) == ["once.onnx", "once.onnx.sha256"]
    out, err = capfd.readouterr()
    assert out == ""
    assert "downloading once.onnx" in err


@pytest.mark.parametrize("sidecar", [None, "0" * 64, ""], ids=["rotten", "other sum", "no sum"])
def test_a_file_that_changed_is_refused(server, cache, sidecar):
    path = assets.fetch(f"{server.url}/changed.onnx")
    if sidecar is None:
        path.write_bytes(CONTENT[:-1])
    else:
        path.with_name("changed.onnx.sha256").write_text(sidecar)
    with pytest.raises(InputError) as caught:
        assets.fetch(f"{server.url}/changed.onnx")
    assert hashlib.sha256(path.read_bytes()).hexdigest() in str(caught.value)
    assert "Delete the file to download it again" in str(caught.value)


def test_the_mend_of_a_changed_file_works(server, cache):
    path = assets.fetch(f"{server.url}/mended.onnx")
    path.with_name("mended.onnx.sha256").write_text("0" * 64)
    path.unlink()
    assert assets.fetch(f"{server.url}/mended.onnx").read_bytes() == CONTENT


def test_a_file_put_there_by_hand_is_used(cache):
    cache.mkdir()
    (cache / "hand.onnx").write_bytes(b"mine")
    assert assets.fetch("http://127.0.0.1:9/hand.onnx").read_bytes() == b"mine"
    assert (cache / "hand.onnx.sha256").is_file()


@pytest.mark.parametrize(("name", "reason"), [
    pytest.param("absent.onnx", "HTTP 404", id="not there"),
    pytest.param("short.onnx", f"ended after {len(CONTENT)} of {len(CONTENT) + 9}", id="broke off"),
    pytest.param("page.onnx", "web page", id="a log-in page"),
])
def test_a_failed_download_leaves_nothing_behind(server, cache, name, reason):
    with pytest.raises(InputError, match=reason):
        assets.fetch(f"{server.url}/{name}")
    assert list(cache.iterdir()) == []


def test_without_network_the_message_says_what_to_do(cache):
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: nobody answers
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/file.onnx"
        with pytest.raises(InputError) as caught:
            assets.fetch(url, instead=", or ask a friend")
    message = str(caught.value)
    assert url in message
    assert f"put it at {cache / 'file.onnx'}, or ask a friend" in message


def test_a_cache_that_cannot_be_written_is_named(cache):
    cache.write_text("a file")
    with pytest.raises(InputError, match="cannot write in"):
        assets.fetch("http://127.0.0.1:9/file.onnx")


@pytest.mark.parametrize(("system", "environment", "wanted"), [
    pytest.param("linux", {"TFSASM_CACHE": "/own"}, "/own", id="chosen"),
    pytest.param("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/tfsasm", id="XDG"),
    pytest.param("linux", {"HOME": "/home/me"}, "/home/me/.cache/tfsasm", id="home"),
    pytest.param("win32", {"LOCALAPPDATA": "/local"}, "/local/tfsasm", id="Windows"),
])
def test_the_cache_folder(monkeypatch, system, environment, wanted):
    for name in ("TFSASM_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", system)
    assert files.cache_folder().as_posix() == wanted
