"""Detectors by name, and their settings as words."""

import pytest

from tfsasm.detection.detectors import default_settings, detector
from tfsasm.detection.huggingface import HuggingFaceSettings
from tfsasm.detection.yolox import YoloxSettings
from tfsasm.errors import InputError


@pytest.mark.parametrize(("name", "changes", "wanted"), [
    pytest.param("yolox-x", [], YoloxSettings(0.25, device="cuda"), id="as they are"),
    pytest.param("yolox-s", ["input_size=800x1440", "legacy=true"], YoloxSettings(
        0.25, device="cuda", input_size=(800, 1440), legacy=True), id="ByteTrack's"),
    pytest.param("yolox-s", ["classes=0,2", "nms_iou=.5", "clip=False", "legacy=none"],
                 YoloxSettings(0.25, device="cuda", classes=(0, 2), nms_iou=0.5, clip=False),
                 id="one of each kind"),
    pytest.param("hf:a/b", ["labels=rider,pedestrian", "nms_iou=0.7"], HuggingFaceSettings(
        0.25, labels=("rider", "pedestrian"), nms_iou=0.7, device="cuda"), id="Hugging Face"),
])
def test_settings_can_be_words(name, changes, wanted):
    assert default_settings(name, score_threshold=0.25, device="cuda", changes=changes) == wanted


@pytest.mark.parametrize(("name", "change", "problem"), [
    pytest.param("yolox-s", "legacy", "takes NAME=VALUE, not 'legacy'", id="no value"),
    pytest.param("yolox-s", "nmsiou=1", "no setting 'nmsiou'; did you mean nms_iou", id="misspelt"),
    pytest.param("yolox-s", "legacy=maybe", "legacy is true or false", id="neither nor"),
    pytest.param("yolox-s", "threads=two", "threads is a whole number", id="no number"),
    pytest.param("yolox-s", "input_size=640", "HEIGHTxWIDTH, such as 800x1440, not '640'",
                 id="one side"),
    pytest.param("yolox-s", "input_size=50x50", "multiples of 32", id="a side that cannot be"),
    pytest.param("hf:a/b", "score_threshold=7", "not within 0 and 1", id="out of range"),
    pytest.param("yolov9", "", r"in the package.*, yolox-tiny, .*hf:OWNER/NAME or .* \(needs",
                 id="an unknown detector"),
])
def test_words_that_are_no_setting_are_refused(name, change, problem):
    with pytest.raises(InputError, match=problem):
        default_settings(name, changes=[change])


@pytest.mark.parametrize(("name", "settings"), [
    ("yolox-s", HuggingFaceSettings()), ("hf:a/b", YoloxSettings())])
def test_settings_of_another_kind_are_refused(name, settings):
    with pytest.raises(InputError, match=f"are not settings of {name}"):
        detector(name, settings=settings)
