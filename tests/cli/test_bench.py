"""`tfsasm bench`: what is printed and written, and what cannot be measured."""

import json
import os
import sys
from dataclasses import replace

import pytest

from helpers.fakes import SMALL
from tfsasm.cli import bench
from tfsasm.experiments.speed import report
from tfsasm.experiments.speed.stages import write_clip
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.family import build
from tfsasm.motrv2.fast import kernels
from tfsasm.motrv2.weights import save_model
from tfsasm.processes import peak_memory


def here(work, *given):
    """Memory measured in this process; one of its own takes seconds to import PyTorch."""
    work(*given)
    return peak_memory()


def test_stages_add_up_and_variants_are_compared(tfsasm, small_weights, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "peak_of", here)
    file, plot = tmp_path / "bench.json", tmp_path / "bench.svg"
    outcome = tfsasm(
        "bench", "--weights", small_weights, "--size", "48x64", "--tracks", 3, "--rounds", 1,
        "--frames", 2, "--variants", "plain", "fast-encoder=bf16", "--json", file,
        "--plot", plot,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    result = json.loads(file.read_text())
    assert set(result["variants"]) == {"plain", "fast-encoder=bf16"}
    for one in result["variants"].values():
        assert one["total_ms"] == pytest.approx(sum(one["stages"].values()), abs=0.1)
        assert 50 < one["peak_rss_mb"] < 20_000
        assert set(one["limit_ms"]) == {"backbone", "encoder", "decoder"}
    totals = [one["total_ms"] for one in result["variants"].values()]
    ratio = totals[0] / totals[1]
    assert result["ratio_to_plain"] == {"fast-encoder=bf16": pytest.approx(ratio, rel=0.01)}
    assert "faster than plain" in outcome.out
    for part, least in result["variants"]["plain"]["limit_ms"].items():
        assert least == pytest.approx(result["limits"]["fp32"][part]["ms"], abs=1e-3)
        assert f"{part} at the limit" in outcome.out
    assert result["machine"]["kernels"] == kernels.describe()
    assert kernels.describe() in outcome.out
    assert "<svg" in plot.read_text()


@pytest.mark.slow
def test_an_exported_network_is_a_column_beside_the_others(
    tfsasm, small_weights, tmp_path, monkeypatch
):
    monkeypatch.setattr(report, "peak_of", here)
    file = tmp_path / "bench.json"
    outcome = tfsasm(
        "bench", "--weights", small_weights, "--size", "48x64", "--tracks", 3, "--rounds", 1,
        "--frames", 1, "--variants", "fast-fp32", "onnx", "--json", file,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    variants = json.loads(file.read_text())["variants"]
    one = variants["onnx"]
    assert one["total_ms"] == pytest.approx(sum(one["stages"].values()), abs=0.1)
    apart = set(variants["fast-fp32"]["stages"]) ^ set(one["stages"])
    assert apart == {"backbone", "encoder", "backbone and encoder"}
    assert set(one["limit_ms"]) == {"decoder"}


def test_growth_is_a_table_and_a_plot(tfsasm, small_weights, tmp_path):
    file, plot = tmp_path / "growth.json", tmp_path / "growth.svg"
    outcome = tfsasm(
        "bench", "--weights", small_weights, "--scaling", "length", "--length", 20, "--rounds", 1,
        "--tracks", 3, "--json", file, "--plot", plot,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert len(json.loads(file.read_text())["rows"]) == 10
    assert "<svg" in plot.read_text()


@pytest.mark.parametrize(("load", "told"), [(0.4, False), (1.3, True)])
def test_times_that_other_programs_disturbed_say_so(
    tfsasm, small_weights, tmp_path, monkeypatch, load, told
):
    monkeypatch.setattr(bench, "foreign_load", lambda threads: load)
    file = tmp_path / "bench.json"
    outcome = tfsasm(
        "bench", "--weights", small_weights, "--scaling", "length", "--length", 20, "--rounds", 1,
        "--tracks", 3, "--json", file,
    )  # fmt: skip
    assert (f"other programs kept {load} of" in outcome.out) == told
    assert json.loads(file.read_text())["foreign_load"] == load


@pytest.mark.slow
def test_each_part_of_an_everyday_run_has_its_row(tfsasm, tmp_path):
    video, file = tmp_path / "clip.mp4", tmp_path / "parts.json"
    write_clip(video, 96, 128, 15)
    outcome = tfsasm("bench", "--everyday", video, "--json", file)
    assert outcome.code == 0, outcome.err
    *parts, everything = json.loads(file.read_text())["rows"]
    assert [row["part"] for row in parts] == [
        "decode", "detector", "embedder", "association", "drawing", "encoding",
    ]  # fmt: skip
    assert sum(row["share"] for row in parts) == pytest.approx(1)
    assert everything["ms"] == pytest.approx(sum(row["ms"] for row in parts) / os.cpu_count())


@pytest.mark.slow
@pytest.mark.parametrize("boxes", ["", " {detections}"], ids=["its own boxes", "the same boxes"])
def test_another_program_gets_the_same_video(tfsasm, tmp_path, boxes):
    file = tmp_path / "pair.json"
    reads = "import sys; assert all(open(p, 'rb') for p in sys.argv[1:2] + sys.argv[3:])"
    command = f'{sys.executable} -c "{reads}" {{source}} {{output}}{boxes}'
    outcome = tfsasm(
        "bench", "--baseline", command, "--size", "48x64", "--rounds", 1, "--json", file
    )
    assert outcome.code == 0, outcome.err
    rows = json.loads(file.read_text())["rows"]
    assert [row["program"] for row in rows] == ["tfsasm", "baseline"]


@pytest.mark.parametrize(("options", "message"), [
    pytest.param(["--size", "1080"], "HEIGHTxWIDTH", id="half a size"),
    pytest.param(["--size", f"1x{'9' * 5000}"], "HEIGHTxWIDTH", id="a size of thousands of digits"),
    pytest.param(["--variants", "plain", "quick"], "fast-PRECISION", id="an unknown variant"),
    pytest.param(["--rounds", "0"], "--rounds 0", id="no rounds"),
    pytest.param(["--tracks", "-1"], "--tracks -1", id="fewer than no tracks"),
    pytest.param(["--baseline", "program"], "{source}", id="a program without a video"),
    pytest.param(["--plot", "x.gif"], "x.gif", id="a plot of an unknown kind"),
])  # fmt: skip
def test_what_cannot_be_measured_is_refused(tfsasm, options, message):
    outcome = tfsasm("bench", *options)
    assert outcome.code == 2
    assert message in outcome.err


@pytest.mark.parametrize("family", [
    pytest.param({"kind": "motr", "learned_queries": 300}, id="MOTR"),
    pytest.param({"queries_per_track": 3, "learned_queries": 60}, id="CO-MOT"),
])
def test_a_network_that_takes_no_detections_is_refused(tfsasm, tmp_path, family):
    sizes = replace(SMALL, **family)
    save_model(tmp_path / "n.safetensors", build(sizes), NetworkConfig(sizes))
    outcome = tfsasm("bench", "--weights", tmp_path / "n.safetensors", "--rounds", 1)
    assert outcome.code == 2
    assert "n.safetensors is a MOTR or CO-MOT; bench times networks of MOTRv2" in outcome.err
