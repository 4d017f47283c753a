"""YOLOX on networks of one node that answer what the test wants."""

import contextlib
import socket
import sys
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from tfsasm.boxes import iou_matrix
from tfsasm.detection import yolox
from tfsasm.detection.detectors import detector
from tfsasm.detection.yolox import YoloxDetector, YoloxSettings
from tfsasm.errors import InputError
from tfsasm.files import sha256
from tfsasm.video.source import open_video

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SIDE = 64
CELLS = 8 * 8 + 4 * 4 + 2 * 2
GRID = yolox.grid((SIDE, SIDE), (8, 16, 32))


def network(
    path, output, *, shape=(1, 3, SIDE, SIDE), kind=onnx.TensorProto.FLOAT, name="images",
    about=None,
):
    """An ONNX file whose answer to any image is `output`, with metadata `about`."""
    helper = onnx.helper
    nodes = [
        helper.make_node("ReduceMax", [name], ["top"], keepdims=0),
        helper.make_node("Cast", ["top"], ["peak"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["peak", "zero"], ["nothing"]),
        helper.make_node("Add", ["answer", "nothing"], ["output"]),
    ]
    output = np.asarray(output, np.float32)
    constants = [onnx.numpy_helper.from_array(output, "answer"),
                 onnx.numpy_helper.from_array(np.zeros(1, np.float32), "zero")]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(name, kind, shape)],
        [helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, None)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.helper.set_model_props(model, about or {})
    onnx.save(model, path)
    return path


def answer(boxes=(), *, decoded=False, cells=GRID, classes=2):
    """A network's output: silence, but for `(cell, (cx, cy, w, h), objectness, class scores)`.

    Boxes are pixels of the network's input; `decoded` says in which form they are answered.
    """
    stride = cells[:, 2:]
    pixels = np.concatenate([(cells[:, :2] + 0.5) * stride, stride, stride], axis=1)
    scores = np.zeros((len(cells), 1 + classes))
    for cell, box, objectness, of_class in boxes:
        pixels[cell] = box
        scores[cell] = [objectness, *of_class]
    if not decoded:
        pixels = np.concatenate(
            [pixels[:, :2] / stride - cells[:, :2], np.log(pixels[:, 2:] / stride)], axis=1)
    return np.concatenate([pixels, scores], axis=1)[None]


def image(width=128, height=64):
    return np.zeros((height, width, 3), np.uint8)


ONE = [(20, (32, 16, 10, 20), 0.8, (0.5, 0.1))]


@pytest.mark.parametrize("force", [False, True], ids=["seen", "forced"])
@pytest.mark.parametrize("decoded", [False, True], ids=["raw", "decoded"])
def test_raw_and_decoded_outputs_give_the_same_boxes(tmp_path, decoded, force):
    file = network(tmp_path / "net.onnx", answer(ONE, decoded=decoded))
    found = YoloxDetector(file, YoloxSettings(decoded=decoded if force else None))
    assert found.decoded is decoded
    xyxy, scores = found.detect(image())
    np.testing.assert_allclose(xyxy, [[54, 12, 74, 52]], atol=1e-4)  # twice the network's pixels
    np.testing.assert_allclose(scores, [0.4], rtol=1e-6)


@pytest.mark.parametrize(("side", "strides", "spread"), [
    pytest.param(32, (8, 16, 32), 0.5, id="tiniest"),
    pytest.param(416, (8, 16, 32), 0.0, id="usual, exact"),
    pytest.param(416, (8, 16, 32), 5.0, id="usual, wild"),
    pytest.param(1280, (8, 16, 32, 64), 5.0, id="P6, wild"),
])
def test_the_form_of_the_output_shows_in_its_numbers(side, strides, spread):
    cells = yolox.grid((side, side), strides)
    offsets = np.random.default_rng(0).normal(0.5, spread, (len(cells), 2)).astype(np.float32)
    assert not yolox.is_decoded(offsets, cells)
    assert yolox.is_decoded((offsets + cells[:, :2]) * cells[:, 2:], cells)


def test_proposals_are_normalised_by_the_original_image(tmp_path):
    found = YoloxDetector(network(tmp_path / "net.onnx", answer(ONE)))
    frame = SimpleNamespace(image=image(), number=1, name="a", time=None)
    proposals = found(frame)
    np.testing.assert_allclose(proposals.boxes, [[0.5, 0.5, 20 / 128, 40 / 64]], atol=1e-6)


@pytest.mark.parametrize(("names", "labels", "taken"), [
    pytest.param("{0: 'ball', 1: 'player'}", ["player"], {1: "player"}, id="by the file's name"),
    pytest.param("{0: 'ball', 1: 'Person'}", [], {1: "Person"}, id="people"),
    pytest.param("", ["1"], {1: "class 1"}, id="without names, never COCO's"),
])
def test_classes_are_those_that_the_file_names(tmp_path, names, labels, taken):
    boxes = [(20, (32, 16, 10, 20), 0.8, (0.1, 0.5)), (3, (50, 20, 10, 20), 0.8, (0.5, 0))]
    file = network(tmp_path / "net.onnx", answer(boxes), about={"names": names})
    found = YoloxDetector(file, YoloxSettings(labels=tuple(labels)))
    assert found.class_names == taken
    assert set(taken.values()) < set(repr(found)[:-1].split(", "))
    np.testing.assert_allclose(found.find(image()).scores, [0.4], rtol=1e-6)
    assert found.find(image()).classes.tolist() == [1]
    assert found.report() == []


def test_a_file_of_eighty_classes_without_names_is_told_to_be_taken_as_coco(tmp_path):
    file = network(tmp_path / "net.onnx", answer(classes=80))
    car = YoloxDetector(file, YoloxSettings(labels=("car",)))
    assert car.class_names == {2: "car"}
    assert "does not name its 80 classes; they were taken to be COCO's" in car.report()[0]
    assert YoloxDetector(file, names={0: "a"}).report()[0].endswith("class a (--classes)")


NEIGHBOURS = [
    (20, (32, 16, 10, 20), 0.9, (0.9, 0)),
    (21, (33, 16, 10, 20), 0.9, (0.8, 0)),  # IoU with the first 0.82
    (22, (40, 16, 10, 20), 0.5, (0.4, 0)),
    (23, (32, 16, 10, 20), 0.9, (0.1, 0.9)),
]


@pytest.mark.parametrize(("settings", "scores"), [
    pytest.param({}, [0.81, 0.2], id="defaults"),
    pytest.param({"score_threshold": 0.3}, [0.81], id="sure ones only"),
    pytest.param({"score_threshold": 0.05, "nms_iou": 0.9}, [0.81, 0.72, 0.2], id="near ones too"),
    pytest.param({"classes": (1,)}, [0.81], id="another class"),
    pytest.param({"classes": (0, 1)}, [0.81, 0.81, 0.2], id="two classes"),
    pytest.param({"classes": (0, 1), "class_agnostic": True}, [0.81, 0.2],
                 id="two classes suppress each other"),
    pytest.param({"score_threshold": 0.9}, [], id="nobody"),
])
def test_settings_choose_the_boxes(tmp_path, settings, scores):
    found = YoloxDetector(network(tmp_path / "net.onnx", answer(NEIGHBOURS)),
                          YoloxSettings(**settings))
    np.testing.assert_allclose(found.detect(image())[1], scores, rtol=1e-5)


OUTSIDE = [
    (0, (0, 10, 10, 10), 0.9, (0.9, 0)),  # half out on the left
    (1, (50, 60, 10, 10), 0.9, (0.8, 0)),  # in the padding, below the image
    (2, (30, 31.9, 10, 0.5), 0.9, (0.7, 0)),  # clipped to less than a pixel
]


@pytest.mark.parametrize(("clip", "wanted"), [
    pytest.param(True, [[0, 10, 10, 30]], id="clipped"),
    pytest.param(False, [[-10, 10, 10, 30], [90, 110, 110, 130], [50, 63.3, 70, 64.3]], id="as is"),
])
def test_boxes_that_leave_the_image(tmp_path, clip, wanted):
    found = YoloxDetector(network(tmp_path / "net.onnx", answer(OUTSIDE)), YoloxSettings(clip=clip))
    np.testing.assert_allclose(found.detect(image())[0], wanted, atol=1e-4)


def test_numbers_without_bounds_are_not_boxes(tmp_path):
    output = answer(ONE)
    output[0, 20, 2] = 1e30  # a width of exp(1e30)
    assert len(YoloxDetector(network(tmp_path / "net.onnx", output)).detect(image())[0]) == 0


@pytest.mark.parametrize(("width", "height", "inner"), [
    pytest.param(128, 64, (64, 32), id="wide"),
    pytest.param(32, 128, (16, 64), id="tall"),
    pytest.param(1, 1, (64, 64), id="one pixel"),
    pytest.param(1000, 1, (64, 1), id="one line"),
    pytest.param(100, 63, (64, 40), id="cut to whole pixels"),
])
def test_the_letterbox(width, height, inner):
    picture = np.random.default_rng(0).integers(0, 100, (height, width, 3), dtype=np.uint8)
    canvas, scale = yolox.letterbox(picture, (SIDE, SIDE))
    np.testing.assert_array_equal(canvas[:inner[1], :inner[0]], cv2.resize(picture, inner))
    assert (canvas[inner[1]:] == 114).all()
    assert (canvas[:, inner[0]:] == 114).all()
    assert scale == (inner[0] / width, inner[1] / height)


class Recorder(YoloxDetector):
    """Keeps what the network gets."""

    def infer(self, batch):
        self.batch = batch
        return super().infer(batch)


@pytest.mark.parametrize("legacy", [False, True])
def test_the_pixels_the_network_gets(tmp_path, legacy):
    found = Recorder(network(tmp_path / "net.onnx", answer()), YoloxSettings(legacy=legacy))
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:] = (10, 20, 30)
    found.detect(picture)
    assert found.batch.shape == (1, 3, 64, 64)
    assert found.batch.dtype == np.float32
    wanted = [10, 20, 30] if not legacy else [
        (30 / 255 - 0.485) / 0.229, (20 / 255 - 0.456) / 0.224, (10 / 255 - 0.406) / 0.225]
    np.testing.assert_allclose(found.batch[0, :, 5, 5], wanted, rtol=1e-5)


def test_an_input_may_have_any_name(tmp_path):
    found = YoloxDetector(network(tmp_path / "net.onnx", answer(ONE), name="x"))
    assert len(found.detect(image())[0]) == 1


@pytest.mark.parametrize(("name", "settings", "side"), [
    pytest.param("my_yolox_nano.onnx", {}, 416, id="nano"),
    pytest.param("YOLOX-Tiny.onnx", {}, 416, id="tiny"),
    pytest.param("yolox_s.onnx", {}, 640, id="other"),
    pytest.param("yolox_s.onnx", {"input_size": (SIDE, SIDE)}, SIDE, id="as set"),
])
def test_an_export_with_free_sizes(tmp_path, name, settings, side):
    """It says so, and answers images of one size only."""
    cells = yolox.grid((side, side), (8, 16, 32))
    last = answer([(len(cells) - 1, *ONE[0][1:])], cells=cells)
    file = network(tmp_path / name, last, shape=("n", 3, "h", "w"))
    found = YoloxDetector(file, YoloxSettings(**settings))
    assert found.input_size == (side, side)
    assert len(found.detect(image())[0]) == 1


@pytest.fixture(scope="module")
def people():
    clip = files("tfsasm") / "clips" / "people.mp4"
    with open_video(Path(str(clip))) as frames:
        return next(iter(frames)).image


@pytest.fixture(scope="module")
def nano():
    """With an open input, and with one of 416x416."""
    file = yolox.release_file("yolox-nano")
    return Recorder(file), YoloxDetector(file, YoloxSettings(input_size=(416, 416)))


@pytest.mark.parametrize(("rows", "columns", "seen"), [
    pytest.param(slice(500, 1112), slice(None), (256, 416), id="wide"),
    pytest.param(slice(500, 1700), slice(300, 800), (416, 192), id="tall"),
    pytest.param(slice(600, 620), slice(None), (32, 416), id="a strip"),
    pytest.param(slice(500, 1588), slice(None), (416, 416), id="square"),
])
def test_an_open_input_is_no_larger_than_the_image_needs(people, nano, rows, columns, seen):
    picture, (found, whole) = people[rows, columns], nano
    xyxy, scores = found.detect(picture)
    assert found.batch.shape[2:] == seen
    boxes, _ = whole.detect(picture)
    sure = xyxy[scores > 0.6]
    assert (iou_matrix(sure, boxes).max(axis=1, initial=0) > 0.8).all()
    assert len(sure) or seen[0] == 32


def test_a_set_input_size_is_that_of_every_image(people):
    found = Recorder(yolox.release_file("yolox-nano"), YoloxSettings(input_size=(96, 320)))
    found.detect(people)
    assert found.batch.shape[2:] == (96, 320)


@pytest.mark.parametrize(("output", "graph", "settings", "problem"), [
    pytest.param(answer()[:, 1:], {}, {}, "83 cells, where", id="wrong number of cells"),
    pytest.param(answer()[0], {}, {}, r"output is \(84, 7\)", id="no batch"),
    pytest.param(answer()[:, :, :5], {}, {}, r"output is \(1, 84, 5\)", id="no classes"),
    pytest.param(answer() + 5, {}, {}, "scores go from 5 to 5", id="scores above 1"),
    pytest.param(answer() * np.nan, {}, {}, "scores go from nan", id="NaN"),
    pytest.param(answer(), {"shape": (1, 3, SIDE)}, {}, "inputs is", id="no image"),
    pytest.param(answer(), {"shape": (1, 1, SIDE, SIDE)}, {}, "inputs is", id="grey image"),
    pytest.param(answer(), {"kind": onnx.TensorProto.DOUBLE}, {}, "double", id="doubles"),
    pytest.param(answer(), {"shape": (2, 3, SIDE, SIDE)}, {}, "inputs is", id="batch of two"),
    pytest.param(answer(), {}, {"input_size": (32, 32)}, r"\(64, 64\) only", id="other size"),
    pytest.param(answer(), {}, {"classes": (2,)}, "2 classes, 0 to 1", id="class it lacks"),
    pytest.param(answer(), {}, {"providers": ("NoProvider",)}, "NoProvider", id="no such provider"),
])
def test_what_is_no_yolox_is_refused(tmp_path, output, graph, settings, problem):
    file = network(tmp_path / "net.onnx", output, **graph)
    with pytest.raises(InputError, match=problem):
        YoloxDetector(file, YoloxSettings(**settings))


@pytest.mark.parametrize(("content", "problem"), [
    pytest.param(None, "does not exist", id="missing"),
    pytest.param(b"", "cannot be opened", id="empty"),
    pytest.param(b"not onnx at all", "cannot be opened", id="text"),
    pytest.param("cut", "cannot be opened", id="truncated"),
])
def test_a_damaged_file_is_refused(tmp_path, content, problem):
    file = tmp_path / "net.onnx"
    if content == "cut":
        whole = network(file, answer()).read_bytes()
        content = whole[: len(whole) // 2]
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=problem) as caught:
        detector("yolox-nano", file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("settings", [
    {"score_threshold": 1.5}, {"nms_iou": -0.1}, {"threads": 0}, {"threads": 2**20},
    {"classes": ()}, {"input_size": (100, 64)},
], ids=str)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        YoloxSettings(**settings)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"in the package\), yolox-tiny"):
        detector("yolov9")


def test_without_onnxruntime_the_message_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for weights in (None, tmp_path / "net.onnx"):
        with pytest.raises(InputError, match=r'pip install onnxruntime'):
            detector("yolox-nano", weights)


@pytest.fixture
def release(tmp_path):
    """A file to download, by its address and checksum."""
    path = tmp_path / "release" / "net.onnx"
    path.parent.mkdir()
    network(path, answer(ONE))
    return path


def test_a_file_is_downloaded_once_and_checked_ever_after(tmp_path, release, capfd):
    target, url, checksum = tmp_path / "cache" / "net.onnx", release.as_uri(), sha256(release)
    assert yolox.download(url, target, checksum).read_bytes() == release.read_bytes()
    assert "downloading net.onnx" in capfd.readouterr().err
    release.unlink()
    assert yolox.download(url, target, checksum) == target
    target.write_bytes(b"rotten")
    with pytest.raises(InputError, match=r"its SHA-256 is .*Delete it to download it again"):
        yolox.download(url, target, checksum)


def test_a_download_that_is_another_file_or_broke_off_leaves_nothing(tmp_path, release):
    checksum = sha256(release)
    release.write_bytes(release.read_bytes()[:-9])
    with pytest.raises(InputError, match="not the file of the release, or a part of it"):
        yolox.download(release.as_uri(), tmp_path / "cache" / "net.onnx", checksum)
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_network_the_message_says_where_to_put_the_file(tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    target = tmp_path / "cache" / "net.onnx"
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: nobody answers
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/net.onnx"
        with pytest.raises(InputError) as caught:
            yolox.download(url, target, "0" * 64)
    for part in (url, f"put it at {target}", "--detector-weights FILE"):
        assert part in str(caught.value)


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(InputError, match="cannot write in"):
        yolox.download("http://127.0.0.1:9/net.onnx", tmp_path / "cache" / "net.onnx", "0" * 64)


def test_another_file_in_the_cache_is_not_taken_for_the_official_one(tmp_path, monkeypatch):
    monkeypatch.setenv("TFSASM_CACHE", str(tmp_path))
    network(tmp_path / "yolox_s.onnx", answer(ONE))
    with pytest.raises(InputError, match=r"0\.1\.1rc0/yolox_s\.onnx: its SHA-256 is"):
        detector("yolox-s")
