"""Result files: their exact text, and that they appear whole, at the end, whatever ends the run."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import supervision as sv

from tfsasm.errors import InputError, TruncatedInput
from tfsasm.motchallenge import read_tracks
from tfsasm.tracking.results import CsvFile, JsonFile, MotFile, Row, rows
from tfsasm.video.source import Frame

ABOUT = {"source": "clip.mp4", "fps": 25.0}
EDGE = float(np.float32(0.1))


def frame(number, time=None):
    return Frame(np.zeros((4, 4, 3), np.uint8), number, f"{number:08d}.png", time)


def tracks(*entries):
    """`(id, score, xyxy)` each."""
    return sv.Detections(
        xyxy=np.array([box for *_, box in entries], dtype=np.float32).reshape(-1, 4),
        confidence=np.array([score for _, score, _ in entries], dtype=np.float32),
        tracker_id=np.array([identity for identity, *_ in entries], dtype=int),
    )


TWO = tracks((2, 0.75, [10, 20, 30.5, 60.25]), (1, 0.98766, [-3.1, 0.1, 5, 7]))
NONE = tracks()


def makers(path, **settings):
    return {
        "MOT": lambda: MotFile(path, **settings),
        "JSON": lambda: JsonFile(path, ABOUT, **settings),
    }


@pytest.fixture(params=["MOT", "JSON"])
def make(request, tmp_path):
    """A new result file `out.txt`, of either kind."""
    return lambda **settings: makers(tmp_path / "out.txt", **settings)[request.param]()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_rows_are_the_tracks_in_their_order():
    assert rows(TWO) == [
        Row(2, [10.0, 20.0, 30.5, 60.25], 0.75),
        Row(1, [float(np.float32(-3.1)), EDGE, 5.0, 7.0], float(np.float32(0.98766))),
    ]
    assert rows(NONE) == []


# MOT


@pytest.mark.parametrize(("settings", "text"), [
    pytest.param(
        {}, "7,2,10.00,20.00,20.50,40.25,0.7500,-1,-1,-1\n"
            "7,1,-3.10,0.10,8.10,6.90,0.9877,-1,-1,-1\n", id="ours: from 1, with scores"),
    pytest.param(
        {"first_id": 0, "scores": False}, "7,1,10.00,20.00,20.50,40.25,1,-1,-1,-1\n"
                                          "7,0,-3.10,0.10,8.10,6.90,1,-1,-1,-1\n",
        id="released: from 0, a literal 1"),
])  # fmt: skip
def test_mot_lines(tmp_path, settings, text):
    with MotFile(tmp_path / "out.txt", **settings) as file:
        file.write(frame(7), TWO)
    assert (tmp_path / "out.txt").read_bytes() == text.encode()


def test_frames_without_tracks_have_no_mot_line(tmp_path):
    with MotFile(tmp_path / "out.txt") as file:
        for number, shown in enumerate([NONE, TWO, NONE, TWO], start=1):
            file.write(frame(number), shown)
    table = read_tracks(tmp_path / "out.txt")
    assert table.frame.tolist() == [2, 2, 4, 4]
    assert table.identity.tolist() == [2, 1, 2, 1]


# JSON


def test_json_has_an_entry_for_every_frame(tmp_path):
    with JsonFile(tmp_path / "out.json", ABOUT) as file:
        file.write(frame(1, 0.0), TWO)
        file.write(frame(3, 0.08), NONE)
    content = json.loads((tmp_path / "out.json").read_text())
    assert content == {
        "about": ABOUT,
        "frames": [
            {"frame": 1, "time": 0.0, "tracks": [
                {"id": 2, "xyxy": [10.0, 20.0, 30.5, 60.25], "score": 0.75},
                {"id": 1, "xyxy": [-3.1, 0.1, 5.0, 7.0], "score": 0.9877},
            ]},
            {"frame": 3, "time": 0.08, "tracks": []},
        ],
    }  # fmt: skip


@pytest.mark.parametrize("frames", [0, 1, 3])
def test_json_is_valid_for_any_number_of_frames(tmp_path, frames):
    with JsonFile(tmp_path / "out.json", ABOUT) as file:
        for number in range(frames):
            file.write(frame(number + 1), TWO)
    content = json.loads((tmp_path / "out.json").read_text(), parse_constant=pytest.fail)
    assert len(content["frames"]) == frames
    assert all(entry["time"] is None for entry in content["frames"])


def test_a_name_with_quotes_stays_valid_json(tmp_path):
    with JsonFile(tmp_path / "out.json", {"source": 'a "b"\\c\n'}):
        pass
    assert json.loads((tmp_path / "out.json").read_text())["about"]["source"] == 'a "b"\\c\n'


# Files


def test_a_file_appears_when_it_is_done(make, tmp_path):
    with make() as file:
        for number in range(1, 4):
            file.write(frame(number), TWO)
            assert not (tmp_path / "out.txt").exists()
            assert all(name.startswith(".") for name in names(tmp_path))
    assert names(tmp_path) == ["out.txt"]
    assert (tmp_path / "out.txt").read_text().count("\n") >= 3


@pytest.mark.parametrize("error", [KeyboardInterrupt(), TruncatedInput("cut"), RuntimeError("bug")])
def test_finished_frames_are_kept_whatever_ends_the_run(make, tmp_path, error):
    def run(error):
        with make() as file:
            file.write(frame(1), TWO)
            if error is not None:
                raise error

    with pytest.raises(type(error)):
        run(error)
    kept = (tmp_path / "out.txt").read_text()
    assert names(tmp_path) == ["out.txt"]
    (tmp_path / "out.txt").unlink()
    run(None)
    assert (tmp_path / "out.txt").read_text() == kept != ""


def test_an_older_file_stays_until_the_new_one_is_done(make, tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("old")
    with make(overwrite=True) as file:
        file.write(frame(1), TWO)
        assert path.read_text() == "old"
    assert path.read_text() != "old"


def test_an_error_before_the_first_frame_leaves_an_older_file(make, tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("old")
    with pytest.raises(InputError), make(overwrite=True):
        raise InputError("the other output cannot be written")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["out.txt"]


def test_an_error_before_the_first_frame_leaves_no_file(make, tmp_path):
    with pytest.raises(InputError), make():
        raise InputError("the other output cannot be written")
    assert names(tmp_path) == []


def test_a_file_without_frames_is_still_a_file(make, tmp_path):
    with make():
        pass
    assert names(tmp_path) == ["out.txt"]


def test_a_file_that_exists_is_not_replaced_without_overwrite(make, tmp_path):
    (tmp_path / "out.txt").write_text("old")
    with pytest.raises(InputError, match=r"out.txt exists; give another name or --overwrite"):
        make()
    assert (tmp_path / "out.txt").read_text() == "old"
    assert names(tmp_path) == ["out.txt"]


def test_a_missing_folder_is_made(tmp_path):
    with MotFile(tmp_path / "a" / "b" / "out.txt") as file:
        file.write(frame(1), TWO)
    assert names(tmp_path / "a" / "b") == ["out.txt"]


def test_scores_and_boxes_are_finite_numbers_of_python():
    """So that the JSON holds no numpy text."""
    for row in rows(TWO):
        assert type(row.score) is float
        assert type(row.id) is int
        assert all(type(value) is float and math.isfinite(value) for value in row.xyxy)


# CSV, and classes


def test_supervision_would_write_the_same_table(tmp_path):
    """Its `CSVSink`, with the number and time of the frame as custom data."""
    shown = replace(TWO, class_id=np.array([0, 2]), data={"class_name": np.array(["a, b", "car"])})
    with CsvFile(tmp_path / "ours.csv") as file, sv.CSVSink(str(tmp_path / "theirs.csv")) as sink:
        for number, time in ((7, 0.24), (8, 0.28)):
            file.write(frame(number, time), shown)
            sink.append(shown, {"frame_number": number, "time": time})
    ours, theirs = (
        list(csv.DictReader((tmp_path / name).open())) for name in ("ours.csv", "theirs.csv")
    )
    assert list(ours[0]) == list(theirs[0])
    assert len(ours) == len(theirs) == 4
    for one, other in zip(ours, theirs, strict=True):
        assert one["class_name"] == other["class_name"]
        for key in one.keys() - {"class_name"}:
            assert float(one[key]) == pytest.approx(float(other[key]), abs=0.005), key


def test_a_class_goes_into_json_and_mot_text(tmp_path):
    shown = replace(TWO, class_id=np.array([0, 2]), data={"class_name": np.array(["dog", "car"])})
    for kind in (JsonFile(tmp_path / "a.json", {}), MotFile(tmp_path / "a.txt", classes=True)):
        with kind as file:
            file.write(frame(1), shown)
    [saved] = json.loads((tmp_path / "a.json").read_text())["frames"]
    assert [(track["id"], track["class"]) for track in saved["tracks"]] == [(2, "dog"), (1, "car")]
    assert read_tracks(tmp_path / "a.txt").label.tolist() == [1, 3]
