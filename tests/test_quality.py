"""The benchmark of quality, on walks that are made up."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from benchmarks.quality.cells import Cells, Data
from benchmarks.quality.choose import chosen_by_fold, chosen_elsewhere
from benchmarks.quality.clips import CONDITIONS, Clip, Condition, frames_of, truth_of
from benchmarks.quality.simulation import World, simulated

from tfsasm.motchallenge import TrackRows

LENGTH, PEOPLE, SIZE = 40, 3, (768, 120)


def walk() -> TrackRows:
    """People of 12 x 28 pixels, one above the other, who walk to the right."""
    frame, person = (a.ravel() for a in np.mgrid[1 : LENGTH + 1, 1 : PEOPLE + 1])
    ltwh = np.stack([10 + 2.0 * frame, 32.0 * person - 20, 12 + 0 * frame, 28 + 0 * frame], axis=1)
    one = np.ones(len(frame))
    return TrackRows(frame, person, ltwh, one, one, one)


def clip(name: str = "walk", video: Path | None = None, group: str = "PETS") -> Clip:
    truth = walk()
    boxes = {
        frame: np.hstack([truth.ltwh[truth.frame == frame], np.full((PEOPLE, 1), 0.9)])
        for frame in range(1, LENGTH + 1)
    }  # fmt: skip
    return Clip(name, group, "mot", truth, boxes, LENGTH, video)


def write_images(folder: Path) -> Path:
    """The walk as pictures, in which everybody has a colour of his own."""
    folder.mkdir(parents=True)
    truth = walk()
    for frame in range(1, LENGTH + 1):
        image = np.random.default_rng(frame).integers(90, 110, (*SIZE[::-1], 3)).astype(np.uint8)
        for row in np.flatnonzero(truth.frame == frame):
            x, y, w, h = truth.ltwh[row].astype(int)
            image[y : y + h, x : x + w] = np.eye(3)[truth.identity[row] - 1] * 200
        cv2.imwrite(str(folder / f"{frame:06d}.png"), image)
    return folder


def lines(rows: TrackRows, tail: str) -> str:
    table = zip(rows.frame, rows.identity, rows.ltwh, strict=True)
    return "".join(f"{f},{i},{','.join(map(str, box))},{tail}\n" for f, i, box in table)


@pytest.fixture
def data(tmp_path) -> Data:
    """Six sequences of DanceTrack's kind, and one of each other kind."""
    root, truth = tmp_path / "data", lines(walk(), "1,1,1")
    for place, boxes in (
        *((f"DanceTrack/val/dancetrack{k:04d}", "det") for k in range(6)),
        ("MOT17/val_half/MOT17-02", "det_full"),
        ("MOT15/train/PETS09-S2L1", ""), ("MOT15/train/TUD-Campus", ""),
    ):  # fmt: skip
        folder = root / place
        (folder / "gt").mkdir(parents=True)
        (folder / "gt" / "gt.txt").write_text(truth)
        (folder / "seqinfo.ini").write_text(
            f"[Sequence]\nname={folder.name}\nseqLength={LENGTH}\nframeRate=20\n"
            f"imWidth={SIZE[0]}\nimHeight={SIZE[1]}\n"
        )
        if boxes:  # MOT17's begin in the half before
            later = replace(walk(), frame=walk().frame + LENGTH * (boxes == "det_full"))
            (folder / boxes).mkdir()
            first = lines(walk(), "0.9") if boxes == "det_full" else ""
            (folder / boxes / "det.txt").write_text(first + lines(later, "0.9"))
    images = write_images(root / "MOT15" / "train" / "TUD-Campus" / "img1")
    for name in ("PETS09-S2L1", "TUD-Campus"):
        (tmp_path / f"{name}.txt").write_text(lines(walk(), "0.9"))
    return Data(root=root, video=images, detections=tmp_path, cache=tmp_path / "cache", workers=1)


def test_every_third_frame_keeps_its_own_ground_truth(tmp_path):
    condition = CONDITIONS["every 3rd frame"]
    frames, truth = frames_of(clip(), condition, "none", tmp_path), truth_of(clip(), condition)
    assert len(frames) == truth.frame.max() == -(-LENGTH // 3)
    for number, seen in enumerate(frames, start=1):
        np.testing.assert_allclose(seen.xyxy[:, :2], truth.ltwh[truth.frame == number, :2])


@pytest.mark.parametrize(("name", "share"), [("10 % dropped", 0.1), ("30 % dropped", 0.3)])
def test_as_many_boxes_are_dropped_as_the_name_says(tmp_path, name, share):
    """The same ones each time."""
    one, other = (frames_of(clip(), CONDITIONS[name], "none", tmp_path) for _ in range(2))
    left = sum(len(frame.xyxy) for frame in one)
    assert left == pytest.approx((1 - share) * LENGTH * PEOPLE, abs=10)
    assert all(np.array_equal(a.xyxy, b.xyxy) for a, b in zip(one, other, strict=True))


def test_jitter_is_a_share_of_the_size_of_a_box(tmp_path):
    """Each side moves: one of width by 5 % of the width, one of height by 5 % of the height."""
    plain, moved = (
        np.concatenate([f.xyxy for f in frames_of(clip(), CONDITIONS[name], "none", tmp_path)])
        for name in ("as it is", "5 % jitter")
    )  # fmt: skip
    expected = 0.05 * np.array([12, 28, 12, 28])
    np.testing.assert_allclose((moved - plain).std(axis=0), expected, rtol=0.25)


def test_a_box_has_one_look_whatever_is_dropped_beside_it(tmp_path):
    pictured = clip(video=write_images(tmp_path / "img1"))
    whole = frames_of(pictured, CONDITIONS["as it is"], "hist", tmp_path / "cache")
    people = np.arange(PEOPLE)
    for condition in (Condition("fewer", dropped=0.5), Condition("slow", stride=3)):
        some = frames_of(pictured, condition, "hist", tmp_path / "cache")
        assert sum(len(frame.xyxy) for frame in some) < 0.7 * LENGTH * PEOPLE
        for frame, full in zip(some, whole[:: condition.stride], strict=True):
            own = (frame.xyxy[:, None] == full.xyxy).all(axis=2) @ people
            np.testing.assert_array_equal(frame.embeddings, full.embeddings[own])
            assert frame.warp is None or frame.warp.shape == (2, 3)


def test_a_sequence_has_no_part_in_the_choice_of_its_own_settings():
    """The second candidate is best by far on one fold alone, and is taken for all but that."""
    scores = {"A": np.array([[50.0] * 10, [49.0] * 10]), "B": np.full((2, 4), 60.0)}
    scores["A"][1, 2::5] = 90
    assert chosen_by_fold(scores, "A") == [1, 1, 0, 1, 1]
    assert chosen_elsewhere(scores, "B") == 1
    scores["B"][0] += 1
    assert chosen_elsewhere(scores, "A") == 0


def test_scores_are_kept_and_peers_take_part_by_their_files(data, tmp_path):
    peers = tmp_path / "theirs" / "as it is"
    peers.mkdir(parents=True)
    cells = Cells(replace(data, results={"theirs": peers.parent}))
    assert not cells.has("TUD", "as it is", "theirs")
    assert not cells.has("TUD", "as it is", "osnet")  # no weights were given
    (peers / "TUD-Campus.txt").write_text(lines(walk(), "1,-1,-1,-1"))
    assert cells.has("TUD", "as it is", "theirs")
    theirs = cells.report("TUD", "as it is", "theirs").combined
    ours = cells.report("TUD", "as it is", "hist").combined
    assert theirs.HOTA > 99.9
    assert ours.HOTA > 95
    (kept,) = [path for path in data.cache.glob("scores/*.json") if '"hist"' in path.read_text()]
    kept.write_text(kept.read_text().replace(str(ours.HOTA), "12.5"))
    assert cells.report("TUD", "as it is", "hist").combined.HOTA == 12.5


def test_simulated_people_are_as_alike_as_is_wanted_and_absent_when_told():
    """The cosines of the same person against others', in other frames: 0.5 is chance."""
    frames = simulated([clip()], World(auc=0.9, absence=150))["walk"]
    looks = np.concatenate([frame.embeddings for frame in frames])
    people = np.concatenate([(frame.xyxy[:, 1] + 20) // 32 for frame in frames])
    assert 0 < len(looks) < 0.9 * LENGTH * PEOPLE
    same = people[:, None] == people
    np.fill_diagonal(same, False)
    alike, other = (looks @ looks.T)[same], (looks @ looks.T)[people[:, None] != people]
    reached = (np.sort(other).searchsorted(alike) / len(other)).mean()
    assert reached == pytest.approx(0.9, abs=0.05)


@pytest.mark.slow
def test_one_command_prints_every_table(data):
    pytest.importorskip("trackers")
    options = {"root": data.root, "video": data.video, "detections": data.detections,
               "cache": data.cache}  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--data.{name}", str(value))]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.quality", "all", *words],
        capture_output=True, text=True, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for title in ("DanceTrack, as it is", "PETS, pan, 5 % jitter", "TUD, true boxes",
                  "Leave one group out", "MOT17, 30 % dropped, held out",
                  "Simulated looks: AUC 0.75"):  # fmt: skip
        assert title in done.stdout
