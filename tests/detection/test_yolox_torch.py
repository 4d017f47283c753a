"""YOLOX checkpoints: networks with random weights under Megvii's names."""

import sys
import warnings

import numpy as np
import pytest
import torch

from helpers.scenes import RunsCode
from tfsasm.detection import yolox_torch
from tfsasm.detection.detectors import detector
from tfsasm.detection.yolox import YoloxDetector, YoloxSettings
from tfsasm.detection.yolox_torch import YoloxTorchDetector, usual_input
from tfsasm.errors import InputError, WeightsError

pytest.importorskip("yolox.config", reason="pixeltable-yolox is not installed")

SMALL = YoloxSettings(input_size=(64, 96), legacy=False)
ALL = YoloxSettings(input_size=(64, 96), legacy=False, score_threshold=0, nms_iou=1, clip=False)
IMAGE = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def network():
    """A nano of two classes whose batch norms have seen something, so that its answers differ."""
    torch.manual_seed(0)
    made = yolox_torch.new_network("yolox-nano", 2).train()
    made.training = made.head.training = False  # only the norms shall learn
    with torch.no_grad():
        for part in made.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.momentum = 0.5
                part.weight.normal_(1, 0.3)
        for _ in range(3):
            made(torch.rand(2, 3, 64, 96) * 255)
        for layer in (*made.head.obj_preds, *made.head.cls_preds):
            layer.weight.normal_(0, 0.5)
            layer.bias.zero_()  # it begins far below
    return made.eval()


@pytest.fixture(scope="module")
def single():
    """A nano of one class."""
    return yolox_torch.new_network("yolox-nano", 1)


def saved(path, network, change=lambda state: state, **more):
    """As Megvii's trainer writes it."""
    torch.save({"model": change(dict(network.state_dict())), "start_epoch": 3, **more}, path)
    return path


def test_a_checkpoint_answers_as_its_export_does(tmp_path, network):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this way of exporting is old, and quick
        torch.onnx.export(network, (torch.zeros(1, 3, 64, 96),), tmp_path / "n.onnx", dynamo=False)
    live = detector("yolox-nano", saved(tmp_path / "n.pth", network), ALL)
    exported = detector("yolox-nano", tmp_path / "n.onnx", ALL)
    assert (type(live), type(exported)) == (YoloxTorchDetector, YoloxDetector)
    canvas = np.random.default_rng(1).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    batch = np.ascontiguousarray(canvas.transpose(2, 0, 1)[None], np.float32)
    (raw,) = live.infer(batch)
    np.testing.assert_allclose(raw, exported.infer(batch)[0], rtol=1e-4, atol=1e-5)
    assert raw.shape == (12 * 8 + 6 * 4 + 3 * 2, 7)
    assert np.ptp(raw[:, 4]) > 0.1, "a network that says nothing proves nothing"

    boxes, scores = live.detect(IMAGE)
    others, of_others = exported.detect(IMAGE)
    np.testing.assert_allclose(scores, of_others, atol=1e-6)
    by_place = [np.lexsort(found.round(1).T) for found in (boxes, others)]
    np.testing.assert_allclose(boxes[by_place[0]], others[by_place[1]], atol=1e-2)


@pytest.mark.parametrize(("size", "names", "parameters"), [
    pytest.param("yolox-nano", 642, 896_754, id="nano"),
    pytest.param("yolox-tiny", 462, 5_032_866, id="tiny"),
    pytest.param("yolox-s", 462, 8_937_682, id="s"),
    pytest.param("yolox-m", 606, 25_280_754, id="m"),
    pytest.param("yolox-l", 750, 54_147_986, id="l"),
    pytest.param("yolox-x", 894, 98_995_378, id="x"),
])
def test_each_size_is_recognised_by_its_shapes(tmp_path, size, names, parameters):
    """One class, as the tracking checkpoints have; on no device, since only shapes matter."""
    with torch.device("meta"):
        state = yolox_torch.new_network(size, 1).state_dict()
    assert len(state) == names
    counted = [n for n in state if "running" not in n and "num_batches" not in n]
    assert sum(state[n].numel() for n in counted) == parameters
    assert yolox_torch.recognise(state, tmp_path) == (size, 1)


def test_batch_norms_have_the_epsilon_of_the_checkpoints(network):
    assert {m.eps for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {1e-3}
    assert not network.training


@pytest.mark.parametrize(("file", "size", "classes", "wanted"), [
    pytest.param("bytetrack_x_mot17.pth.tar", "yolox-x", 1, ((800, 1440), True), id="ByteTrack"),
    pytest.param("bytetrack_dance_model.pth.tar", "yolox-x", 1, ((800, 1440), True), id="dance"),
    pytest.param("bytetrack_nano_mot17.pth.tar", "yolox-nano", 1, ((608, 1088), True), id="small"),
    pytest.param("yolox_x.pth.tar", "yolox-x", 80, ((640, 640), True), id="YOLOX 0.1.0"),
    pytest.param("yolox_x.pth", "yolox-x", 80, ((640, 640), False), id="Megvii"),
    pytest.param("yolox_tiny.pth", "yolox-tiny", 80, ((416, 416), False), id="Megvii, small"),
    pytest.param("mine.pth", "yolox-s", 1, ((640, 640), False), id="a recent file of one class"),
])
def test_what_a_file_is_shown(file, size, classes, wanted):
    assert usual_input(file, size, classes) == wanted


class Quick(YoloxTorchDetector):
    """Answers without its network."""

    def infer(self, batch):
        return np.full((1, sum(batch[0, 0, ::s, ::s].size for s in (8, 16, 32)), 6), 0.5)


@pytest.mark.parametrize(("file", "settings", "size", "legacy", "told"), [
    pytest.param("a.pth.tar", {}, (608, 1088), True, "608x1088 pixels, RGB normalised", id="tar"),
    pytest.param("a.pth", {}, (416, 416), False, "416x416 pixels, BGR from 0 to 255", id="pth"),
    pytest.param("a.pth.tar", {"input_size": (64, 96)}, (64, 96), True, "64x96", id="own size"),
    pytest.param("a.pth", {"legacy": True}, (416, 416), True, "RGB", id="own normalisation"),
    pytest.param("a.pth", {"input_size": (64, 96), "legacy": True}, (64, 96), True, "", id="both"),
])
def test_what_was_assumed_is_told(tmp_path, single, file, settings, size, legacy, told):
    found = Quick(saved(tmp_path / file, single), YoloxSettings(**settings))
    assert (found.input_size, found.legacy) == (size, legacy)
    assert len(found.report()) == bool(told)
    assert told in "".join(found.report())


class Recorder(YoloxTorchDetector):
    """Keeps what the network gets."""

    def infer(self, batch):
        self.batch = batch
        return super().infer(batch)


def test_legacy_pixels_reach_the_network(tmp_path, network):
    path = saved(tmp_path / "n.pth.tar", network)
    found = Recorder(path, YoloxSettings(input_size=(64, 96)))
    found.detect(np.full((64, 96, 3), (10, 20, 30), np.uint8))
    wanted = [(30 / 255 - 0.485) / 0.229, (20 / 255 - 0.456) / 0.224, (10 / 255 - 0.406) / 0.225]
    np.testing.assert_allclose(found.batch[0, :, 5, 5], wanted, rtol=1e-5)
    assert found.batch.dtype == np.float32


@pytest.mark.parametrize("change", [
    pytest.param(lambda state: {n: t.half() for n, t in state.items() if t.ndim}, id="float16"),
    pytest.param(lambda state: {n: t for n, t in state.items() if "num_b" not in n}, id="stripped"),
])
def test_other_ways_to_save_the_same_network(tmp_path, network, change):
    found = detector("yolox-nano", saved(tmp_path / "n.pth", network, change), SMALL)
    assert found.size == "yolox-nano"
    assert len(found.detect(IMAGE)[0]) == len(detector(
        "yolox-nano", saved(tmp_path / "whole.pth", network), SMALL).detect(IMAGE)[0])


def test_a_bare_state_dict_and_old_numpy_scalars_are_read(tmp_path, network):
    torch.save(network.state_dict(), tmp_path / "bare.pt")
    old = saved(tmp_path / "old.pth", network, best_ap=np.float64(0.4))
    for path in (tmp_path / "bare.pt", old):
        assert detector("yolox-nano", path, SMALL).size == "yolox-nano"


def without(name, **others):
    return lambda state: {n: t for n, t in state.items() if n != name} | others


STEM = "backbone.backbone.stem.conv.conv.weight"
BIAS = "head.obj_preds.0.bias"


@pytest.mark.parametrize(("change", "parts"), [
    pytest.param(without(BIAS, extra=torch.zeros(1)),
                 ["does not fit a yolox-nano, 2 problems", f"missing: {BIAS}", "surplus: extra"],
                 id="names"),
    pytest.param(without(BIAS, **{BIAS: torch.zeros(3)}),
                 ["1 problem", f"wrong shape: {BIAS} is [3] instead of [1]"], id="shape"),
    pytest.param(without("head.cls_preds.0.weight"), ["is not a YOLOX checkpoint"], id="no head"),
    pytest.param(lambda _: {"conv1.weight": torch.zeros(2)}, ["begins with conv1.weight"],
                 id="another network"),
    pytest.param(without("", **{STEM: torch.zeros(7, 12, 3, 3)}),
                 ["a YOLOX of width 7; known are 16 (yolox-nano)"], id="another width"),
    pytest.param(lambda _: {"a": 1}, ["'a' names no tensor"], id="no tensors"),
    pytest.param(lambda _: {}, ["holds no state dict"], id="nothing"),
])
def test_a_checkpoint_that_does_not_fit_lists_all_that_is_wrong(tmp_path, network, change, parts):
    path = saved(tmp_path / "n.pth", network, change)
    with pytest.raises(WeightsError) as caught:
        detector("yolox-nano", path, SMALL)
    for part in (str(path), *parts):
        assert part in str(caught.value)


def cut(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(("spoil", "problem"), [
    pytest.param(cut, "truncated or not a PyTorch checkpoint", id="half"),
    pytest.param(lambda path: path.write_bytes(b""), "truncated or not", id="empty"),
    pytest.param(lambda path: path.write_text("hello"), "truncated or not", id="text"),
])
def test_a_damaged_checkpoint_is_named(tmp_path, network, spoil, problem):
    path = saved(tmp_path / "n.pth.tar", network)
    spoil(path)
    with pytest.raises(WeightsError, match=problem):
        detector("yolox-nano", path, SMALL)


def test_a_checkpoint_never_runs_code(tmp_path, network):
    path = saved(tmp_path / "n.pth", network, trap=RunsCode(tmp_path / "out-of-the-cage"))
    with pytest.raises(WeightsError, match=r"open, more than tensors, and could run code"):
        detector("yolox-nano", path, SMALL)
    assert not (tmp_path / "out-of-the-cage").exists()


@pytest.mark.parametrize(("name", "settings", "problem"), [
    pytest.param("yolox-x", {}, "holds a yolox-nano, not a yolox-x; say --detector yolox-nano",
                 id="another size"),
    pytest.param("yolox-nano", {"classes": (2,)}, "2 classes, 0 to 1", id="a class it lacks"),
    pytest.param("yolox-nano", {"device": "gpu"}, "no device 'gpu' here", id="no such device"),
])
def test_what_is_asked_of_a_checkpoint_must_be_there(tmp_path, network, name, settings, problem):
    path = saved(tmp_path / "n.pth", network)
    with pytest.raises(InputError, match=problem):
        detector(name, path, YoloxSettings(input_size=(64, 96), **settings))


def test_track_takes_a_checkpoint_by_its_suffix(tmp_path, track, single):
    path = saved(tmp_path / "bytetrack_nano.pth.tar", single)
    outcome = track(detections=None, detector="yolox-nano", detector_weights=path,
                    detector_set="input_size=64x96", detector_score=0, end=2,
                    mot_output=tmp_path / "o.txt")
    assert outcome.code == 0, outcome
    assert "a yolox-nano of 1 class(es) that sees 64x96 pixels, RGB normalised" in outcome.out


def test_a_checkpoint_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"no checkpoint at .*lost\.pth"):
        detector("yolox-x", tmp_path / "lost.pth.tar")


def test_without_the_package_the_message_says_what_to_install(tmp_path, network, monkeypatch):
    path = saved(tmp_path / "n.pth", network)
    monkeypatch.setitem(sys.modules, "yolox.config", None)
    with pytest.raises(InputError, match=r'pip install "tfsasm\[yolox\]"'):
        detector("yolox-nano", path)
