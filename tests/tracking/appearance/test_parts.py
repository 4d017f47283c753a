"""The parts of the appearance tracker, each by itself."""

import numpy as np
import pytest
import torch

from helpers.people import vector, walk
from tfsasm import InputError
from tfsasm.tracking import memory
from tfsasm.tracking.appearance import camera
from tfsasm.tracking.appearance import motion as kalman
from tfsasm.tracking.appearance.association import (
    AppearanceReliability,
    AppearanceWeightConfig,
    Candidates,
    MatchConfig,
    RunningStatistics,
    assign,
    by_place_and_looks,
    height_iou,
    iou,
)
from tfsasm.tracking.appearance.camera import CameraConfig
from tfsasm.tracking.appearance.embedders import HistogramEmbedder, embedder
from tfsasm.tracking.appearance.gallery import FAR, GalleryConfig, gallery
from tfsasm.tracking.appearance.motion import KalmanConfig, centred
from tfsasm.tracking.memory import Observation

KALMAN = KalmanConfig()


# Motion


def follow(boxes, missing=()):
    """The filter after all boxes, but those missing."""
    boxes = centred(np.asarray(boxes))
    motion, last, missed = kalman.begin(boxes[:1], KALMAN), boxes[:1], np.zeros(1)
    for frame, box in enumerate(boxes[1:, None], start=1):
        motion = kalman.predict(motion, KALMAN)
        if frame in missing:
            missed = missed + 1
            continue
        motion = kalman.update(motion, box, np.ones(1), last, missed, KALMAN)
        last, missed = box, np.zeros(1)
    return motion


def test_a_steady_walk_is_foreseen():
    boxes = walk((100, 200), (5, -2), 31)
    ahead = kalman.predict(follow(boxes[:30]), KALMAN)
    np.testing.assert_allclose(ahead.xyxy[0], boxes[30], atol=0.5)


def test_after_a_gap_the_box_is_the_seen_one_and_the_velocity_leans_on_the_way():
    boxes = walk((100, 200), (5, 0), 20)
    motion = follow(np.concatenate([boxes, boxes[-1:] + 40]), missing=range(10, 20))
    np.testing.assert_allclose(motion.box[0], centred(boxes[-1:] + 40)[0])
    np.testing.assert_allclose(
        motion.velocity[0, 0], KALMAN.correction * (boxes[-1, 0] + 40 - boxes[9, 0]) / 11
    )


def test_filters_do_not_mix_tracks():
    a, b = walk((100, 200), (5, 0), 2), walk((300, 90), (-1, 4), 2)
    both = kalman.begin(centred(np.stack([a[0], b[0]])), KALMAN)
    both = kalman.update(
        kalman.predict(both, KALMAN), centred(np.stack([a[1], b[1]])), np.ones(2),
        centred(np.stack([a[0], b[0]])), np.zeros(2), KALMAN,
    )  # fmt: skip
    for row, boxes in enumerate((a, b)):
        for name, column in vars(follow(boxes)).items():
            np.testing.assert_allclose(getattr(both, name)[row], column[0], err_msg=name)


def test_a_moved_camera_moves_the_tracks():
    motion = kalman.begin(np.array([[10.0, 20, 4, 8]]), KALMAN)
    zoomed = kalman.move(motion, np.array([[2.0, 0, 5], [0, 2, -1]]))
    np.testing.assert_allclose(zoomed.box, [[25, 39, 8, 16]])
    np.testing.assert_allclose(zoomed.place_variance, 4 * motion.place_variance)


# Assignment


def test_overlaps_and_heights():
    a = np.array([[0.0, 0, 10, 10]])
    b = np.array([[0.0, 0, 10, 10], [5, 0, 15, 20], [50, 50, 60, 60]])
    np.testing.assert_allclose(iou(a, b), [[1, 0.2, 0]])
    np.testing.assert_allclose(height_iou(a, b), [[1, 0.5, 0]])
    assert iou(a, b[:0]).shape == (1, 0)


def test_as_many_as_allowed_are_matched_and_no_others():
    cost = np.array([[0.1, 0.2], [0.15, 0.9]])
    rows, columns = assign(cost, np.array([[True, True], [True, False]]))
    assert list(zip(rows, columns, strict=True)) == [(0, 1), (1, 0)]
    assert len(assign(cost, np.zeros((2, 2), bool))[0]) == 0


# Evidence


def test_spread_is_mean_and_variance():
    values = np.random.default_rng(0).normal(3, 2, 100)
    spread = RunningStatistics() + values[:30] + values[30:30] + values[30:]
    assert (spread.count, spread.mean) == (100, pytest.approx(values.mean()))
    assert spread.variance == pytest.approx(values.var())


@pytest.mark.parametrize(("same", "other", "count", "trust"), [
    pytest.param(0.1, 0.5, 50, 1.0, id="clear"),
    pytest.param(0.3, 0.3, 50, 0.0, id="look-alikes"),
    pytest.param(0.1, 0.5, 5, 0.0, id="too little seen"),
])
def test_looks_are_trusted_as_far_as_they_tell_apart(same, other, count, trust):
    noise = np.random.default_rng(0).normal(0, 0.05, (2, count))
    evidence = AppearanceReliability().learn(same + noise[0], other + noise[1], 1000)
    assert evidence.trust(30, 0.5, 2.0) == pytest.approx(trust, abs=0.05)
    if trust:
        np.testing.assert_allclose(evidence.scaled(np.array([same, other])), [0, 1], atol=0.05)


def test_what_speaks_against_a_pair_is_the_ratio_of_two_normal_distributions():
    """Oneself at 0.2 +- 0.1, others at 0.7 +- 0.1: five standard deviations apart."""
    evidence = AppearanceReliability().learn(np.array([0.1, 0.3]), np.array([0.6, 0.8]), 1000)
    assert evidence.separation() == pytest.approx(5)
    distances = np.array([0.2, 0.45, 0.5, 0.7])
    log_ratio = ((distances - 0.2) ** 2 - (distances - 0.7) ** 2) / (2 * 0.1**2)
    assert evidence.against(evidence.scaled(distances)) == pytest.approx(log_ratio)


@pytest.mark.parametrize(("against", "trust", "vetoed"), [
    pytest.param(6.0, 1.0, True, id="surely another's looks"),
    pytest.param(4.0, 1.0, False, id="looks that change as much by themselves"),
    pytest.param(np.nan, 1.0, False, id="looks that nobody saw"),
    pytest.param(6.0, 0.0, False, id="looks that tell nothing"),
])
def test_a_pair_whose_looks_speak_against_it_is_none(against, trust, vetoed):
    place = np.array([[0.0, 0.0, 10.0, 20.0]])
    pairs = Candidates(
        place, place, np.zeros(1, dtype=int), place, np.array([[1.0]]), np.array([[against]]),
        trust, 1.0, None, MatchConfig(), AppearanceWeightConfig(veto=5.0),
    )
    assert by_place_and_looks(pairs)[1].tolist() == [[not vetoed]]


@pytest.mark.parametrize(("rival", "missed", "taken_for"), [
    pytest.param(-4.0, 3, [False, True], id="one who was lost looks so"),
    pytest.param(-1.0, 3, [True, True], id="one who was lost looks so, but not that much"),
    pytest.param(-4.0, 0, [True, True], id="one who was seen a frame ago looks so"),
])
def test_a_pair_that_looks_like_one_who_was_lost_is_none(rival, missed, taken_for):
    """Two tracks at one place; the first is 3 unlikely to be whom the detection shows."""
    place = np.array([[0.0, 0, 10, 20]] * 2)
    pairs = Candidates(
        place, place, np.array([0, missed]), place[:1], np.array([[0.8], [0.1]]),
        np.array([[3.0], [rival]]), 1.0, 1.0, None, MatchConfig(), AppearanceWeightConfig(veto=5.0),
    )
    assert by_place_and_looks(pairs)[1][:, 0].tolist() == taken_for


# Galleries


def seen(people, travel=1.0):
    """Everybody in full view, who has travelled; None for nobody."""
    n = len(people)
    view = np.stack([np.zeros(8, np.float32) if p is None else vector(p) for p in people])
    return Observation(
        torch.from_numpy(view), torch.full((n,), travel), torch.zeros(n), torch.full((n,), 0.9),
        torch.tensor([p is not None for p in people]),
    )  # fmt: skip


KINDS = [
    GalleryConfig(), GalleryConfig(read="half"), GalleryConfig(read="nearest"),
    GalleryConfig(kind="ema"), GalleryConfig(kind="last"),
]


@pytest.mark.parametrize("config", KINDS, ids=lambda c: f"{c.kind} {c.read}")
def test_a_gallery_knows_whom_it_saw_and_keeps_absent_ones(config):
    looks = gallery(config)
    state = looks.write(looks.empty(3, 8), seen([0, 1, None]))
    for _ in range(3):
        state = looks.write(state, seen([0, None, None]))
    apart = looks.distances(state, torch.from_numpy(np.stack([vector(0), vector(1)])))
    np.testing.assert_allclose(apart, [[0, 1], [1, 0], [FAR, FAR]], atol=1e-6)
    assert looks.distances(state[:0], torch.zeros(2, 8)).shape == (0, 2)


def test_the_sparse_gallery_is_the_memory_itself():
    """Whatever is written, its views are those of `memory.write`, and its mean theirs."""
    config = GalleryConfig()
    looks, dice = gallery(config), np.random.default_rng(0)
    state, plain = looks.empty(4, 8), memory.empty(4, 8, config.memory)
    for _ in range(40):
        people = [int(p) if p >= 0 else None for p in dice.integers(-2, 8, 4)]
        shown = seen(people, travel=float(dice.uniform(0, 0.4)))
        state, plain = looks.write(state, shown), memory.write(plain, shown, config.memory)
        for name, column in vars(plain).items():
            torch.testing.assert_close(getattr(state.memory, name), column)
    assert plain.valid.sum() > 10
    torch.testing.assert_close(state.mean, memory.mean_view(plain))


# Embeddings


def test_colours_tell_people_apart_and_are_counted_at_once():
    image = np.full((200, 300, 3), 90, np.uint8)
    image[50:150, 20:60], image[50:150, 120:160] = (200, 30, 30), (30, 30, 200)
    left, top = np.array([20.0, 120, 22, -20]), np.array([50.0, 50, 52, 50])
    boxes = np.stack([left, top, left + 38, top + 98], axis=1)
    hist = HistogramEmbedder()
    views = hist(image, boxes)
    alike = views @ views.T
    np.testing.assert_allclose(np.diag(alike), 1, atol=1e-5)
    assert alike[0, 2] > 0.9 > 0.5 > alike[0, 1]
    for row in range(4):
        np.testing.assert_allclose(hist(image, boxes[row : row + 1])[0], views[row], atol=1e-6)
    assert hist(image, boxes[:0]).shape == (0, views.shape[1])


@pytest.fixture
def network(tmp_path):
    """An ONNX file that gives the mean of each colour."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT

    def make(batch="B", height=32, channels=3):
        node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)
        graph = helper.make_graph(
            [node], "g",
            [helper.make_tensor_value_info("x", kind, [batch, channels, height, 16])],
            [helper.make_tensor_value_info("y", kind, [batch, channels])],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.save(model, tmp_path / "reid.onnx")
        return tmp_path / "reid.onnx"

    return make


@pytest.mark.parametrize("batch", ["B", 2], ids=["any batch", "batches of two"])
def test_a_reid_file_sees_rgb_crops(network, batch):
    image = np.zeros((100, 100, 3), np.uint8)
    image[:, :50, 0], image[:, 50:, 2] = 200, 200  # blue, then red
    boxes = np.array([[0.0, 0, 50, 100], [50, 0, 100, 100], [50, 0, 100, 100]])
    views = embedder("reid", network(batch), ["imagenet=false"])(image, boxes)
    np.testing.assert_allclose(views, [[0, 0, 1], [1, 0, 0], [1, 0, 0]], atol=1e-6)
    blue = embedder("osnet", network(batch), ["imagenet=false", "rgb=false"])(image, boxes[:1])
    np.testing.assert_allclose(blue, [[1, 0, 0]], atol=1e-6)


def test_embedders_that_cannot_be_had_are_explained(network, tmp_path):
    for arguments, part in (
        (("osnet",), "needs the ONNX file"), (("eyes",), "no embedder 'eyes'"),
        (("hist", "x.onnx"), "takes no weights"),
        (("reid", tmp_path / "no.onnx"), "does not exist"),
        (("hist", None, ["bins=3"]), "no setting 'bins'"), (("reid", __file__), "not an ONNX file"),
        (("reid", network(channels=4)), r"takes \[B, 3, H, W\]"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=part):
            embedder(*arguments)
    assert embedder("none") is None
    assert isinstance(embedder(), HistogramEmbedder)


# Camera


@pytest.mark.parametrize("shift", [0, 9], ids=["still", "panned"])
def test_the_camera_is_seen_in_what_is_not_a_person(shift):
    rng = np.random.default_rng(0)
    wide = np.kron(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
    config, person = CameraConfig(), np.array([[100.0, 80, 200, 300]])
    frames = []
    for x, colour in ((0, 0), (shift, 255)):
        image = wide[:, x : x + 450].copy()
        image[80:300, 100 + x : 200 + x] = colour
        frames.append(camera.look(image, person, config))
    warp = camera.moved(*frames, config)
    np.testing.assert_allclose(warp, [[1, 0, -shift], [0, 1, 0]], atol=0.5)
    assert (warp is camera.STILL) == (shift == 0)
    assert camera.moved(None, frames[0], config) is camera.STILL


@pytest.fixture(scope="module")
def vision_folder(tmp_path_factory):
    """A small vision transformer, saved as the hub has it."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("vit")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        image_size=32, patch_size=16,
    )  # fmt: skip
    transformers.ViTModel(config).save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def test_a_vision_model_from_a_folder_is_an_embedder(vision_folder):
    image = np.random.default_rng(0).integers(0, 255, (100, 100, 3), dtype=np.uint8)
    boxes = np.array([[0.0, 0, 50, 100], [50, 0, 100, 100], [0, 0, 50, 100]])
    look = embedder(f"hf:{vision_folder}", None, ["batch=2"])
    views = look(image, boxes)
    assert views.shape == (3, 16)
    np.testing.assert_allclose(views[0], views[2], atol=1e-5)
    assert np.abs(views[0] - views[1]).max() > 1e-3
    assert look(image, boxes[:0]).shape == (0, 16)
