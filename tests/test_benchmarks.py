"""The benchmark for GPUs, run without one: that it is known to work where it will be needed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


@pytest.mark.slow
@pytest.mark.skipif(not SCRIPT.is_file(), reason="needs a checkout")
def test_the_benchmark_of_gpus_checks_and_times_on_a_cpu(tmp_path):
    path = tmp_path / "gpu.json"
    done = subprocess.run(
        [sys.executable, SCRIPT, "--device", "cpu", "--quick", "--json", path],
        capture_output=True, text=True, env=os.environ | {"TRITON_INTERPRET": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(path.read_text())
    assert len(result["checks"]) == 5
    assert not [row for row in result["rows"] if "error" in row]
    assert result["left_out"] == []
    assert result["rows"][0]["bandwidth_share"] >= 0
    frame = next(row for row in result["rows"] if row["what"] == "batch 1")
    assert {"prepare", "backbone", "encoder", "decoder", "lifecycle", "report"} < set(frame["ms"])
    assert set(frame["matrix_share"]) == {"backbone", "encoder", "decoder"}
    assert "Checks" in done.stdout
    assert "Times" in done.stdout
