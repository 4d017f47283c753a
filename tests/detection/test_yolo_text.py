"""YOLO's text files: which belongs to a frame, its boxes and classes, and what is refused."""

from types import SimpleNamespace

import numpy as np
import pytest

from tfsasm.detection.proposals import NO_CLASS
from tfsasm.detection.stored import open_detections
from tfsasm.errors import InputError

IMAGE = np.zeros((100, 200, 3), np.uint8)
BOX = "0 0.5 0.5 0.1 0.2 0.9\n"


def frame(name, number=1):
    return SimpleNamespace(image=IMAGE, number=number, name=name, time=None)


@pytest.fixture
def labels(tmp_path):
    """A folder of files: `labels({"a_1.txt": "..."}, **settings)`, opened."""

    def make(files, **settings):
        for name, text in files.items():
            (tmp_path / "labels" / name).parent.mkdir(exist_ok=True)
            (tmp_path / "labels" / name).write_text(text)
        return open_detections(tmp_path / "labels", **settings)

    return make


def test_shares_of_the_image_become_pixels(labels):
    stored = labels({"a_1.txt": "0 0.5 0.5 0.1 0.2 0.75\n0 0.25 0.5 0.5 1 0.5 7\n0 0.5 0.5 1 1\n"})
    wanted = [[90, 40, 20, 20, 0.75], [0, 0, 100, 100, 0.5], [0, 0, 200, 100, 1]]
    np.testing.assert_allclose(stored.boxes(frame("a.mp4#1")), wanted, atol=1e-12)
    proposals = stored(frame("a.mp4#1"))
    np.testing.assert_allclose(proposals.boxes[0], [0.5, 0.5, 0.1, 0.2], atol=1e-6)
    assert (proposals.classes == NO_CLASS).all()
    assert stored.class_names == {}


@pytest.mark.parametrize(("names", "of_frame", "number", "found"), [
    pytest.param(["clip_1", "clip_2"], "v/clip.mp4#2", 2, "clip_2", id="a frame of a video"),
    pytest.param(["clip_002"], "v/clip.mp4#2", 2, "clip_002", id="with zeros before it"),
    pytest.param(["clip_0", "clip_1"], "v/clip.mp4#2", 2, "clip_1", id="counted from 0"),
    pytest.param(["a_2", "b_2"], "v/b.mp4#2", 2, "b_2", id="of the right video"),
    pytest.param(["out_2"], "v/b.mp4#2", 2, "out_2", id="of the only video"),
    pytest.param(["bus", "000002"], "img1/bus.jpg", 1, "bus", id="an image"),
    pytest.param(["000001", "000002"], "img1/000002.jpg", 1, "000002", id="an image's own number"),
    pytest.param(["000001"], "img1/000002.jpg", 1, None, id="an image without boxes"),
    pytest.param(["car"], "img1/bus.jpg", 1, None, id="an image of no number without boxes"),
    pytest.param(["clip_1"], "clip.mp4#2", 2, None, id="a frame without boxes"),
    pytest.param(["f_2"], "img1/bus2.jpg", 2, "f_2", id="an image of another name, by number"),
])
def test_a_frame_has_the_file_of_its_name(labels, names, of_frame, number, found):
    shares = {name: (index + 1) / 10 for index, name in enumerate(names)}
    stored = labels({f"{name}.txt": f"0 {x} 0.5 0 0.2\n".replace(" 0 0.2", " 0.02 0.2")
                     for name, x in shares.items()})  # fmt: skip
    boxes = stored(frame(of_frame, number)).boxes
    assert boxes[:, 0].tolist() == pytest.approx([] if found is None else [shares[found]])


def test_what_is_guessed_and_absent_is_reported(labels):
    stored = labels({"out_0.txt": BOX})
    for number in (1, 2):
        stored(frame(f"b.mp4#{number}", number))
    notes = "\n".join(stored.report())
    assert "by their number with out_N.txt" in notes
    assert "count from 0" in notes
    assert "no entry for 1 frame(s), taken as empty: 2 (b.mp4#2)" in notes


def test_classes_are_kept_where_there_are_several(labels, tmp_path):
    files = {"a_1.txt": BOX + BOX.replace("0 ", "2 ", 1), "a_2.txt": BOX}
    stored = labels(files)
    assert stored(frame("a.mp4#1")).classes.tolist() == [0, 2]
    assert stored.class_names == {0: "class 0", 2: "class 2"}
    (tmp_path / "classes.txt").write_text("person\nbicycle\ncar\n")
    stored = labels({})
    assert stored.class_names == {0: "person", 2: "car"}
    for wanted in ("car", "2"):
        stored = labels({}, classes=[wanted])
        assert len(stored(frame("a.mp4#1"))) == 1
        assert len(stored(frame("a.mp4#2", 2))) == 0
        assert stored.class_names == {}


@pytest.mark.parametrize(("files", "message"), [
    pytest.param({"a_1.txt": "0 0.5 0.5\n"}, r"a_1.txt:1: too few fields", id="too few"),
    pytest.param({"a_1.txt": BOX + "0 .1 .1 .2 .1 .2 .2 .1 .2\n"}, r"a_1.txt:2: too many fields",
                 id="a polygon"),
    pytest.param({"a_1.txt": "0 781.7 551.8 99.9 290.6\n"},
                 r"a_1.txt:1: x '781.7' is not a share of the image", id="pixels"),
    pytest.param({"a_1.txt": BOX + "0.5 .5 .5 .1 .1\n"},
                 r"a_1.txt:2: class '0.5' is not a whole number from 0", id="no class"),
    pytest.param({"a_1.txt": "0 .5 .5 0 .1\n"}, r"a_1.txt:1: width '0' is not positive",
                 id="no width"),
    pytest.param({"readme.md": "", "classes.txt": "a\n"}, "is a folder; give a det.txt",
                 id="no labels"),
])
def test_what_cannot_be_used_is_named(labels, files, message):
    with pytest.raises(InputError, match=message):
        labels(files)


def test_a_video_that_the_folder_does_not_know_is_refused(labels):
    stored = labels({"a_1.txt": BOX, "c_1.txt": BOX})
    with pytest.raises(InputError, match=r"no labels of b.mp4, files b_N.txt.*a_N.txt, c_N.txt"):
        stored(frame("b.mp4#1"))


def test_bad_lines_may_be_left_out(labels):
    bad = "0 0.5\n" + BOX.replace("0 ", "-1 ", 1) + BOX.replace("0.5", "50")
    stored = labels({"a_1.txt": bad + BOX}, skip_bad=True)
    assert len(stored(frame("a.mp4#1"))) == 1
    assert "3 bad detection line(s) left out" in stored.report()[0]
    with pytest.raises(InputError, match=r"no line of .* can be used"):
        labels({"a_1.txt": "0 0.5\n"}, skip_bad=True)
