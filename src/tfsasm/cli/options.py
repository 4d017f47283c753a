"""Groups of options that several commands share, and what is made of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import tyro

from tfsasm.cli.parsing import GROUPS, flag
from tfsasm.errors import InputError
from tfsasm.experiments.pool import Engine, Processes
from tfsasm.settings import pairs, with_settings
from tfsasm.tracking.config import TrackerConfig, preset

if TYPE_CHECKING:
    from tfsasm.tracking.named import TrackerSpec

OptionalFolder = Annotated[Path | None, tyro.conf.arg(metavar="DIR")]
Settings = Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE")]
Dataset = Literal["dancetrack", "mot15", "mot16", "mot17", "mot20", "sportsmot", "mot", "bdd100k"]


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """What works on the videos, and on how many at a time."""

    workers: int | None = None
    """Processes; each tracks a sequence at a time, with its share of the threads. By default one,
    and with --engine ray as many as the cluster has room for."""
    engine: Literal["processes", "ray"] = "processes"
    """What runs the workers: processes of this machine, or a Ray cluster, whose nodes must see the
    same files (pip install "tfsasm[ray]")."""
    ray_address: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT")] = None
    """The Ray cluster. By default that of RAY_ADDRESS, or the one that this machine is part of; if
    there is none, Ray starts here for this run."""
    cpus_per_worker: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """With Ray, the CPUs of a worker and the threads of its PyTorch."""
    gpus_per_worker: Annotated[float, tyro.conf.arg(metavar="N")] = 0.0
    """With Ray, the GPUs of a worker; 0.25 for four workers on each."""

    def count(self) -> int:
        """The processes for what is done on this machine."""
        return self.workers or 1


@dataclass(frozen=True, kw_only=True)
class DatasetOptions(EngineOptions):
    """The sequences to track, their detections, and how many are tracked at a time."""

    root: Path
    """Folder of the data set, or of one of its splits."""
    dataset: Annotated[Dataset, tyro.conf.arg(metavar="NAME")] = "mot"
    """dancetrack, mot15, mot16, mot17, mot20, sportsmot, bdd100k, or mot for any MOT folders:
    its layout, and the rules that scores follow."""
    classes: Annotated[tuple[int, ...], tyro.conf.arg(metavar="N")] = ()
    """Classes of the ground truth's eighth column that count together in scores, with --dataset
    mot; by default 1."""
    split: str | None = None
    """Its subfolder, such as train, val or test; by default all."""
    sequences: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME")] = ()
    """Only these."""
    public: Literal["DPM", "FRCNN", "SDP"] | None = None
    """Which of MOT17's three copies, and so whose detections; by default FRCNN."""
    source: Path | None = None
    """Video or folder of images of a single sequence that has none."""
    detections: Path | None = None
    """Stored detections: a det_db JSON, a folder of NAME.txt or NAME/det/det.txt, or a file inside
    each sequence, such as det_full/det.txt. By default det/det.txt."""
    second_half: bool = False
    """The sequences are second halves, as ByteTrack's tools cut MOT17, and the detections those of
    whole videos: frame k is frame n//2+1+k of n."""
    skip_bad_detections: bool = False
    """Leave out detection lines that cannot be used, and count them."""
    quiet: bool = False
    """No progress bars."""


@dataclass(frozen=True, kw_only=True)
class DetectorOptions:
    """A live detector."""

    detector: str | None = None
    """Live detector: yolox-nano (in the package), -tiny, -s, -m, -l or -x, whose weights are
    downloaded once unless --detector-weights is given; deformable-detr, with its checkpoint; or a
    Hugging Face model, hf:OWNER/NAME or hf:./FOLDER."""
    detector_weights: Path | None = None
    """File of a YOLOX: .onnx, or a PyTorch checkpoint (.pth, .pth.tar) such as ByteTrack's; or of a
    Deformable DETR (.pth)."""
    detector_score: float = 0.1
    """Detections of the live detector below this score are left out."""
    detector_set: Settings = ()
    """Single settings of the detector, as NAME=VALUE: input_size=800x1440 legacy=true, or
    labels=pedestrian for a Hugging Face model."""


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """The network of the query tracker."""

    weights: str = "tiny"
    """The network: `tiny` or `nano` (in the package), a .safetensors file or a published .pth
    file."""
    short_side: int | None = None
    """Shorter side of the image inside the network, in pixels."""
    max_side: int | None = None
    """Most pixels of its longer side."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ..., or auto."""
    precision: Annotated[str, tyro.conf.arg(metavar="KIND|PART=KIND,...")] = "auto"
    """Numbers in convolutions and matrix products: fp32, bf16 for processors that have it, int8 for
    those with AMX, fp16 for GPUs; or of single parts, backbone=bf16,encoder=int8,decoder=fp32. auto
    is fp32, and with the preset `released` the order of summation of its code."""


@dataclass(frozen=True, kw_only=True)
class MethodOptions(NetworkOptions):
    """The query tracker: network and method."""

    preset: Literal["default", "released", "paper", "motrv2", "motr"] = "default"
    """The method, whatever the network. Networks of MOTR and CO-MOT, which need no detections, have
    their own by default, motr and motrv2."""
    set: Settings = ()
    """Single settings of the method, as NAME=VALUE: memory.capacity=20 travel=frames."""
    miss_tolerance: int | None = None
    """Frames after which a lost track ends."""
    score_threshold: Annotated[float | None, tyro.conf.arg(metavar="SCORE")] = None
    """Score from which a track is born, kept and reported."""


@dataclass(frozen=True, kw_only=True)
class EmbedderOptions:
    """The appearance embeddings of the appearance tracker."""

    embedder: str | None = None
    """Appearance embeddings: hist (colour histograms; the default), none (motion alone), osnet or
    reid (an ONNX file, --embedder-weights), hf:OWNER/NAME or hf:./FOLDER."""
    embedder_weights: Path | None = None
    """ONNX file of a re-identification network."""
    embedder_set: Settings = ()
    """Single settings of the embedder, as NAME=VALUE: rgb=false height=384."""


@dataclass(frozen=True, kw_only=True)
class TrackerOptions(MethodOptions, EmbedderOptions):
    """Any tracker."""

    tracker: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """query: MOTRv2 with the sparse memory; appearance: a Kalman filter and appearance embeddings,
    which needs no weights but the detector's; auto: appearance, or query where an option of it is
    given, such as --weights; or any name that `compare` knows: sort, bytetrack, ocsort, botsort,
    cbiou, motion, or a preset."""
    set: Settings = ()
    """Single settings of the method, as NAME=VALUE: memory.capacity=20 travel=frames; of the
    appearance tracker: gallery.kind=ema match.max_lost_frames=90; of ocsort:
    lost_track_buffer=60."""


@dataclass(frozen=True, kw_only=True)
class ResultsOptions(MethodOptions, DetectorOptions, DatasetOptions):
    """A data set that is tracked into a folder of results."""

    output: Path
    """Folder for a NAME.txt per sequence, scores.json and the settings (evaluation.json)."""
    overwrite: bool = False
    """Start over: remove what an earlier run left in the output folder."""


Chosen = TypeVar("Chosen", bound=TrackerOptions)

Method = TypeVar("Method", bound=MethodOptions)


def make_engine(options: EngineOptions, files: Iterable[Path | None] = ()) -> Engine:
    """The engine of the options; `files` that are there reach all nodes of a cluster.

    Raises `InputError` for numbers that make no sense.
    """
    if options.workers is not None and options.workers < 1:
        raise InputError(f"workers is {options.workers}; give 1 or more")
    if options.engine == "processes":
        for name in ("ray_address", "cpus_per_worker", "gpus_per_worker"):
            if getattr(options, name) != getattr(EngineOptions, name):
                raise InputError(f"{flag(name)} is for --engine ray")
        return Processes(options.count())
    if options.cpus_per_worker < 1 or options.gpus_per_worker < 0:
        raise InputError("a worker has 1 CPU or more, and no less than 0 GPUs")
    from tfsasm.experiments.on_ray import Ray

    return Ray(
        options.ray_address, options.workers, options.cpus_per_worker, options.gpus_per_worker,
        tuple(file for file in files if file is not None and file.is_file()),
    )  # fmt: skip


def at_least(options: object, least: int, *names: str) -> None:
    """Raises `InputError` for one of the options that is given and lower."""
    for name in names:
        if (value := getattr(options, name)) is not None and value < least:
            raise InputError(f"{flag(name)} {value} is not at least {least}")


def query_config(options: MethodOptions) -> TrackerConfig:
    """The preset with what the command line changes. Raises `InputError`."""
    changes: dict[str, str] = {}
    if options.miss_tolerance is not None:
        changes["lifecycle.miss_tolerance"] = str(options.miss_tolerance)
    if options.score_threshold is not None:
        for name in ("lifecycle.birth_score", "lifecycle.miss_score", "report_score"):
            changes[name] = str(options.score_threshold)
    return with_settings(preset(options.preset).make(), changes | pairs(options.set))


def with_tracker(options: Chosen) -> tuple[Chosen, bool]:
    """The options with `tracker` as `query`, `appearance` or the name of a classic tracker.

    The name of a preset is the query tracker with that preset. Also says whether its network finds
    objects itself (MOTR, CO-MOT); then its own preset is taken unless another one is given. Raises
    `InputError`, also for options of a tracker that is not used.
    """
    options = _with_kind_of_tracker(options)
    for owner in ("query", "appearance"):
        if owner != options.tracker and (given := _given(options, owner)):
            raise InputError(
                f"{flag(given[0])} is for --tracker {owner}, and this is {options.tracker}"
            )
    return with_own_preset(options) if options.tracker == "query" else (options, False)


def with_own_preset(options: Method) -> tuple[Method, bool]:
    """The options with their network's own preset, unless another is given, and whether it has one:
    it finds objects itself. Raises `InputError` for detections, which such a network does not take.
    """
    from tfsasm.tracking.load import own_preset

    own: Any = own_preset(options.weights, getattr(options, "runtime", "torch"))
    if own and (getattr(options, "detector", None) or getattr(options, "detections", None)):
        raise InputError("this network (MOTR or CO-MOT) finds objects itself; leave --detector and "
                         "--detections out")  # fmt: skip
    if own and options.preset == "default":
        options = replace(options, preset=own)
    return options, own is not None


def _with_kind_of_tracker(options: Chosen) -> Chosen:
    from tfsasm.tracking.named import ALIASES, APPEARANCE, CLASSICS, named

    if options.tracker == "auto":
        return replace(options, tracker="query" if _given(options, "query") else "appearance")
    if options.tracker == "query":
        return options
    try:
        name, settings = named(options.tracker)
    except InputError as error:
        raise InputError(
            f"{error}; also query (MOTRv2, by --weights and --preset) and auto"
        ) from None
    given = (*(f"{key}={value}" for key, value in settings.items()), *options.set)
    if name in CLASSICS:
        return replace(options, tracker=name, set=given)
    if name == "motion":
        if options.embedder != "none" and (useless := _given(options, "appearance")):
            raise InputError(f"{flag(useless[0])} is for --tracker appearance, and this is motion")
        options, given = replace(options, embedder="none"), ("gallery.kind=none", *given)
    if name in APPEARANCE:
        return replace(options, tracker="appearance", set=given)
    name = ALIASES.get(name, name)
    if options.preset not in ("default", name):
        raise InputError(f"--tracker {options.tracker} and --preset {options.preset} differ")
    method: Any = name  # one of the presets
    return replace(options, tracker="query", set=given, preset=method)


def spec_of(options: TrackerOptions) -> TrackerSpec:
    """The tracker that `with_tracker` has resolved, and its method. Raises `InputError`."""
    from tfsasm.tracking.named import QuerySpec, tracker_spec

    if options.tracker == "query":
        return QuerySpec(query_config(options))
    return tracker_spec(options.tracker, pairs(options.set))


def _given(options: TrackerOptions, owner: str) -> list[str]:
    """Which options of a tracker, query or appearance, are not at their defaults."""
    return [
        one.name for one in fields(options)
        if one.name in GROUPS[f"{owner} tracker"] and getattr(options, one.name) != one.default
    ]  # fmt: skip
