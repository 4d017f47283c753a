"""The HTTP interface, over a real socket of this computer."""

from __future__ import annotations

import http.client
import json
import socket
import sys
import threading
import time
from contextlib import suppress

import pytest

from helpers.cameras import Camera, image, person, until
from tfsasm.tracking.appearance.embedders import embedder
from tfsasm.tracking.appearance.tracker import AppearanceTracker
from tfsasm.tracking.serving.hub import Hub
from tfsasm.tracking.serving.stream import StreamLimits

WHY = "needs the extra serve"
uvicorn = pytest.importorskip("uvicorn", reason=WHY)
module = pytest.importorskip("tfsasm.tracking.serving.app", reason=WHY, exc_type=ImportError)
connections = pytest.importorskip(
    "tfsasm.tracking.serving.connections", reason=WHY, exc_type=ImportError
)

pytestmark = pytest.mark.serve

ADDRESS = "rtsp://me:secret@camera/live"
TOKEN = "a-token-of-many-characters"


class Service:
    """A server and its camera; calls give the status and the JSON or text."""

    def __init__(self, token=None, most=2):
        self.camera, self.token = Camera(), token
        self.hub = Hub(
            lambda: person, lambda: AppearanceTracker(embedder("none")), workers=1,
            open=lambda address: self.camera.open(address), limits=StreamLimits(fps=1e9), most=most,
        )  # fmt: skip
        app = module.make_app(self.hub, token)
        self.server = uvicorn.Server(connections.config_of(app, port=0))
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        until(lambda: self.server.started)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]

    def connection(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def answer(self, method, path, body=None, **headers):
        connection = self.connection()
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json", **headers})
        return connection.getresponse()

    def __call__(self, method, path, body=None, **headers):
        response = self.answer(method, path, body, **headers)
        data = response.read()
        is_json = "json" in response.getheader("Content-Type", "")
        return response.status, json.loads(data) if is_json and data else data.decode()

    def close(self):
        self.camera.give(*[None] * 9)
        self.server.should_exit = True
        self.thread.join()


@pytest.fixture(scope="module")
def shared():
    service = Service()
    yield service
    service.close()


@pytest.fixture
def service(shared):
    shared.camera = Camera()
    yield shared
    shared.camera.give(*[None] * 9)  # also for streams that a test has removed
    for stream in shared.hub.streams():
        shared("DELETE", f"/streams/{stream.name}")


@pytest.fixture(scope="module")
def guarded():
    service = Service(TOKEN)
    yield service
    service.close()


def test_streams_come_and_go(service):
    code, made = service("POST", "/streams", {"address": ADDRESS, "name": "door"})
    assert (code, made["name"], made["address"]) == (201, "door", "rtsp://camera/live")
    assert service("GET", "/streams")[1][0]["name"] == "door"
    assert service("GET", "/streams/door")[1]["frames"]["read"] == 0
    assert service("DELETE", "/streams/door") == (204, "")
    assert service("GET", "/streams") == (200, [])
    assert service("GET", "/streams/door")[0] == 404
    assert service("DELETE", "/streams/door")[0] == 404


@pytest.mark.parametrize(("body", "code", "why"), [
    pytest.param({"address": "file:///etc/passwd"}, 422, "no address of a network", id="a file"),
    pytest.param({"address": ADDRESS, "name": "../x"}, 422, "is no name", id="no name"),
    pytest.param({"address": ADDRESS, "fps": -1}, 422, "fps -1 is not above 0", id="no rate"),
    pytest.param({}, 422, "Field required", id="nothing"),
    pytest.param({"address": "http://" + "x" * 3000}, 422, "at most 2000", id="a long address"),
    pytest.param({"address": "x" * 20_000}, 413, "up to 10,000 bytes", id="a long body"),
])
def test_what_is_no_stream_is_refused_in_words(service, body, code, why):
    given, told = service("POST", "/streams", body)
    assert given == code
    assert why in json.dumps(told)
    assert "secret" not in json.dumps(told)


@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_a_body_that_is_no_text_is_refused_and_not_repeated(service, kind):
    connection = service.connection()
    connection.request("POST", "/streams", b'{"address": "secret\xf0"}', {"Content-Type": kind})
    response = connection.getresponse()
    told = response.read()
    assert response.status == (415 if kind == "text/plain" else 400)
    assert b"secret" not in told


@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/form-data", "application/jsonx"])
def test_a_page_of_others_cannot_add_a_stream(service, kind):
    """Browsers let a page send any body of these types to anybody, of JSON after a question."""
    headers = {"Content-Type": kind} if kind else {}
    connection = service.connection()
    connection.request("POST", "/streams", json.dumps({"address": ADDRESS}), headers)
    assert connection.getresponse().status == 415
    assert service.hub.streams() == []


def test_a_name_is_taken_once_and_streams_are_limited(service):
    assert service("POST", "/streams", {"address": ADDRESS, "name": "a"})[0] == 201
    assert service("POST", "/streams", {"address": ADDRESS, "name": "a"})[0] == 409
    assert service("POST", "/streams", {"address": ADDRESS})[0] == 201
    code, told = service("POST", "/streams", {"address": ADDRESS})
    assert (code, "there are 2 streams" in told["detail"]) == (429, True)


def lines(response, *beginnings):
    """Lines of a stream of events until there is one of each beginning."""
    wanted, found, end = list(beginnings), [], time.monotonic() + 60
    while wanted:
        line = response.readline().decode()
        assert line, "it ended"
        assert time.monotonic() < end, f"no {wanted[0]}"
        if line.startswith(wanted[0]):
            wanted.pop(0)
            found.append(line)
    return found


def test_tracks_come_as_events_and_the_end_does_too(service):
    service("POST", "/streams", {"address": ADDRESS, "name": "door"})
    events = service.answer("GET", "/streams/door/events")
    lines(events, ": quiet")
    assert events.getheader("Content-Type").startswith("text/event-stream")
    service.camera.give(image())
    _, data = lines(events, "event: tracks", "data: ")
    event = json.loads(data.removeprefix("data: "))
    assert (event["stream"], event["frame"], event["session"]) == ("door", 1, 1)
    assert event["tracks"][0]["id"] == 1
    assert event["age_ms"] >= 0
    service("DELETE", "/streams/door")
    lines(events, "event: end")


def test_a_client_that_does_not_read_holds_up_nothing(service):
    service("POST", "/streams", {"address": ADDRESS, "name": "door"})
    lazy, eager = (service.answer("GET", "/streams/door/events") for _ in range(2))
    lines(eager, ": quiet")
    for number in range(1, 200):
        service.camera.give(image())
        until(lambda number=number: service.hub.get("door").counts.tracked == number)
    assert '"frame": 199' in lines(eager, 'data: {"stream": "door", "session": 1, "frame": 199')[0]
    lazy.close()


def test_clients_of_a_stream_are_limited(service, monkeypatch):
    service("POST", "/streams", {"address": ADDRESS, "name": "door"})
    open_ones = [service.answer("GET", "/streams/door/events") for _ in range(16)]
    for one in open_ones:
        lines(one, ": quiet")
    code, told = service("GET", "/streams/door/events")
    assert (code, told["detail"]) == (429, "16 clients listen to door already")
    for one in open_ones:
        one.close()
    until(lambda: service.answer("GET", "/streams/door/events").status == 200)


def test_the_preview_shows_what_is_tracked(service):
    cv2, np = pytest.importorskip("cv2"), pytest.importorskip("numpy")
    service("POST", "/streams", {"address": ADDRESS, "name": "door"})
    preview = service.answer("GET", "/streams/door/preview")
    assert preview.getheader("Content-Type") == "multipart/x-mixed-replace; boundary=frame"
    stop = threading.Event()

    def film():
        while not stop.wait(0.02):
            service.camera.give(image())

    thread = threading.Thread(target=film)
    thread.start()
    (length,) = lines(preview, "Content-Length: ")
    preview.readline()
    data = preview.read(int(length.split()[1]))
    stop.set()
    thread.join()
    shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (48, 64, 3)
    assert shown.max() > 50  # the box is drawn


def test_metrics_count_what_happens(service):
    service("POST", "/streams", {"address": ADDRESS, "name": "door"})
    service.camera.give(image())
    until(lambda: service.hub.get("door").counts.tracked == 1)
    until(lambda: 'tfsasm_age_seconds_count{stream="door"} 1.0' in service("GET", "/metrics")[1])
    text = service("GET", "/metrics")[1]
    for line in (
        'tfsasm_frames_read_total{stream="door"} 1.0', 'tfsasm_tracks{stream="door"} 1.0',
        'tfsasm_frames_dropped_total{stream="door"} 0.0', 'tfsasm_live{stream="door"} 1.0',
        'tfsasm_reconnects_total{stream="door"} 0.0',
    ):  # fmt: skip
        assert line in text
    service("DELETE", "/streams/door")
    assert "door" not in service("GET", "/metrics")[1]


def test_all_calls_are_described(service):
    paths = service("GET", "/openapi.json")[1]["paths"]
    assert set(paths) == {
        "/streams", "/streams/{name}", "/streams/{name}/events", "/streams/{name}/preview",
        "/metrics", "/health",
    }  # fmt: skip
    assert all(call["description"] for calls in paths.values() for call in calls.values())
    assert service("GET", "/docs")[0] == 200


def test_health_says_when_a_worker_is_gone(service, monkeypatch):
    assert service("GET", "/health") == (200, {"healthy": True, "streams": 0})
    monkeypatch.setattr(Hub, "healthy", False)
    assert service("GET", "/health")[0] == 503


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example"])
def test_a_page_of_others_cannot_pass_for_this_computer(service, host):
    """A name that its owner points at 127.0.0.1."""
    assert service("GET", "/streams", Host=host)[0] == 400


@pytest.mark.parametrize("host", [
    "localhost", "127.0.0.1:8000", "127.0.1.1:80", "[::1]:8000", "LocalHost:1",
])  # fmt: skip
def test_this_computer_has_several_names(service, host):
    assert service("GET", "/streams", Host=host)[0] == 200


def test_a_page_of_others_cannot_ask(service):
    headers = {"Origin": "http://evil.example"}
    assert service("POST", "/streams", {"address": ADDRESS}, **headers)[0] == 403
    assert service("GET", "/streams", Origin="http://localhost:3000")[0] == 200
    assert service.hub.streams() == []


# With a token

PATHS = ["/streams", "/streams/x", "/streams/x/events", "/streams/x/preview", "/metrics"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("given", ["Bearer wrong", "", TOKEN[:-1], "Bearer täken"])
def test_nothing_is_told_without_the_token(guarded, path, given):
    code, told = guarded("GET", path, Authorization=given.encode())
    assert (code, told) == (401, {"detail": "a token is needed"})


@pytest.mark.parametrize("host", ["x/health?", "x/health#", "/health?", "health", "@/health"])
def test_no_host_makes_a_call_one_that_needs_no_token(guarded, host):
    assert guarded("GET", "/streams", Host=host, Authorization="")[0] == 401


@pytest.mark.parametrize("path", ["/streams/", "/health/", "/streams/?token=%d8"])
def test_a_slash_behind_a_call_makes_one_that_there_is_not(guarded, path):
    assert guarded("GET", path, Authorization="")[0] == 404


def test_nothing_is_done_without_the_token(guarded):
    assert guarded("POST", "/streams", {"address": ADDRESS}, Authorization="x")[0] == 401
    assert guarded("DELETE", "/streams/x", Authorization="x")[0] == 401
    assert guarded.hub.streams() == []


def test_the_token_opens_by_header_or_address(guarded):
    assert guarded("GET", "/streams")[0] == 200
    assert guarded("GET", f"/streams?token={TOKEN}", Authorization="")[0] == 200
    assert guarded("GET", "/health", Authorization="")[0] == 200
    assert guarded("GET", "/streams", Host="any.example")[0] == 200


# Clients that mean no good, with a token or without


def ask(service, data):
    """A connection on which these bytes were sent."""
    client = socket.create_connection(("127.0.0.1", service.port), timeout=60)
    client.sendall(data)
    return client


HEAD = b"POST /streams HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("begun", [
    pytest.param(b"", id="nothing"),
    pytest.param(b"GET /health HTTP/1.1\r\nHost: local", id="half a head"),
    pytest.param(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /he", id="a second one"),
    pytest.param(HEAD + b"Content-Length: 50\r\n\r\n{", id="half a body"),
])
def test_a_client_that_does_not_go_on_is_sent_home(service, monkeypatch, begun):
    monkeypatch.setattr(connections, "SILENCE", 0.2)
    client = ask(service, begun)
    with suppress(ConnectionResetError):
        while client.recv(9999):
            pass
    client.close()
    assert service("GET", "/health")[0] == 200


def test_who_listens_is_not_sent_home(service, monkeypatch):
    monkeypatch.setattr(connections, "SILENCE", 0.05)
    service("POST", "/streams", {"address": ADDRESS, "name": "door"})
    events = service.answer("GET", "/streams/door/events")
    lines(events, ": quiet")
    time.sleep(0.3)
    service.camera.give(image())
    lines(events, "event: tracks")


def test_there_are_only_so_many_connections(service, monkeypatch):
    monkeypatch.setattr(connections, "MOST", 5)
    assert connections.most_connections() == 5
    clients = [ask(service, b"GET") for _ in range(5)]
    until(lambda: len(service.server.server_state.connections) == 5)
    for _ in range(9):
        client = ask(service, b"")
        with suppress(ConnectionResetError):
            assert client.recv(1) == b""
        client.close()
    for client in clients:
        client.close()
    until(lambda: not service.server.server_state.connections)
    assert service("GET", "/health")[0] == 200


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
def test_connections_leave_files_for_the_cameras(monkeypatch):
    monkeypatch.setattr(connections.resource, "getrlimit", lambda which: (100, 100))
    assert connections.most_connections() == 50
    infinite = connections.resource.RLIM_INFINITY
    monkeypatch.setattr(connections.resource, "getrlimit", lambda which: (infinite, infinite))
    assert connections.most_connections() == connections.MOST


def test_a_head_without_an_end_is_refused(service):
    client = ask(service, b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
    with pytest.raises(ConnectionError):  # noqa: PT012
        for number in range(100_000):
            client.sendall(b"X-%d: %s\r\n" % (number, b"a" * 999))
    client.close()


def test_threads_end_with_the_server():
    before = set(threading.enumerate())
    service = Service()
    service("POST", "/streams", {"address": ADDRESS})
    began = time.monotonic()
    service.close()
    until(lambda: set(threading.enumerate()) <= before)
    assert time.monotonic() - began < 10
