"""A small network as graphs, made once for all processes that test."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock
from rich.console import Console

from helpers.scenes import NETWORK, lively_model
from tfsasm.cli import export
from tfsasm.motrv2.weights import save_model


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
