"""What `--data` names: its syntax, what is read of it, and what is refused before any work."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.training_data import write_crowd, write_dance
from tfsasm.errors import InputError
from tfsasm.training.sources import DataSpec, coverage, load_data, parse_data


@pytest.fixture
def dance(tmp_path):
    return write_dance(tmp_path / "DanceTrack")


@pytest.fixture
def crowd(tmp_path):
    return write_crowd(tmp_path / "CrowdHuman")


def load(text, frames=3, classes=1):
    return load_data(parse_data(text), frames, classes)


@pytest.mark.parametrize(("text", "spec"), [
    ("dancetrack:D/train", DataSpec("dancetrack", Path("D/train"))),
    ("synthetic", DataSpec("synthetic", Path())),
    ("synthetic,clips=50,weight=0.5", DataSpec("synthetic", Path(), weight=0.5, clips=50)),
    ("crowdhuman:C,split=val,detections=b.json,weight=2,interval=3",
     DataSpec("crowdhuman", Path("C"), "val", Path("b.json"), 2.0, 3)),
])  # fmt: skip
def test_data_is_named_by_kind_folder_and_settings(text, spec):
    assert parse_data(text) == spec


@pytest.mark.parametrize(("text", "message"), [
    ("coco:D", "no data 'coco'; there are dancetrack"),
    ("mot", "give its folder, mot:FOLDER"),
    ("synthetic:D", "leave D out"),
    ("mot:D,wheight=2", "no setting 'wheight'; there are split"),
    ("mot:D,weight=x", "weight is a number, not 'x'"),
    ("mot:D,weight=0", "weight is above 0 and at most 1,000, not 0"),
    ("mot:D,weight=inf", "weight is above 0 and at most 1,000, not inf"),
    ("mot:D,interval=1000000000", "interval is above 0 and at most 10,000, not"),
    ("mot:D,nonsense", "takes NAME=VALUE, not 'nonsense'"),
])  # fmt: skip
def test_what_names_nothing_is_refused(text, message):
    with pytest.raises(InputError) as caught:
        parse_data(text)
    assert message in str(caught.value)


def test_videos_come_with_truth_and_detections(dance):
    data = load(f"dancetrack:{dance}")
    assert [part.name for part in data.parts] == ["dancetrack0001", "dancetrack0002"]
    assert [len(part) for part in data.parts] == [8, 8]
    first = data.parts[0]
    assert first.files[0].endswith("dancetrack0001/img1/00000001.png")
    assert first.truth[0].shape == (2, 6)
    assert first.truth[7][:, 4].tolist() == [3, 8]
    assert first.detections[3].shape == (2, 5)
    assert data.notes == (
        f"dancetrack:{dance}: 2 videos, 16 frames, 32 boxes, 2.0 detections per frame",
    )


def test_a_video_begins_and_ends_with_its_labels(dance):
    gt = dance / "dancetrack0001/gt/gt.txt"
    lines = [line for line in gt.read_text().splitlines(True) if line.split(",")[0] in "356"]
    gt.write_text("".join(lines))
    part = load(f"dancetrack:{dance}").parts[0]
    assert len(part) == 4
    assert [len(part.truth[k]) for k in range(4)] == [2, 0, 2, 2]


def test_single_images_come_with_people_who_count(crowd):
    data = load(f"crowdhuman:{crowd},detections={crowd / 'boxes.json'}")
    [part] = data.parts
    assert len(part) == 3
    assert [len(part.truth[k]) for k in range(3)] == [2, 2, 2]  # the mask is none
    assert part.detections[2].shape == (2, 5)


def test_an_image_in_two_annotation_files_is_one(crowd):
    shutil.copy(crowd / "annotation_train.odgt", crowd / "annotation_trainval.odgt")
    data = load(f"crowdhuman:{crowd},detections={crowd / 'boxes.json'}")
    assert [len(part) for part in data.parts] == [3]


def test_all_detections_may_be_in_one_file(dance, tmp_path):
    """With the keys of MOTRv2's det_db."""
    table = {
        f"DanceTrack/train/dancetrack000{video}/img1/{number:08d}.txt": [f"{video},{number},9,9,1"]
        for video in (1, 2) for number in range(1, 9)
    }
    (tmp_path / "boxes.json").write_text(json.dumps(table))
    data = load(f"dancetrack:{dance},detections={tmp_path / 'boxes.json'}")
    assert [part.detections[4].tolist() for part in data.parts] == [
        [[1, 5, 9, 9, 1]], [[2, 5, 9, 9, 1]]
    ]  # fmt: skip


def remove_detections(dance, crowd):
    shutil.rmtree(dance / "dancetrack0002/det")
    return f"dancetrack:{dance.parent},split={dance.name}"


def store_no_box(dance, crowd):
    for path in dance.glob("*/det/det.txt"):
        path.write_text("")
    return f"dancetrack:{dance}"


def remove_an_image(dance, crowd):
    (dance / "dancetrack0002/img1/00000003.png").unlink()
    return f"dancetrack:{dance}"


def remove_all_images(dance, crowd):
    shutil.rmtree(dance / "dancetrack0001/img1")
    return f"dancetrack:{dance}"


def mark_nothing(dance, crowd):
    for gt in dance.glob("*/gt/gt.txt"):
        gt.write_text(gt.read_text().replace(",1,1,1\n", ",1,3,1\n"))
    return f"dancetrack:{dance}"


def forget_crowd_detections(dance, crowd):
    return f"crowdhuman:{crowd}"


def lose_a_crowd_entry(dance, crowd):
    (crowd / "boxes.json").write_text('{"crowdhuman/train_image/other.txt": ["1,1,2,2,0.5"]}')
    return f"crowdhuman:{crowd},detections={crowd / 'boxes.json'}"


def lose_a_crowd_image(dance, crowd):
    next((crowd / "Images").iterdir()).unlink()
    return f"crowdhuman:{crowd},detections={crowd / 'boxes.json'}"


@pytest.mark.parametrize(("damage", "message"), [
    (remove_detections, "tfsasm detect --dataset dancetrack --root"),
    (remove_detections, ",split=train,detections=boxes.json"),
    (store_no_box, "no detection in any frame of dancetrack:"),
    (remove_an_image, "lacks the image of frame 3, and of 0 more"),
    (remove_all_images, "has no images; they are to be trained on"),
    (mark_nothing, "has no clip of 3 frames: no row of its ground truth counts"),
    (forget_crowd_detections, "Images --detector yolox-x --output boxes.json"),
    (lose_a_crowd_entry, "has no entry for 3 images"),
    (lose_a_crowd_image, "which is annotated"),
])  # fmt: skip
def test_what_cannot_be_trained_on_is_one_error(dance, crowd, damage, message):
    with pytest.raises(InputError) as caught:
        load(damage(dance, crowd))
    assert message in str(caught.value)


def test_videos_shorter_than_a_clip_are_left_out_and_told(dance):
    gt = dance / "dancetrack0002/gt/gt.txt"
    gt.write_text("".join(gt.read_text().splitlines(True)[:4]))
    data = load(f"dancetrack:{dance}")
    assert [part.name for part in data.parts] == ["dancetrack0001"]
    assert "shorter than a clip and left out: dancetrack0002" in data.notes[1]
    with pytest.raises(InputError, match="has no clip of 9 frames: the longest is dancetrack0001"):
        load(f"dancetrack:{dance}", frames=9)


def test_detections_of_other_frames_draw_a_warning(dance):
    good = load(f"dancetrack:{dance}")
    assert coverage(good.parts[0]) > 0.9
    det = dance / "dancetrack0001/det/det.txt"
    det.write_text(det.read_text().replace(",-1,", ",-1,9"))  # far to the right
    notes = load(f"dancetrack:{dance}").notes
    assert "only 0 % of the boxes of dancetrack0001 have a detection" in notes[1]
    assert len(notes) == 2


def test_a_network_of_one_class_learns_pedestrians_of_bdd100k(tmp_path):
    """And one of eight learns the cars too."""
    root = tmp_path / "bdd100k"
    images, labels = root / "images/track/train/v1", root / "labels/box_track_20/train"
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    frames = []
    for index in range(3):
        cv2.imwrite(str(images / f"v1-{index + 1:07d}.jpg"), np.zeros((72, 128, 3), np.uint8))
        box = {"x1": 1, "y1": 2, "x2": 21, "y2": 42}
        frames.append({"name": f"v1-{index + 1:07d}.jpg", "videoName": "v1", "frameIndex": index,
                       "labels": [{"id": "1", "category": "pedestrian", "box2d": box},
                                  {"id": "2", "category": "car", "box2d": box}]})  # fmt: skip
    (labels / "v1.json").write_text(json.dumps(frames))
    (tmp_path / "boxes").mkdir()
    (tmp_path / "boxes/v1.txt").write_text("1,-1,1,2,20,40,0.9\n")
    text = f"bdd100k:{root},detections={tmp_path / 'boxes'}"
    one, eight = load(text).parts[0], load(text, classes=8).parts[0]
    assert one.truth[0][:, 5].tolist() == [0]
    assert eight.truth[0][:, 5].tolist() == [0, 2]
