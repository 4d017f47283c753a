"""BDD100K: classes, regions to be ignored, and both averages, against TrackEval's own class."""

import json

import numpy as np
import pytest
import trackeval

from helpers.walks import RATES, assert_same, evaluated, flawed, walk
from tfsasm.datasets.bdd100k import CATEGORIES
from tfsasm.errors import InputError
from tfsasm.evaluation.bdd100k import Labels, score_classes
from tfsasm.evaluation.score import score_folders
from tfsasm.evaluation.trajectories import Trajectories

BOX, AWAY = [10.0, 10.0, 40.0, 40.0], [200.0, 10.0, 40.0, 40.0]
SUPER = {"HUMAN", "VEHICLE", "BIKE"}


def labels(rows):
    """From `(frame, id, ltwh, class, crowd)`."""
    frames, ids, ltwh, classes, crowd = zip(*rows, strict=True) if rows else ([], [], [], [], [])
    return Labels.of(Trajectories.of(frames, ids, ltwh), classes, crowd)


def scalabel(video, frames, table, classes, crowd=frozenset()):
    """Scalabel frames in the older spelling, which TrackEval reads."""
    listing = []
    for index in range(frames):
        rows = np.flatnonzero(table.frames == index + 1)
        listing.append({
            "name": f"{video}-{index + 1:07d}.jpg", "index": index, "labels": [{
                "id": str(table.ids[row]), "category": classes[table.ids[row]],
                "attributes": {"Crowd": bool(table.ids[row] in crowd)},
                "box2d": dict(zip(("x1", "y1", "x2", "y2"), [
                    *table.ltwh[row, :2], *(table.ltwh[row, :2] + table.ltwh[row, 2:])
                ], strict=True)),
            } for row in rows],
        })  # fmt: skip
    return listing


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two videos with every class but trains, crowds, and classes that are ignored."""
    root = tmp_path_factory.mktemp("bdd")
    kinds = [c for c in CATEGORIES if c != "train"] + ["other person", "other vehicle", "trailer"]
    for video, frames, objects, seed in (("b1-aa", 16, 40, 1), ("b1-bb", 10, 30, 2)):
        rng = np.random.default_rng(seed)
        truth = walk(frames, objects, seed)
        classes = {int(i): str(rng.choice(kinds)) for i in np.unique(truth.ids)}
        crowd = {i for i, kind in classes.items() if kind in CATEGORIES and rng.random() < 0.2}
        tracks = flawed(truth, seed)
        broken = {i + int(truth.ids.max()): kind for i, kind in classes.items()}  # see `flawed`
        guesses = {int(i): (classes | broken).get(int(i), "car") for i in tracks.ids}
        guesses = {i: kind if kind in CATEGORIES else "rider" for i, kind in guesses.items()}
        for place, listing in (
            (root / "gt", scalabel(video, frames, truth, classes, crowd)),
            (root / "t" / "ours" / "data", scalabel(video, frames, tracks, guesses)),
        ):
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{video}.json").write_text(json.dumps(listing))
    return root


@pytest.fixture(scope="module")
def whole(folders):
    scored = score_folders(folders / "gt", folders / "t" / "ours")
    assert scored.notes == ("scored as bdd100k, since the ground truth is label files",)
    return scored.report


def test_scores_are_those_of_trackevals_bdd100k(folders, whole):
    theirs = evaluated(trackeval.datasets.BDD100K({
        "PRINT_CONFIG": False, "GT_FOLDER": str(folders / "gt"),
        "TRACKERS_FOLDER": str(folders / "t"),
    }))  # fmt: skip
    report, combined = whole, theirs["COMBINED_SEQ"]
    assert set(report.classes) == set(combined) - SUPER - {"cls_comb_cls_av", "cls_comb_det_av"}
    for name, scores in report.classes.items():
        assert name == "train" or 1 < scores.HOTA < 95, "the case is worth comparing"
        assert_same(scores, combined[name])
    assert_same(report.combined, combined["cls_comb_det_av"])
    assert_same(report.class_average, combined["cls_comb_cls_av"])
    assert abs(report.combined.HOTA - report.class_average.HOTA) > 1, "the averages differ"


def test_both_averages_are_in_the_json(whole):
    report = whole.to_json()
    assert report["combined"] == report["detection_average"] != report["class_average"]
    assert list(report["classes"]) == list(CATEGORIES)
    assert list(report["sequences"]) == ["b1-aa", "b1-bb"]
    mean = np.mean([scores["HOTA"] for scores in report["classes"].values()])
    assert report["class_average"]["HOTA"] == pytest.approx(mean)


PERSON = (1, 1, BOX, "pedestrian", False)


@pytest.mark.parametrize(("others", "tracks", "false"), [
    pytest.param([(1, 9, AWAY, "rider", True)], [AWAY], 0, id="in a crowd, of whatever class"),
    pytest.param([(1, 9, AWAY, "trailer", False)], [AWAY], 0, id="on a trailer"),
    pytest.param([(1, 9, AWAY, "car", False)], [AWAY], 1, id="on a car"),
    pytest.param([(2, 9, AWAY, "rider", True)], [AWAY], 1, id="a crowd of another frame"),
    pytest.param([(1, 9, [200, 10, 20, 40], "rider", True)], [AWAY], 1, id="half in a crowd"),
    pytest.param([(1, 9, [200, 10, 21, 40], "rider", True)], [AWAY], 0, id="more than half"),
    pytest.param([(1, 9, BOX, "rider", True)], [BOX], 0, id="found, though in a crowd"),
    pytest.param([], [AWAY], 1, id="nowhere"),
])
def test_what_is_found_in_a_region_to_be_ignored_is_not_false(others, tracks, false):
    truth = labels([PERSON, *others])
    result = labels([(1, 5 + i, box, "pedestrian", False) for i, box in enumerate(tracks)])
    scores = score_classes({"v": truth}, {"v": result}).classes["pedestrian"]
    assert false == scores.FP
    assert (tracks != [BOX]) == scores.FN


def test_classes_do_not_answer_for_one_another():
    truth, result = labels([PERSON]), labels([(1, 1, BOX, "rider", False)])
    report = score_classes({"v": truth}, {"v": result}, {"v": 3})
    assert (report.classes["pedestrian"].FN, report.classes["rider"].FP) == (1, 1)
    assert (report.combined.FN, report.combined.FP, report.combined.HOTA) == (1, 1, 0)
    assert all(getattr(report.classes["bus"], rate) == (100 if rate == "LocA" else 0)
               for rate in RATES)  # fmt: skip


@pytest.mark.parametrize(("truths", "results", "message"), [
    pytest.param({}, {}, "no sequence", id="nothing"),
    pytest.param({"a": labels([])}, {}, "no result for a", id="one side"),
    pytest.param({"a": labels([PERSON])}, {"a": labels([PERSON, PERSON])},
                 "a, pedestrian: result has id 1 twice in frame 1", id="an id twice in a class"),
])
def test_what_cannot_be_scored_is_named(truths, results, message):
    with pytest.raises(InputError, match=message):
        score_classes(truths, results)
    with pytest.raises(InputError, match="1 boxes have 2 classes and 1 crowd"):
        Labels.of(labels([PERSON]).boxes, ["car", "bus"])


def test_results_may_be_one_file_or_text(folders, whole, tmp_path):
    listing, text = [], {}
    for path in (folders / "t" / "ours" / "data").glob("*.json"):
        frames = json.loads(path.read_text())
        listing += frames
        text[path.stem] = "".join(
            "{},{},{},{},{},{},1,{},-1,-1\n".format(
                frame["index"] + 1, label["id"], box["x1"], box["y1"], box["x2"] - box["x1"],
                box["y2"] - box["y1"], CATEGORIES.index(label["category"]) + 1,
            )
            for frame in frames for label in frame["labels"] for box in [label["box2d"]]
        )
    (tmp_path / "all.json").write_text(json.dumps(listing))
    assert score_folders(folders / "gt", tmp_path / "all.json").report == whole
    for name, lines in text.items():
        (tmp_path / f"{name}.txt").write_text(lines)
    (tmp_path / "scores.json").write_text("{}")  # as `tfsasm evaluate` leaves it
    (tmp_path / "all.json").unlink()
    texts = score_folders(folders / "gt", tmp_path).report
    assert texts.combined.to_json() == pytest.approx(whole.combined.to_json())
    assert texts.class_average.to_json() == pytest.approx(whole.class_average.to_json())


def test_truth_in_one_file_is_as_good(folders, whole, tmp_path):
    listing = [f for p in (folders / "gt").glob("*.json") for f in json.loads(p.read_text())]
    (tmp_path / "val.json").write_text(json.dumps(listing))
    scored = score_folders(tmp_path / "val.json", folders / "t" / "ours")
    assert scored.dataset == "bdd100k"
    assert scored.report == whole
    assert score_folders(tmp_path, folders / "t" / "ours").report.combined == whole.combined


@pytest.mark.parametrize(("line", "message"), [
    pytest.param("1,1,5,5,9,9,1,9,-1,-1", "v.txt has class 9 in frame 1; wanted is 1 to 8", id="9"),
    pytest.param("1,1,5,5,9,9,1,1.5,-1,-1", "has class 1.5", id="no whole number"),
    pytest.param("3,1,5,5,9,9,1,1,-1,-1", "has frame 3, but the frames are 1 to 2", id="too late"),
    pytest.param("1,4,5,5,9,9,1,3\n1,4,50,5,9,9,1,3", "has id 4 twice in frame 1", id="twice"),
])
def test_bad_text_results_are_named(tmp_path, line, message):
    with pytest.raises(InputError, match=message):
        scored_text(tmp_path, line)


def test_tracks_of_two_classes_may_have_the_same_id(tmp_path):
    """As trackers give them that run once for each class; TrackEval asks for no more."""
    report = scored_text(tmp_path, "1,4,5,5,9,9,1,1\n1,4,50,5,9,9,1,3").report
    assert [name for name, scores in report.classes.items() if scores.FP] == ["pedestrian", "car"]


def scored_text(folder, text):
    """Of a video of two frames without labels."""
    (folder / "gt").mkdir()
    (folder / "r").mkdir()
    frames = [{"name": f"v-{n}.jpg", "videoName": "v", "frameIndex": n} for n in (0, 1)]
    (folder / "gt" / "v.json").write_text(json.dumps(frames))
    (folder / "r" / "v.txt").write_text(text)
    return score_folders(folder / "gt", folder / "r", "bdd100k")


def test_videos_that_one_side_lacks_are_named(folders, tmp_path):
    results = tmp_path / "r"
    results.mkdir()
    (results / "b1-aa.json").write_bytes((folders / "t/ours/data/b1-aa.json").read_bytes())
    (results / "b1-zz.json").write_text("[]")
    with pytest.raises(InputError, match=r"b1-bb: no result b1-bb.json; b1-zz: no labels of that"):
        score_folders(folders / "gt", results)
    scored = score_folders(folders / "gt", results, allow_missing=True)
    assert list(scored.report.sequences) == ["b1-aa"]
    assert set(scored.left_out) == {"b1-bb", "b1-zz"}
