"""A query tracker from a checkpoint, or from an exported network without PyTorch."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tfsasm.errors import InputError, WeightsError
from tfsasm.runtime.exported import MANIFEST, ExportedNetwork, read_manifest
from tfsasm.runtime.network import Network, SetNetwork, in_sets
from tfsasm.tracking.config import TrackerConfig
from tfsasm.tracking.nano import Encoder, NanoNetwork, read_weights
from tfsasm.tracking.query import QueryTracker

if TYPE_CHECKING:
    from tfsasm.motrv2.network import TorchNetwork

Runtime = Literal["torch", "onnx", "openvino"]

PACKAGED = ("tiny", "nano")
"""Networks that ship, by name."""


def load(
    weights: Path | str = "tiny", config: TrackerConfig | None = None, *,
    runtime: Runtime = "torch", device: str = "auto", short_side: int | None = None,
    max_side: int | None = None, precision: str = "auto", exact: bool = False, threads: int = 2,
) -> QueryTracker:
    """A tracker from a checkpoint: `"tiny"` or `"nano"` (in the package), ours or a published file.

    With the `runtime` onnx or openvino, `weights` are the folder that `tfsasm export` made; nothing
    imports PyTorch then. `config` is the method (`tfsasm.TrackerConfig`), by default that of
    the network's `preset`.
    `short_side` and `max_side` override the scale of the images that the network was made for, in
    pixels. `device` is one of the runtime; `auto` takes a GPU where PyTorch has one.

    For PyTorch alone: `precision` is that of convolutions and matrix products: fp32, bf16, int8 or
    fp16, or of single parts, `"backbone=bf16,encoder=fp32,decoder=fp32"`; auto is fp32, the same on
    every device. `exact` sums in the order of the released code, not in the quickest
    (docs/fidelity.md).
    For exports and `nano` alone: `threads` are those of each graph. `nano` has one scale and one
    precision, and needs no PyTorch.

    Raises `WeightsError` for a file that cannot be loaded or does not fit, `InputError` for a side
    below 1, a device that is not there or cannot do it, and a folder or package that is missing.
    """
    network = load_network(
        weights, runtime, device=device, short_side=short_side, max_side=max_side,
        precision=precision, exact=exact, threads=threads,
    )  # fmt: skip
    return QueryTracker(network, config)


def load_network(
    weights: Path | str, runtime: Runtime = "torch", *, device: str = "auto",
    short_side: int | None = None, max_side: int | None = None, precision: str = "auto",
    exact: bool = False, threads: int = 1,
) -> Network:
    """The network that `load` gives a tracker."""
    if runtime != "torch":
        if exact or precision != "auto":
            raise InputError("an export has its own precision; leave precision and exact out")
        _check_sides(short_side, max_side)
        exported = ExportedNetwork(weights, runtime, threads=threads, device=device,
                                   short_side=short_side, max_side=max_side)  # fmt: skip
        return in_sets(exported, exported.manifest.queries_per_track)
    if str(weights) == "nano":
        if short_side or max_side or precision != "auto":
            raise InputError("nano sees images at 416 pixels, in fp32; leave short_side, max_side "
                             "and precision out")  # fmt: skip
        return NanoNetwork(*read_weights(embedded("nano")), Encoder(threads, device))
    return torch_network(weights, device=device, short_side=short_side, max_side=max_side,
                         precision=precision, exact=exact)  # fmt: skip


def _check_sides(short_side: int | None, max_side: int | None) -> None:
    for name, side in (("short_side", short_side), ("max_side", max_side)):
        if side is not None and side < 1:
            raise InputError(f"{name} is {side}; give a number of pixels from 1 up")


def own_preset(weights: Path | str, runtime: Runtime = "torch") -> str | None:
    """The preset of a network that finds objects itself; None for one that takes detections.

    MOTR and CO-MOT are known by their names; no tensor is read. That a file cannot be read is
    reported when it is loaded.
    """
    if str(weights) in ("", *PACKAGED):
        return None
    if runtime != "torch":
        try:
            return read_manifest(Path(weights)).own_preset
        except InputError:
            return None
    from tfsasm.motrv2.family import kind_of
    from tfsasm.motrv2.weights import read_checkpoint

    try:
        kind = kind_of(*read_checkpoint(weights, numbers=False))
    except (InputError, WeightsError):
        return None
    return {"motr": "motr", "comot": "motrv2"}.get(kind)


def embedded(name: str) -> Path:
    """Path of a checkpoint that ships in the package."""
    return Path(str(files("tfsasm") / "weights" / f"{name}.safetensors"))


def torch_network(
    weights: Path | str, *, device: str = "auto", short_side: int | None = None,
    max_side: int | None = None, precision: str = "auto", exact: bool = False,
) -> TorchNetwork | SetNetwork[TorchNetwork]:
    """The network of a checkpoint in PyTorch, without a tracker; see `load`."""
    from tfsasm.motrv2.backbone import fold_batch_norms
    from tfsasm.motrv2.deformable_attention import in_order, sample_by
    from tfsasm.motrv2.family import load_model
    from tfsasm.motrv2.fast.model import FastMOTRv2
    from tfsasm.motrv2.fast.precision import parse_precision
    from tfsasm.motrv2.network import as_network
    from tfsasm.pytorch import find_device

    _check_sides(short_side, max_side)
    if str(weights) == "nano":
        raise InputError("nano is no PyTorch network; it can be tracked with as it is, and neither "
                         "exported nor trained")  # fmt: skip
    place = find_device(device)
    path = embedded("tiny") if str(weights) == "tiny" else Path(weights)
    if (path / MANIFEST).is_file():
        raise InputError(f"{path} is an export; choose the runtime onnx or openvino")
    if not path.exists():
        raise WeightsError(f"no checkpoint at {path}; those in the package are tiny and nano")
    model, config = load_model(path)
    network = replace(
        config, short_side=short_side or config.short_side, max_side=max_side or config.max_side
    )
    model = model.to(place)
    if config.model.kind == "motr":
        if precision not in ("auto", "fp32"):
            raise InputError(f"{path} is a MOTR, which computes in fp32, not in {precision}")
        model.backbone = fold_batch_norms(model.backbone)
        return as_network(model, network)
    if exact and precision != "auto":
        raise InputError(f"precision {precision} sums in another order than the released code")
    if exact:
        sample_by(in_order, model)
        if network.model.backbone != "resnet50":  # the published backbone stays as published
            model.backbone = fold_batch_norms(model.backbone)
    else:
        model = FastMOTRv2(model, parse_precision(precision, place.type))
    return as_network(model, network, resize_there=place.type == "cuda" and not exact)
