"""Classes by name."""

import pytest

from tfsasm.detection.class_names import COCO, coco_numbers
from tfsasm.detection.detectors import default_settings
from tfsasm.errors import InputError


def test_names_and_numbers_may_be_mixed():
    assert len(set(COCO)) == 80
    assert coco_numbers(("person", "Car", "16", "toothbrush", "0")) == (0, 2, 16, 79)


def test_a_misspelt_class_is_answered_with_its_neighbour():
    with pytest.raises(InputError, match="no class 'persn'; there are person"):
        coco_numbers(("persn",))


def test_each_kind_of_detector_gets_its_own_names():
    assert default_settings("yolox-s", classes=("person", "car")).classes == (0, 2)
    assert default_settings("yolox-s").classes == (0,)
    assert default_settings("hf:a/b", classes=("Car",)).labels == ("Car",)
