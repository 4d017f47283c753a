"""MOT text: what is read, what is refused and by which name, what is written."""

import contextlib
import logging
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tfsasm import motchallenge
from tfsasm.errors import InputError

GOOD = "1,-1,10.5,20,30,40,0.9"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that hypothesis examples may share."""
    return tmp_path_factory.mktemp("mot")


def write(folder, content, name="det.txt"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("content", [
    pytest.param(GOOD, id="seven fields"),
    pytest.param(f"{GOOD},-1,-1,-1\n", id="ten fields"),
    pytest.param(f"{GOOD},-1,nan,-1\n", id="a field that is not read is not finite"),
    pytest.param(f"{GOOD},\n", id="trailing comma"),
    pytest.param("  1 , -1,10.5 ,20,\t30,40, 0.9 \n", id="blanks around the fields"),
    pytest.param(f"\n\n{GOOD}\n   \n", id="blank lines"),
    pytest.param(b"\xef\xbb\xbf" + GOOD.encode(), id="byte order mark"),
    pytest.param(f"{GOOD}\r\n", id="Windows line ends"),
    pytest.param(f"\r{GOOD}\r", id="old Mac line ends"),
    pytest.param("1.0,-1,1.05e1,+20,30.,40,.9", id="other spellings of the numbers"),
])
def test_detections_are_read(tmp_path, content):
    detections = motchallenge.read_detections(write(tmp_path, content))
    assert list(detections) == [1]
    np.testing.assert_array_equal(detections[1], [[10.5, 20, 30, 40, 0.9]])
    assert detections.skipped.count == 0


BAD = [
    pytest.param("1,-1,10,20,30,40", "too few fields: 6", id="too few fields"),
    pytest.param("1,-1,10,20,30,40,", "too few fields: 6", id="nothing after the last comma"),
    pytest.param(f"{GOOD},1,2,3,4", "too many fields: 11", id="too many fields"),
    pytest.param("1,-1,ten,20,30,40,0.9", "left 'ten' is not a number", id="text"),
    pytest.param(f"{GOOD},person", "field 8 'person' is not a number", id="text that is not read"),
    pytest.param("1,-1,,20,30,40,0.9", "left '' is not a number", id="an empty field"),
    pytest.param("1,-1,1_0,20,30,40,0.9", "left '1_0' is not a number", id="Python's underscores"),
    pytest.param("1,-1,١٠,20,30,40,0.9", "left '١٠' is not a number", id="foreign digits"),
    pytest.param("1,-1,10,nan,30,40,0.9", "top 'nan' is not finite", id="NaN"),
    pytest.param("1,-1,10,20,30,40,inf", "score 'inf' is not finite", id="infinity"),
    pytest.param("1,-1,10,20,30,1e999,1", "height '1e999' is not finite", id="overflow"),
    pytest.param("1,-1,1e300,20,30,40,1", "left '1e300' is too large", id="beyond float32"),
    pytest.param("1,-1,10,20,0,40,0.9", "width '0' is not positive", id="no width"),
    pytest.param("1,-1,10,20,30,-4,0.9", "height '-4' is not positive", id="negative height"),
    pytest.param("-1,-1,10,20,30,40,0.9", "frame '-1' is below 0", id="a negative frame"),
    pytest.param("1.5,-1,10,20,30,40,0.9", "frame '1.5' is not a whole number", id="half a frame"),
]


@pytest.mark.parametrize(("line", "problem"), BAD)
def test_a_bad_detection_line_is_named(tmp_path, line, problem):
    path = write(tmp_path, f"{GOOD}\n\n{line}\n{GOOD}\n")
    with pytest.raises(InputError) as caught:
        motchallenge.read_detections(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:3: {problem}")
    assert "--skip-bad-detections" in message


@pytest.mark.parametrize(("line", "problem"), BAD)
def test_bad_detection_lines_can_be_left_out(tmp_path, caplog, line, problem):
    path = write(tmp_path, f"{GOOD}\n{line}\n2,{GOOD[2:]}\n{line}\n")
    with caplog.at_level(logging.WARNING):
        detections = motchallenge.read_detections(path, skip_bad=True)
    assert list(detections) == [1, 2]
    assert detections.skipped.count == 2
    assert detections.skipped.first.startswith(f"{path}:2: {problem}")
    assert "2 bad detection line(s)" in caplog.text


@pytest.mark.parametrize(("content", "problem"), [
    pytest.param(None, "cannot read", id="no file"),
    pytest.param(b"\xff\xfe1\x00,\x00", "not UTF-8", id="UTF-16"),
])
def test_an_unreadable_file_is_named(tmp_path, content, problem):
    path = tmp_path / "det.txt" if content is None else write(tmp_path, content)
    with pytest.raises(InputError, match=problem):
        motchallenge.read_detections(path)


def test_a_folder_is_no_detection_file(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        motchallenge.read_detections(tmp_path)


def test_an_empty_file_has_no_frames(tmp_path):
    assert motchallenge.read_detections(write(tmp_path, "\n")) == {}


def test_frames_may_come_in_any_order_and_lines_of_a_frame_keep_theirs(tmp_path):
    lines = ["7,-1,5,1,1,1,0.5", "2,-1,3,1,1,1,0.5,1,1,1", "7,-1,4,1,1,1,0.5", "7,-1,9,1,1,1,0.5,"]
    detections = motchallenge.read_detections(write(tmp_path, "\n".join(lines)))
    assert {frame: rows[:, 0].tolist() for frame, rows in detections.items()} == {
        2: [3.0], 7: [5.0, 4.0, 9.0]}


def test_a_bad_line_far_down_has_the_right_number(tmp_path):
    path = write(tmp_path, f"{GOOD}\n" * 25_000 + "1,2\n" + f"{GOOD}\n" * 10)
    with pytest.raises(InputError, match=r"det\.txt:25001: too few"):
        motchallenge.read_detections(path)
    assert len(motchallenge.read_detections(path, skip_bad=True)[1]) == 25_010


COORDINATE = st.floats(-1e6, 1e6)
SIZE = st.floats(1e-3, 1e6)
ROW = st.tuples(st.integers(1, 9), COORDINATE, COORDINATE, SIZE, SIZE, st.floats(0, 1))


@settings(max_examples=40, deadline=None)
@given(st.lists(ROW, max_size=8), st.integers(7, 10), st.sampled_from(["\n", "\r\n"]))
def test_every_double_survives_the_round_trip(folder, rows, fields, end):
    tail = ",-1" * (fields - 7)
    text = end.join(f"{f},-1,{x!r},{y!r},{w!r},{h!r},{s!r}{tail}" for f, x, y, w, h, s in rows)
    detections = motchallenge.read_detections(write(folder, text))
    for frame, boxes in detections.items():
        assert boxes.tolist() == [list(row[1:]) for row in rows if row[0] == frame]
    assert sum(map(len, detections.values())) == len(rows)


ALPHABET = st.text(alphabet="0123456789,.-+einfa _\n\r\t\0\x1c\ufeff٣", max_size=60)


@settings(max_examples=40, deadline=None)
@given(st.one_of(st.binary(max_size=60), ALPHABET.map(str.encode)))
@pytest.mark.parametrize(
    "read",
    [
        motchallenge.read_detections,
        motchallenge.read_tracks,
        lambda path: motchallenge.read_detections(path, skip_bad=True),
    ],
    ids=["detections", "tracks", "skipping detections"],
)
def test_garbage_is_read_or_refused_but_never_crashes(folder, read, content):
    with contextlib.suppress(InputError):
        read(write(folder, content, "garbage.txt"))


MESS = st.one_of(
    ROW.map(lambda row: ",".join(map(repr, (row[0], -1, *row[1:])))),
    st.lists(st.text(alphabet="0123456789.-+e naif_", max_size=5), max_size=12).map(",".join),
    st.text(max_size=20),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(MESS, max_size=6), st.sampled_from(["\n", "\r\n", "\r"]))
def test_every_line_is_a_box_or_is_named(folder, lines, end):
    """No line is lost without a message, and each is checked as if it stood alone."""
    text = end.join(lines).encode("utf-8", "replace").decode()
    path = write(folder, text, "mess.txt")
    said = {n: line for n, line in enumerate(re.split("\r\n|\r|\n", text.removeprefix("\ufeff")), 1)
            if line.strip()}
    places = [f"{path}:{number}" for number, line in said.items() if not reads_alone(folder, line)]
    if places and len(places) == len(said):
        with pytest.raises(InputError, match="no line of"):
            motchallenge.read_detections(path, skip_bad=True)
        return
    found = motchallenge.read_detections(path, skip_bad=True)
    assert found.skipped.count == len(places)
    assert list(found.skipped.places) == places
    assert sum(map(len, found.values())) == len(said) - len(places)
    if places:
        with pytest.raises(InputError, match=re.escape(found.skipped.first)):
            motchallenge.read_detections(path)


def reads_alone(folder, line):
    try:
        return (
            sum(map(len, motchallenge.read_detections(write(folder, line, "one.txt")).values()))
            == 1
        )
    except InputError:
        return False


@settings(max_examples=40, deadline=None)
@given(st.lists(MESS, min_size=1, max_size=5))
def test_tracks_are_all_lines_or_none(folder, lines):
    text = "\n".join(lines).encode("utf-8", "replace").decode()
    said = [line for line in re.split("\r\n|\r|\n", text.removeprefix("\ufeff")) if line.strip()]
    with contextlib.suppress(InputError):
        assert len(motchallenge.read_tracks(write(folder, text, "tracks.txt"))) == len(said)


FIELD = st.one_of(
    st.sampled_from(["1", "2", "-1", "0", "1.5", " 3 ", "nan", "", "x", "1_0", "\t9"]),
    st.text(alphabet="0123456789.-+e", max_size=6),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(FIELD, min_size=6, max_size=11).map(",".join))
def test_lines_parsed_at_once_are_accepted_like_lines_parsed_one_by_one(line):
    def at_once():
        return motchallenge.DETECTION.table([line], lambda index: "here", skip_bad=False)[0]

    try:
        alone = motchallenge.DETECTION.parse(line)
    except ValueError:
        with pytest.raises(InputError, match="here"):
            at_once()
    else:
        np.testing.assert_array_equal(at_once()[0, : len(alone)], alone)


@pytest.mark.parametrize(("line", "rest"), [
    pytest.param("3,12,1,2,3,4", (1, -1, -1), id="six columns"),
    pytest.param("3,12,1,2,3,4,0", (0, -1, -1), id="a mark"),
    pytest.param("3,12,1,2,3,4,1,7,0.25", (1, 7, 0.25), id="ground truth"),
    pytest.param("3,12,1,2,3,4,1,-1,-1,-1", (1, -1, -1), id="a result"),
    pytest.param("3,12,1,2,3,4,1,-4.15,-7.3,0", (1, -4.15, -7.3), id="world coordinates of 2015"),
])
def test_tracks_are_read(tmp_path, line, rest):
    table = motchallenge.read_tracks(write(tmp_path, line))
    assert (table.frame.tolist(), table.identity.tolist()) == ([3], [12])
    assert table.frame.dtype == table.identity.dtype == np.int64
    assert table.ltwh.tolist() == [[1, 2, 3, 4]]
    assert (table.confidence[0], table.label[0], table.visibility[0]) == rest


@pytest.mark.parametrize(("line", "problem"), [
    pytest.param("1,1,1,1,1", "too few fields: 5", id="too few fields"),
    pytest.param("1,0.5,1,1,1,1", "id '0.5' is not a whole number", id="half an identity"),
    pytest.param("1,1,1,1,1,1,nan", "confidence 'nan' is not finite", id="NaN as mark"),
])
def test_a_bad_track_line_is_named(tmp_path, line, problem):
    with pytest.raises(InputError, match=rf"det\.txt:1: {problem}"):
        motchallenge.read_tracks(write(tmp_path, line))


def test_an_empty_result_has_no_rows(tmp_path):
    table = motchallenge.read_tracks(write(tmp_path, ""))
    assert len(table) == 0
    assert table.ltwh.shape == (0, 4)


@pytest.mark.parametrize(("xyxy", "line"), [
    pytest.param([10.0, 20.0, 30.5, 60.25], "4,0,10.00,20.00,20.50,40.25,1,-1,-1,-1", id="plain"),
    pytest.param([-3.456, -0.001, 5, 5], "4,0,-3.46,-0.00,8.46,5.00,1,-1,-1,-1", id="outside"),
    # in float32 the width would be 0.125 + 2**-7 rounded differently
    pytest.param([16777215.0, 0.0, 16777216.0, 0.015], "4,0,16777215.00,0.00,1.00,0.01,1,-1,-1,-1",
                 id="large"),
])
@pytest.mark.parametrize("kind", [torch.tensor, lambda x: np.array(x, np.float32)],
                         ids=["tensor", "array"])
def test_a_result_line_is_the_released_one(kind, xyxy, line):
    assert motchallenge.result_line(4, 0, kind(xyxy)) == line


def test_width_is_the_double_difference_of_the_float32_corners():
    x1, x2 = np.float32(0.1), np.float32(1000.105)
    line = motchallenge.result_line(1, 1, [x1, 0, x2, 1])
    assert line.split(",")[4] == f"{float(x2) - float(x1):.2f}"


def test_a_score_can_take_the_place_of_the_literal_one():
    assert motchallenge.result_line(1, 2, [0, 0, 1, 1], confidence=0.93).split(",")[6] == "0.9300"


def test_what_a_track_scorer_takes_is_read_with_a_warning_of_each_kind(tmp_path, caplog):
    lines = ["1,1,0.5,0,9,9,0,4,0.25", "2,1,0,0,0,9", "3,1,0,0,9,-1", "4,1.5,0,0,1,0.5,-1",
             "5.5,1,0,0,9,1"]  # fmt: skip
    path = write(tmp_path, "\n".join(lines))
    with caplog.at_level(logging.WARNING):
        rows = motchallenge.read_tracks(path, lax=True)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} has 2 box(es) of no or negative size; they are taken as they are",
        f"{path} has 2 line(s) whose frame or id is not a whole number; what follows the point is "
        "cut",
    ]
    assert (rows.frame.tolist(), rows.identity.tolist()) == ([1, 2, 3, 4, 5], [1] * 5)
    assert rows.label.tolist() == [4, -1, -1, -1, -1]


def test_good_tracks_have_no_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        rows = motchallenge.read_tracks(write(tmp_path, "3,1,0.5,0,1,0.5,0,7"), lax=True)
    assert caplog.records == []
    assert (rows.label[0], rows.visibility[0]) == (7, -1)


@pytest.mark.parametrize(("bad", "others"), [
    pytest.param(1, "", id="one"),
    pytest.param(3, "; the others: {0}:3, {0}:4", id="a few"),
    pytest.param(100, ", {0}:101", id="as many as are named"),
    pytest.param(250, ", {0}:101, and 150 more", id="more"),
])
def test_bad_lines_are_told_by_their_places(tmp_path, caplog, bad, others):
    path = write(tmp_path, f"{GOOD}\n" + "1,2\n" * bad)
    with caplog.at_level(logging.WARNING):
        found = motchallenge.read_detections(path, skip_bad=True)
    text = str(found.skipped)
    begin = f"{bad} bad detection line(s) left out, the first: {path}:2: too few fields: 2"
    assert text.startswith(begin)
    assert text.endswith(others.format(path) or motchallenge.SKIP_BAD)
    assert [record.getMessage() for record in caplog.records] == [text]


def test_a_file_of_nothing_but_bad_lines_is_named(tmp_path):
    path = write(tmp_path, "1,2\n")
    with pytest.raises(InputError, match=re.escape(f"no line of {path} can be used, the first: ")):
        motchallenge.read_detections(path, skip_bad=True)


@pytest.mark.parametrize(("layout", "wanted"), [
    pytest.param(motchallenge.DETECTION,
                 "7 to 10 are wanted (frame,id,left,top,width,height,score,...)", id="some"),
    pytest.param(motchallenge.LineFormat(("x", "y"), 2, 2, "mend it"), "2 are wanted (x,y)",
                 id="as many as there are"),
])
def test_too_few_fields_are_told_with_those_that_are_wanted(layout, wanted):
    with pytest.raises(ValueError, match=re.escape(f"too few fields: 1 where {wanted}; ")):
        layout.parse("1")


def test_frames_that_are_given_count_from_1():
    assert not motchallenge.DetectionsByFrame({}, motchallenge.Skipped()).from_zero


def test_corners_of_a_result_line_are_rounded_as_float32():
    line = motchallenge.result_line(1, 1, [0.1, 16777217.0, 0.2, 16777219.0])
    assert line.split(",")[2:6] == ["0.10", "16777216.00", "0.10", "4.00"]
