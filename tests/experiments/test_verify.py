"""Variants to run a checkpoint, compared: who agrees, who does not, and who could not be run."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import supervision as sv

from helpers.scenes import NETWORK, lively_model, write_folders
from tfsasm.errors import InputError, WeightsError
from tfsasm.experiments import verify
from tfsasm.experiments.verify import Agreement, advice, compared, describe
from tfsasm.motrv2.weights import save_model


def tracks(*rows):
    """Tracks from `(identity, left)`."""
    return sv.Detections(
        xyxy=np.array([[x, 0, x + 10, 10] for _, x in rows], float).reshape(-1, 4),
        tracker_id=np.array([identity for identity, _ in rows], int),
    )


@pytest.mark.parametrize(("mine", "theirs", "result"), [
    pytest.param([(1, 0), (2, 50)], [(1, 0), (2, 50)], (True, 0), id="alike"),
    pytest.param([(2, 50), (1, 0)], [(1, 0), (2, 50)], (True, 0), id="in another order"),
    pytest.param([(1, 0.25)], [(1, 0)], (True, 0.25), id="a box apart"),
    pytest.param([(3, 0)], [(1, 0)], (False, 0), id="another identity"),
    pytest.param([(1, 4), (3, 9)], [(1, 0)], (False, 4), id="one more"),
    pytest.param([], [], (True, 0), id="nobody"),
])
def test_frames_are_compared_by_identity(mine, theirs, result):
    assert compared([tracks(*mine)], [tracks(*theirs)]) == result


@pytest.mark.parametrize(("values", "verdict", "good"), [
    (("plain", 1.0, True, 0.001, 5), "agrees", True),
    (("plain", 1.0, True, 3.0, 5), "boxes differ", False),
    (("fast-bf16", 1.0, True, 3.0, 5), "same identities, rounded", True),
    (("fast-bf16", 1.0, False, 3.0, 5), "other identities", False),
    (("plain", 1.0, True, 0.0, 0), "tracks nothing", False),
    (("onnx", 0.0, False, 0.0, 0, "pip install onnx"), "not run: pip install onnx", True),
])  # fmt: skip
def test_each_way_has_a_verdict(values, verdict, good):
    one = Agreement(*values)
    assert (one.verdict, one.good) == (verdict, good)


SAME = Agreement("exact", 1.0, True, 0.0, 5, margin=0.2)
HALF = Agreement("fast-bf16", 1.0, False, 3.0, 5, margin=0.003)
OTHER = Agreement("plain", 1.0, False, 3.0, 5)


@pytest.mark.parametrize(("found", "starts"), [
    pytest.param([SAME], [], id="all agree"),
    pytest.param([SAME, Agreement("onnx", 0.0, False, 0.0, absent="no")], [], id="one not run"),
    pytest.param([SAME, HALF], ["a score of 0.5 decides", "fast-bf16: half"], id="rounding"),
    pytest.param([SAME, HALF, OTHER], ["a score", "fast-bf16: half", "plain: another order"],
                 id="both kinds"),
])  # fmt: skip
def test_other_identities_are_explained(found, starts):
    lines = advice(found)
    assert len(lines) == len(starts)
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True))
    if lines:
        assert "has 0.003 more" in lines[0]


def test_a_way_that_computes_something_else_is_found(small_weights, tmp_path, monkeypatch):
    """And one whose package is missing is told, while the others go on."""
    other = tmp_path / "other.safetensors"
    save_model(other, lively_model(seed=3), NETWORK)
    made = verify.network_of

    def make(variant, weights, folder):
        if variant == "onnx":
            raise InputError("pip install onnx")
        return made("plain", other if variant == "fast-fp32" else weights, folder)

    monkeypatch.setattr(verify, "network_of", make)
    video = verify.rendered(3)
    found = list(verify.verify(small_weights, video, ("exact", "plain", "fast-fp32", "onnx")))
    assert [one.variant for one in found] == ["exact", "plain", "fast-fp32", "onnx"]
    assert [one.good for one in found] == [True, True, False, True]
    assert found[3].verdict == "not run: pip install onnx"
    assert found[0].margin == pytest.approx(found[1].margin, abs=1e-4)
    assert 0 < found[0].margin < 0.5


def test_the_frames_may_be_those_of_a_data_set(scene, tmp_path):
    clips = write_folders(scene, tmp_path / "clips")
    video = verify.recorded("mot", clips, None, 4)
    assert len(video) == 4
    for index, (image, boxes) in enumerate(video):
        np.testing.assert_array_equal(image, scene.images[index])
        np.testing.assert_array_equal(boxes.boxes, scene.proposals(index).boxes)
    (_, none), *_ = verify.recorded("mot", clips, tmp_path / "none", 4, proposals=False)
    assert len(none) == 0
    for name in "abc":
        shutil.rmtree(clips / name / "img1")
    with pytest.raises(InputError, match="has images"):
        verify.recorded("mot", clips, None, 4)


def test_a_checkpoint_is_described_once_it_is_whole(small_weights, tmp_path):
    about, network = describe(small_weights)
    assert network == NETWORK
    assert "short, 1+2 layers of width" in about
    with pytest.raises(WeightsError, match="no checkpoint at"):
        describe(tmp_path / "lost.pth")
