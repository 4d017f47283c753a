"""Which tracker the options of `track` and `evaluate` name; a stand-in for the package `trackers`.
"""

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from helpers.scenes import write_folders
from tfsasm.cli.options import TrackerOptions, spec_of, with_tracker
from tfsasm.errors import InputError
from tfsasm.tracking.config import paper
from tfsasm.tracking.named import known_trackers, parse_trackers


class ByPlace:
    """The leftmost box is identity 0, the next 1; `most` of them."""

    def __init__(self, most=9):
        self.most = most

    def update(self, detections, frame=None):
        tracks = detections[np.argsort(detections.xyxy[:, 0])[: self.most]]
        return replace(tracks, tracker_id=np.arange(len(tracks)))


@pytest.fixture(autouse=True)
def package(monkeypatch):
    kinds = ("SORT", "ByteTrack", "OCSORT", "BoTSORT", "CBIoU")
    fake = SimpleNamespace(**{f"{kind}Tracker": ByPlace for kind in kinds})
    monkeypatch.setitem(sys.modules, "trackers", fake)


@pytest.mark.parametrize("name", known_trackers())
def test_a_name_means_the_tracker_that_a_comparison_means(name):
    assert spec_of(with_tracker(TrackerOptions(tracker=name))[0]) == parse_trackers([name])[name]


def test_settings_may_stand_behind_the_name_or_in_set():
    behind, _ = with_tracker(TrackerOptions(tracker="sort:most=3"))
    beside, _ = with_tracker(TrackerOptions(tracker="sort", set=("most=3",)))
    assert spec_of(behind) == spec_of(beside)
    assert spec_of(behind).parameters() == {"most": 3}


def test_a_preset_by_name_takes_the_options_of_the_query_tracker():
    options, _ = with_tracker(TrackerOptions(tracker="paper", miss_tolerance=7))
    lifecycle = replace(paper().lifecycle, miss_tolerance=7)
    assert spec_of(options).config == replace(paper(), lifecycle=lifecycle)


@pytest.mark.parametrize(("given", "message"), [
    pytest.param({"tracker": "deepsort"}, "no tracker 'deepsort'; there are tfsasm, released, .*"
                 "bytetrack, ocsort, .*; also query .* and auto", id="unknown"),
    pytest.param({"tracker": "sort", "set": ("memory=1",)}, "sort has no parameter 'memory'; it "
                 "has most", id="setting of another"),
    pytest.param({"tracker": "paper", "preset": "released"}, "--tracker paper and --preset "
                 "released differ", id="two presets"),
])  # fmt: skip
def test_a_name_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        spec_of(with_tracker(TrackerOptions(**given))[0])


@pytest.mark.parametrize(("words", "message"), [
    (["train", "--output", "o", "--threads", 0], "--threads 0 is not between 1 and 1024"),
    (["verify", "--threads=-1"], "--threads -1 is not between 1 and 1024"),
    (["bench", "--threads", 100_000], "--threads 100000 is not between 1 and 1024"),
    (["synth", "--output", "o", "--sequences=-1"], "--sequences -1 is not at least 0"),
    (["demo", "--synthetic", "--frames", 0], "--frames 0 is not at least 1"),
    (["compare", "--root", ".", "--min-score", "nan"], "--min-score nan is not a number"),
    (["ablate", "--root", ".", "--grid", "capacity=0", "--output", "o", "--min-score", "nan"],
     "--min-score nan is not a number"),
    (["track", "{images}", "--reconnect", "nan"], "--reconnect nan is not a number"),
    (["track", "{images}", "--detector-score", "-NaN"], "--detector-score nan is not a number"),
    (["track", "{images}", "--reconnect=-1"], "--reconnect -1.0 is not at least 0"),
    (["track", "{images}", "--dry-run", "--price-per-hour=-1"], "price-per-hour -1.0 is not at"),
])  # fmt: skip
def test_numbers_that_make_no_sense_are_refused(
    tfsasm, scene, tmp_path, monkeypatch, words, message
):
    monkeypatch.chdir(tmp_path)
    outcome = tfsasm(*(str(word).format(images=scene.folder) for word in words))
    assert outcome.code == 2
    assert message in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_a_classic_tracker_tracks_a_video(track, tmp_path):
    outcome = track("--tracker", "ocsort", "--set", "most=1", "--save", "mot", "json", "report",
                    "--output", tmp_path, weights=None, preset=None)  # fmt: skip
    assert outcome.code == 0, outcome.err
    [rows] = [path.read_text().splitlines() for path in tmp_path.glob("*.mot.txt")]
    assert {row.split(",")[1] for row in rows} == {"1"}
    [about] = [json.loads(path.read_text())["about"] for path in tmp_path.glob("*.json")]
    assert (about["tracker"], about["method"]) == ("ocsort", {"most": 1})
    assert list(tmp_path.glob("*.report.html"))


@pytest.mark.parametrize(("flags", "owner"), [
    pytest.param(("--embedder", "none"), "appearance", id="appearance"),
    pytest.param(("--short-side", "99"), "query", id="query"),
])
def test_a_classic_tracker_has_no_options_of_others(track, tmp_path, flags, owner):
    outcome = track("--tracker", "sort", *flags, "--mot-output", tmp_path / "o.txt",
                    weights=None, preset=None)  # fmt: skip
    assert outcome.code == 2
    assert f"{flags[0]} is for --tracker {owner}, and this is sort" in outcome.err


def test_an_evaluation_is_that_of_a_comparison(tfsasm, scene, tmp_path):
    clips = write_folders(scene, tmp_path / "clips")
    words = ("--root", clips, "--quiet")
    outcome = tfsasm("evaluate", *words, "--tracker", "bytetrack:most=2", "--output",
                     tmp_path / "one")  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "no images" not in outcome.out
    tfsasm("compare", *words, "--trackers", "bytetrack:most=2", "--min-score", 0, "--output",
           tmp_path / "all")  # fmt: skip
    ours, theirs = (
        [np.loadtxt(path, delimiter=",") for path in sorted(tmp_path.glob(f"{place}/*.txt"))]
        for place in ("one", "all/*")
    )
    assert len(ours) == len(theirs) == 3
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=0.011)
    about = json.loads((tmp_path / "one" / "evaluation.json").read_text())["settings"]
    assert (about["tracker"], about["method"]) == ("bytetrack", {"most": 2})
    again = tfsasm("evaluate", *words, "--tracker", "bytetrack", "--output", tmp_path / "one")
    assert again.code == 2
    assert "method.most was 2, not 9" in again.err
