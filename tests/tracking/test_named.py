"""Which trackers a text means."""

import re
import sys

import pytest

from tfsasm.errors import InputError
from tfsasm.settings import with_settings
from tfsasm.tracking import named
from tfsasm.tracking.baselines import Classic
from tfsasm.tracking.config import default, paper
from tfsasm.tracking.named import QuerySpec, parse_trackers


@pytest.fixture(autouse=True)
def no_package_is_needed(monkeypatch):
    monkeypatch.setattr(named, "classic", lambda name, settings: Classic(name, dict(settings)))


@pytest.mark.parametrize("texts", [
    ("tfsasm,paper,sort",), ("tfsasm", "paper", "sort"), ("tfsasm, paper", "sort,"),
])  # fmt: skip
def test_a_list_may_be_written_in_many_ways(texts):
    found = parse_trackers(texts)
    assert found == {
        "tfsasm": QuerySpec(default()), "paper": QuerySpec(paper()), "sort": Classic("sort", {}),
    }  # fmt: skip
    assert list(found) == ["tfsasm", "paper", "sort"]


def test_settings_belong_to_the_tracker_before_them():
    found = parse_trackers(["sort:a=1,b=2,default:capacity=0,travel=frames,paper"])
    assert found == {
        "sort:a=1,b=2": Classic("sort", {"a": "1", "b": "2"}),
        "default:capacity=0,travel=frames": QuerySpec(
            with_settings(default(), {"memory.capacity": "0", "travel": "frames"})
        ),
        "paper": QuerySpec(paper()),
    }


@pytest.mark.parametrize(("text", "complaint"), [
    pytest.param("", "no tracker; there are tfsasm, released, ", id="nothing"),
    pytest.param("deepsort", "no tracker 'deepsort'; there are tfsasm, ", id="unknown"),
    pytest.param("sort,paper,sort", "sort is among the trackers twice", id="twice"),
    pytest.param("default:capacity", "NAME:SETTING=VALUE, not 'default:capacity'", id="no value"),
    pytest.param("default:", "NAME:SETTING=VALUE, not 'default:'", id="no setting"),
    pytest.param("default:speed=1", "no setting 'speed'", id="no such setting"),
    pytest.param("default:capacity=x", "memory.capacity is a whole number", id="no such value"),
    pytest.param("capacity=0,sort", "no tracker 'capacity=0'", id="a setting of nobody"),
])
def test_a_list_is_refused(text, complaint):
    with pytest.raises(InputError, match=re.escape(complaint)):
        parse_trackers([text])


def test_methods_need_no_package_of_others(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "trackers", None)
    assert list(parse_trackers(["tfsasm"])) == ["tfsasm"]
    with pytest.raises(InputError, match="needs the package"):
        parse_trackers(["sort"])
