"""The options of `tfsasm bench`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from tfsasm.jobs.kinds import OptionalFile, OptionalName

IN_PYTORCH = ("plain", "exact", "fast-fp32", "fast-bf16")


@dataclass(frozen=True)
class Bench:
    """Time every stage of a frame, the quick ways in alternation with plain PyTorch.

    Example: tfsasm bench --network full --size 1080x1920 --json bench.json
    """

    network: Literal["tiny", "full"] = "tiny"
    """Which network; `full` has random weights unless --weights is given."""
    weights: OptionalFile = None
    """A .safetensors or published .pth file instead."""
    size: Annotated[str, tyro.conf.arg(metavar="HxW")] = "1080x1920"
    """Height and width of the frames."""
    tracks: int = 20
    """Tracks that are followed; as many boxes are proposed."""
    variants: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME")] = IN_PYTORCH
    """What to compare: plain, exact (the path of --preset released), fast-KIND, or with a precision
    of single parts fast-backbone=bf16,encoder=fp32. onnx and openvino export the network first
    and run it as `tfsasm track --runtime` does."""
    rounds: int = 3
    """Turns of each variant, in alternation; the first one is a rehearsal and not counted."""
    frames: int = 2
    """Frames of a turn."""
    detector: OptionalName = None
    """A detector to time as well, such as yolox-nano."""
    detector_weights: OptionalFile = None
    """Its file."""
    scaling: Literal["none", "tracks", "size", "capacity", "length"] = "none"
    """Instead: time and memory as one thing grows."""
    length: int = 100_000
    """Frames of --scaling length."""
    baseline: Annotated[str | None, tyro.conf.arg(metavar="COMMAND")] = None
    """Instead: another program, timed in alternation with `tfsasm track` on the same video, for
    whose path {source} stands in the command, and {output} for a file that it may write."""
    source: OptionalFile = None
    """Video for --baseline; by default a synthetic one of --size."""
    json: OptionalFile = None
    """Results as JSON."""
    plot: OptionalFile = None
    """Results as a picture: .png, .pdf or .svg."""
    threads: int = 0
    """Threads of PyTorch; 0 for all cores."""
    overwrite: bool = False
    """Replace output files that exist."""


