"""What `tfsasm track` makes: the released bytes, its files, every kind of input and method."""

import argparse
import json
from dataclasses import asdict

import av
import cv2
import numpy as np
import pytest
import torch

from helpers.golden_data import published_state, synthetic_sequence, vectors
from helpers.scenes import FRAMES, HEIGHT, WIDTH, film, write_detections, write_images
from tfsasm.detection.stored import open_detections
from tfsasm.motchallenge import read_tracks, result_line
from tfsasm.tracking.config import PRESETS, paper, released
from tfsasm.tracking.load import load
from tfsasm.video.source import open_video
from tfsasm.video.writer import VideoWriter

# The released code


@pytest.mark.slow
def test_the_golden_run_through_the_public_command(tfsasm, tmp_path, two_threads):
    """Its lines, byte for byte, from images, det.txt and a .pth like the published ones.

    `tests/tracking/test_released_run.py` makes the run by default.
    """
    frames, lines = synthetic_sequence(40, 216, 384, nobj=6, seed=7, zero_frames=[4, 5, 13])
    checkpoint = {
        "model": published_state(), "optimizer": {}, "lr_scheduler": {}, "epoch": 4,
        "args": argparse.Namespace(lr=2e-4, meta_arch="motr", update_query_pos=True),
    }  # fmt: skip
    torch.save(checkpoint, tmp_path / "published.pth")
    outcome = tfsasm(
        "track", write_images(tmp_path / "img1", frames[..., ::-1]),
        "--detections", write_detections(tmp_path / "det.txt", lines),
        "--weights", tmp_path / "published.pth", "--preset", "released",
        "--short-side", 256, "--max-side", 480, "--miss-tolerance", 20, "--score-threshold", 0.5,
        "--mot-output", tmp_path / "results.txt", "--quiet",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    wanted = vectors("run_tol20")["lines"].tolist()
    assert len(wanted) == 117
    assert (tmp_path / "results.txt").read_text().splitlines() == wanted
    identities = len({line.split(",")[1] for line in wanted})
    assert f"40 frames, {identities} identities" in outcome.out
    assert f"no entry for {lines.count([])} frame(s)" in outcome.out


def write_det_db(path, scene, prefix):
    entries = {
        f"{prefix}{number:08d}.txt": [f"{line}\n" for line in lines]
        for number, lines in enumerate(scene.lines, start=1)
    }
    others = {f"{prefix.replace('dance-7', 'dance-8')}00000001.txt": ["1,1,9,9,0.9\n"]}
    path.write_text(json.dumps(entries | others))
    return path


def test_a_det_db_gives_the_same_bytes(result, usual, scene, tmp_path):
    """Here its keys are longer than the frames' path."""
    path = write_det_db(tmp_path / "det_db.json", scene, "sets/DanceTrack/val/dance-7/img1/")
    found = result(preset="released", detections=path)
    assert found == usual("released")
    assert found.count(b"\n") > 20


@pytest.mark.parametrize("prefix", [
    pytest.param("dance-7/img1/", id="shorter"),
    pytest.param("dance-7/", id="without img1"),
    pytest.param("./dance-7//img1/", id="with a dot"),
])
def test_a_det_db_gives_the_same_boxes_whatever_its_keys_begin_with(scene, tmp_path, prefix):
    path = write_det_db(tmp_path / "det_db.json", scene, prefix)
    stored = open_detections(path, source_name=str(scene.folder))
    wanted = open_detections(scene.detections)
    for frame in open_video(scene.folder):
        assert np.array_equal(stored(frame).boxes, wanted(frame).boxes)
        assert np.array_equal(stored(frame).scores, wanted(frame).scores)
    assert stored.report() == []


@pytest.mark.parametrize(("classes", "columns"), [((), ["1", "3"]), (("2",), ["-1"])])
def test_yolos_text_files_are_tracked_within_their_classes(
    tfsasm, scene, tmp_path, classes, columns
):
    (tmp_path / "labels").mkdir()
    for image in scene.folder.iterdir():
        lines = "0 0.3 0.5 0.1 0.4 0.9\n2 0.3 0.5 0.1 0.4 0.9\n"
        (tmp_path / "labels" / f"{image.stem}.txt").write_text(lines)
    outcome = tfsasm("track", scene.folder, "--detections", tmp_path / "labels", "--tracker",
                     "motion", "--mot-output", tmp_path / "o.txt", "--quiet",
                     *(["--classes", *classes] if classes else []))  # fmt: skip
    assert outcome.code == 0, outcome.err
    rows = [line.split(",") for line in (tmp_path / "o.txt").read_text().splitlines()]
    assert sorted({row[7] for row in rows}) == sorted(columns)
    assert len({row[1] for row in rows}) == len(columns)


@pytest.mark.parametrize("preset", ["released", "paper"])
def test_the_released_format_and_ours(usual, scene, small_weights, preset):
    """Released: identities from 0 and a literal 1. Ours: from 1, with scores."""
    makers = {"released": (released, 0, False), "paper": (paper, 1, True)}
    make, first_id, scores = makers[preset]
    wanted = []
    run = load(small_weights, make()).track(scene.folder, detector=scene.detections)
    for frame, tracks in run:
        for identity, xyxy, score in zip(
            tracks.tracker_id, tracks.xyxy, tracks.confidence, strict=True
        ):
            confidence = float(score) if scores else None
            identity += first_id - 1
            wanted.append(result_line(frame.number, identity, xyxy, confidence=confidence))
    assert usual(preset).decode().splitlines() == wanted
    assert len(wanted) > 20
    assert min(int(line.split(",")[1]) for line in wanted) <= 3


# Outputs


def test_all_outputs_tell_the_same_story(track, scene, small_weights, tmp_path):
    names = {"mot_output": "o.txt", "json_output": "o.json", "output": "o.mp4"}
    paths = {option: tmp_path / name for option, name in names.items()}
    outcome = track(**paths)
    assert outcome.code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names.values())

    tracker, story = load(small_weights, paper()), []
    for frame, tracks in tracker.track(scene.folder, detector=scene.detections):
        story += [(frame.number, identity) for identity in tracks.tracker_id.tolist()]
    table = read_tracks(paths["mot_output"])
    assert list(zip(table.frame.tolist(), table.identity.tolist(), strict=True)) == story
    saved = json.loads(paths["json_output"].read_text())
    assert [entry["frame"] for entry in saved["frames"]] == list(range(1, FRAMES + 1))
    assert [(f["frame"], t["id"]) for f in saved["frames"] for t in f["tracks"]] == story
    with av.open(str(paths["output"])) as movie:
        stream = movie.streams.video[0]
        assert (stream.width, stream.height) == (WIDTH, HEIGHT)
        assert sum(1 for _ in movie.decode(video=0)) == FRAMES

    people = len({identity for _, identity in story})
    assert f"12 frames, {people} identities" in outcome.out
    for path in paths.values():
        assert f"wrote {path}" in outcome.out


def test_json_says_how_it_was_made(track, scene, small_weights, tmp_path):
    track("--set", "memory.capacity=7", json_output=tmp_path / "o.json")
    about = json.loads((tmp_path / "o.json").read_text())["about"]
    assert about["source"] == str(scene.folder)
    assert about["weights"] == str(small_weights)
    assert (about["preset"], about["fps"]) == ("paper", None)
    memory = about["method"]["memory"]
    assert (memory["first_overlap"], memory["capacity"]) == (1.0, 7)


def test_single_images_can_be_the_output(track, tmp_path):
    assert track("--save", "images", output=tmp_path / "drawn").code == 0
    (folder,) = (tmp_path / "drawn").iterdir()
    assert folder.name == "dance-7.tracked"
    written = sorted(path.name for path in folder.iterdir())
    assert written == [f"{n:08d}.jpg" for n in range(1, FRAMES + 1)]


# Inputs


def test_a_video_keeps_its_clock(track, scene, tmp_path):
    video = film(tmp_path / "clip.mp4", scene.images)
    outcome = track(source=video, json_output=tmp_path / "o.json", output=tmp_path / "o.mp4")
    assert outcome.code == 0
    saved = json.loads((tmp_path / "o.json").read_text())
    assert saved["about"]["fps"] == 20
    assert [f["time"] for f in saved["frames"]] == pytest.approx([n / 20 for n in range(FRAMES)])
    assert sum(len(f["tracks"]) for f in saved["frames"]) > 20
    with av.open(str(tmp_path / "o.mp4")) as movie:
        assert movie.streams.video[0].average_rate == 20


def test_an_uneven_clock_is_kept_in_the_video_too(track, scene, tmp_path):
    times = [0.0, 0.1, 0.2, 0.9, 1.0, 1.5]
    with VideoWriter(tmp_path / "clip.mp4", None) as writer:
        for image, at in zip(scene.images, times, strict=False):
            writer.write(image, at)
    outcome = track(
        source=tmp_path / "clip.mp4", output=tmp_path / "o.mp4", json_output=tmp_path / "o.json"
    )
    assert outcome.code == 0
    saved = json.loads((tmp_path / "o.json").read_text())["frames"]
    assert [frame["time"] for frame in saved] == pytest.approx(times, abs=2e-3)
    with av.open(str(tmp_path / "o.mp4")) as movie:
        assert [f.time for f in movie.decode(video=0)] == pytest.approx(times, abs=6e-3)


@pytest.mark.parametrize(("options", "numbers"), [
    pytest.param({"start": 4}, range(4, 13), id="start"),
    pytest.param({"end": 4}, range(1, 5), id="end"),
    pytest.param({"start": 1, "end": 11, "stride": 2}, range(1, 12, 2), id="stride"),
])
def test_a_part_keeps_the_numbers_of_the_whole(
    track, scene, small_weights, tmp_path, options, numbers
):
    assert track(json_output=tmp_path / "o.json", **options).code == 0
    saved = json.loads((tmp_path / "o.json").read_text())["frames"]
    assert [frame["frame"] for frame in saved] == list(numbers)
    tracker = load(small_weights, paper())
    wanted = [tracker.update(scene.proposals(n - 1), scene.images[n - 1]) for n in numbers]
    ids = [[track["id"] for track in frame["tracks"]] for frame in saved]
    assert ids == [tracks.tracker_id.tolist() for tracks in wanted]


def test_grey_and_alpha_images_are_tracked_as_colour_ones(result, scene, tmp_path):
    kinds = {
        "colour": lambda grey: cv2.merge([grey, grey, grey]),
        "grey": lambda grey: grey,
        "with alpha": lambda grey: cv2.merge([grey, grey, grey, grey // 2]),
        "grey of 16 bits": lambda grey: grey.astype(np.uint16) * 257,
    }
    greys = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in scene.images[:4]]
    found = {}
    for kind, change in kinds.items():
        source = write_images(tmp_path / kind, [change(grey) for grey in greys])
        found[kind] = result(source=source, name=f"{kind}.txt")
    assert found == dict.fromkeys(kinds, found["colour"])
    assert found["colour"]


def test_an_image_of_one_pixel_is_tracked(result, tmp_path):
    source = write_images(tmp_path / "dot", [np.full((1, 1, 3), 90, np.uint8)] * 2)
    (tmp_path / "dot.txt").write_text("1,-1,0,0,1,1,0.9\n2,-1,0,0,1,1,0.9\n")
    assert result(source=source, detections=tmp_path / "dot.txt") == b""  # below the report area
    found = result(
        "--set", "report_area=0", source=source, detections=tmp_path / "dot.txt", name="all.txt"
    )
    assert found.startswith(b"1,1,")


NO_LEARNED = ("--set", "association.birth_score=0.01")


def test_a_video_without_a_single_detection(track, tmp_path):
    (tmp_path / "none.txt").write_text("")
    outcome = track(*NO_LEARNED, detections=tmp_path / "none.txt", mot_output=tmp_path / "o.txt",
                    json_output=tmp_path / "o.json", output=tmp_path / "o.mp4")  # fmt: skip
    assert outcome.code == 0
    assert (tmp_path / "o.txt").read_bytes() == b""
    saved = json.loads((tmp_path / "o.json").read_text())["frames"]
    assert [frame["tracks"] for frame in saved] == [[]] * FRAMES
    assert "12 frames, 0 identities" in outcome.out
    assert "no entry for 12 frame(s), taken as empty" in outcome.out


def test_a_frame_absent_from_the_detections_is_counted_and_named(track, scene, tmp_path):
    lines = scene.detections.read_text().splitlines(keepends=True)
    (tmp_path / "det.txt").write_text("".join(line for line in lines if line[:2] != "2,"))
    outcome = track(detections=tmp_path / "det.txt", mot_output=tmp_path / "o.txt")
    assert outcome.code == 0
    assert "det.txt has no entry for 4 frame(s), taken as empty: 2 (" in outcome.out
    for number in (2, 5, 11, 12):
        assert f"{number} ({scene.folder.as_posix()}/{number:08d}.png)" in outcome.out


def test_bad_detection_lines_are_left_out_and_counted(usual, track, scene, tmp_path):
    good = scene.detections.read_text()
    bad = "1,-1,3,3\n2,-1,4,4,0,9,0.5\n3,-1,nan,4,9,9,0.5\n"
    (tmp_path / "det.txt").write_text(good + bad)
    outcome = track("--skip-bad-detections", detections=tmp_path / "det.txt",
                    mot_output=tmp_path / "o.txt")  # fmt: skip
    assert outcome.code == 0
    assert (tmp_path / "o.txt").read_bytes() == usual()
    first = good.count("\n") + 1
    assert "3 bad detection line(s) left out, the first" in outcome.out
    assert f"det.txt:{first}: too few fields" in outcome.out


# The order of frames


UNPADDED = [f"{number}.png" for number in range(1, FRAMES + 1)]


def test_unpadded_names_are_read_in_natural_order_with_a_warning(
    result, usual, scene, tmp_path, caplog
):
    folder = write_images(tmp_path / "img1", scene.images, UNPADDED)
    assert result(source=folder) == usual()
    assert "natural order, which differs from name order first at frame 2 (2.png, by name 10.png)" \
        in caplog.text  # fmt: skip
    assert "pad the numbers with zeros" in caplog.text


def test_released_keeps_the_order_of_names(result, usual, scene, tmp_path):
    folder = write_images(tmp_path / "img1", scene.images, UNPADDED)
    by_name = [scene.images[int(name[:-4]) - 1] for name in sorted(UNPADDED)]
    wanted = result(
        source=write_images(tmp_path / "by-name", by_name), preset="released", name="wanted.txt"
    )
    assert result(source=folder, preset="released") == wanted
    assert wanted != usual("released")


# The method


def flat(method):
    """A method by the names of its settings."""
    parts = {k: value if isinstance(value, dict) else {"": value} for k, value in method.items()}
    return {f"{a}.{b}".rstrip("."): v for a, part in parts.items() for b, v in part.items()}


@pytest.mark.parametrize(("flags", "method"), [
    pytest.param(["--miss-tolerance", 3], {"lifecycle.miss_tolerance": 3}, id="miss tolerance"),
    pytest.param(
        ["--score-threshold", 0.6],
        {"lifecycle.birth_score": 0.6, "lifecycle.miss_score": 0.6, "report_score": 0.6},
        id="one threshold for birth, presence and report"),
    pytest.param(
        ["--set", "memory.capacity=2", "stored=embedding"],
        {"memory.capacity": 2, "stored": "embedding"}, id="several settings"),
    pytest.param(
        ["--score-threshold", 0.6, "--set", "report_score=0.7"],
        {"lifecycle.birth_score": 0.6, "lifecycle.miss_score": 0.6, "report_score": 0.7},
        id="a setting goes before a threshold"),
])  # fmt: skip
def test_flags_change_the_method_and_nothing_else(track, tmp_path, flags, method):
    assert track(*flags, end=1, json_output=tmp_path / "o.json").code == 0
    saved = json.loads((tmp_path / "o.json").read_text())["about"]["method"]
    assert flat(saved) == flat(asdict(paper())) | method


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_chosen(track, tmp_path, name):
    assert track(preset=name, end=1, json_output=tmp_path / "o.json").code == 0
    saved = json.loads((tmp_path / "o.json").read_text())["about"]
    assert saved["method"] == asdict(PRESETS[name].make())


def test_the_method_decides_what_comes_out(result, usual):
    """Each of these reaches the tracker: five runs, five results."""
    runs = [
        usual("released"),
        result("--miss-tolerance", 2, name="1.txt", preset="released"),
        result("--score-threshold", 0.6, name="2.txt", preset="released"),
        result("--short-side", 96, "--max-side", 200, name="3.txt", preset="released"),
        result("--set", "association.duplicate_iou=0.3", name="4.txt", preset="released"),
    ]
    assert len(set(runs)) == 5
