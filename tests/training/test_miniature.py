"""The published recipe in small: two data sets, two processes, killed twice, the same curve."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from tfsasm.datasets.synthetic.config import SceneConfig
from tfsasm.datasets.synthetic.sequences import write_sequences
from tfsasm.motrv2.config import ModelConfig, NetworkConfig
from tfsasm.motrv2.family import load_model

STEPS = 9

NETWORK = NetworkConfig(
    ModelConfig(width=64, heads=2, feedforward=32, encoder_layers=1, decoder_layers=2),
    short_side=64, max_side=123,
)  # fmt: skip
"""ResNet-50 and all four levels; the rest is small."""


def write_data(root):
    """Two rendered videos under DanceTrack's names, and CrowdHuman of four of their frames."""
    scene = SceneConfig(width=128, height=96, frames=14, kinds=("dance",), photographs=False)
    images = root / "CrowdHuman/Images"
    images.mkdir(parents=True)
    people, boxes = [], {}
    for index, folder in enumerate(write_sequences(root / "DanceTrack/train", 2, 5, scene)):
        folder = folder.rename(folder.with_name(f"dancetrack{index + 1:04d}"))
        for number in (1, 9):
            name = f"{index}{number},aa"
            cv2.imwrite(str(images / f"{name}.jpg"),
                        cv2.imread(str(folder / f"img1/{number:08d}.jpg")))  # fmt: skip
            truth, found = (
                np.loadtxt(folder / path, delimiter=",", ndmin=2) for path in
                ("gt/gt.txt", "det/det.txt")
            )  # fmt: skip
            fboxes = truth[truth[:, 0] == number, 2:6].tolist()
            people.append(json.dumps({
                "ID": name, "gtboxes": [{"fbox": box, "tag": "person"} for box in fboxes]
            }))  # fmt: skip
            boxes[f"crowdhuman/train_image/{name}.txt"] = [
                ",".join(map(str, row)) + "\n" for row in found[found[:, 0] == number, 2:7]
            ]
    (root / "CrowdHuman/annotation_train.odgt").write_text("\n".join(people))
    (root / "CrowdHuman/boxes.json").write_text(json.dumps(boxes))
    (root / "network.json").write_text(NETWORK.to_json())


def begin(root, output):
    """The run in two processes, as torchrun starts them; a session of its own, to be killed."""
    words = [
        "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "tfsasm",
        "train", "--network", root / "network.json", "--output", output, "--steps", STEPS,
        "--data", f"dancetrack:{root}/DanceTrack/train,interval=3",
        "--data", f"crowdhuman:{root}/CrowdHuman,detections={root}/CrowdHuman/boxes.json,weight=2",
        "--batch", 2, "--checkpoint-minutes", 0.05, "--validate-sequences", 0, "--device", "cpu",
        "--precision", "fp32", "--threads", 1, "--set", "log_every=1", "average=0.9", "loggers=",
    ]  # fmt: skip
    return subprocess.Popen(
        [sys.executable, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip


def curve(output):
    path = output / "log.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return {(one := json.loads(line))["step"]: one["loss"] for line in lines}


def kill_at(process, output, step):
    """End all of a run, without warning, when its log has come so far.

    Its processes are children of torchrun in sessions of their own.
    """
    until = time.monotonic() + 300
    while step not in curve(output):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < until
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 2
    for pid in (process.pid, *map(int, children)):
        os.kill(pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_a_run_killed_twice_has_the_curve_of_an_unbroken_one(tmp_path):
    write_data(tmp_path)
    whole = begin(tmp_path, tmp_path / "whole")
    out, _ = whole.communicate(timeout=600)
    assert whole.returncode == 0, out
    assert "2 videos, 28 frames" in out
    parts = tmp_path / "parts"
    for step in (3, 6):
        kill_at(begin(tmp_path, parts), parts, step)
    last = begin(tmp_path, parts)
    out, _ = last.communicate(timeout=600)
    assert last.returncode == 0, out
    assert "resumed at step" in out
    assert list(curve(parts)) == list(range(1, STEPS + 1))
    assert curve(parts) == pytest.approx(curve(tmp_path / "whole"), rel=1e-5)
    one, other = (load_model(place / "model.safetensors")[0].state_dict()
                  for place in (parts, tmp_path / "whole"))  # fmt: skip
    assert all((value - other[name]).abs().max() < 1e-4 for name, value in one.items()
               if value.numel())  # fmt: skip
    assert load_model(parts / "model.safetensors")[1] == NETWORK
