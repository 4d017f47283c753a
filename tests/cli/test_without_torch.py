"""Appearance tracking and work on data sets and results need no PyTorch and no ONNX Runtime."""

import subprocess
import sys
import textwrap

CODE = """
import sys
from importlib import import_module
from pathlib import Path

sys.modules["torch"] = sys.modules["onnxruntime"] = None  # an import of them fails

from rich.console import Console

from tfsasm.cli.detections import ConvertDetections as Convert, FilterDetections as Filter

console = Console()


def run(command, **options):
    module = import_module(f"tfsasm.cli.{command}")
    code = module.run(module.Options(**options), console, console)
    assert not code, (command, code)


run("synth", output=Path("clips"), sequences=1, frames=3, width=96, height=64)
run("datasets", action="check", root=Path("clips"))
clip = Path("clips/synthetic-0-0000")
Path("results").mkdir()
rows = [line.split(",")[:6] for line in (clip / "gt/gt.txt").read_text().splitlines()]
text = "".join(",".join([*row, "1,-1,-1,-1"]) + "\\n" for row in rows)
Path("results", f"{clip.name}.txt").write_text(text)
run("track", source=(str(clip),), detections=clip / "det/det.txt", tracker="appearance", quiet=True,
    mot_output=Path("tracked.txt"))
run("score", gt=Path("clips"), results=Path("results"), plot=Path("hota.png"))
run("show", results=Path("results", f"{clip.name}.txt"), source=str(clip), output=Path("shown"),
    gt=clip / "gt/gt.txt")
Path("server").mkdir()
for name in ("04", "06", "07", "08"):
    Path("server", f"MOT20-{name}.txt").write_text(text)
for tool in (Convert(input=clip / "det/det.txt", output=Path("db.json")),
             Filter(input=Path("db.json"), output=Path("sure.json"), score=0.5)):
    module = import_module("tfsasm.cli.detections")
    assert not module.run(module.Options(tool), console, console)
run("merge", results=Path("results"), output=Path("merged"))
run("submit", dataset="mot20", results=Path("server"), output=Path("mot20.zip"))
"""


def test_what_works_without_pytorch(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CODE)], cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {
        "clips", "tracked.txt", "results", "hota.png", "shown", "merged", "server", "mot20.zip",
        "db.json", "sure.json",
    }  # fmt: skip
