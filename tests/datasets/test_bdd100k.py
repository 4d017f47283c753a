"""BDD100K: its folders, and its labels in both spellings."""

import json

import cv2
import numpy as np
import pytest

from helpers.scalabel import frame, label
from tfsasm.datasets.bdd100k import find_videos, numbered, read_scalabel
from tfsasm.datasets.sequences import sequences
from tfsasm.errors import InputError


def write(path, *frames):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(list(frames)))
    return path


def write_images(folder, count):
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        cv2.imwrite(str(folder / f"{folder.name}-{number:07d}.jpg"), np.zeros((8, 8, 3), np.uint8))


# Labels


def test_a_frame_as_it_is_written(tmp_path):
    path = write(tmp_path / "v.json", frame(
        0, label("00012"), label("3", "other vehicle"), label("4", "bike", score=0.5),
        label("5", "pedestrian", attributes={"crowd": True, "ignored": False}),
        label("6", "pedestrian", attributes={"ignored": True}),
    ))  # fmt: skip
    (one,) = read_scalabel(path)["v"]
    assert (one.name, one.video, one.index, len(one)) == ("v-0000001.jpg", "v", 0, 5)
    assert one.xyxy.tolist() == [[10, 20, 30, 60]] * 5
    assert one.categories == ("car", "other vehicle", "bicycle", "pedestrian", "pedestrian")
    assert one.ids == ("00012", "3", "4", "5", "6")
    assert one.ignored.tolist() == [False, True, False, False, True]
    assert one.crowd.tolist() == [False, False, False, True, False]
    assert one.scores[2] == 0.5
    assert np.isnan(np.delete(one.scores, 2)).all()


@pytest.mark.parametrize("entry", [
    pytest.param({"video_name": "v", "index": 4}, id="keys of 2020"),
    pytest.param({"videoName": "v", "frameIndex": 4}, id="keys of today"),
    pytest.param({"frameIndex": 4}, id="the video by the frame's name"),
])
def test_old_and_new_keys_mean_the_same(tmp_path, entry):
    old = {"name": "v-0000005.jpg", "labels": [label(attributes={"Crowd": True})], **entry}
    (one,) = read_scalabel(write(tmp_path / "x.json", old))["v"]
    assert (one.index, one.crowd.tolist()) == (4, [True])


@pytest.mark.parametrize("frames", [
    pytest.param({"frames": [frame(0)], "config": {}}, id="an object with frames"),
    pytest.param([{**frame(0), "labels": None}], id="labels null"),
    pytest.param([{k: v for k, v in frame(0).items() if k != "labels"}], id="no labels"),
])
def test_a_frame_without_labels_is_a_frame(tmp_path, frames):
    (tmp_path / "v.json").write_text(json.dumps(frames))
    (one,) = read_scalabel(tmp_path / "v.json")["v"]
    assert len(one) == 0
    assert one.xyxy.shape == (0, 4)


def test_a_split_in_one_file_is_parted_into_videos_in_order(tmp_path):
    mixed = [frame(1, video="b"), frame(0, video="a"), frame(0, video="b")]
    videos = read_scalabel(write(tmp_path / "val.json", *mixed))
    assert {name: [f.index for f in frames] for name, frames in videos.items()} == {
        "a": [0], "b": [0, 1]}  # fmt: skip


@pytest.mark.parametrize(("content", "problem"), [
    pytest.param("[", r"v\.json:1:2: not valid JSON", id="cut off"),
    pytest.param("3", "wanted a list of frames", id="a number"),
    pytest.param([3], "frame 0: ", id="a frame that is a number"),
    pytest.param([{"name": "x"}], "frame x: videoName is missing", id="no video"),
    pytest.param([{"name": "v-x.jpg"}], "frameIndex is null", id="no index"),
    pytest.param([frame(0, {"id": 1})], r"v-0000001\.jpg: category is missing", id="no category"),
    pytest.param([frame(0, {"id": 1, "category": "car"})], "box2d is missing", id="no box"),
    pytest.param([frame(0, label(box=(1, 2, 3, None)))], "not 4 numbers", id="half a box"),
    pytest.param([frame(0, label(box=(1, 2, 3, float("nan"))))], "box2d of id 7", id="NaN"),
    pytest.param([frame(0, label(), label())], "id 7 is there twice", id="an id twice"),
    pytest.param([frame(0), frame(0)], "v has frame 0 twice", id="a frame twice"),
])
def test_what_cannot_be_used_is_named(tmp_path, content, problem):
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "v.json").write_text(text)
    with pytest.raises(InputError, match=problem):
        read_scalabel(tmp_path / "v.json")


@pytest.mark.parametrize(("ids", "numbers"), [
    pytest.param(["00012", "3"], {"00012": 12, "3": 3}, id="numbers stay"),
    pytest.param(["b", "7"], {"7": 1, "b": 2}, id="words are counted"),
    pytest.param(["7", "007"], {"007": 1, "7": 2}, id="two spellings of a number stay apart"),
    pytest.param(["9007199254740992", "9007199254740993"],
                 {"9007199254740992": 1, "9007199254740993": 2}, id="hashes stay apart"),
])
def test_identities_become_numbers(tmp_path, ids, numbers):
    frames = [frame(n, label(identity)) for n, identity in enumerate(ids)]
    assert numbered(read_scalabel(write(tmp_path / "v.json", *frames))["v"]) == numbers


# Folders


@pytest.fixture
def root(tmp_path):
    """Two labelled videos, of which one has images, and a test video without labels."""
    base = tmp_path / "data" / "bdd100k"
    for name in "ab":
        frames = [frame(n, label(), video=name) for n in range(3)]
        write(base / "labels/box_track_20/val" / f"{name}.json", *frames)
    (base / "labels/box_track_20/box_track_val_cocofmt.json").write_text("{}")
    (base / "labels/bdd100k_labels_images_val.json").write_text("[]")
    write_images(base / "images/track/val/a", 3)
    write_images(base / "images/track/test/c", 2)
    return base


@pytest.mark.parametrize(("place", "split", "names"), [
    pytest.param("..", "val", "ab", id="the folder around it"),
    pytest.param(".", "val", "ab", id="its folder"),
    pytest.param(".", "test", "c", id="without labels"),
    pytest.param(".", None, "abc", id="all splits"),
    pytest.param("labels/box_track_20", "val", "ab", id="only labels"),
    pytest.param("labels/box_track_20/val", "val", "ab", id="the labels of the split"),
    pytest.param("labels/box_track_20/val", None, "ab", id="the labels of a split, unnamed"),
    pytest.param("labels/box_track_20/val/b.json", "val", "b", id="one label file"),
    pytest.param("images/track/val", None, "a", id="only images"),
])
def test_videos_are_found(root, place, split, names):
    found = sequences("bdd100k", root / place, split)
    assert [sequence.name for sequence in found] == list(names)


def test_what_a_sequence_knows(root):
    a, b, c = sequences("bdd100k", root)
    assert a.source == root / "images/track/val/a"
    assert a.truth == root / "labels/box_track_20/val/a.json"
    assert (b.source, b.length) == (None, 3)
    assert (c.truth, c.length) == (None, 2)
    assert {(s.width, s.height, s.rate, s.dataset) for s in (a, b, c)} == {
        (1280, 720, 5.0, "bdd100k")}  # fmt: skip


@pytest.mark.parametrize("name", ["val.json", "box_track_val.json"])
def test_one_file_may_hold_a_whole_split(tmp_path, name):
    frames = [frame(n, video=video) for video in "ab" for n in range(2)]
    path = write(tmp_path / "labels/box_track_20" / name, *frames)
    for split in ("val", None):
        assert [(v.name, v.length, v.labels) for v in find_videos(tmp_path, split)] == [
            ("a", 2, path), ("b", 2, path)]  # fmt: skip


@pytest.mark.parametrize(("place", "split", "problem"), [
    pytest.param("nowhere", None, "does not exist", id="no folder"),
    pytest.param(".", "train", r"no video of bdd100k .* labels/box_track_20/train/", id="no split"),
])
def test_where_there_is_nothing_it_is_an_error(root, place, split, problem):
    with pytest.raises(InputError, match=problem):
        sequences("bdd100k", root / place, split)


@pytest.mark.parametrize("other", ["images/track/test/a", "labels/box_track_20/test/a.json"])
def test_a_video_in_two_splits_is_not_one(root, other):
    """Its images may be of one split, and its labels of the other."""
    if other.endswith(".json"):
        write(root / other, frame(0, video="a"))
    else:
        write_images(root / other, 1)
    with pytest.raises(InputError, match=r"a is there twice, .*(test|val).a.* give one split"):
        sequences("bdd100k", root)
    assert [sequence.name for sequence in sequences("bdd100k", root, "val")] == ["a", "b"]


def test_a_video_that_is_not_there_is_named(root):
    with pytest.raises(InputError, match="no sequence z; there is a, b"):
        sequences("bdd100k", root, "val", ("a", "z"))
