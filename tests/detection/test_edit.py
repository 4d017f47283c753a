"""Streams of frames merged, filtered and given other keys."""

import pytest

from tfsasm.detection.det_db import parse
from tfsasm.detection.edit import filter_boxes, merge, rekey
from tfsasm.detection.formats import FrameBoxes
from tfsasm.errors import InputError

CLEAR, WEAK = "1.5,2,30,40.25,0.9\n", "5,6,7,8,0.1\n"


def frame(key, *lines, categories=None):
    ((boxes, _),) = parse("", [(key, list(lines))])
    return FrameBoxes(key, list(lines), boxes, categories)


FRAMES = [frame("val/a/img1/1.txt", CLEAR, WEAK), frame("val/b/img1/1.txt")]


@pytest.mark.parametrize(("limits", "lines"), [
    pytest.param({}, [[CLEAR, WEAK], []], id="nothing asked"),
    pytest.param({"score": 0.1}, [[CLEAR, WEAK], []], id="the very score"),
    pytest.param({"score": 0.11}, [[CLEAR], []], id="score"),
    pytest.param({"min_area": 56.5, "min_height": 41}, [[], []], id="all limits count"),
    pytest.param({"sequences": ["b"]}, [[]], id="a sequence"),
])
def test_text_and_numbers_are_filtered_alike(limits, lines):
    kept = list(filter_boxes(FRAMES, **limits))
    assert [frame.lines for frame in kept] == lines
    assert [len(frame.boxes) for frame in kept] == list(map(len, lines))


def test_classes_are_kept_with_their_boxes():
    (kept,) = filter_boxes([frame("1", CLEAR, WEAK, categories=[1, 3])], categories=[3])
    assert (kept.lines, kept.categories) == ([WEAK], [3])
    with pytest.raises(InputError, match="only COCO results have classes"):
        list(filter_boxes(FRAMES, categories=[3]))


def test_a_frame_is_merged_once_and_a_clash_is_refused():
    notes = []
    other = frame("./val/a/img1/1.jpg", WEAK)
    assert list(merge({"x": FRAMES, "y": FRAMES}, "error", notes.append)) == FRAMES
    assert list(merge({"x": FRAMES, "y": [other]}, "first", notes.append)) == FRAMES
    assert ["with the same" in notes[0], "with other" in notes[1]] == [True, True]
    with pytest.raises(InputError, match="y: an earlier input has other boxes"):
        list(merge({"x": FRAMES, "y": [other]}, "error", notes.append))


def test_keys_change_by_whole_folders():
    notes = []
    keys = [frame.key for frame in rekey(FRAMES, "/val/a", "x/", notes.append)]
    assert keys == ["x/img1/1.txt", "val/b/img1/1.txt"]
    assert notes == ["1 keys do not begin with '/val/a' and stay"]
    with pytest.raises(InputError, match="no key begins with 'va'"):
        list(rekey(FRAMES, "va", "x", notes.append))
