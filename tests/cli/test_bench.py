"""`tfsasm bench`: what it measures adds up, and where it is written."""

import importlib.util
import json
import sys

import pytest
import torch

from helpers.fakes import SMALL
from tfsasm.experiments.speed import machine
from tfsasm.experiments.speed.stages import Clock
from tfsasm.motrv2.config import NetworkConfig

NETWORK = NetworkConfig(SMALL, short_side=64, max_side=96)


def test_stages_add_up_and_variants_are_compared(tfsasm, small_weights, tmp_path):
    file, picture = tmp_path / "bench.json", tmp_path / "bench.svg"
    outcome = tfsasm(
        "bench", "--weights", small_weights, "--size", "48x64", "--tracks", 3, "--rounds", 1,
        "--frames", 2, "--variants", "plain", "fast-encoder=bf16", "--json", file,
        "--plot", picture,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    told = json.loads(file.read_text())
    assert set(told["variants"]) == {"plain", "fast-encoder=bf16"}
    for one in told["variants"].values():
        assert one["total_ms"] == pytest.approx(sum(one["stages"].values()), abs=0.1)
        assert {"decode", "backbone", "encoder", "memory read", "output"} <= set(one["stages"])
        assert all(spent >= 0 for spent in one["stages"].values())
        assert 50 < one["peak_rss_mb"] < 20_000
    totals = [one["total_ms"] for one in told["variants"].values()]
    ratio = totals[0] / totals[1]
    assert told["ratio_to_plain"] == {"fast-encoder=bf16": pytest.approx(ratio, rel=0.01)}
    assert "quicker than plain" in outcome.out
    assert "<svg" in picture.read_text()


def test_an_exported_network_is_a_column_beside_the_others(tfsasm, small_weights, tmp_path):
    file = tmp_path / "bench.json"
    outcome = tfsasm(
        "bench", "--weights", small_weights, "--size", "48x64", "--tracks", 3, "--rounds", 1,
        "--frames", 1, "--variants", "fast-fp32", "onnx", "--json", file,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    told = json.loads(file.read_text())["variants"]
    here = told["onnx"]
    assert here["total_ms"] == pytest.approx(sum(here["stages"].values()), abs=0.1)
    apart = set(told["fast-fp32"]["stages"]) ^ set(here["stages"])
    assert apart == {"backbone", "encoder", "backbone and encoder"}
    assert set(here["gemm_share"]) == {"decoder"}


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "onnxscript"])
def test_a_runtime_that_is_missing_is_said(name, tfsasm, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda asked: None if asked == name else real(asked)
    )
    outcome = tfsasm("bench", "--variants", "plain", "openvino" if name == "openvino" else "onnx")
    assert outcome.code == 2
    assert "pip install" in outcome.err


@pytest.mark.parametrize("what", ["tracks", "capacity", "length"])
def test_growth_is_a_table(what, tfsasm, small_weights, tmp_path, monkeypatch):
    monkeypatch.setattr("tfsasm.experiments.speed.scaling.TRACKS", (0, 3))
    monkeypatch.setattr("tfsasm.experiments.speed.scaling.CAPACITIES", (0, 2))
    file = tmp_path / "growth.json"
    outcome = tfsasm(
        "bench", "--weights", small_weights, "--scaling", what, "--length", 20, "--rounds", 1,
        "--tracks", 3, "--json", file, "--plot", tmp_path / "growth.svg",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    rows = json.loads(file.read_text())["rows"]
    assert len(rows) == (10 if what == "length" else 2)
    assert all(value >= 0 for row in rows for value in row.values())


def test_another_program_sees_the_same_video(tfsasm, tmp_path):
    file = tmp_path / "pair.json"
    reads = "import sys; assert open(sys.argv[1], 'rb').read(); open(sys.argv[2], 'w')"
    command = f'{sys.executable} -c "{reads}" {{source}} {{output}}'
    outcome = tfsasm(
        "bench", "--baseline", command, "--size", "48x64", "--rounds", 1, "--json", file
    )
    assert outcome.code == 0, outcome.err
    rows = json.loads(file.read_text())["rows"]
    assert [row["program"] for row in rows] == ["tfsasm", "baseline"]


@pytest.mark.parametrize(("options", "said"), [
    pytest.param(["--size", "1080"], "HEIGHTxWIDTH", id="half a size"),
    pytest.param(["--variants", "plain", "quick"], "fast-PRECISION", id="an unknown variant"),
    pytest.param(["--variants", "fast-fp8"], "not 'fp8'", id="a variant of an unknown kind"),
    pytest.param(["--rounds", "0"], "--rounds 0", id="no rounds"),
    pytest.param(["--tracks", "-1"], "--tracks -1", id="fewer than no tracks"),
    pytest.param(["--baseline", "program"], "{source}", id="a program that sees nothing"),
    pytest.param(["--plot", "x.gif"], "x.gif", id="a picture of an unknown kind"),
])  # fmt: skip
def test_what_cannot_be_measured_is_said(tfsasm, options, said):
    outcome = tfsasm("bench", *options)
    assert outcome.code == 2
    assert said in outcome.err


def test_operations_are_counted_by_the_book():
    needed = machine.gflop(NETWORK, 64, 96, queries=10)
    conv = 2 * 32 * 3 * 9 * 32 * 48 / 1e9  # the first one alone
    assert needed["backbone"] > conv
    more = machine.gflop(NETWORK, 64, 96, queries=20)
    assert more["decoder"] > needed["decoder"]
    assert more["encoder"] == needed["encoder"]


def test_a_clock_gives_functions_back():
    clock, layer = Clock(), torch.nn.Linear(2, 2)
    with clock.watch(layer, "forward", "layer"):
        layer(torch.zeros(1, 2))
    assert clock.spent["layer"] > 0
    assert "forward" not in vars(layer)
    clock.spent |= {"outer": 3.0, "inner": 1.0}
    clock.own("outer", "inner", "absent")
    assert clock.spent["outer"] == 2.0
