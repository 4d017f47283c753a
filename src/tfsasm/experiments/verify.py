"""Whether a checkpoint is whole, and does the same in every variant that this machine can run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import supervision as sv

from tfsasm.datasets.sequences import find_detections, sequences
from tfsasm.datasets.synthetic.config import SceneConfig
from tfsasm.datasets.synthetic.sequences import render_clip
from tfsasm.detection.detectors import Detector, NoDetector
from tfsasm.detection.proposals import Proposals
from tfsasm.detection.stored import open_detections
from tfsasm.errors import InputError
from tfsasm.experiments.speed.variants import (
    RUNTIMES,
    check_variants,
    make_variant,
    precision_of,
)
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.export import export
from tfsasm.motrv2.family import load_model, make_model
from tfsasm.motrv2.weights import read_checkpoint
from tfsasm.runtime.network import Network
from tfsasm.tracking.config import released
from tfsasm.tracking.query import QueryTracker
from tfsasm.video.source import open_video

Shown = tuple[np.ndarray, Proposals]
"""A frame, BGR uint8 `[H, W, 3]`, and its detections."""

_SAME = 0.1  # pixels of a 512-pixel image; one thousandth of that is usual


@dataclass(frozen=True)
class Agreement:
    """A way to run a network, beside the reference."""

    variant: str
    seconds: float
    """Per frame."""
    identities: bool
    """Whether every frame has the same identities."""
    distance: float
    """Largest difference of a box of a shared identity, in pixels."""
    boxes: int = 0
    """Boxes of all frames together; of none nothing can differ."""
    absent: str = ""
    """Why it could not be run; then nothing else is meant."""
    margin: float = 0.5
    """How far the least sure of these boxes is above the score that a box needs."""

    @property
    def verdict(self) -> str:
        """In a word or a few."""
        if self.absent:
            return f"not run: {self.absent}"
        if not self.identities:
            return "other identities"
        if not self.boxes:
            return "tracks nothing"
        if self.rounded:
            return "same identities, rounded"
        return "agrees" if self.distance <= _SAME else "boxes differ"

    @property
    def rounded(self) -> bool:
        """Whether it computes in half precision or bytes, whose boxes may differ."""
        return "16" in self.variant or "int8" in self.variant

    @property
    def good(self) -> bool:
        """Whether nothing speaks against it."""
        return bool(self.absent) or self.verdict in ("agrees", "same identities, rounded")


def rendered(frames: int, seed: int = 7) -> list[Shown]:
    """A short video of dancers that is drawn here, so that nothing is needed."""
    scene = SceneConfig(width=512, height=384, frames=frames, kinds=("dance",), photographs=False)
    video = []
    for frame in render_clip(seed, scene):
        height, width = frame.image.shape[:2]
        ltwh, scores = frame.detections[:, :4], frame.detections[:, 4]
        video.append((frame.image, Proposals.from_ltwh(ltwh, scores, width, height)))
    return video


def recorded(
    dataset: str, root: Path, detections: Path | None, frames: int, *, proposals: bool = True
) -> list[Shown]:
    """The first frames of a data set's first sequence that has images, and its stored boxes.

    Without `proposals` there are no boxes. Raises `InputError` where no sequence has images, and as
    `find_detections` does.
    """
    found = next((one for one in sequences(dataset, root) if one.source), None)
    if found is None:
        raise InputError(f"no sequence of {root} has images")
    source = str(found.source)
    boxes: Detector = NoDetector()
    if proposals:
        boxes = open_detections(find_detections(detections, found), source_name=source)
    with open_video(source, end=frames) as video:
        return [(frame.image, boxes(frame)) for frame in video]


def verify(
    weights: Path, video: Sequence[Shown], variants: Sequence[str],
    progress: Callable[[str], None] = lambda variant: None,
) -> Iterator[Agreement]:
    """Track a short video in each variant, by the released method at any network's score.

    The first variant is the reference. One that needs a package that is missing is reported as
    absent. Raises `InputError` for a variant that there is not, `WeightsError` for a checkpoint
    that does not load.
    """
    for variant in variants:
        precision_of(variant)
    wanted: list[sv.Detections] | None = None
    with tempfile.TemporaryDirectory() as folder:
        for variant in variants:
            progress(variant)
            try:
                network = network_of(variant, weights, Path(folder))
            except InputError as error:
                yield Agreement(variant, 0.0, False, 0.0, absent=str(error))
                continue
            began = time.perf_counter()
            tracker = QueryTracker(network, released())
            tracks = [tracker.update(boxes, image) for image, boxes in video]
            seconds = (time.perf_counter() - began) / max(1, len(video))
            wanted = tracks if wanted is None else wanted
            boxes = sum(map(len, tracks))
            yield Agreement(
                variant, seconds, *compared(tracks, wanted), boxes, margin=_margin(tracks)
            )


def network_of(variant: str, weights: Path, folder: Path) -> Network:
    """The network of a checkpoint as one of the variants; an export goes into `folder`, once."""
    check_variants([variant])
    model, config = load_model(weights)
    exported = folder / "onnx"
    if variant in RUNTIMES and not exported.exists():
        export(model, config, exported, "onnx")
    return make_variant(variant, model, config, exported)


def compared(
    tracks: Sequence[sv.Detections], wanted: Sequence[sv.Detections]
) -> tuple[bool, float]:
    """Whether the identities of all frames are the same, and how far the boxes are apart."""
    same, distance = True, 0.0
    for one, other in zip(tracks, wanted, strict=True):
        mine, theirs = (np.asarray(side.tracker_id, dtype=int) for side in (one, other))
        same = same and set(mine.tolist()) == set(theirs.tolist())
        shared, rows, others = np.intersect1d(mine, theirs, return_indices=True)
        if len(shared):
            apart = np.abs(one.xyxy[rows] - other.xyxy[others]).max()
            distance = max(distance, float(apart))
    return same, distance


def _margin(tracks: Sequence[sv.Detections]) -> float:
    bar = released().report_score
    scores = [np.asarray(one.confidence) for one in tracks if len(one)]
    return float(np.concatenate(scores).min()) - bar if scores else 1 - bar


def advice(found: Sequence[Agreement]) -> list[str]:
    """What to make of variants that track others than the first one: a sentence for each kind."""
    other = [one for one in found if not (one.absent or one.identities)]
    if not other:
        return []
    rounded, whole = (
        ", ".join(one.variant for one in other if one.rounded == kind) for kind in (True, False)
    )
    margin = min(one.margin for one in found if not one.absent)
    lines = [
        f"a score of {released().report_score} decides who is tracked, and the least sure box here "
        f"has {margin:.1g} more than that"
    ]
    if rounded:
        lines.append(
            f"{rounded}: half precision moves scores by about a thousandth, and some decide "
            "otherwise then; take fp32 for this network, or score both by tfsasm evaluate "
            "--precision"
        )
    if whole:
        lines.append(
            f"{whole}: another order of sums moves scores by about 1e-5, which decides only where "
            "a network is unsure, as one without training is; with a trained one, report it"
        )
    return lines


def describe(weights: Path) -> tuple[str, NetworkConfig]:
    """What a checkpoint holds, once it has loaded strictly. Raises `WeightsError`."""
    model, config = make_model(*read_checkpoint(weights), weights)
    tensors, numbers = len(model.state_dict()), model.size
    sizes = config.model
    return (
        f"{tensors} tensors, {numbers / 1e6:.1f} million numbers: {sizes.backbone}, "
        f"{sizes.encoder_layers}+{sizes.decoder_layers} layers of width {sizes.width}, "
        f"{sizes.learned_queries} learned queries, {sizes.classes} "
        f"class{'es' * (sizes.classes > 1)}; images of {config.short_side} to {config.max_side}"
    ), config
