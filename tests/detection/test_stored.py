"""Stored detections: which entry a frame gets, what is refused, what is reported."""

import contextlib
import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfsasm.detection.det_db import LINE as DET_DB_LINE
from tfsasm.detection.proposals import Proposals
from tfsasm.detection.stored import DetectionDatabase, MotDetections, open_detections
from tfsasm.errors import InputError

IMAGE = np.zeros((100, 200, 3), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that hypothesis examples may share."""
    return tmp_path_factory.mktemp("stored")


def frame(name, number=1):
    return SimpleNamespace(image=IMAGE, number=number, name=name, time=None)


def line(left):
    """A box whose left edge tells which entry it came from."""
    return f"{left},5.0,10.0,20.0,0.5\n"


def database(tmp_path, entries, **settings_):
    """A det_db whose boxes start at the given lefts, one per key."""
    path = tmp_path / "db.json"
    path.write_text(json.dumps({
        key: [line(value)] if isinstance(value, int) else value for key, value in entries.items()}))
    return open_detections(path, **settings_)


def left(proposals):
    """The left edge in pixels of the only proposal, or None for no proposal."""
    if not len(proposals):
        return None
    cx, _, w, _ = proposals.boxes[0].tolist()
    return round((cx - w / 2) * 200)


TWO = {
    "DanceTrack/val/dancetrack0004/img1/00000001.txt": 41,
    "DanceTrack/val/dancetrack0004/img1/00000002.txt": 42,
    "DanceTrack/val/dancetrack0007/img1/00000001.txt": 71,
    "DanceTrack/val/dancetrack0007/img1/00000002.txt": 72,
    "DanceTrack/val/dancetrack0007/img1/00000003.txt": 73,
}


@pytest.mark.parametrize(("name", "number", "wanted"), [
    pytest.param("DanceTrack/val/dancetrack0007/img1/00000002.jpg", 2, 72, id="the released key"),
    pytest.param("DanceTrack/val/dancetrack0007/img1/00000002.jpeg", 2, 72, id="jpeg"),
    pytest.param("./DanceTrack//val/dancetrack0007/img1/00000002.png", 2, 72, id="dot and slashes"),
    pytest.param("/data/sets/DanceTrack/val/dancetrack0007/img1/00000002.jpg", 2, 72,
                 id="longer path"),
    pytest.param("dancetrack0007/img1/00000002.jpg", 2, 72, id="shorter path"),
    pytest.param("../train/dancetrack0007/img1/00000002.jpg", 2, 72, id="other root"),
    pytest.param("dancetrack0007/00000002.jpg", 2, 72, id="no img1"),
    pytest.param("dancetrack0007/small/00000002.jpg", 2, 72, id="a folder below the sequence"),
    pytest.param(r"C:\sets\dancetrack0007\img1\00000002.jpg", 2, 72, id="backslashes"),
    pytest.param("dancetrack0007/img1/00000002.jpg", 1, 72, id="file name before position"),
    pytest.param("dancetrack0007/img1/00000009.jpg", 2, None, id="a frame the sequence lacks"),
    pytest.param("dancetrack0004/img1/00000003.jpg", 3, None, id="a frame only another one has"),
    pytest.param("dancetrack0007/img1/2.jpg", 2, 72, id="unpadded names go by position"),
    pytest.param("clips/dancetrack0007.mp4#2", 2, 72, id="a video named after the sequence"),
    pytest.param("dancetrack0007/video.mp4#2", 2, 72, id="a video in the sequence's folder"),
    pytest.param("dancetrack0007/video.mp4#9", 9, None, id="a video longer than the sequence"),
])
def test_a_frame_finds_its_entry_among_several_sequences(tmp_path, name, number, wanted):
    assert left(database(tmp_path, TWO)(frame(name, number))) == wanted


@pytest.mark.parametrize(("name", "problem"), [
    pytest.param("frames/00000001.jpg", "no name in it agrees", id="a folder that says nothing"),
    pytest.param("00000001.jpg", "no name in it agrees", id="no folder"),
    pytest.param("img1/00000001.jpg", "no name in it agrees", id="only img1"),
    pytest.param("video.mp4#1", "no name in it agrees", id="a video that says nothing"),
    pytest.param("val/dancetrack0009/img1/00000001.jpg", "no sequence dancetrack0009",
                 id="another sequence"),
    pytest.param("val/dancetrack0009/img1/00000003.jpg", "no sequence dancetrack0009",
                 id="another sequence, name only one has"),
    pytest.param("dancetrack0004/dancetrack0009/img1/00000001.jpg", "no sequence dancetrack0009",
                 id="another sequence below a known one"),
])
def test_a_frame_of_no_known_sequence_is_refused(tmp_path, name, problem):
    with pytest.raises(InputError) as caught:
        database(tmp_path, TWO)(frame(name))
    for part in ("db.json", problem, "path must contain", "val/dancetrack0004", "dancetrack0007"):
        assert part in str(caught.value)


@pytest.mark.parametrize("source", [
    "/data/dancetrack0007/img1", "/data/dancetrack0007", "dancetrack0007.mp4"])
@pytest.mark.parametrize("name", ["00000002.jpg", "img1/00000002.jpg", "video.mp4#2"])
def test_the_source_tells_the_sequence_when_the_frame_does_not(tmp_path, source, name):
    assert left(database(tmp_path, TWO, source_name=source)(frame(name, 2))) == 72


def test_a_name_that_only_one_sequence_has_is_enough_but_is_reported(tmp_path, caplog):
    db = database(tmp_path, {"crowd/images/a.txt": 1, "dance/seq/00000001.txt": 2})
    assert left(db(frame("elsewhere/a.jpg"))) == 1
    assert "elsewhere are taken to be those of crowd/images" in db.report()[0]
    assert "crowd/images" in caplog.text


SAME_NAME = {"train/a/img1/1.txt": 1, "val/a/img1/1.txt": 2}


@pytest.mark.parametrize(("name", "wanted"), [("x/train/a/img1/1.jpg", 1), ("val/a/1.jpg", 2)])
def test_folders_above_decide_between_equal_names(tmp_path, name, wanted):
    assert left(database(tmp_path, SAME_NAME)(frame(name))) == wanted


def test_equal_names_without_a_folder_above_are_refused(tmp_path):
    with pytest.raises(InputError, match="train/a/img1, val/a/img1 agree with it alike"):
        database(tmp_path, SAME_NAME)(frame("a/img1/1.jpg"))


def test_the_source_decides_between_equal_names(tmp_path):
    db = database(tmp_path, SAME_NAME, source_name="/sets/val/a/img1")
    assert left(db(frame("a/img1/1.jpg"))) == 2


ONE = {"val/seq/img1/00000001.txt": 1, "val/seq/img1/00000002.txt": 2}
NAMELESS = {"00000001.txt": 1, "00000002.txt": 2}


@pytest.mark.parametrize("entries", [
    pytest.param(ONE, id="one sequence"),
    pytest.param(NAMELESS, id="keys without folder"),
    pytest.param({f"img1/{key}": left for key, left in NAMELESS.items()}, id="keys with img1 only"),
])
@pytest.mark.parametrize(("name", "number", "wanted"), [
    pytest.param("frames/00000002.jpg", 9, 2, id="folder that says nothing"),
    pytest.param("00000002.jpg", 9, 2, id="no folder"),
    pytest.param("seq/img1/00000002.jpg", 9, 2, id="the sequence"),
    pytest.param("video.mp4#2", 2, 2, id="video"),
    pytest.param("rtsp://camera/stream#2", 2, 2, id="stream"),
    pytest.param("0#2", 2, 2, id="camera"),
    pytest.param("frames/frame_0001.jpg", 2, 2, id="names of another form go by position"),
    pytest.param("frames/first.jpg", 1, 1, id="names without number go by position"),
    pytest.param("frames/00000003.jpg", 2, None, id="names of the same form never do"),
    pytest.param("video.mp4#3", 3, None, id="video goes on"),
])
def test_a_single_sequence_serves_any_source(tmp_path, entries, name, number, wanted):
    assert left(database(tmp_path, entries)(frame(name, number))) == wanted


def test_a_single_sequence_does_not_serve_another_benchmark_sequence(tmp_path):
    with pytest.raises(InputError, match="has no sequence other"):
        database(tmp_path, ONE)(frame("val/other/img1/00000001.jpg"))


def test_keys_without_folder_serve_any_benchmark_sequence(tmp_path):
    assert left(database(tmp_path, NAMELESS)(frame("val/other/img1/00000001.jpg"))) == 1


def test_matching_by_position_is_said_once(tmp_path, caplog):
    db = database(tmp_path, ONE)
    for number in (1, 2):
        db(frame(f"seq/img1/f{number}.jpg", number))
    assert len(caplog.records) == len(db.report()) == 1
    assert "by their number in the source" in db.report()[0]


def test_an_empty_entry_is_known_and_a_missing_one_is_reported(tmp_path):
    db = database(tmp_path, {"s/1.txt": [], "s/2.txt": 7})
    assert len(db(frame("s/1.jpg", 1))) == 0
    assert db.report() == []
    for number in range(3, 10):
        assert len(db(frame(f"s/{number}.jpg", number))) == 0
    (note,) = db.report()
    assert "no entry for 7 frame(s)" in note
    assert "3 (s/3.jpg), 4 (s/4.jpg)" in note
    assert note.endswith("7 (s/7.jpg) and 2 more")


def test_a_missing_frame_can_be_an_error(tmp_path):
    with pytest.raises(InputError, match=r"no entry for frame 2 \(s/2\.jpg\)"):
        database(tmp_path, {"s/1.txt": 1}, missing="error")(frame("s/2.jpg", 2))


def test_an_empty_database_has_no_entries(tmp_path):
    db = database(tmp_path, {})
    assert len(db(frame("s/img1/1.jpg"))) == 0
    assert len(db.report()) == 1


def test_proposals_have_the_arithmetic_of_the_specification(tmp_path):
    lines = ["781.7,551.8,99.9,290.6,0.93\n", "-3.3,0.1,7.7,1e3,0.05"]
    got = database(tmp_path, {"s/1.txt": lines})(frame("s/1.jpg"))
    rows = [[float(field) for field in text.split(",")] for text in lines]
    wanted = np.array([[(x + w / 2) / 200, (y + h / 2) / 100, w / 200, h / 100]
                       for x, y, w, h, _ in rows], dtype=np.float32)
    np.testing.assert_array_equal(got.boxes, wanted)
    np.testing.assert_array_equal(got.scores, np.float32([0.93, 0.05]))


BAD_LINES = [
    pytest.param("1,2,3,4", "too few fields: 4 where 5 to 6 are wanted", id="too few"),
    pytest.param("1,2,3,4,0.5,6,7", "too many fields: 7", id="too many"),
    pytest.param("1,2,3,4,0.5\n1,2,3,4,0.5\n", "too many fields: 9", id="two lines in one"),
    pytest.param("1,2,x,4,0.5", "width 'x' is not a number", id="text"),
    pytest.param("1,2,3,4,nan", "score 'nan' is not finite", id="NaN"),
    pytest.param("inf,2,3,4,0.5", "left 'inf' is not finite", id="infinity"),
    pytest.param("1,2,3,0,0.5", "height '0' is not positive", id="no height"),
    pytest.param("", "too few fields: 1", id="nothing"),
]


@pytest.mark.parametrize(("text", "problem"), BAD_LINES)
def test_a_bad_line_is_named_by_key_and_number(tmp_path, text, problem):
    with pytest.raises(InputError) as caught:
        database(tmp_path, {"s/1.txt": 1, "s/2.txt": [line(1), text]})
    assert f"db.json, key 's/2.txt', line 2: {problem}" in str(caught.value)
    assert "--skip-bad-detections" in str(caught.value)


@pytest.mark.parametrize(("text", "problem"), BAD_LINES)
def test_bad_lines_can_be_left_out(tmp_path, caplog, text, problem):
    with caplog.at_level(logging.WARNING):
        db = database(tmp_path, {"s/1.txt": [text, line(8)]}, skip_bad=True)
    assert left(db(frame("s/1.jpg"))) == 8
    (note,) = db.report()
    assert note.startswith("1 bad detection line(s) left out")
    assert problem in note


def test_a_bad_line_of_another_sequence_does_not_matter(tmp_path):
    db = database(tmp_path, {"a/1.txt": ["bad"], "b/1.txt": 3})
    assert left(db(frame("b/1.jpg"))) == 3
    with pytest.raises(InputError, match=r"key 'a/1\.txt', line 1"):
        db(frame("a/1.jpg"))


def test_a_bad_line_is_found_before_the_first_frame_when_the_source_is_known(tmp_path):
    with pytest.raises(InputError, match=r"key 'a/2\.txt', line 1"):
        database(tmp_path, {"a/2.txt": ["bad"], "b/1.txt": 3}, source_name="sets/a")


@pytest.mark.parametrize(("name", "content", "kind"), [
    pytest.param("db.txt", "\ufeff {}", DetectionDatabase, id="JSON"),
    pytest.param("det", "", MotDetections, id="nothing"),
])
def test_the_kind_of_file_is_seen(tmp_path, name, content, kind):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert isinstance(open_detections(path), kind)


@pytest.mark.parametrize("name", ["no.json", "no.txt", "."])
def test_a_file_that_is_not_there_is_named(tmp_path, name):
    with pytest.raises(InputError, match=r"cannot read .*no\.|is a folder"):
        open_detections(tmp_path / name)


def test_mot_detections_go_by_the_frame_number(tmp_path):
    path = tmp_path / "det.txt"
    path.write_text("2,-1,20,5,10,20,0.5\n2,-1,30,5,10,20,0.25\n")
    source = open_detections(path)
    got = source(frame("anything", 2))
    wanted = Proposals.from_ltwh([[20, 5, 10, 20], [30, 5, 10, 20]], [0.5, 0.25], 200, 100)
    np.testing.assert_array_equal(got.boxes, wanted.boxes)
    np.testing.assert_array_equal(got.scores, wanted.scores)
    assert len(source(frame("00000002.jpg", 1))) == 0
    assert "no entry for 1 frame(s), taken as empty: 1 (00000002.jpg)" in source.report()[0]


def test_mot_detections_tell_of_lines_left_out_and_odd_scores(tmp_path):
    path = tmp_path / "det.txt"
    path.write_text("1,-1,20,5,10,20,51.8\nbad\n")
    skipped, scores = open_detections(path, skip_bad=True).report()
    assert "det.txt:2: too few" in skipped
    assert "scores from 51.8 to 51.8" in scores


KEY = st.text(alphabet="ab1/.\\ ", max_size=8).map(lambda stem: f"{stem}.txt")
LINE = st.one_of(st.text(max_size=8), st.just(line(3)), st.integers())
VALUE = st.one_of(st.none(), st.text(max_size=5), st.lists(LINE, max_size=3))


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(KEY, VALUE, max_size=4), st.text(alphabet="ab1/.#\\", max_size=10),
       st.booleans())
def test_odd_databases_are_read_or_refused_but_never_crash(folder, entries, name, skip_bad):
    path = folder / "odd.json"
    path.write_text(json.dumps(entries))
    with contextlib.suppress(InputError):
        open_detections(path, skip_bad=skip_bad, source_name=name)(frame(name))


MESS = st.one_of(st.just(line(3)), st.just("1,2,3,4,5"), st.text(max_size=8), st.text(
    alphabet="0123456789.,-e\n", max_size=14))


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.integers(1, 9), st.lists(MESS, max_size=4), max_size=4))
def test_every_line_of_a_det_db_is_a_box_or_is_named(folder, lines):
    """Nothing is lost in silence, and each line is judged as if it stood alone."""
    path = folder / "mess.json"
    path.write_text(json.dumps({f"s/{number}.txt": of_key for number, of_key in lines.items()}))
    texts = [text for of_key in lines.values() for text in of_key]
    if texts and not any(map(is_good, texts)):
        with pytest.raises(InputError, match="no line of s in"):
            open_detections(path, skip_bad=True)
        return
    db = open_detections(path, skip_bad=True)
    found = {number: len(db(frame(f"s/{number}.jpg", number))) for number in lines}
    good = {number: [text for text in of_key if is_good(text)] for number, of_key in lines.items()}
    assert found == {number: len(of_key) for number, of_key in good.items()}
    bad = sum(map(len, lines.values())) - sum(found.values())
    assert len(db.report()) == bool(bad) + has_odd_scores(good)
    if bad:
        assert db.report()[0].startswith(f"{bad} bad detection line(s) left out")
        with pytest.raises(InputError, match=r"key 's/\d\.txt', line \d: "):
            open_detections(path)


def is_good(text):
    try:
        DET_DB_LINE.parse(text)
    except ValueError:
        return False
    return True


def has_odd_scores(good):
    scores = [float(text.split(",")[4]) for of_key in good.values() for text in of_key]
    return any(not 0 <= score <= 1 for score in scores)


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.binary(max_size=40), st.text('{}[]",:0123456789./ab\n \\', max_size=40).map(
    str.encode)))
def test_garbage_is_no_det_db_and_never_crashes(folder, content):
    path = folder / "garbage.json"
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        open_detections(path)(frame("a/1.jpg"))


NAME = st.sampled_from(["a", "b", "train", "val", "s1", "s2"])


@settings(max_examples=40, deadline=None)
@given(st.lists(NAME, max_size=3), st.lists(NAME, max_size=3), st.booleans())
def test_any_two_prefixes_of_the_right_sequence_agree(folder, of_key, of_frame, other):
    entries = {"/".join([*of_key, "seq7", "img1", "01.txt"]): [line(7)]}
    if other:
        entries["/".join([*of_key, "seq8", "img1", "01.txt"])] = [line(8)]
    path = folder / "prefix.json"
    path.write_text(json.dumps(entries))
    assert left(open_detections(path)(frame("/".join([*of_frame, "seq7", "img1", "01.jpg"])))) == 7
