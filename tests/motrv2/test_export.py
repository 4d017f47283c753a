"""What an export needs, and where it may go. What comes of it is in test_exported.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from tfsasm.motrv2 import export
from tfsasm.motrv2.family import load_model
from tfsasm.runtime.exported import MANIFEST


@pytest.mark.slow
def test_the_command_makes_the_export_that_is_kept(tfsasm, exported, tmp_path):
    """And prints what it wrote and how near it is."""
    outcome = tfsasm("export", "--weights", exported.weights, "--output", tmp_path)
    *wrote, distance = outcome.out.splitlines()
    files = ("decode.onnx", "encode.onnx", "interact.onnx", MANIFEST)
    assert [Path(line.removeprefix("wrote ")).name for line in wrote] == [*files]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)
    assert distance.startswith("compared with PyTorch on noise: boxes and scores within ")
    assert float(distance.rpartition(" ")[2]) < 1e-5
    assert (tmp_path / MANIFEST).read_text() == (exported.folder / MANIFEST).read_text()
    image = np.random.default_rng(0).integers(0, 256, (70, 99, 3), dtype=np.uint8)
    fresh, kept = (
        onnxruntime.InferenceSession(folder / "encode.onnx").run(None, {"image": image})
        for folder in (tmp_path, exported.folder)
    )
    for one, other in zip(fresh, kept, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_part_is_written_as_a_graph_of_any_number_of_tracks(exported, tmp_path, monkeypatch):
    """The smallest, which takes seconds; all of them are slow."""
    model, network = load_model(exported.weights)
    parts = export.graphs(model)
    monkeypatch.setattr(export, "graphs", lambda _: {"interact": parts["interact"]})
    export.export(model, network, tmp_path, "onnx")
    session = onnxruntime.InferenceSession(tmp_path / "interact.onnx")
    names = [given.name for given in session.get_inputs()]
    for count in (1, 5, 30):
        given = torch.rand(count, 64), torch.rand(count, 4), torch.rand(count, 64)
        found, = session.run(None, dict(zip(names, map(np.asarray, given), strict=True)))
        np.testing.assert_allclose(found, model.interaction(*given), atol=1e-5)


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
