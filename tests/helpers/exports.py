"""A small network as graphs, made once for all processes that test."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from filelock import FileLock
from rich.console import Console

from helpers.fakes import SMALL
from helpers.scenes import lively_model
from tfsasm.cli import export
from tfsasm.motrv2.backbone import BACKBONES, MobileNetV2
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.weights import save_model


class ShortBackbone(MobileNetV2):
    """Four blocks instead of seventeen, which takes half as long to export."""

    plan = [[1, 16, 1, 2], [1, 32, 1, 2], [1, 96, 1, 2], [1, 320, 1, 2]]
    taps = (2, 3, 4)


BACKBONES["short"] = ShortBackbone
NETWORK = NetworkConfig(replace(SMALL, backbone="short"), short_side=64, max_side=112)


@dataclass(frozen=True)
class Exported:
    """What `tfsasm export` made of what."""

    weights: Path
    folder: Path
    said: Path
    """What the command printed."""


def exported_once(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The export of this run of the tests, made by whichever process comes first."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    made = Exported(root / "short.safetensors", root / "short-onnx", root / "short.log")
    with FileLock(root / "short.lock"):
        if not made.said.exists():
            save_model(made.weights, lively_model(NETWORK.model, seed=4), NETWORK)
            printed = io.StringIO()
            console = Console(file=printed)
            export.run(export.Options(made.folder, weights=str(made.weights)), console, console)
            made.said.write_text(printed.getvalue())
    return made
