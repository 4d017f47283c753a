"""Colour histograms, and embedders by name."""

import subprocess
import sys

import numpy as np
import pytest

from tfsasm.errors import InputError
from tfsasm.tracking.appearance.embedders import HistogramEmbedder, embedder


def test_histograms_tell_colours_apart_and_do_not_depend_on_the_other_boxes():
    image = np.full((200, 300, 3), 90, np.uint8)
    image[50:150, 20:60], image[50:150, 120:160] = (200, 30, 30), (30, 30, 200)
    left, top = np.array([20.0, 120, 22, -20]), np.array([50.0, 50, 52, 50])
    boxes = np.stack([left, top, left + 38, top + 98], axis=1)
    histogram = HistogramEmbedder()
    embeddings = histogram(image, boxes)
    alike = embeddings @ embeddings.T
    np.testing.assert_allclose(np.diag(alike), 1, atol=1e-5)
    assert alike[0, 2] > 0.9 > 0.5 > alike[0, 1]
    for row in range(4):
        np.testing.assert_allclose(
            histogram(image, boxes[row : row + 1])[0], embeddings[row], atol=1e-6
        )
    assert histogram(image, boxes[:0]).shape == (0, embeddings.shape[1])


@pytest.mark.parametrize(("arguments", "message"), [
    pytest.param(("osnet",), "needs the ONNX file", id="no weights"),
    pytest.param(("eyes",), "no embedder 'eyes'", id="unknown name"),
    pytest.param(("hist", "x.onnx"), "takes no weights", id="weights of no use"),
    pytest.param(("hist", None, ["bins=3"]), "no setting 'bins'", id="unknown setting"),
    pytest.param(("hist", None, ["bins"]), "NAME=VALUE", id="setting without value"),
])
def test_embedders_that_cannot_be_made_are_explained(arguments, message):
    with pytest.raises(InputError, match=message):
        embedder(*arguments)


def test_the_default_is_a_histogram_and_none_is_no_embedder():
    assert embedder("none") is None
    assert isinstance(embedder(), HistogramEmbedder)
    assert embedder("hist", None, ["hues=4"])(
        np.zeros((9, 9, 3), np.uint8), np.zeros((0, 4))
    ).shape == (0, 3 * 4 * 3 * 4)


def test_the_appearance_tracker_runs_without_torch():
    code = """
import sys
import numpy as np, supervision as sv
from tfsasm.tracking.appearance import AppearanceTracker, embedder
tracker = AppearanceTracker(embedder("hist"))
box = sv.Detections(xyxy=np.array([[10.0, 10, 30, 60]]), confidence=np.array([0.9]))
for _ in range(3):
    tracks = tracker.update(box, np.zeros((80, 80, 3), np.uint8))
assert tracks.tracker_id.tolist() == [1]
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
