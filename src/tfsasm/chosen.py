"""Which tracker a command asks for, and what its files say of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import supervision as sv
import torch

from tfsasm import jobs
from tfsasm.api import Tracker, load
from tfsasm.appearance import AppearanceTracker
from tfsasm.config import preset
from tfsasm.detect import ProposalSource
from tfsasm.errors import InputError
from tfsasm.options import looks_of, method_of
from tfsasm.runtime.files import MANIFEST, read_manifest
from tfsasm.tracker import TrackerConfig
from tfsasm.video import Frame, Source

_SMALL_NETWORK = 10_000_000  # parameters; `tiny` has 3 million, the published network 42
_QUERY_ONLY = (
    "weights", "runtime", "preset", "short_side", "max_side", "miss_tolerance", "score_threshold",
    "precision", "batch_encode",
)  # fmt: skip
_LOOKS_ONLY = ("embedder", "embedder_weights", "embedder_set")


@dataclass(frozen=True)
class Chosen:
    """A tracker ready to go."""

    tracker: Tracker | AppearanceTracker
    about: dict[str, Any]
    """Its part of the JSON's head."""
    first_id: int = 1
    scores: bool = True
    """Whether MOT files tell scores."""
    batch: int = 1
    """Frames that a network encodes together."""

    def follow(
        self, source: Source, proposals: ProposalSource
    ) -> Iterator[tuple[Frame, sv.Detections]]:
        """The tracks of each frame, from a fresh state."""
        if isinstance(self.tracker, AppearanceTracker):
            return self.tracker.track(source, detector=proposals)
        return self.tracker.track(source, detector=proposals, batch=self.batch)


def choose(job: jobs.Track) -> Chosen:
    """The tracker of a job. Raises `InputError` for options that are the other tracker's."""
    foreign = _LOOKS_ONLY if job.tracker == "query" else _QUERY_ONLY
    usual = {option.name: option.default for option in fields(job)}
    if given := [name for name in foreign if getattr(job, name) != usual[name]]:
        option = "--" + given[0].replace("_", "-")
        other = "appearance" if job.tracker == "query" else "query"
        raise InputError(f"{option} is for --tracker {other}, and this is {job.tracker}")
    if job.tracker == "query":
        method = method_of(job)
        about = {"weights": job.weights, "runtime": job.runtime, "preset": job.preset}
        return Chosen(
            open_network(job, method), {**about, "method": asdict(method)},
            preset(job.preset).first_id, job.preset != "released", job.batch_encode,
        )  # fmt: skip
    torch.set_num_threads(job.threads or 1)  # its tables are small
    looks = looks_of(job)
    embedder = job.embedder or ("hist" if job.embedder_weights is None else "reid")
    return Chosen(looks, {"embedder": embedder, "method": asdict(looks.config)})


def open_network(job: jobs.Track, method: TrackerConfig) -> Tracker:
    """The query tracker that was asked for, with its share of the threads."""
    is_export = (Path(job.weights) / MANIFEST).is_file()
    if job.runtime == "torch":
        if is_export:
            raise InputError(f"{job.weights} is an export; add --runtime onnx, or openvino")
        tracker = load(
            job.weights, method, short_side=job.short_side, max_side=job.max_side,
            device=job.device, precision=job.precision,
            exact=preset(job.preset).exact and job.precision == "auto",
        )  # fmt: skip
        torch.set_num_threads(job.threads or threads_of_a_part(tracker))
        return tracker
    if job.precision != "auto":
        raise InputError("an export has its own precision; leave --precision out")
    if not is_export:
        raise InputError(
            f"--runtime {job.runtime} takes the folder that tfsasm export made, and {job.weights} "
            f"is none: tfsasm export --format {job.runtime} --weights {job.weights} --output DIR"
        )
    from tfsasm.exported import load_exported

    threads = job.threads or _share_of_threads(read_manifest(Path(job.weights)).parameters)
    torch.set_num_threads(threads)  # of a detector that needs PyTorch
    return load_exported(
        job.weights, job.runtime, method, threads=threads, device=job.device,
        short_side=job.short_side, max_side=job.max_side,
    )  # fmt: skip


def threads_of_a_part(tracker: Tracker) -> int:
    """PyTorch's threads in each of the parts that work side by side.

    With a small network detector, encoder, tracker and video take about as long, and share the
    cores; a large one needs them all for its encoder.
    """
    return _share_of_threads(tracker.model.size)


def _share_of_threads(parameters: int) -> int:
    cores = torch.get_num_threads()
    return max(1, cores // 2) if parameters < _SMALL_NETWORK else cores
