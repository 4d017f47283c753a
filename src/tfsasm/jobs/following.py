"""The options of commands that take one video."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tfsasm.jobs.kinds import OptionalCount, OptionalFile
from tfsasm.jobs.shared import DetectorOptions, Following, Watched


@dataclass(frozen=True, kw_only=True)
class Track(Following, DetectorOptions, Watched):
    """Follow people through a video, a folder of images, a camera or a stream.

    Example: tfsasm track --source video.mp4 --detector yolox-nano --output out.mp4
    """

    weights: str = "tiny"
    """The network: `tiny` (in the package), a .safetensors file, a published .pth file, or with
    --runtime onnx or openvino the folder that `tfsasm export` made."""
    runtime: Literal["torch", "onnx", "openvino"] = "torch"
    """What computes the network: PyTorch, or onnxruntime or OpenVINO from an export."""
    output: OptionalFile = None
    """Annotated video (.mp4, .mkv, .mov, .avi), or a folder for single images."""
    mot_output: OptionalFile = None
    """Results as MOTChallenge text."""
    json_output: OptionalFile = None
    """Results as JSON."""
    start: int = 1
    """First frame, counted from 1."""
    end: OptionalCount = None
    """Last frame, included."""
    stride: int = 1
    """Take every STRIDE-th frame."""
    skip_bad_detections: bool = False
    """Leave out detection lines that cannot be used, and count them."""
    overwrite: bool = False
    """Replace output files that exist."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ..., or auto; with --runtime a device that it knows."""
    batch_encode: int = 1
    """Frames whose pictures are encoded together; for files, not for live sources."""
    threads: OptionalCount = None
    """Threads of each of the parts that work side by side: detector, encoder, tracker, video. By
    default half of the cores with a small network, all with a large one."""
    quiet: bool = False
    """No progress bar."""


@dataclass(frozen=True)
class Show:
    """Draw a result file on its frames, beside the ground truth and with the mistakes marked.

    Example: tfsasm show --results results/synthetic-7-0000.txt --source clips/synthetic-7-0000
    --gt clips/synthetic-7-0000/gt/gt.txt --output shown.mp4
    """

    results: Path
    """Result file in MOT text."""
    source: str
    """Video file or folder of images that was tracked."""
    output: Path
    """Annotated video (.mp4, .mkv, .mov, .avi), or a folder for single images."""
    gt: OptionalFile = None
    """Ground truth to show on the right; then false boxes, misses and switched identities are
    marked."""
    dataset: Literal["dancetrack", "mot15", "mot16", "mot17", "mot20", "sportsmot", "mot"] = "mot"
    """Whose rules say which ground truth counts."""
    start: int = 1
    """First frame, counted from 1."""
    end: OptionalCount = None
    """Last frame, included."""
    trail: int = 30
    """Frames for which a track's path stays visible; 0 for none."""
    overwrite: bool = False
    """Replace output that exists."""
    quiet: bool = False
    """No progress bar."""


@dataclass(frozen=True)
class Demo:
    """Make a short dance clip, track it with and without the memory, score both, show both.

    Example: tfsasm demo
    """

    output: Path = Path("tfsasm-demo")
    """Folder for the video, the MOT files and the summary; replaced if it exists."""
    seed: int = 11
    """Another seed, another dance."""
    frames: int = 160
    """Length of the clip."""
