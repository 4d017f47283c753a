"""Tracks for annotation tools, read by pycocotools, and as CVAT reads its XML."""

import json
from functools import partial
from xml.etree import ElementTree

import numpy as np
import pytest
import supervision as sv
from pycocotools.coco import COCO

from tfsasm.tracking.results import CocoFile, CvatFile, FiftyOneFile, rows
from tfsasm.video.source import Frame


def frame(number, name="clip.mp4"):
    return Frame(np.zeros((48, 64, 3), np.uint8), number, f"folder/{name}#{number}", None)


def tracks(*entries):
    """`(id, class, xyxy)` each."""
    return sv.Detections(
        xyxy=np.array([box for *_, box in entries], dtype=np.float32).reshape(-1, 4),
        confidence=np.full(len(entries), 0.5), tracker_id=np.array([e[0] for e in entries], int),
        data={"class_name": np.array([e[1] for e in entries], dtype=object)},
    )  # fmt: skip


PERSON, CAR = (7, "person", [1, 2, 11, 22]), (3, 'a "car" & <more>', [5, 5, 9, 8.5])
RUN = [(1, [PERSON]), (3, []), (5, [PERSON, CAR]), (7, [CAR]), (9, [CAR])]  # every other frame


def written(kind, path, run=RUN):
    with kind(path, "folder/clip.mp4") as file:
        for number, entries in run:
            file.write(frame(number), tracks(*entries))
    return path


def test_pycocotools_reads_the_coco_file(tmp_path):
    coco = COCO(written(CocoFile, tmp_path / "a.json"))
    assert [coco.imgs[i]["frame_id"] for i in coco.getImgIds()] == [0, 2, 4, 6, 8]
    assert {kind["name"] for kind in coco.loadCats(coco.getCatIds())} == {PERSON[1], CAR[1]}
    third = coco.loadAnns(coco.getAnnIds(imgIds=[3]))
    assert [(a["instance_id"], a["bbox"], a["area"]) for a in third] == [
        (7, [1, 2, 10, 20], 200), (3, [5, 5, 4, 3.5], 14),
    ]  # fmt: skip
    assert coco.loadRes(list(coco.anns.values())).getAnnIds() == [1, 2, 3, 4, 5]
    assert coco.dataset["videos"] == [{"id": 1, "name": "clip.mp4"}]


@pytest.mark.parametrize("run", [[], [(1, []), (2, [])]], ids=["no frame", "nobody"])
@pytest.mark.parametrize("kind", [CocoFile, CvatFile, FiftyOneFile])
def test_nobody_is_a_normal_result(tmp_path, kind, run):
    text = written(kind, tmp_path / "a", run).read_text()
    if kind is CocoFile:
        assert json.loads(text)["annotations"] == []
    elif kind is FiftyOneFile:
        frames = json.loads(text)["frames"]
        assert list(frames) == [str(number) for number, _ in run]
        assert all(one["objects"] == {"objects": []} for one in frames.values())
    else:
        assert ElementTree.fromstring(text).findall("track") == []


def spans(track, frames):
    """The frames in which CVAT shows a track: from each box to the next, until one is outside."""
    boxes = {int(box.get("frame")): box.get("outside") == "1" for box in track.findall("box")}
    shown, outside = [], True
    for number in range(frames):
        outside = boxes.get(number, outside)
        shown += [] if outside else [number]
    return shown


def test_cvat_shows_a_track_where_it_was_seen(tmp_path):
    root = ElementTree.parse(written(CvatFile, tmp_path / "a.xml")).getroot()
    found = {int(track.get("id")): track for track in root.findall("track")}
    assert {i: track.get("label") for i, track in found.items()} == {7: "person", 3: CAR[1]}
    assert spans(found[7], 9) == [0, 1, 4, 5]
    assert spans(found[3], 9) == [4, 5, 6, 7, 8]
    part = written(partial(CvatFile, length=12), tmp_path / "b.xml")  # by --end, or Ctrl-C
    found = {int(track.get("id")): track for track in ElementTree.parse(part).iter("track")}
    assert [spans(found[i], 12) for i in (7, 3)] == [[0, 1, 4, 5], [4, 5, 6, 7, 8]]
    names = [label.findtext("name") for label in root.iter("label")]
    assert set(names) == {"person", CAR[1]}


def test_the_xml_has_what_the_format_asks_for(tmp_path):
    """CVAT's documentation of its XML 1.1: an element or attribute that is not optional."""
    root = ElementTree.parse(written(CvatFile, tmp_path / "a.xml")).getroot()
    assert root.tag == "annotations"
    assert [child.tag for child in root] == ["version", "meta", "track", "track"]
    assert root.findtext("version") == "1.1"
    task = root.find("meta/task")
    assert (task.findtext("size"), task.findtext("mode")) == ("9", "interpolation")
    assert task.findtext("original_size/width") == "64"
    for box in root.iter("box"):
        assert set(box.attrib) == {"frame", "xtl", "ytl", "xbr", "ybr", "outside", "occluded",
                                   "keyframe", "z_order"}  # fmt: skip
        assert float(box.get("xbr")) > float(box.get("xtl"))
        assert 0 <= int(box.get("frame")) < 9
    for track in root.findall("track"):
        numbers = [int(box.get("frame")) for box in track]
        assert numbers == sorted(set(numbers))


def test_classes_without_a_name_have_a_number():
    plain = tracks(PERSON, CAR)
    plain.data.clear()
    assert [row.kind for row in rows(plain)] == ["object", "object"]
    plain.class_id = np.array([0, 2])
    assert [row.kind for row in rows(plain)] == ["object", "class 2"]
    plain.data["class_name"] = np.array([None, "bus"], dtype=object)
    assert [row.kind for row in rows(plain)] == ["object", "bus"]


def test_fiftyone_has_labels_by_frame_in_shares_of_the_image(tmp_path):
    """As ETA's guide to video labels shows them; read by ETA itself where it is installed."""
    path = written(FiftyOneFile, tmp_path / "a.json")
    saved = json.loads(path.read_text())
    assert saved["filename"] == "clip.mp4"
    assert [(int(key), one["frame_number"]) for key, one in saved["frames"].items()] == [
        (number, number) for number, _ in RUN
    ]
    person, car = saved["frames"]["5"]["objects"]["objects"]
    assert person == {
        "label": "person", "index": 7, "confidence": 0.5,
        "bounding_box": {"top_left": {"x": round(1 / 64, 6), "y": round(2 / 48, 6)},
                         "bottom_right": {"x": round(11 / 64, 6), "y": round(22 / 48, 6)}},
    }  # fmt: skip
    assert (car["label"], car["index"]) == (CAR[1], 3)
    video = pytest.importorskip("eta.core.video", reason="needs voxel51-eta")
    labels = video.VideoLabels.from_json(str(path))
    assert [len(labels[number].objects) for number, _ in RUN] == [1, 0, 2, 1, 1]
