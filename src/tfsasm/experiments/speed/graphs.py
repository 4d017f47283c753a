"""The network as exported graphs, in the way that `tfsasm track --runtime` runs them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import get_args

from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.export import check_packages, export
from tfsasm.motrv2.model import MOTRv2
from tfsasm.runtime.exported import Runtime
from tfsasm.runtime.sessions import OPENERS

RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
"""The variants that are runtimes."""


def check_runtimes(variants: Iterable[str]) -> None:
    """Raises `InputError` that says how to install what a variant needs."""
    for name in set(RUNTIMES).intersection(variants):
        OPENERS[name](1, "auto")
        check_packages("onnx")


def write_graphs(model: MOTRv2, network: NetworkConfig, folder: Path) -> None:
    """Export for both: OpenVINO opens ONNX files too."""
    export(model, network, folder, "onnx")
