"""Scores of a network in training, on synthetic sequences that it is never trained on."""

from __future__ import annotations

import numpy as np

from tfsasm.boxes import ltwh_to_xyxy
from tfsasm.datasets.synthetic.config import SceneConfig
from tfsasm.datasets.synthetic.sequences import render_clip, sequence_seed
from tfsasm.detection.proposals import Proposals
from tfsasm.evaluation.metrics import score
from tfsasm.evaluation.trajectories import Trajectories
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.network import TorchNetwork
from tfsasm.tracking.config import default
from tfsasm.tracking.query import QueryTracker

HELD_OUT = 1_000_003
"""Seed of the validation sequences; clips to train on come from other seeds."""


def held_out_scores(
    model: MOTRv2, network: NetworkConfig, sequences: int, *, frames: int = 60
) -> dict[str, float]:
    """HOTA, DetA, AssA, MOTA and IDF1 in percent over so many held-out `sequences`."""
    tracker = QueryTracker(TorchNetwork(model, network), default())
    truths, results = {}, {}
    for index in range(sequences):
        truth, tracks = _track(tracker, sequence_seed(HELD_OUT, index), frames)
        truths[str(index)], results[str(index)] = truth, tracks
    scores = score(truths, results).combined
    return {name: getattr(scores, name) for name in ("HOTA", "DetA", "AssA", "MOTA", "IDF1")}


def _track(tracker: QueryTracker, seed: int, frames: int) -> tuple[Trajectories, Trajectories]:
    """The ground truth of a sequence, and its tracks."""
    scene = SceneConfig(width=384, height=288, frames=frames)
    tracker.reset()
    truth, result = [], []
    for frame in render_clip(seed, scene):
        height, width = frame.image.shape[:2]
        ltwh, scores = frame.detections[:, :4], frame.detections[:, 4]
        proposals = Proposals.from_ltwh(ltwh, scores, width, height)
        tracks = tracker.update(proposals, frame.image)
        truth.append((frame.ids, ltwh_to_xyxy(frame.boxes)))
        result.append((np.asarray(tracks.tracker_id), tracks.xyxy))
    return Trajectories.from_frames(truth), Trajectories.from_frames(result)
