"""Deformable DETR as a detector: boxes in pixels, COCO's classes, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.fakes import thin_resnet
from tfsasm.detection.deformable_detr import CATEGORIES, DeformableDetrDetector, DetrSettings
from tfsasm.detection.detectors import default_settings, detector
from tfsasm.detection.live import COCO
from tfsasm.errors import InputError, WeightsError
from tfsasm.motrv2.config import ModelConfig
from tfsasm.motrv2.deformable_detr import DeformableDETR, DetrConfig, published_name

IMAGE = np.random.default_rng(0).integers(0, 255, (120, 200, 3), dtype=np.uint8)
SMALL = DetrSettings(short_side=64, max_side=128, score_threshold=0.3, clip=False)


@pytest.fixture(scope="module", autouse=True)
def thin():
    with thin_resnet():
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Three queries that answer whatever the image: 0 and 2 a person, 1 a car, at known places."""
    sizes = ModelConfig(width=64, feedforward=32, encoder_layers=1, decoder_layers=1, classes=91,
                        learned_queries=3)  # fmt: skip
    network = DeformableDETR(DetrConfig(sizes, refine=False, two_stage=False))
    with torch.no_grad():
        for tensor in network.class_heads[0].parameters():
            tensor.zero_()
        network.class_heads[0].bias.fill_(-9.0)
        network.class_heads[0].bias[[1, 3]] = torch.tensor([1.0, 0.0])  # person, car
        network.box_heads[0].reset(size_bias=-1.0)
        network.reference.weight.zero_()
        network.reference.bias.zero_()
    path = tmp_path_factory.mktemp("detr") / "detr.pth"
    state = {published_name(name): tensor for name, tensor in network.state_dict().items()}
    torch.save({"model": state}, path)
    return path


def test_boxes_are_pixels_of_the_image_and_classes_those_of_coco(weights):
    both = replace(SMALL, classes=(COCO.index("person"), COCO.index("car")))
    found = DeformableDetrDetector(weights, both).find(IMAGE)
    assert found.classes.tolist() == [0, 0, 0, 2, 2, 2]
    np.testing.assert_allclose(found.scores[[0, 3]], [1 / (1 + np.exp(-1)), 0.5], rtol=1e-6)
    half = 0.5 / (1 + np.e)  # half a size of the logit -1
    expected = np.array([0.5 - half, 0.5 - half, 0.5 + half, 0.5 + half]) * [200, 120, 200, 120]
    np.testing.assert_allclose(found.xyxy, np.tile(expected, (6, 1)), rtol=1e-5)


def test_people_alone_are_wanted_by_default(weights):
    live = DeformableDetrDetector(weights, SMALL)
    boxes, scores = live.detect(IMAGE)
    assert (boxes.shape, scores.shape) == ((3, 4), (3,))
    live.settings = replace(SMALL, score_threshold=0.8)
    assert not len(live.detect(IMAGE)[0])
    live.settings = replace(SMALL, nms_iou=0.5)
    assert len(live.find(IMAGE).scores) == 1


def test_it_goes_by_its_name(weights):
    settings = default_settings("deformable-detr", classes=("car",), changes=["short_side=64"])
    live = detector("deformable-detr", weights, settings)
    assert isinstance(live, DeformableDetrDetector)
    assert live.class_names == {2: "car"}
    assert repr(live).endswith(", car)")


def test_what_cannot_be_is_refused(weights, tmp_path):
    with pytest.raises(InputError, match="needs its checkpoint: --detector-weights FILE"):
        detector("deformable-detr")
    with pytest.raises(WeightsError, match="no checkpoint at"):
        detector("deformable-detr", tmp_path / "none.pth")
    with pytest.raises(InputError, match="has 80 classes, 0 to 79; no class 80"):
        DeformableDetrDetector(weights, replace(SMALL, classes=(80,)))
    with pytest.raises(InputError, match="short_side 10 is not within 64 and max_side"):
        default_settings("deformable-detr", changes=["short_side=10"])


def test_coco_numbers_80_classes_with_gaps():
    assert len(CATEGORIES) == len(COCO)
    assert dict(zip(COCO, CATEGORIES, strict=True))["toothbrush"] == 90
    assert dict(zip(COCO, CATEGORIES, strict=True))["stop sign"] == 13
