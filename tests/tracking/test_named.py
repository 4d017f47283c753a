"""Which trackers a text means."""

import re
import sys
from types import SimpleNamespace

import pytest

from tfsasm.errors import InputError
from tfsasm.settings import with_settings
from tfsasm.tracking.config import default, paper
from tfsasm.tracking.named import ClassicSpec, QuerySpec, parse_trackers


class AnyTracker:
    def __init__(self, a=0, b=0):
        pass


@pytest.fixture(autouse=True)
def no_package_is_needed(monkeypatch):
    package = SimpleNamespace(SORTTracker=AnyTracker, BoTSORTTracker=AnyTracker)
    monkeypatch.setitem(sys.modules, "trackers", package)


@pytest.mark.parametrize("texts", [
    ("tfsasm,paper,sort",), ("tfsasm", "paper", "sort"), ("tfsasm, paper", "sort,"),
])  # fmt: skip
def test_a_list_may_be_written_in_several_forms(texts):
    found = parse_trackers(texts)
    assert found == {
        "tfsasm": QuerySpec(default()), "paper": QuerySpec(paper()),
        "sort": ClassicSpec("sort", {}),
    }  # fmt: skip
    assert list(found) == ["tfsasm", "paper", "sort"]


def test_settings_belong_to_the_tracker_before_them():
    found = parse_trackers(["sort:a=1,b=2,default:capacity=0,travel=frames,paper"])
    assert found == {
        "sort:a=1,b=2": ClassicSpec("sort", {"a": 1, "b": 2}),
        "default:capacity=0,travel=frames": QuerySpec(
            with_settings(default(), {"memory.capacity": "0", "travel": "frames"})
        ),
        "paper": QuerySpec(paper()),
    }


@pytest.mark.parametrize(("text", "message"), [
    pytest.param("", "no tracker; there are tfsasm, released, ", id="nothing"),
    pytest.param("deepsort", "no tracker 'deepsort'; there are tfsasm, ", id="unknown"),
    pytest.param("sort,paper,sort", "sort is among the trackers twice", id="twice"),
    pytest.param("default:capacity", "default takes NAME=VALUE, not 'capacity'", id="no value"),
    pytest.param("default:", "tracker default takes NAME=VALUE, not ''", id="no setting"),
    pytest.param("default:speed=1", "no setting 'speed'", id="no such setting"),
    pytest.param("default:capacity=x", "memory.capacity is a whole number", id="no such value"),
    pytest.param("capacity=0,sort", "no tracker 'capacity=0'", id="a setting of no tracker"),
])
def test_a_list_is_refused(text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        parse_trackers([text])


def test_presets_need_no_other_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackers", None)
    assert list(parse_trackers(["tfsasm"])) == ["tfsasm"]
    with pytest.raises(InputError, match="needs the package"):
        parse_trackers(["sort"])


def test_only_botsort_uses_images_among_the_classic_ones():
    assert [parse_trackers([name])[name].uses_images for name in ("sort", "botsort")] == [
        False, True,
    ]  # fmt: skip


def test_parameters_are_all_that_the_class_declares():
    [spec] = parse_trackers(["sort:b=3"]).values()
    assert spec.parameters() == {"a": 0, "b": 3}
