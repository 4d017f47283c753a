"""Synthetic clips: repeatable, well-formed, and with detections that are wrong in the right way."""

import configparser
import itertools
import os
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tfsasm.boxes import iou_matrix, ltwh_to_xyxy
from tfsasm.datasets.synthetic import rendering
from tfsasm.datasets.synthetic.config import KINDS, SceneConfig
from tfsasm.datasets.synthetic.sequences import (
    plan_clip,
    render_clip,
    sequence_seed,
    write_sequences,
)
from tfsasm.errors import InputError
from tfsasm.files import partial_path

SMALL = SceneConfig(width=192, height=144, frames=6)


def fingerprint(frames):
    parts = [getattr(f, name) for f in frames for name in ("image", "boxes", "ids", "detections")]
    return [part.tobytes() for part in parts]


@pytest.fixture(scope="module")
def clips():
    """Four clips of every kind, drawn once for all the properties below."""
    return {
        kind: [list(render_clip(seed, replace(SMALL, kinds=(kind,)))) for seed in range(4)]
        for kind in KINDS
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_means_one_video(clips, kind):
    again = fingerprint(render_clip(3, replace(SMALL, kinds=(kind,))))
    assert again == fingerprint(clips[kind][3])
    assert again != fingerprint(clips[kind][2])


def test_a_seed_means_the_same_video_in_another_process():
    code = (
        "import sys; from tfsasm.datasets.synthetic.config import SceneConfig;"
        "from tfsasm.datasets.synthetic.sequences import render_clip;"
        "c = SceneConfig(width=96, height=72, frames=2);"
        "[sys.stdout.buffer.write(f.image.tobytes() + f.detections.tobytes())"
        " for f in render_clip(11, c)]"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    here = render_clip(11, SceneConfig(width=96, height=72, frames=2))
    assert there == b"".join(f.image.tobytes() + f.detections.tobytes() for f in here)


def test_the_detector_does_not_change_the_image():
    good = render_clip(5, replace(SMALL, detector_quality=(1, 1)))
    bad = render_clip(5, replace(SMALL, detector_quality=(0, 0)))
    for a, b in zip(good, bad, strict=True):
        assert (a.image == b.image).all()
        assert (a.boxes == b.boxes).all()


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_well_formed(clips, kind):
    for frame in (frame for clip in clips[kind] for frame in clip):
        assert frame.image.shape == (144, 192, 3)
        assert frame.image.dtype == np.uint8
        assert frame.boxes.dtype == frame.visibility.dtype == frame.detections.dtype == np.float32
        assert frame.ids.dtype == np.int64
        assert (frame.ids >= 1).all()
        assert len(frame.boxes) == len(frame.ids) == len(frame.visibility)
        assert len(set(frame.ids.tolist())) == len(frame.ids)
        assert ((frame.visibility >= 0.1) & (frame.visibility <= 1)).all()
        assert ((frame.detections[:, 4] > 0.05) & (frame.detections[:, 4] <= 1)).all()
        assert (np.diff(frame.detections[:, 4]) <= 0).all()
        for boxes in (frame.boxes, frame.detections[:, :4]):
            assert (boxes[:, 2:] > 0).all()
            near, far = ltwh_to_xyxy(boxes)[:, :2], ltwh_to_xyxy(boxes)[:, 2:]
            assert (near >= 0).all()
            assert (far <= np.array([192, 144]) + 1e-3).all()


@pytest.mark.parametrize("kind", KINDS)
def test_an_id_follows_one_person(clips, kind):
    jumps, steps = 0, 0
    for clip in clips[kind]:
        for before, after in itertools.pairwise(clip):
            places = dict(zip(before.ids.tolist(), ltwh_to_xyxy(before.boxes), strict=True))
            for identity, box in zip(after.ids.tolist(), ltwh_to_xyxy(after.boxes), strict=True):
                if identity in places:
                    steps += 1
                    jumps += iou_matrix(places[identity][None], box[None])[0, 0] == 0
    assert steps > 80
    assert jumps < 0.1 * steps


def test_a_box_holds_its_person():
    """Against an empty stage, the pixels that differ lie inside the boxes."""
    config = replace(SMALL, people=(1, 1), occluders=(0, 0), kinds=("dance",), camera_motion=0.0)
    for seed in range(4):
        clip = plan_clip(seed, config)
        neutral = {"noise": None, "gamma": 1.0, "gain": np.ones(config.frames)}
        vars(clip.optics).update(shadow=0.0, jpeg=0, softness=0.0, shutter=0.0, **neutral)
        frame = rendering.render(clip, 0)
        if not len(frame.ids):
            continue
        empty = rendering.background(clip, 0)
        changed = cv2.absdiff(frame.image, empty).max(axis=2) > 24
        rows, columns = np.nonzero(changed)
        left, top, right, bottom = ltwh_to_xyxy(frame.boxes)[0]
        assert left - 2 <= columns.min()
        assert columns.max() <= right + 2
        assert top - 2 <= rows.min()
        assert rows.max() <= bottom + 2
        assert changed.sum() > 0.2 * frame.boxes[0, 2] * frame.boxes[0, 3]


@pytest.mark.parametrize(
    ("quality", "least", "most", "false_boxes"),
    [
        pytest.param(0.0, 0.75, 0.98, 3.0, id="like YOLOX-nano"),
        pytest.param(1.0, 0.85, 1.0, 0.02, id="like YOLOX-X"),
    ],
)
def test_detections_are_as_wrong_as_a_detectors(quality, least, most, false_boxes):
    config = replace(SMALL, frames=4, detector_quality=(quality, quality), photographs=False)
    found = people = wrong = frames = 0
    for seed in range(4, 12):
        for frame in render_clip(seed, config):
            overlap = iou_matrix(ltwh_to_xyxy(frame.boxes), ltwh_to_xyxy(frame.detections[:, :4]))
            frames += 1
            people += len(frame.ids)
            hits = int((overlap >= 0.5).any(axis=1).sum()) if overlap.size else 0
            found += hits
            wrong += len(frame.detections) - hits
    assert least < found / people < most
    assert wrong / frames > false_boxes


@pytest.mark.parametrize("kind", KINDS)
def test_no_people_is_a_normal_scene(kind):
    for frame in render_clip(1, replace(SMALL, frames=2, kinds=(kind,), people=(0, 0))):
        assert frame.boxes.shape == (0, 4)
        assert frame.ids.shape == (0,)
        assert frame.detections.shape[1] == 5


@pytest.mark.parametrize("size", [(8, 8), (17, 9), (9, 33), (640, 24)])
def test_any_size(size):
    for seed, kind in enumerate(KINDS + KINDS):
        config = SceneConfig(width=size[0], height=size[1], frames=2, kinds=(kind,))
        for frame in render_clip(seed, config):
            assert frame.image.shape == (size[1], size[0], 3)


def test_no_frames_and_one_frame():
    assert list(render_clip(0, replace(SMALL, frames=0))) == []
    assert len(list(render_clip(0, replace(SMALL, frames=1)))) == 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"width": 4}, "4x144"),
        ({"frames": -1}, "-1"),
        ({"kinds": ("opera",)}, "opera"),
        ({"kinds": ()}, "kinds"),
        ({"people": (5, 2)}, "people"),
        ({"people": (1, 400)}, "400"),
        ({"frame_rate": (0.0, 5.0)}, "frame_rate"),
    ],
)
def test_a_bad_setting_is_named(change, named):
    with pytest.raises(InputError, match=named):
        replace(SMALL, **change)


def test_collections_share_no_sequence():
    seeds = {sequence_seed(seed, index) for seed in range(50) for index in range(50)}
    assert len(seeds) == 2500


def test_folders_hold_what_was_rendered(tmp_path):
    steps, config = [], replace(SMALL, frame_rate=(12.4, 12.4))
    folders = write_sequences(
        tmp_path / "out", 2, 7, config, progress=lambda done, total: steps.append((done, total))
    )
    assert steps == [(1, 2), (2, 2)]
    for index, folder in enumerate(folders):
        info = configparser.ConfigParser()
        info.read(folder / "seqinfo.ini")
        assert info["Sequence"]["name"] == folder.name
        assert info["Sequence"]["seqLength"] == "6"
        assert info["Sequence"]["frameRate"] == "12"  # many tools read whole numbers only
        truth = np.loadtxt(folder / "gt" / "gt.txt", delimiter=",", ndmin=2)
        found = np.loadtxt(folder / "det" / "det.txt", delimiter=",", ndmin=2)
        for number, frame in enumerate(render_clip(sequence_seed(7, index), config), start=1):
            rows = truth[truth[:, 0] == number] if truth.size else np.zeros((0, 9))
            np.testing.assert_array_equal(rows[:, 1], frame.ids)
            np.testing.assert_allclose(rows[:, 2:6], frame.boxes, atol=0.006)
            np.testing.assert_allclose(rows[:, 8], frame.visibility, atol=0.001)
            rows = found[found[:, 0] == number] if found.size else np.zeros((0, 7))
            np.testing.assert_allclose(rows[:, 2:7], frame.detections, atol=0.006)
            image = cv2.imread(str(folder / "img1" / f"{number:08d}.jpg"))
            assert np.abs(image.astype(int) - frame.image).mean() < 12


def test_an_existing_folder_is_kept_unless_asked(tmp_path):
    config = replace(SMALL, frames=1)
    (first,) = write_sequences(tmp_path, 1, 7, config)
    (first / "mark").touch()
    with pytest.raises(InputError, match=first.name):
        write_sequences(tmp_path, 2, 7, config)
    assert (first / "mark").exists()
    assert len(list(tmp_path.iterdir())) == 1
    write_sequences(tmp_path, 2, 7, config, overwrite=True)
    assert not (first / "mark").exists()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file"):
        write_sequences(tmp_path / "file" / "out", 1, 7, SMALL)


def test_being_stopped_leaves_whole_sequences(tmp_path, monkeypatch):
    calls, write = [], cv2.imwrite

    def stopping(*arguments):
        calls.append(arguments)
        if len(calls) == 5:  # the second image of the second sequence
            raise KeyboardInterrupt
        return write(*arguments)

    monkeypatch.setattr(cv2, "imwrite", stopping)
    with pytest.raises(KeyboardInterrupt):
        write_sequences(tmp_path, 3, 7, replace(SMALL, frames=3))
    (whole,) = tmp_path.iterdir()
    assert len(list((whole / "img1").iterdir())) == 3
    assert (whole / "seqinfo.ini").exists()


def test_what_a_killed_run_left_half_written_is_removed(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    own = partial_path(tmp_path / "synthetic-3-0000")
    left = own.with_name(own.name.replace(str(os.getpid()), str(gone.pid)))
    (left / "synthetic-3-0000" / "img1").mkdir(parents=True)
    write_sequences(tmp_path, 1, 3, SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["synthetic-3-0000"]
