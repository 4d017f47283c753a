"""Scores of a network in training, on sequences that it is not trained on."""

from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tfsasm.boxes import ltwh_to_xyxy
from tfsasm.datasets.sequences import find_detections, sequences
from tfsasm.datasets.synthetic.config import SceneConfig
from tfsasm.datasets.synthetic.sequences import render_clip, sequence_seed
from tfsasm.detection.det_db import read_det_db
from tfsasm.detection.detectors import Detector, NoDetector
from tfsasm.detection.proposals import Proposals
from tfsasm.detection.stored import open_detections
from tfsasm.errors import InputError
from tfsasm.evaluation.metrics import score
from tfsasm.evaluation.result_files import Files
from tfsasm.evaluation.score import score_files
from tfsasm.evaluation.trajectories import Trajectories
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.network import as_network
from tfsasm.tracking.query import QueryTracker
from tfsasm.tracking.results import MotFile
from tfsasm.tracking.run import track_video
from tfsasm.training.sources import DataSpec

_NAMES = ("HOTA", "DetA", "AssA", "MOTA", "IDF1")

HELD_OUT = 1_000_003
"""Seed of the validation sequences; clips to train on come from other seeds."""


def held_out_scores(
    model: MOTRv2, network: NetworkConfig, sequences: int, *, frames: int = 60
) -> dict[str, float]:
    """HOTA, DetA, AssA, MOTA and IDF1 in percent over so many held-out `sequences`."""
    tracker = QueryTracker(as_network(model, network))
    scene = SceneConfig(width=384, height=288, frames=frames)
    truths, results = {}, {}
    for index in range(sequences):
        tracker.reset()
        truth, tracked = [], []
        for frame in render_clip(sequence_seed(HELD_OUT, index), scene):
            ltwh, sure = frame.detections[:, :4], frame.detections[:, 4]
            proposals = Proposals.from_ltwh(ltwh, sure, scene.width, scene.height)
            tracks = tracker.update(proposals, frame.image)
            truth.append((frame.ids, ltwh_to_xyxy(frame.boxes)))
            tracked.append((np.asarray(tracks.tracker_id), tracks.xyxy))
        truths[str(index)] = Trajectories.from_frames(truth)
        results[str(index)] = Trajectories.from_frames(tracked)
    scores = score(truths, results).combined
    return {name: getattr(scores, name) for name in _NAMES}


def check_validation(spec: DataSpec, *, proposals: bool = True) -> None:
    """Raises `InputError` for a data set that nothing can be scored on, before any work.

    Without `proposals` it needs no detections.
    """
    if spec.kind in ("crowdhuman", "synthetic"):
        raise InputError(f"--validate takes videos with identities, not {spec.kind}")
    for sequence in sequences(spec.kind, spec.root, spec.split):
        if sequence.truth is None or sequence.source is None:
            raise InputError(f"{sequence.name} of {spec.root} has no ground truth or no images")
        if proposals:
            find_detections(spec.detections, sequence)


def data_scores(
    model: MOTRv2, network: NetworkConfig, spec: DataSpec, most: int | None = None
) -> dict[str, float]:
    """The same over the sequences of a data set, by its benchmark's rules, from stored detections.

    `most` takes only so many of them. Raises `InputError` as tracking and scoring do.
    """
    tracker = QueryTracker(as_network(model, network))
    read = lru_cache(1)(read_det_db)
    with TemporaryDirectory() as folder:
        files = {}
        for sequence in sequences(spec.kind, spec.root, spec.split)[:most]:
            if sequence.truth is None:
                continue
            boxes: Detector = NoDetector()
            if tracker.network.proposals:
                path = find_detections(spec.detections, sequence)
                boxes = open_detections(path, source_name=str(sequence.source), read=read)
            result = Path(folder, f"{sequence.name}.txt")
            with MotFile(result, classes=network.model.classes > 1) as file:
                for frame, tracks in track_video(tracker, str(sequence.source), boxes):
                    file.write(frame, tracks)
            files[sequence.name] = Files(sequence.truth, result, sequence.length)
        scores = score_files(files, spec.kind).report.combined
    return {name: getattr(scores, name) for name in _NAMES}
