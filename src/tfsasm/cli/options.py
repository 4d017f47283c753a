"""Kinds of options that several commands have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from tfsasm.settings import pairs, with_settings
from tfsasm.tracking.appearance.embedders import Embedder, embedder
from tfsasm.tracking.appearance.tracker import AppearanceConfig
from tfsasm.tracking.config import TrackerConfig, preset

OptionalFile = Annotated[Path | None, tyro.conf.arg(metavar="FILE")]

OptionalCount = Annotated[int | None, tyro.conf.arg(metavar="N")]

OptionalScore = Annotated[float | None, tyro.conf.arg(metavar="SCORE")]

Dataset = Literal[
    "dancetrack", "mot15", "mot16", "mot17", "mot20", "sportsmot", "mot", "bdd100k"
]

OptionalName = Annotated[str | None, tyro.conf.arg(metavar="NAME")]

Settings = Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE")]

InputPath = tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="INPUT")]]

OutputPath = tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="OUTPUT")]]

PrecisionText = Annotated[str, tyro.conf.arg(metavar="KIND|PART=KIND,...")]
"""Numbers that the network computes with; see `tfsasm.load`."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Which sequences there are to track."""

    root: Path
    """Folder of the data set, or of one of its splits."""
    dataset: Annotated[Dataset, tyro.conf.arg(metavar="NAME")] = "mot"
    """dancetrack, mot15, mot16, mot17, mot20, sportsmot, bdd100k, or mot for any MOT folders:
    its layout, and the rules that scores follow."""
    split: OptionalName = None
    """Its subfolder, such as train, val or test; by default all."""
    sequences: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME")] = ()
    """Only these."""
    public: Literal["DPM", "FRCNN", "SDP"] | None = None
    """Which of MOT17's three copies, and so whose detections; by default FRCNN."""
    source: OptionalFile = None
    """Video or folder of images of a single sequence that has none."""
    detections: OptionalFile = None
    """Stored detections: a det_db JSON, a folder of NAME.txt or NAME/det/det.txt, or a file inside
    each sequence, such as det_full/det.txt. By default det/det.txt."""


@dataclass(frozen=True, kw_only=True)
class Watched:
    """The one video of a command, and its boxes."""

    source: str
    """Video file, folder of images, camera index or rtsp/http address."""
    detections: OptionalFile = None
    """Stored detections: a MOT det.txt or a det_db JSON."""


@dataclass(frozen=True, kw_only=True)
class DetectorOptions:
    """Boxes that are found while tracking."""

    detector: OptionalName = None
    """Live detector: yolox-nano, -tiny, -s, -m, -l or -x, whose weights are downloaded once unless
    --detector-weights is given; or a Hugging Face model, hf:OWNER/NAME or hf:./FOLDER."""
    detector_weights: OptionalFile = None
    """File of a YOLOX: .onnx, or a PyTorch checkpoint (.pth, .pth.tar) as of ByteTrack's."""
    detector_score: float = 0.1
    """Detector boxes below this score are not handed over."""
    detector_set: Settings = ()
    """Single settings of the detector, as NAME=VALUE: input_size=800x1440 legacy=true, or
    labels=pedestrian for a Hugging Face model."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """The query network."""

    weights: str = "tiny"
    """The network: `tiny` (in the package), a .safetensors file or a published .pth file."""
    short_side: OptionalCount = None
    """Shorter side of the image inside the network, in pixels."""
    max_side: OptionalCount = None
    """Most pixels of its longer side."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ..., or auto."""
    precision: PrecisionText = "auto"
    """Numbers in convolutions and matrix products: fp32, bf16 for processors that have it, fp16 for
    GPUs; or of single parts, backbone=bf16,encoder=bf16,decoder=fp32. auto is fp32, and with the
    preset `released` the order of summation of its code."""


@dataclass(frozen=True, kw_only=True)
class MethodOptions(Network):
    """The query network under a method."""

    preset: Literal["default", "released", "paper", "motrv2"] = "default"
    """The method, whatever the network."""
    set: Settings = ()
    """Single settings of the method, as NAME=VALUE: memory.capacity=20 travel=frames."""
    miss_tolerance: OptionalCount = None
    """Frames after which an absent track dies."""
    score_threshold: OptionalScore = None
    """Score for birth, presence and report."""


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """What the appearance tracker sees."""

    embedder: OptionalName = None
    """What the appearance tracker sees people by: hist (colours; the default), none (motion alone),
    osnet or reid (an ONNX file, --embedder-weights), hf:OWNER/NAME or hf:./FOLDER."""
    embedder_weights: OptionalFile = None
    """ONNX file of a re-identification network."""
    embedder_set: Settings = ()
    """Single settings of the embedder, as NAME=VALUE: rgb=false height=384."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which of the two trackers."""

    tracker: Literal["query", "appearance"] = "query"
    """The query network; or motion and looks, which need no weights but the detector's."""


@dataclass(frozen=True, kw_only=True)
class Following(MethodOptions, Embedding, Choice):
    """Either tracker."""

    set: Settings = ()
    """Single settings of the method, as NAME=VALUE: memory.capacity=20 travel=frames; of the
    appearance tracker: gallery.kind=ema match.patience=90."""


@dataclass(frozen=True, kw_only=True)
class Crew:
    """How a data set is worked on."""

    workers: int = 1
    """Processes; each tracks a sequence at a time, with its share of the threads."""
    skip_bad_detections: bool = False
    """Leave out detection lines that cannot be used, and count them."""
    quiet: bool = False
    """No progress bars."""


@dataclass(frozen=True, kw_only=True)
class Tracked(Crew, MethodOptions, DetectorOptions, DataSet):
    """A data set that is tracked into a folder of results."""

    output: Path
    """Folder for a NAME.txt per sequence, scores.json and the settings (evaluation.json)."""
    overwrite: bool = False
    """Start anew: remove what an earlier run left in the output folder."""


def method_of(job: MethodOptions) -> TrackerConfig:
    """The preset with what the command line changes."""
    settings: dict[str, str] = {}
    if job.miss_tolerance is not None:
        settings["lifecycle.miss_tolerance"] = str(job.miss_tolerance)
    if job.score_threshold is not None:
        for name in ("lifecycle.birth_score", "lifecycle.miss_score", "report_score"):
            settings[name] = str(job.score_threshold)
    settings |= pairs(job.set)
    return with_settings(preset(job.preset).make(), settings)


def looks_of(job: Following) -> AppearanceConfig:
    """The appearance tracker's method with what the command line changes."""
    return with_settings(AppearanceConfig(), pairs(job.set))


def embedder_of(job: Embedding) -> Embedder | None:
    """What the appearance tracker sees people by. Raises `InputError`, as `embedder` does."""
    return embedder(job.embedder, job.embedder_weights, job.embedder_set)
