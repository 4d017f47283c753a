"""Boxes as detectors, other packages and hand-written files have them, given to every tracker."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import supervision as sv
import torch

from helpers.fakes import SureNetwork
from tfsasm.datasets.check import check_sequence
from tfsasm.datasets.ground_truth import truth_rows
from tfsasm.detection.det_db import write_det_db
from tfsasm.detection.proposals import Proposals
from tfsasm.detection.stored import open_detections
from tfsasm.errors import InputError
from tfsasm.evaluation.result_files import Files
from tfsasm.evaluation.score import score_files
from tfsasm.tracking.appearance import AppearanceTracker
from tfsasm.tracking.baselines import ClassicTracker
from tfsasm.tracking.config import default
from tfsasm.tracking.query import QueryTracker

WIDTH, HEIGHT = 640, 480
IMAGE = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
NORMALISED = np.array([[0.1, 0.2, 0.2, 0.5], [0.6, 0.3, 0.7, 0.8]])
PIXELS = NORMALISED * [WIDTH, HEIGHT, WIDTH, HEIGHT]


def query_tracker():
    return QueryTracker(SureNetwork(), default())


def classic_tracker():
    pytest.importorskip("trackers")
    return ClassicTracker("bytetrack")


TRACKERS = pytest.mark.parametrize("make", [
    pytest.param(query_tracker, id="query"),
    pytest.param(AppearanceTracker, id="appearance"),
    pytest.param(classic_tracker, id="classic"),
])


def found(xyxy, metadata=None, **data):
    return sv.Detections(
        xyxy=np.asarray(xyxy), confidence=np.full(len(xyxy), 0.9), metadata=metadata or {},
        data={name: np.asarray(values) for name, values in data.items()},
    )


# Normalised boxes, of YOLO's `xyxyn` or a Hugging Face model without its target sizes:
# adipandas/multi-object-tracker#31, FoundationVision/ByteTrack#69


@TRACKERS
def test_boxes_from_0_to_1_are_said_to_look_normalised(make):
    with pytest.raises(InputError, match=r"look normalised.*in pixels.*width of the image"):
        make().update(found(NORMALISED), IMAGE)


@TRACKERS
def test_normalised_boxes_may_leave_the_image_a_little(make):
    leaving = NORMALISED + np.array([[-0.12, 0.0, 0.0, 0.0], [0.35, 0.0, 0.35, 0.25]])
    with pytest.raises(InputError, match="look normalised"):
        make().update(found(leaving), IMAGE)


@TRACKERS
def test_the_first_boxes_of_a_video_tell_when_they_come_late(make):
    tracker = make()
    tracker.update(None, IMAGE)
    with pytest.raises(InputError, match="look normalised"):
        tracker.update(found(NORMALISED), IMAGE)


@TRACKERS
def test_a_tracker_that_refused_normalised_boxes_takes_pixels_then(make):
    tracker = make()
    with pytest.raises(InputError, match="look normalised"):
        tracker.update(found(NORMALISED), IMAGE)
    for _ in range(5):
        tracks = tracker.update(found(PIXELS), IMAGE)
    assert len(tracks) == 2


@TRACKERS
def test_a_sliver_in_the_corner_of_a_video_in_pixels_is_a_box(make):
    """What is left of someone who leaves, alone in a frame."""
    tracker = make()
    tracker.update(found(PIXELS), IMAGE)
    tracker.update(found([[0.0, 0.0, 0.7, 0.9]]), IMAGE)
    tracker.reset()
    with pytest.raises(InputError, match="look normalised"):
        tracker.update(found(NORMALISED), IMAGE)


@TRACKERS
def test_a_detector_of_ones_own_that_takes_shares_for_pixels_is_told_so(make):
    taken_twice = Proposals.from_xyxy(NORMALISED, np.array([0.9, 0.9]), WIDTH, HEIGHT)
    with pytest.raises(InputError, match="look normalised"):
        make().update(taken_twice, IMAGE)


def test_a_det_txt_of_normalised_boxes_is_named(tmp_path):
    path = tmp_path / "det.txt"
    path.write_text("1,-1,0.1,0.2,0.1,0.3,0.9\n2,-1,0.6,0.3,0.1,0.5,0.9\n")
    with pytest.raises(InputError, match=r"all 2 boxes in .*det\.txt .*0\.1,0\.2,0\.1,0\.3.*pixel"):
        open_detections(path)


def test_a_det_db_of_normalised_boxes_is_named(tmp_path):
    path = tmp_path / "det_db.json"
    write_det_db(path, [("a/img1/00000001.txt", ["0.1,0.2,0.1,0.3,0.9\n"])])
    with pytest.raises(InputError, match=r"all 1 boxes in .*det_db\.json .*look normalised"):
        open_detections(path)


GROUND_TRUTH = "1,1,{},1,1,1\n2,1,{},1,1,1\n"
SHARES, HUNDREDS = "0.1,0.2,0.1,0.3", "64,96,64,144"


@pytest.mark.parametrize(("truth", "result", "note"), [
    pytest.param(HUNDREDS, SHARES, ["all boxes of the result lie within 0 to 1"], id="the result"),
    pytest.param(SHARES, HUNDREDS, ["all boxes of the ground truth lie within"], id="the truth"),
    pytest.param(SHARES, SHARES, [], id="both"),
    pytest.param(HUNDREDS, HUNDREDS, [], id="neither"),
])
def test_a_score_of_zero_for_another_unit_is_explained(tmp_path, truth, result, note):
    files = Files(tmp_path / "gt.txt", tmp_path / "a.txt", None)
    files.truth.write_text(GROUND_TRUTH.format(truth, truth))
    files.result.write_text(GROUND_TRUTH.format(result, result))
    notes = score_files({"a": files}).notes
    assert len(notes) == len(note)
    assert all(text in told for text, told in zip(note, notes, strict=True))


def test_the_check_of_a_data_set_names_normalised_boxes(tmp_path):
    for name in ("gt", "det"):
        (tmp_path / "a" / name).mkdir(parents=True)
    (tmp_path / "a" / "gt" / "gt.txt").write_text(GROUND_TRUTH.format(SHARES, SHARES))
    (tmp_path / "a" / "det" / "det.txt").write_text(f"1,-1,{SHARES},0.9\n")
    told = check_sequence(tmp_path / "a", tmp_path).problems
    assert [text.split(" ")[0] for text in told if "normalised" in text] == ["gt.txt:", "det.txt:"]


def test_training_refuses_normalised_ground_truth(tmp_path):
    path = tmp_path / "gt.txt"
    path.write_text(GROUND_TRUTH.format(SHARES, SHARES))
    with pytest.raises(InputError, match=r"all 2 boxes in .*gt\.txt lie within 0 to 1"):
        truth_rows(SimpleNamespace(name="a", dataset="mot", truth=path))


# Arrays, as most trackers take them, instead of `supervision.Detections`:
# adipandas/multi-object-tracker#32, mikel-brostrom/boxmot#2215


def rows(*columns):
    return np.hstack([PIXELS, *[np.array(column, float)[:, None] for column in columns]])


@TRACKERS
@pytest.mark.parametrize("given", [
    pytest.param(rows(), id="boxes"),
    pytest.param(rows([0.9, 0.8]), id="and scores"),
    pytest.param(rows([0.9, 0.8], [0, 0]), id="and classes"),
    pytest.param(rows().astype(np.float32), id="float32"),
    pytest.param(rows().astype(int), id="whole pixels"),
    pytest.param(rows([0.9, 0.8]).tolist(), id="a list of rows"),
    pytest.param(torch.tensor(rows([0.9, 0.8]), requires_grad=True), id="a tensor"),
    pytest.param(torch.tensor(rows([0.9, 0.8])).bfloat16(), id="a tensor of half precision"),
])
def test_an_array_has_a_row_per_box(make, given):
    tracker = make()
    for _ in range(4):
        tracks = tracker.update(given, IMAGE)
    assert sorted(tracks.tracker_id.tolist()) == [1, 2]
    np.testing.assert_allclose(np.sort(tracks.xyxy[:, 0]), np.sort(np.trunc(PIXELS[:, 0])), atol=1)


@TRACKERS
@pytest.mark.parametrize("empty", [
    pytest.param([], id="a list"), pytest.param(np.zeros((0, 6)), id="no rows"),
    pytest.param(np.zeros(0), id="nothing at all"),
])
def test_an_array_may_be_empty(make, empty):
    tracker = make()
    assert len(tracker.update(empty, IMAGE)) == 0


def test_the_columns_of_an_array_are_box_score_and_class():
    tracker = AppearanceTracker()
    tracks = tracker.update(rows([0.75, 0.875], [3, 8]))
    assert tracks.confidence.tolist() == [0.75, 0.875]
    assert tracks.class_id.tolist() == [3, 8]


@TRACKERS
@pytest.mark.parametrize("given", [
    pytest.param(PIXELS[0], id="one box without rows"),
    pytest.param(np.zeros((2, 7)), id="seven columns"),
    pytest.param(np.zeros((2, 3)), id="three columns"),
    pytest.param(np.zeros((1, 2, 6)), id="a batch"),
    pytest.param([[1, 2, 3, 4], [5, 6]], id="rows of different lengths"),
    pytest.param(np.array([["1", "2", "3", "4"]]), id="text"),
    pytest.param({"boxes": PIXELS}, id="a dictionary"),
    pytest.param((PIXELS, np.ones(2)), id="boxes and scores"),
    pytest.param("det.txt", id="a path"),
    pytest.param(7, id="a number"),
])
def test_what_are_no_detections_is_told_what_is_wanted(make, given):
    with pytest.raises(InputError, match=r"supervision\.Detections .* \[N, 4\] to \[N, 6\].*, not"):
        make().update(given, IMAGE)


@TRACKERS
def test_a_bad_row_of_an_array_is_named(make):
    bad = rows()
    bad[1, 3] = np.nan
    with pytest.raises(InputError, match=r"detection 1 has box .*nan"):
        make().update(bad, IMAGE)
    with pytest.raises(InputError, match=r"detection 0 has the class 0\.9.* score and class"):
        make().update(rows([0, 1], [0.9, 0.8]), IMAGE)  # class and score are swapped


@TRACKERS
@pytest.mark.parametrize("kind", [np.nan, np.inf, 1e300, 0.5])
def test_a_class_that_is_no_whole_number_is_named(make, kind):
    """Arrays of floats have their classes as floats: roboflow/supervision#1408."""
    classes = np.array([2.0, kind])
    given = sv.Detections(xyxy=PIXELS, confidence=np.ones(2), class_id=classes)
    for wrong in (given, rows([0.9, 0.8], classes)):
        with pytest.raises(InputError, match=r"detection 1 has the class .* no whole number"):
            make().update(wrong, IMAGE)
    given.class_id[1] = 3.0
    tracker = make()
    for _ in range(4):
        tracks = tracker.update(given, IMAGE)
    assert sorted(tracks.class_id.tolist()) == [2, 3]


@TRACKERS
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("far", [1e20, 1e308])
def test_a_box_that_no_image_can_have_is_named(make, far):
    """mikel-brostrom/boxmot#2263: numbers that no filter can go on with."""
    with pytest.raises(InputError, match="detection 2 has box"):
        make().update(found([*PIXELS, [-far, -far, far, far]]), IMAGE)


@TRACKERS
@pytest.mark.parametrize("side", [1, 2])
def test_a_frame_of_a_pixel_or_two_may_have_boxes_of_its_size(make, side):
    tracker, image = make(), np.zeros((side, side, 3), np.uint8)
    for _ in range(3):
        tracker.update(found([[0.0, 0.0, side, side]]), image)


# Boxes without area: roboflow/supervision#458, blakeblackshear/frigate#23470

FLAT = [200.0, 10.0, 200.0, 100.0]


@TRACKERS
@pytest.mark.parametrize("flat", [
    pytest.param(FLAT, id="no width"), pytest.param([200.0, 10.0, 240.0, 10.0], id="no height"),
    pytest.param([200.0, 10.0, 190.0, 100.0], id="turned over"),
])
def test_update_names_the_row_of_a_box_without_area(make, flat):
    tracker = make()
    with pytest.raises(InputError, match="detection 2 has box"):
        tracker.update(found([*PIXELS, flat]), IMAGE)


def appearance_sort():
    pytest.importorskip("trackers")
    from tfsasm.tracking.appearance.plugin import AppearanceSORT

    return AppearanceSORT()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_drop_in_for_trackers_goes_on_without_a_box_that_has_no_area(place, caplog):
    """As the trackers of that package do; the box comes back without a track."""
    tracker, clean = appearance_sort(), appearance_sort()
    boxes = np.insert(PIXELS, place, FLAT, axis=0)
    for number in range(6):
        given = found(boxes + number, name=["x", "y", "z"])
        tracks = tracker.update(given, IMAGE)
        wanted = clean.update(found(PIXELS + number), IMAGE).tracker_id
    assert tracks.tracker_id.tolist() == np.insert(wanted, place, -1).tolist()
    assert tracks.data["name"].tolist() == ["x", "y", "z"]
    assert (tracker.dropped, clean.dropped) == (6, 0)
    assert len(caplog.records) == 1
    assert f"row {place}" in caplog.text
    tracker.reset()
    assert tracker.dropped == 0


def test_the_drop_in_goes_on_where_no_box_has_an_area_and_with_embeddings():
    tracker = appearance_sort()
    for _ in range(3):
        given = found([FLAT, PIXELS[0]], embedding=np.eye(2, dtype=np.float32))
        assert tracker.update(given, IMAGE).tracker_id.tolist() == [-1, 1]
    assert tracker.update(found([FLAT]), IMAGE).tracker_id.tolist() == [-1]
    assert tracker.dropped == 4


def test_the_drop_in_takes_arrays_and_drops_their_rows_without_area():
    tracker = appearance_sort()
    for _ in range(3):
        tracks = tracker.update(np.array([[*PIXELS[0], 0.9, 3], [*FLAT, 0.9, 3]]), IMAGE)
    assert (tracks.tracker_id.tolist(), tracks.class_id.tolist()) == ([1, -1], [3, 3])
    assert tracker.dropped == 3


def test_the_drop_in_goes_on_without_a_score_that_is_not_finite():
    tracker = appearance_sort()
    given = sv.Detections(xyxy=PIXELS, confidence=np.array([0.9, np.nan]))
    assert tracker.update(given, IMAGE).tracker_id.tolist() == [1, -1]


@pytest.mark.parametrize("vector", [[np.nan, 1.0], [0.0, 0.0]], ids=["nan", "zeros"])
def test_the_drop_in_goes_on_without_an_embedding_of_no_use(vector):
    tracker = appearance_sort()
    for _ in range(3):
        given = found(PIXELS, embedding=[[1.0, 0.0], vector])
        assert tracker.update(given, IMAGE).tracker_id.tolist() == [1, -1]
    assert tracker.dropped == 3
    with pytest.raises(InputError, match="the embedding of detection 1"):
        AppearanceTracker().update(found(PIXELS, embedding=[[1.0, 0.0], vector]))


# What came with the detections: roboflow/supervision#754, roboflow/supervision#1226


@pytest.mark.parametrize("make", [
    pytest.param(query_tracker, id="query"),
    pytest.param(AppearanceTracker, id="appearance"),
    pytest.param(classic_tracker, id="classic"),
    pytest.param(appearance_sort, id="drop-in"),
])
def test_the_metadata_of_a_frame_comes_back(make):
    tracker = make()
    for number in range(4):
        frame = {"source": "a.mp4", "frame": number}
        tracks = tracker.update(found(PIXELS, metadata=frame), IMAGE)
        assert tracks.metadata == {"source": "a.mp4", "frame": number}
    empty = sv.Detections(
        xyxy=np.zeros((0, 4)), confidence=np.zeros(0), metadata={"source": "b.mp4"}
    )
    assert tracker.update(empty, IMAGE).metadata == {"source": "b.mp4"}
    assert tracker.update(sv.Detections.empty(), IMAGE).metadata == {}


# Small boxes: a floor of a pixel made them too large to overlap themselves


@pytest.mark.parametrize("size", [0.01, 0.3, 0.9, 2.0])
def test_boxes_smaller_than_a_pixel_keep_their_identity(size):
    """Far away, or in a unit that is not pixels: metres of a floor plan."""
    tracker = AppearanceTracker()
    ids = []
    for number in range(30):
        left = 10 + 0.05 * size * number
        boxes = [[left, 5, left + size, 5 + 2 * size], [20, 5, 20 + size, 5 + 2 * size]]
        ids.append(tracker.update(found(boxes)).tracker_id.tolist())
    assert ids == [[1, 2]] * 30


def test_a_box_that_shrinks_below_a_pixel_is_followed():
    tracker = AppearanceTracker()
    sizes = 8 * 0.9 ** np.arange(50)  # down to a twentieth of a pixel
    ids = [tracker.update(found([[50, 50, 50 + s, 50 + 2 * s]])).tracker_id.tolist() for s in sizes]
    assert ids == [[1]] * 50


def test_the_query_tracker_says_that_it_leaves_small_boxes_out(caplog):
    tracker = query_tracker()
    for _ in range(3):
        tracks = tracker.update(found([[10, 10, 18, 20], [100, 100, 140, 200]]), IMAGE)
    assert (len(tracks), tracker.too_small) == (1, 3)
    assert [record.getMessage() for record in caplog.records] == [
        "tracks of 100 square pixels or less are not reported (report_area)"
    ]
    tracker.reset()
    assert tracker.too_small == 0
