"""Which rows are learned, per data set."""

import json
from dataclasses import replace

import numpy as np
import pytest

from helpers.scalabel import frame, label
from tfsasm.datasets.crowdhuman import CrowdImage
from tfsasm.datasets.ground_truth import crowd_rows, truth_rows
from tfsasm.datasets.sequences import Sequence
from tfsasm.errors import InputError


def sequence(path, dataset="mot17"):
    return Sequence(
        name="v", dataset=dataset, length=9, width=None, height=None, rate=None, source=None,
        truth=path, detections=None,
    )  # fmt: skip


def test_rows_of_a_mot_file(tmp_path):
    (tmp_path / "gt.txt").write_text("2,7,10,20,3.5,4,1,1,0.5\n1,8,-1,0,5,6,1,1,1\n")
    rows = truth_rows(sequence(tmp_path / "gt.txt"))
    assert rows.frames.tolist() == [2, 1]
    assert rows.ids.tolist() == [7, 8]
    assert rows.xyxy.tolist() == [[10, 20, 13.5, 24], [-1, 0, 4, 6]]
    assert rows.labels.tolist() == [0, 0]


@pytest.mark.parametrize(("dataset", "tail", "counts"), [
    pytest.param("mot17", "1,1,1", True, id="a person"),
    pytest.param("mot17", "0,1,1", False, id="marked as not to be counted"),
    pytest.param("mot17", "1,7,1", True, id="a static person with a mark"),
    pytest.param("mot17", "1,3,1", False, id="a car"),
    pytest.param("dancetrack", "1,11,1", False, id="an occluder"),
    pytest.param("mot15", "1,3,1", True, id="a coordinate that looks like a class"),
    pytest.param("mot15", "1,-4.1,-7.3,0", True, id="world coordinates"),
    pytest.param("mot15", "-1", True, id="a mark of -1"),
    pytest.param("mot", "1", True, id="no class"),
])
def test_the_rules_of_mot_layouts(tmp_path, dataset, tail, counts):
    (tmp_path / "gt.txt").write_text(f"1,1,2,3,4,5,{tail}\n")
    assert len(truth_rows(sequence(tmp_path / "gt.txt", dataset))) == counts


def test_the_rules_of_bdd100k(tmp_path):
    kinds = {
        "a": ("truck", {}), "b": ("other vehicle", {}), "c": ("pedestrian", {"crowd": True}),
        "d": ("rider", {"ignored": True}), "e": ("traffic light", {}), "f": ("bicycle", {}),
    }  # fmt: skip
    labels = [
        label(name, category, (1, 2, 3, 5), attributes=attributes)
        for name, (category, attributes) in kinds.items()
    ]
    (tmp_path / "v.json").write_text(json.dumps([frame(4, *labels)]))
    rows = truth_rows(sequence(tmp_path / "v.json", "bdd100k"))
    assert rows.frames.tolist() == [5, 5]
    assert rows.labels.tolist() == [3, 7]
    assert rows.xyxy.tolist() == [[1, 2, 3, 5]] * 2
    assert len(set(rows.ids.tolist())) == 2


def test_a_sequence_may_have_no_row_but_must_have_a_file(tmp_path):
    (tmp_path / "gt.txt").write_text("")
    one = sequence(tmp_path / "gt.txt")
    assert truth_rows(one).xyxy.shape == (0, 4)
    with pytest.raises(InputError, match="v of mot17 has no ground truth"):
        truth_rows(replace(one, truth=None))


def test_ignored_people_of_an_image_do_not_count():
    ltwh = np.array([[1.0, 2, 3, 4], [0, 0, 9, 9], [5, 6, 7, 8]])
    image = CrowdImage("a", ltwh, ("person", "mask", "person"), np.array([False, True, False]))
    rows = crowd_rows(image)
    assert rows.ids.tolist() == [0, 1]
    assert rows.xyxy.tolist() == [[1, 2, 4, 6], [5, 6, 12, 14]]
    assert len(crowd_rows(CrowdImage("b", ltwh[:0], (), np.zeros(0, bool)))) == 0
