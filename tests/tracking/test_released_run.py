"""The released run: the whole published network, forty frames, every number compared."""

import copy
import zlib

import numpy as np
import pytest
import torch

from helpers.golden_data import released_model, synthetic_sequence, vectors
from tfsasm.detection.proposals import Proposals
from tfsasm.motrv2.config import full
from tfsasm.motrv2.export import export
from tfsasm.motrv2.fast.model import FastMOTRv2
from tfsasm.motrv2.network import TorchNetwork
from tfsasm.runtime.exported import ExportedNetwork
from tfsasm.settings import with_settings
from tfsasm.tables import as_numpy
from tfsasm.tracking.config import released
from tfsasm.tracking.query import report, step
from tfsasm.tracking.state import begin

HEIGHT, WIDTH = 216, 384
SHORT_SIDE, MAX_SIDE = 256, 480
METHOD = with_settings(released(), {"lifecycle.miss_tolerance": "20"})
NETWORK = full()
KERNEL_NOISE = {
    "scores": 2e-5, "pred_boxes": 5e-6, "mem_bank": 1e-4, "best_features": 1e-4, "accum_dist": 2e-5,
    "best_iou": 1e-4, "query_pos": 1e-4, "ref_pts": 5e-6,
}  # fmt: skip
EXPORT_NOISE = dict.fromkeys(("mem_bank", "accum_dist", "query_pos", "ref_pts"), 1e-4)


@pytest.mark.parametrize("sampling", [
    pytest.param("auto", id="with the quickest kernel there is"),
    pytest.param("plain", id="in the order of the released code", marks=pytest.mark.slow),
])
def test_forty_frames_are_those_of_the_released_code(sampling, monkeypatch, two_threads):
    """19 identities, 4 deaths, 27 stores."""
    monkeypatch.setenv("TFSASM_SAMPLING", sampling)
    assert distance_of_lines(in_pytorch(released_model()), exactly=True) == 0


@pytest.mark.slow
def test_the_fast_network_keeps_them(two_threads):
    assert distance_of_lines(in_pytorch(FastMOTRv2(copy.deepcopy(released_model())))) <= 1


@pytest.mark.slow
@pytest.mark.parametrize(("runtime", "package"), [("onnx", "onnxruntime"), ("openvino",) * 2])
def test_an_export_keeps_them(tmp_path, runtime, package):
    pytest.importorskip(package)
    export(released_model(), NETWORK, tmp_path, runtime)
    network = ExportedNetwork(
        tmp_path, runtime, threads=torch.get_num_threads(), short_side=SHORT_SIDE, max_side=MAX_SIDE
    )
    assert distance_of_lines(network, EXPORT_NOISE) <= 1


def in_pytorch(model):
    config = with_settings(NETWORK, {"short_side": str(SHORT_SIDE), "max_side": str(MAX_SIDE)})
    return TorchNetwork(model, config)


def distance_of_lines(network, noise=KERNEL_NOISE, *, exactly=False):
    """How far result lines are off, in hundredths of a pixel; the state is checked on the way."""
    golden = vectors("run_tol20")
    state, lines = begin(network, METHOD), []
    for index, (image, proposals) in enumerate(frames()):
        features = network.encode([image])[0]
        state, output = step(
            network, state, features, proposals.map(network.asarray), METHOD
        )
        prefix = f"f{index:03d}/out/"
        wanted = {k.removeprefix(prefix): v for k, v in golden.items() if k.startswith(prefix)}
        assert_as_released(state.tracks.map(as_numpy), output.map(as_numpy), wanted, noise)
        lines += result_lines(index + 1, report(output, WIDTH, HEIGHT, METHOD))
    assert len(lines) == 117
    assert not exactly or lines == golden["lines"].tolist()  # byte for byte
    mine, theirs = (
        np.array([line.split(",") for line in some], dtype=float)
        for some in (lines, golden["lines"].tolist())
    )
    assert (mine[:, :2] == theirs[:, :2]).all()
    return np.rint(100 * np.abs(mine - theirs)).max()


def frames():
    """Images `[H, W, 3]` BGR and detections."""
    images, detections = synthetic_sequence(
        40, HEIGHT, WIDTH, nobj=6, seed=7, zero_frames=[4, 5, 13]
    )
    checksums = vectors("run_tol20")["frame_crc32"]
    for image, lines, checksum in zip(images, detections, checksums, strict=True):
        assert zlib.crc32(image.tobytes()) == checksum
        rows = np.array([line.split(",") for line in lines], dtype=float).reshape(-1, 5)
        proposals = Proposals.from_ltwh(rows[:, :4], rows[:, 4], WIDTH, HEIGHT)
        yield np.ascontiguousarray(image[..., ::-1]), proposals


def assert_as_released(tracks, output, wanted, noise):
    """Identities, counters and masks exactly; numbers within the `noise` between kernels."""
    views = tracks.memory
    assert tracks.ids.tolist() == output.ids.tolist() == wanted["obj_idxes"].tolist()
    assert tracks.missed.tolist() == wanted["disappear_time"].tolist()
    assert np.array_equal(views.valid, ~wanted["mem_padding_mask"])
    assert np.array_equal(views.gap, wanted["frame_idx"] - wanted["mem_frames_idx"][:, -1])
    columns = {
        "scores": output.scores, "pred_boxes": output.boxes, "mem_bank": views.features,
        "best_features": views.candidate, "accum_dist": views.travel, "best_iou": views.overlap,
        "query_pos": tracks.queries.content, "ref_pts": tracks.queries.boxes,
    }  # fmt: skip
    for name, tolerance in noise.items():
        np.testing.assert_allclose(columns[name], wanted[name], rtol=0, atol=tolerance)


def result_lines(frame, tracks):
    for identity, (x1, y1, x2, y2) in zip(
        tracks.tracker_id.tolist(), tracks.xyxy.tolist(), strict=True
    ):
        yield (
            f"{frame},{identity - 1},{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},1,-1,-1,-1"
        )
