"""Labels as tools and people write them: other tasks, flags as text, boxes without a size."""

from __future__ import annotations

import json

import pytest

from tfsasm.datasets.bdd100k import read_scalabel
from tfsasm.datasets.crowdhuman import read_odgt
from tfsasm.datasets.ground_truth import crowd_rows
from tfsasm.errors import InputError

BOX = {"x1": 1.0, "y1": 2.0, "x2": 30.0, "y2": 40.0}


def read(tmp_path, *labels, **frame):
    entry = {"name": "v-0000003.jpg", "labels": list(labels), **frame}
    (tmp_path / "v.json").write_text(json.dumps([entry]))
    (only,) = read_scalabel(tmp_path / "v.json")["v"]
    return only


def label(**changes):
    return {"id": "7", "category": "car", "box2d": BOX, **changes}


def test_a_frame_may_have_no_more_than_a_name(tmp_path):
    """bdd100k/bdd100k#328."""
    assert read(tmp_path, label()).index == 2


def test_labels_of_other_tasks_are_passed_over(tmp_path):
    """bdd100k/bdd100k#191."""
    lane = {"id": "8", "category": "lane/road curb", "box2d": None, "poly2d": [{"vertices": []}]}
    assert read(tmp_path, label(), lane).ids == ("7",)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        pytest.param({"box2d": None}, "box2d is null, not an object", id="a box that is null"),
        pytest.param({"box2d": {"x1": 1, "y1": 2}}, "id 7 has no x2, y2", id="half a box"),
        pytest.param({"box2d": [1, 2, 3, 4]}, r"box2d is \[1, 2, 3, 4\], not an", id="a list"),
        pytest.param({"box2d": {**BOX, "x2": "30"}}, "not 4 numbers", id="text for a number"),
        pytest.param({"category": None}, "category is null, not text", id="no category"),
        pytest.param({"id": None}, "id is null, not text", id="no identity"),
        pytest.param({"id": True}, "id is true, not text", id="a flag as identity"),
        pytest.param({"attributes": [1]}, r"attributes is \[1\], not an", id="a list of flags"),
        pytest.param({"attributes": {"crowd": "maybe"}}, 'crowd is "maybe", neither', id="a word"),
        pytest.param({"score": "high"}, 'score is "high", not a number', id="a score in words"),
    ],
)
def test_what_is_wrong_is_said_in_the_words_of_the_file(tmp_path, bad, words):
    with pytest.raises(InputError, match=rf"v\.json, frame v-0000003\.jpg: .*{words}") as caught:
        read(tmp_path, label(**bad))
    assert not any(word in str(caught.value) for word in ("None", "NoneType", "subscriptable", "'"))


@pytest.mark.parametrize("index", [10**30, -1, "3", 3.0, True])
def test_an_index_that_no_video_has_is_said_in_the_words_of_the_file(tmp_path, index):
    """scalabel/scalabel#478."""
    with pytest.raises(InputError, match=r"frameIndex is .*, not a whole number from 0"):
        read(tmp_path, label(), frameIndex=index)


@pytest.mark.parametrize(("name", "video", "index"), [
    ("v/v-0000003.jpg", "v", 2), ("a/b/v-1-0000001.png", "v-1", 0), ("v-12", "v", 11),
])  # fmt: skip
def test_a_name_says_which_frame_it_is_wherever_it_lies(tmp_path, name, video, index):
    """scalabel/scalabel#478: an export without frameIndex."""
    (tmp_path / "v.json").write_text(json.dumps([{"name": name, "labels": []}]))
    assert read_scalabel(tmp_path / "v.json")[video][0].index == index


@pytest.mark.parametrize(
    ("written", "crowd"),
    [("False", False), ("false", False), ("True", True), (0, False), (1, True), (None, False)],
)
@pytest.mark.parametrize("key", ["crowd", "Crowd"])
def test_a_flag_may_be_written_as_text(tmp_path, key, written, crowd):
    assert read(tmp_path, label(attributes={key: written})).crowd.tolist() == [crowd]


def test_people_without_a_size_do_not_train(tmp_path):
    """qfgaohao/pytorch-ssd#112, ultralytics/ultralytics#10198."""
    boxes = [[1, 1, 9, 9], [1, 1, 0, 9], [1, 1, 9, -3]]
    entry = {"ID": "a", "gtboxes": [{"tag": "person", "fbox": box} for box in boxes]}
    (tmp_path / "a.odgt").write_text(json.dumps(entry) + "\n")
    (image,) = read_odgt(tmp_path / "a.odgt")
    assert len(image) == 3
    assert crowd_rows(image).xyxy.tolist() == [[1, 1, 10, 10]]


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path):
    """datalad/datalad#3523."""
    text = '{"ID": "a", "note": "one\u2028two", "gtboxes": []}\n{"ID": "b", "gtboxes": []}\n'
    (tmp_path / "a.odgt").write_text(text, encoding="utf-8")
    assert [image.name for image in read_odgt(tmp_path / "a.odgt")] == ["a", "b"]
