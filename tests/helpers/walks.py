"""Made-up trajectories, what a tracker makes of them, and TrackEval run on files of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trackeval

from tfsasm.evaluation.metrics import Scores
from tfsasm.evaluation.trajectories import Trajectories

RATES = ("HOTA", "DetA", "AssA", "LocA", "DetRe", "DetPr", "AssRe", "AssPr")


def walk(frames, objects, seed) -> Trajectories:
    """Objects that walk about for a while each; frames 4 and 5 show nobody."""
    rng = np.random.default_rng(seed)
    rows = []
    for identity in range(1, objects + 1):
        begin, end = np.sort(rng.integers(1, frames + 1, 2))
        at, step, size = rng.uniform(0, 200, 2), rng.normal(0, 4, 2), rng.uniform(30, 80, 2)
        for frame in range(begin, end + 1):
            if frame not in (4, 5):
                rows.append([frame, 7 * identity, *(at + step * frame), *size])
    table = np.array(rows).round(2)
    return Trajectories.of(table[:, 0], table[:, 1], table[:, 2:])


def flawed(truth, seed) -> Trajectories:
    """What a tracker makes of it: jitter, misses, swapped and broken identities, false boxes."""
    rng = np.random.default_rng(seed)
    kept = truth[rng.random(len(truth)) > 0.2]
    ltwh = kept.ltwh + rng.normal(0, 4, kept.ltwh.shape)
    ids = np.where(kept.frames > 12, kept.ids[::-1].max() + kept.ids, kept.ids)
    false = rng.uniform(20, 200, (8, 4))
    return Trajectories.of(
        np.concatenate([kept.frames, np.arange(4, 12)]),
        np.concatenate([ids, np.full(8, 999)]),
        np.concatenate([ltwh, false]).round(2),
    )


def save(path: Path, table: Trajectories, tail: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = zip(table.frames, table.ids, table.ltwh.tolist(), strict=True)
    lines = (f"{f},{i},{','.join(map(str, box))},{tail}\n" for f, i, box in rows)
    path.write_text("".join(lines))


def save_classes(path: Path, table: Trajectories, seed: int) -> None:
    """Ground truth as MOT17 has it: half of the objects are people, the others of any class.

    One person in ten is not marked, and so are all others but the class that TrackEval forgives.
    """
    rng = np.random.default_rng(seed)
    classes = {i: 1 if rng.random() < 0.5 else rng.integers(2, 14) for i in np.unique(table.ids)}
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for frame, identity, box in zip(table.frames, table.ids, table.ltwh.tolist(), strict=True):
        kind = classes[identity]
        mark = int(rng.random() < 0.9) if kind == 1 else int(kind in (4, 7))
        lines.append(f"{frame},{identity},{','.join(map(str, box))},{mark},{kind},0.5\n")
    path.write_text("".join(lines))


def official(
    gt: Path, trackers: Path, lengths: dict[str, int], benchmark: str = "MOT17", **settings: object
) -> dict[str, dict]:
    """What TrackEval's own front end and evaluator make of files, by sequence.

    Results are `trackers/ours/data/NAME.txt`.
    """
    dataset = trackeval.datasets.MotChallenge2DBox({
        "PRINT_CONFIG": False, "GT_FOLDER": str(gt), "TRACKERS_FOLDER": str(trackers),
        "SKIP_SPLIT_FOL": True, "SEQ_INFO": dict(lengths), "BENCHMARK": benchmark, **settings,
    })  # fmt: skip
    return {name: one["pedestrian"] for name, one in evaluated(dataset).items()}


def evaluated(dataset) -> dict[str, dict]:
    """TrackEval's evaluator on one of its data sets: sequence -> class -> metric -> values."""
    quiet = {"PRINT_CONFIG": False}
    evaluator = trackeval.Evaluator({
        **quiet, "USE_PARALLEL": False, "BREAK_ON_ERROR": True, "LOG_ON_ERROR": None,
        "PRINT_RESULTS": False, "TIME_PROGRESS": False, "OUTPUT_SUMMARY": False,
        "OUTPUT_DETAILED": False, "PLOT_CURVES": False,
    })  # fmt: skip
    metrics = [
        trackeval.metrics.HOTA(), trackeval.metrics.CLEAR(dict(quiet)),
        trackeval.metrics.Identity(dict(quiet)),
    ]  # fmt: skip
    [output] = evaluator.evaluate([dataset], metrics)[0].values()
    return output["ours"]


def assert_same(scores: Scores, theirs: dict[str, dict]) -> None:
    """Every score that both have, to 1e-6."""
    hota, clear, identity = theirs["HOTA"], theirs["CLEAR"], theirs["Identity"]
    for rate in RATES:
        assert getattr(scores, rate) == pytest.approx(100 * hota[rate].mean(), abs=1e-6)
        np.testing.assert_allclose(scores.curves[rate], 100 * hota[rate], atol=1e-6)
    rates = scores.MOTA, scores.IDF1
    assert rates == pytest.approx((100 * clear["MOTA"], 100 * identity["IDF1"]), abs=1e-6)
    counts = [clear[key] for key in ("IDSW", "Frag", "CLR_FP", "CLR_FN")]
    assert counts == [scores.IDSW, scores.Frag, scores.FP, scores.FN]
