"""Methods that share what the network sees answer as if each were alone."""

import pytest
import torch

from helpers.scenes import HEIGHT, WIDTH
from tfsasm.experiments.run import Follower, encode, result_lines
from tfsasm.tracking.config import default, paper, released
from tfsasm.tracking.load import load
from tfsasm.tracking.query import Report
from tfsasm.tracking.results import MotFile

METHODS = {"paper": paper(), "released": released(), "default": default()}


def alone(scene, weights, config, path):
    tracker = load(weights, config)
    with MotFile(path) as file:
        for frame, tracks in tracker.track(scene.folder, detections=scene.detections):
            file.write(frame, tracks)
    return path.read_text()


def test_they_share_the_encoder_and_nothing_else(scene, small_weights, tmp_path):
    tracker = load(small_weights)
    proposals = [scene.proposals(index) for index in range(len(scene.images))]
    features = [encode(tracker, image) for image in scene.images]
    told = {name: [] for name in METHODS}
    followers = {name: Follower(tracker, config) for name, config in METHODS.items()}
    for number, (seen, found) in enumerate(zip(features, proposals, strict=True), start=1):
        for name, follower in followers.items():
            told[name] += result_lines(number, follower.update(seen, found, WIDTH, HEIGHT))
    texts = {name: "".join(f"{line}\n" for line in lines) for name, lines in told.items()}
    assert len(set(texts.values())) > 1
    for name, config in METHODS.items():
        assert texts[name] == alone(scene, small_weights, config, tmp_path / f"{name}.txt")


@pytest.mark.parametrize(("form", "line"), [
    pytest.param({}, "7,3,1.00,2.00,10.00,20.00,0.7500,-1,-1,-1", id="ours"),
    pytest.param({"first_id": 0, "scores": False}, "7,2,1.00,2.00,10.00,20.00,1,-1,-1,-1",
                 id="as released"),
])
def test_a_line_is_that_of_a_result_file(form, line):
    told = Report(torch.tensor([2]), torch.tensor([0.75]), torch.tensor([[1.0, 2, 11, 22]]),
                  torch.tensor([-1]))  # fmt: skip
    assert result_lines(7, told, **form) == [line]
    assert result_lines(7, told[:0], **form) == []
