"""Embedders by name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tfsasm.appearance.embed import Embedder
from tfsasm.appearance.embed.hf import HuggingFaceEmbedder, HuggingFaceEmbedderSettings
from tfsasm.appearance.embed.hist import HistogramEmbedder, HistogramSettings
from tfsasm.appearance.embed.reid import ReidEmbedder, ReidSettings
from tfsasm.detect.hf import PREFIX
from tfsasm.detect.live import with_changes
from tfsasm.errors import InputError

CHOICES = f"hist, none, osnet or reid with the file of its weights, {PREFIX}OWNER/NAME"
"""What an embedder can be called."""


def default_name(weights: Path | str | None) -> str:
    """What is meant by no name: a network where there are weights."""
    return "hist" if weights is None else "reid"


def embedder(
    name: str | None = None, weights: Path | str | None = None, changes: Iterable[str] = ()
) -> Embedder | None:
    """An embedder: one of `CHOICES`; None for `none`.

    Without a name it is `reid` where there are weights, else `hist`. `changes` are settings as
    NAME=VALUE. Raises `InputError` for an unknown name or setting, and for weights that are missing
    or not wanted.
    """
    name = name or default_name(weights)
    reads_file = name in ("osnet", "reid")
    if reads_file and weights is None:
        raise InputError(
            f"{name} needs the ONNX file of a re-identification network: --embedder-weights FILE. "
            "Without one there is --embedder hist"
        )
    if weights is not None and not reads_file:
        raise InputError(f"{name} takes no weights; for {weights} say --embedder reid")
    if reads_file:
        return ReidEmbedder(str(weights), with_changes(ReidSettings(), changes, name))
    if name.startswith(PREFIX):
        settings = with_changes(HuggingFaceEmbedderSettings(), changes, name)
        return HuggingFaceEmbedder(name, settings)
    if name == "hist":
        return HistogramEmbedder(with_changes(HistogramSettings(), changes, name))
    if name == "none":
        return None
    raise InputError(f"no embedder {name!r}; there are {CHOICES}")
