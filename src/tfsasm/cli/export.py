"""`tfsasm export`: a network as graphs for other runtimes."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console

from tfsasm.cli.progress import print_lines

if TYPE_CHECKING:
    from tfsasm.runtime.network import Network


@dataclass(frozen=True)
class Options:
    """Write a network as graphs that run without PyTorch, by onnxruntime, OpenVINO or others.

    Example: tfsasm export --format onnx --weights tiny --output tiny-onnx
    """

    output: Path
    """Folder for the graphs and their tfsasm.json; new, empty, or with an earlier export."""
    format: Literal["onnx", "openvino"] = "onnx"
    """onnx is read by both runtimes and by TensorRT; openvino opens sooner in OpenVINO."""
    weights: str = "tiny"
    """The network: `tiny` (in the package), a .safetensors file or a published .pth file."""
    short_side: int | None = None
    """Shorter side of the image inside the network, in pixels; can still be changed later."""
    max_side: int | None = None
    """Most pixels of its longer side."""
    overwrite: bool = False
    """Replace an earlier export in the folder."""


def run(options: Options, console: Console, errors: Console) -> None:
    """Load strictly, write, and compare the graphs with PyTorch."""
    from tfsasm.motrv2.export import PACKAGES, check_packages, check_target, export
    from tfsasm.runtime.exported import ExportedNetwork
    from tfsasm.runtime.network import SetNetwork
    from tfsasm.tracking.load import torch_network

    check_packages(options.format)
    check_target(options.output, overwrite=options.overwrite)
    network = torch_network(
        options.weights, short_side=options.short_side, max_side=options.max_side, device="cpu",
        exact=True,
    )  # fmt: skip
    if isinstance(network, SetNetwork):
        network = network.single
    for path in export(
        network.model, network.config, options.output, options.format, overwrite=options.overwrite
    ):
        print_lines(console, f"wrote {path}")
    if importlib.util.find_spec(PACKAGES[options.format]) is None:
        console.print(f"not compared with PyTorch: {PACKAGES[options.format]} is not installed")
        return
    difference = largest_difference(network, ExportedNetwork(options.output, options.format))
    console.print(f"compared with PyTorch on noise: boxes and scores within {difference:.0e}")


def largest_difference(network: Network, exported: Network, seed: int = 0) -> float:
    """Between PyTorch's and an export's boxes and scores, of noise at a size not used to export."""
    import numpy as np

    from tfsasm.tables import as_numpy

    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (150, 203, 3), dtype=np.uint8)
    boxes = random.uniform(0.1, 0.9, (23, 4)).astype(np.float32)
    detector_scores = random.uniform(0, 1, 23).astype(np.float32)
    predictions = []
    for one in (network, exported):
        queries = one.queries(one.asarray(boxes), one.asarray(detector_scores))
        predictions.append(one.decode(one.encode([image])[0], queries).map(as_numpy))
    wanted, got = predictions
    return float(max(
        np.abs(wanted.scores - got.scores).max(), np.abs(wanted.boxes - got.boxes).max()
    ))  # fmt: skip
