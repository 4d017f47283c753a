"""Live streams without a network: what is dropped, what is remembered, and who has a turn."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import pytest

from helpers.cameras import CUT, Camera, image, person, until
from tfsasm.errors import InputError
from tfsasm.tracking.appearance.embedders import embedder
from tfsasm.tracking.appearance.tracker import AppearanceTracker
from tfsasm.tracking.serving import stream as stream_module
from tfsasm.tracking.serving.hub import Full, Hub, Taken, Unknown
from tfsasm.tracking.serving.stream import StreamLimits

ADDRESS = "rtsp://me:secret@camera/live?token=secret"
FAST = StreamLimits(fps=1e9)


class Gate:
    """A detector that waits until it may go on."""

    def __init__(self):
        self.open = threading.Semaphore(0)
        self.waiting = threading.Event()

    def __call__(self, frame):
        self.waiting.set()
        self.open.acquire()
        self.waiting.clear()
        return person(frame)

    def report(self):
        return []


@pytest.fixture
def hubs(monkeypatch):
    """Makes hubs, and ends them."""
    monkeypatch.setattr(stream_module, "SHORTEST", 0.01)
    made = []

    def make(camera, detector=person, other=None, **settings):
        """`other` is the camera at http://other."""
        answers = []

        def opened(address):
            return (other if address == "http://other" else camera).open(address)

        hub = Hub(
            lambda: detector, lambda: AppearanceTracker(embedder("none")), open=opened,
            **{"workers": 1, "limits": FAST, **settings},
            listener=lambda stream, answer: answers.append(answer.event),
        )  # fmt: skip
        made.extend((hub, one) for one in (camera, other) if one)
        return hub, answers

    yield make
    for hub, camera in made:
        camera.give(*[None] * 20)
        hub.close()


def test_every_frame_has_an_answer_when_there_is_time(hubs):
    camera = Camera()
    hub, answers = hubs(camera)
    stream = hub.add(ADDRESS, "door")
    for number in range(1, 6):
        camera.give(image())
        until(lambda number=number: len(answers) == number)
    assert [answer["frame"] for answer in answers] == [1, 2, 3, 4, 5]
    assert {track["id"] for answer in answers for track in answer["tracks"]} == {1}
    assert answers[0]["tracks"][0]["xyxy"] == pytest.approx([19.2, 4.8, 44.8, 43.2], abs=0.01)
    assert (stream.counts.tracked, stream.counts.dropped, stream.state) == (5, 0, "live")


def test_what_comes_while_there_is_no_time_is_dropped_but_the_newest(hubs):
    camera, gate = Camera(), Gate()
    hub, answers = hubs(camera, gate)
    stream = hub.add(ADDRESS)
    camera.give(image())
    assert gate.waiting.wait(60)
    camera.give(*[image()] * 9)
    until(lambda: stream.counts.read == 10)
    gate.open.release(2)
    until(lambda: len(answers) == 2)
    assert [answer["frame"] for answer in answers] == [1, 10]
    assert (stream.counts.dropped, answers[1]["dropped"]) == (8, 8)
    assert 0 <= answers[1]["age_ms"] < 5000


def test_streams_have_their_turns_however_fast_one_of_them_is(hubs):
    fast, slow, gate = Camera(), Camera(), Gate()
    hub, answers = hubs(fast, gate, slow)
    hub.add(ADDRESS, "fast")
    fast.give(image())
    assert gate.waiting.wait(60)
    hub.add("http://other", "slow")
    slow.give(image())
    until(lambda: hub.get("slow").counts.read == 1)
    fast.give(*[image()] * 50)
    until(lambda: hub.get("fast").counts.read == 51)
    gate.open.release(3)
    until(lambda: len(answers) == 3)
    assert [answer["stream"] for answer in answers] == ["fast", "slow", "fast"]


@pytest.mark.parametrize(("remembered", "session"), [(30.0, 1), (1e-9, 2)], ids=["short", "long"])
def test_identities_go_on_over_a_gap_that_is_short(hubs, remembered, session):
    camera = Camera()
    hub, answers = hubs(camera, limits=StreamLimits(1e9, remembered=remembered))
    stream = hub.add(ADDRESS)
    camera.give(image())
    until(lambda: answers)
    camera.give(CUT, image())
    until(lambda: len(answers) == 2)
    assert [answer["session"] for answer in answers] == [1, session]
    assert [answer["tracks"][0]["id"] for answer in answers] == [1, 1]
    assert [answer["frame"] for answer in answers] == [1, 2]  # numbers go on
    assert (stream.counts.reconnects, camera.opened) == (1, 2)


def test_a_stream_that_is_not_there_is_tried_again_ever_more_rarely(hubs):
    camera = Camera()
    camera.there = False
    hub, answers = hubs(camera)
    stream = hub.add(ADDRESS)
    until(lambda: stream.state == "lost")
    assert "secret" not in stream.problem + stream.label
    assert "nobody answers" in stream.problem
    camera.there = True
    camera.give(image())
    until(lambda: answers)
    assert (stream.state, stream.problem, stream.session) == ("live", "", 1)


def test_a_defect_of_reading_ends_no_stream(hubs):
    camera = Camera()
    hub, answers = hubs(camera)
    stream, problems = hub.add(ADDRESS), []
    usual = stream.open
    stream.open = lambda address: problems.append(stream.problem) or usual(address)
    camera.give(image(), RuntimeError("at token=secret"), image())
    until(lambda: len(answers) == 2)
    assert stream.state == "live"
    assert "reading failed (RuntimeError" in problems[-1]
    assert "secret" not in problems[-1]


def test_pauses_double_up_to_the_longest(hubs, monkeypatch):
    pauses, camera = [], Camera()
    camera.there = False
    monkeypatch.setattr(stream_module, "LONGEST", 0.05)
    hub, _ = hubs(camera)
    usual = threading.Event.wait

    def wait(event, seconds=None):
        # Threads of hubs that are closing wait too.
        if threading.current_thread().name == "read absent":
            pauses.append(seconds)
        return usual(event, seconds)

    monkeypatch.setattr(threading.Event, "wait", wait)
    hub.add(ADDRESS, "absent")
    until(lambda: len(pauses) >= 5)
    assert pauses[:5] == [0.01, 0.02, 0.04, 0.05, 0.05]


def test_a_file_behind_an_address_ends(hubs):
    camera = Camera()
    camera.count = 1
    hub, answers = hubs(camera)
    stream = hub.add(ADDRESS)
    camera.give(image(), None)
    until(lambda: stream.state == "ended")
    until(lambda: answers)


def test_a_stream_of_larger_frames_than_the_limit_is_refused(hubs):
    camera = Camera()
    hub, answers = hubs(camera, limits=StreamLimits(pixels=64 * 48 - 1))
    stream = hub.add(ADDRESS)
    camera.give(image())
    until(lambda: stream.state == "refused")
    assert "3,072 pixels per image, more than the limit of 3,071" in stream.problem
    assert "--max-pixels" in stream.problem
    assert not answers


def test_more_frames_per_second_than_the_limit_are_left_out(hubs):
    camera = Camera()
    hub, answers = hubs(camera)
    stream = hub.add(ADDRESS, fps=0.001)
    camera.give(image())
    until(lambda: answers)
    camera.give(*[image()] * 3)
    until(lambda: stream.counts.skipped == 3)
    assert (stream.counts.skipped, stream.counts.tracked) == (3, 1)


@pytest.mark.parametrize("error", [InputError("too odd"), RuntimeError("a defect")], ids=repr)
def test_a_frame_that_cannot_be_tracked_ends_nothing(hubs, error):
    camera, failing = Camera(), [True]

    def detector(frame):
        if failing.pop() if failing else False:
            raise error
        return person(frame)

    hub, answers = hubs(camera, detector)
    stream = hub.add(ADDRESS)
    camera.give(image())
    until(lambda: stream.counts.failed == 1)
    camera.give(image())
    until(lambda: answers)
    assert hub.healthy


def test_a_stream_that_was_removed_has_no_more_answers(hubs):
    camera, gate = Camera(), Gate()
    hub, answers = hubs(camera, gate)
    hub.add(ADDRESS, "door")
    camera.give(image())
    assert gate.waiting.wait(60)
    hub.remove("door")
    gate.open.release()
    time.sleep(0.05)
    assert (answers, hub.streams()) == ([], [])
    with pytest.raises(Unknown, match="there is no stream 'door'"):
        hub.get("door")


def test_names_are_taken_once_and_made_where_none_is_given(hubs):
    camera = Camera()
    hub, _ = hubs(camera, most=3)
    assert hub.add(ADDRESS).name == "camera-1"
    assert hub.add(ADDRESS).name == "camera-2"
    with pytest.raises(Taken, match="there is a stream 'camera-1'"):
        hub.add(ADDRESS, "camera-1")
    hub.add(ADDRESS, "x")
    with pytest.raises(Full, match="there are 3 streams, and no more may be"):
        hub.add(ADDRESS)
    camera.give(None, None, None)


def test_streams_that_are_removed_while_they_wait_are_limited_too(hubs):
    """Each has a thread, for as long as its camera lets it wait."""
    camera = Camera()
    hub, _ = hubs(camera, most=1)
    for _ in range(4):
        hub.remove(hub.add(ADDRESS).name)
    with pytest.raises(Full, match="4 removed streams still wait for their cameras"):
        hub.add(ADDRESS)
    camera.give(*[None] * 4)

    def added():
        with suppress(Full):
            return hub.add(ADDRESS)

    assert until(added).name == "camera-1"


@pytest.mark.parametrize(("address", "settings", "why"), [
    pytest.param("/etc/passwd", {}, "no address of a network", id="a file"),
    pytest.param("file:///etc/passwd", {}, "no address of a network", id="a file as an address"),
    pytest.param("concat:http://a|/etc/passwd", {}, "no address of a network", id="a list"),
    pytest.param("0", {}, "no address of a network", id="a camera"),
    pytest.param("http://", {}, "no address of a network", id="no host"),
    pytest.param("http://a/\x1b[2J", {}, "no address of a network", id="control characters"),
    pytest.param("http://[a", {}, "no address of a network", id="half an address"),
    pytest.param("http://a", {"name": "../x"}, "'../x' is no name", id="a name that leads away"),
    pytest.param("http://a", {"name": "x" * 65}, "is no name", id="a long name"),
    pytest.param("http://a", {"fps": 0.0}, "fps 0 is not above 0", id="no frames"),
    pytest.param("http://a", {"fps": 99.0}, "up to 30", id="more frames than the limit"),
    pytest.param("http://a", {"fps": float("nan")}, "fps nan is not", id="a rate that is none"),
])
def test_what_is_no_stream_is_refused(hubs, address, settings, why):
    hub, _ = hubs(Camera(), limits=StreamLimits())
    with pytest.raises(InputError, match=why):
        hub.add(address, **settings)
    assert hub.streams() == []
