"""What an export needs, and where it may go. What comes of it is in test_exported.py."""

from __future__ import annotations

import pytest

from tfsasm.motrv2 import export
from tfsasm.runtime.manifest import MANIFEST


@pytest.mark.parametrize(("kind", "missing", "parts"), [
    pytest.param("onnx", {"onnxscript"}, ["needs onnxscript", "tfsasm[onnx]"], id="onnxscript"),
    pytest.param(
        "openvino", {"onnx", "openvino"}, ["onnx and openvino", "tfsasm[onnx,openvino]"],
        id="openvino"),
])  # fmt: skip
def test_missing_packages_are_told_before_any_work(
    tfsasm, tmp_path, monkeypatch, kind, missing, parts
):
    find = export.importlib.util.find_spec
    monkeypatch.setattr(
        export.importlib.util, "find_spec", lambda name: None if name in missing else find(name)
    )
    outcome = tfsasm("export", "--format", kind, "--output", tmp_path / "new")
    assert (outcome.code, outcome.out) == (2, "")
    for part in parts:
        assert part in outcome.err
    assert list(tmp_path.iterdir()) == []


def occupied(path):
    path.mkdir()
    (path / "holiday.jpg").touch()


def earlier(path):
    path.mkdir()
    (path / MANIFEST).touch()


@pytest.mark.parametrize(("there", "part"), [
    pytest.param(lambda path: path.touch(), "is a file", id="a file"),
    pytest.param(occupied, "holds other files", id="other files"),
    pytest.param(earlier, "--overwrite", id="an earlier export"),
])
def test_what_is_there_is_left_alone(tfsasm, tmp_path, there, part):
    there(tmp_path / "out")
    before = sorted(tmp_path.rglob("*"))
    outcome = tfsasm("export", "--output", tmp_path / "out")
    assert (outcome.code, outcome.out) == (2, "")
    assert part in outcome.err
    assert sorted(tmp_path.rglob("*")) == before


def test_overwrite_does_not_mean_other_peoples_files(tfsasm, tmp_path):
    occupied(tmp_path / "out")
    outcome = tfsasm("export", "--output", tmp_path / "out", "--overwrite")
    assert outcome.code == 2
    assert "holds other files" in outcome.err


@pytest.mark.parametrize(("options", "part"), [
    pytest.param(["--weights", "lost.pth"], "no checkpoint at lost.pth", id="no weights"),
    pytest.param(["--short-side", "0"], "short_side is 0", id="no size"),
])
def test_a_network_that_cannot_be_is_refused_and_leaves_nothing(tfsasm, tmp_path, options, part):
    outcome = tfsasm("export", "--output", tmp_path / "out", *options)
    assert outcome.code == 2
    assert part in outcome.err
    assert not any((tmp_path / "out").iterdir())
