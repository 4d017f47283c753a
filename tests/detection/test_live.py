"""What live detectors have in common: classes by name, and which boxes are kept."""

import numpy as np
import pytest

from tfsasm.detection.detectors import default_settings
from tfsasm.detection.live import (
    COCO,
    COCO_NAMES,
    Detected,
    LiveSettings,
    choose,
    class_numbers,
    read_names,
    without_duplicates,
)
from tfsasm.errors import InputError

SURE = [10.0, 10, 30, 50]
MOVED = [12.0, 10, 32, 50]  # IoU 0.82 with it
ELSEWHERE = [60.0, 10, 80, 50]


def found(*boxes, scores, classes=None):
    return Detected(
        np.array(boxes, np.float32), np.array(scores, np.float32),
        np.array(classes or [0] * len(boxes)),
    )  # fmt: skip


def test_a_box_becomes_the_mean_of_what_is_dropped_for_it():
    kept = without_duplicates(
        found(MOVED, SURE, ELSEWHERE, scores=[0.3, 0.9, 0.5]), 0.7, LiveSettings()
    )
    np.testing.assert_allclose(kept.scores, [0.9, 0.5])
    np.testing.assert_allclose(kept.xyxy, [[10.5, 10, 30.5, 50], ELSEWHERE], rtol=1e-6)


def test_boxes_of_the_detector_itself_can_be_asked_for():
    kept = without_duplicates(
        found(SURE, MOVED, scores=[0.9, 0.3]), 0.7, LiveSettings(merge=False)
    )
    np.testing.assert_array_equal(kept.xyxy, [SURE])


@pytest.mark.parametrize(("agnostic", "left"), [(False, 10.0), (True, 10.5)])
def test_boxes_of_other_classes_have_no_part_in_it_unless_classes_do_not_count(agnostic, left):
    kept = without_duplicates(
        found(SURE, MOVED, ELSEWHERE, ELSEWHERE, scores=[0.9, 0.3, 0.2, 0.1], classes=[0, 1, 0, 0]),
        0.7, LiveSettings(class_agnostic=agnostic),
    )  # fmt: skip
    np.testing.assert_allclose(kept.xyxy[0], [left, 10, left + 20, 50], rtol=1e-6)


def test_boxes_without_area_stay_where_they_are():
    flat = [5.0, 5, 5, 5]
    kept = without_duplicates(found(SURE, MOVED, flat, scores=[0.9, 0.3, 0.2]), 0.7, LiveSettings())
    np.testing.assert_array_equal(kept.xyxy[1], flat)


# Classes by name


def test_names_and_numbers_may_be_mixed():
    assert len(set(COCO)) == 80
    words = ("person", "Car", "16", "toothbrush", "0")
    assert class_numbers(words, COCO_NAMES, "x.onnx") == (0, 2, 16, 79)


@pytest.mark.parametrize(("names", "words"), [
    pytest.param(COCO_NAMES, "x.onnx has no class 'persn'; did you mean person, or", id="close"),
    pytest.param({0: "car", 1: "bus"}, "there are car, bus, or give a number", id="like none"),
    pytest.param({}, "it names none; give a number", id="no names"),
])
def test_a_misspelt_class_is_answered_with_those_that_there_are(names, words):
    with pytest.raises(InputError, match=words):
        class_numbers(("persn",), names, "x.onnx")


def test_each_kind_of_detector_gets_its_own_names():
    assert default_settings("yolox-s", classes=("person", "car")).labels == ("person", "car")
    assert default_settings("hf:a/b", classes=("Car",)).labels == ("Car",)


@pytest.mark.parametrize(("text", "names"), [
    pytest.param("{0: 'person', 1: 'car'}", {0: "person", 1: "car"}, id="as Ultralytics"),
    pytest.param('{"0": "person", "2": "car"}', {0: "person", 2: "car"}, id="JSON"),
    pytest.param("['a', 'b']", {0: "a", 1: "b"}, id="a list"),
    pytest.param("", {}, id="nothing"),
    pytest.param("person, car", {}, id="words"),
    pytest.param("{'person': 0}", {}, id="the other way round"),
    pytest.param("__import__('os').getcwd()", {}, id="code"),
    pytest.param("[" * 10_000, {}, id="deep"),
    pytest.param(f"{{'{'9' * 5000}': 'person'}}", {}, id="a long number"),
])
def test_names_are_read_as_exporters_write_them(text, names):
    assert read_names(text) == names


ANIMALS = {0: "cat", 1: "Person"}


@pytest.mark.parametrize(("labels", "numbers", "names", "count", "chosen"), [
    pytest.param((), None, COCO_NAMES, 80, {0: "person"}, id="people"),
    pytest.param((), None, {}, 80, {0: "person"}, id="as COCO"),
    pytest.param((), None, ANIMALS, 2, {1: "Person"}, id="people of another number"),
    pytest.param((), None, {}, 3, {0: "class 0"}, id="no names"),
    pytest.param((), None, {}, 1, {}, id="one class without a name"),
    pytest.param((), (2, 0), COCO_NAMES, 80, {2: "car", 0: "person"}, id="by number"),
    pytest.param(("person", "cat"), (0,), ANIMALS, 2, {1: "Person", 0: "cat"}, id="by name"),
    pytest.param(("1",), None, {}, 3, {1: "class 1"}, id="by number without names"),
])
def test_classes_have_the_names_of_their_file(labels, numbers, names, count, chosen):
    found, named, _ = choose(labels, numbers, names, count, "x.onnx")
    assert (named, list(found)) == (chosen, list(chosen) or [0])


@pytest.mark.parametrize(("names", "count", "words"), [
    pytest.param({}, 80, "does not name its 80 classes; they were taken to be COCO's", id="COCO"),
    pytest.param({0: "car", 1: "bus"}, 2, "boxes are its class car", id="nobody"),
    pytest.param({}, 2, "boxes are its class 0", id="no names"),
    pytest.param({}, 1, "", id="one class"),
    pytest.param(COCO_NAMES, 80, "", id="known"),
])
def test_what_is_assumed_is_told(names, count, words):
    *_, notes = choose((), None, names, count, "x.onnx")
    assert words in "".join(notes)
    assert len(notes) == bool(words)


def test_a_class_that_a_file_has_not_is_refused():
    with pytest.raises(InputError, match="has 2 classes, 0 to 1; no class 2"):
        choose(("2",), None, ANIMALS, 2, "x.onnx")
