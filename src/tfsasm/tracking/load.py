"""A query tracker from a checkpoint, or from an exported network without PyTorch."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tfsasm.errors import InputError, WeightsError
from tfsasm.runtime.exported import ExportedNetwork
from tfsasm.runtime.manifest import MANIFEST
from tfsasm.tracking.config import TrackerConfig
from tfsasm.tracking.query import QueryTracker

if TYPE_CHECKING:
    from tfsasm.motrv2.config import NetworkConfig
    from tfsasm.motrv2.network import TorchNetwork

Runtime = Literal["torch", "onnx", "openvino"]


def load(
    weights: Path | str = "tiny", config: TrackerConfig | None = None, *,
    runtime: Runtime = "torch", device: str = "auto", short_side: int | None = None,
    max_side: int | None = None, precision: str = "auto", exact: bool = False, threads: int = 2,
) -> QueryTracker:
    """A tracker from a checkpoint: `"tiny"` (in the package), ours or a published file.

    With the `runtime` onnx or openvino, `weights` are the folder that `tfsasm export` made; nothing
    imports PyTorch then. `config` is the method (`tfsasm.TrackerConfig`), by default that of
    the network's `preset`.
    `short_side` and `max_side` override the scale of the images that the network was made for, in
    pixels. `device` is one of the runtime; `auto` takes a GPU where PyTorch has one.

    For PyTorch alone: `precision` is that of convolutions and matrix products: fp32, bf16 or fp16,
    or of single parts, `"backbone=bf16,encoder=fp32,decoder=fp32"`; auto is fp32, the same on every
    device. `exact` sums in the order of the released code, not in the quickest (docs/fidelity.md).
    For exports alone: `threads` are those of each graph.

    Raises `WeightsError` for a file that cannot be loaded or does not fit, `InputError` for a side
    below 1, a device that is not there or cannot do it, and a folder or package that is missing.
    """
    if runtime == "torch":
        network = torch_network(
            weights, device=device, short_side=short_side, max_side=max_side, precision=precision,
            exact=exact,
        )  # fmt: skip
        return QueryTracker(network, config)
    if exact or precision != "auto":
        raise InputError("an export has its own precision; leave precision and exact out")
    _check_sides(short_side, max_side)
    exported = ExportedNetwork(
        weights, runtime, threads=threads, device=device, short_side=short_side, max_side=max_side
    )
    return QueryTracker(exported, config)


def _check_sides(short_side: int | None, max_side: int | None) -> None:
    for name, side in (("short_side", short_side), ("max_side", max_side)):
        if side is not None and side < 1:
            raise InputError(f"{name} is {side}; give a number of pixels from 1 up")


def _scaled(
    config: NetworkConfig, short_side: int | None, max_side: int | None
) -> NetworkConfig:
    return replace(
        config, short_side=short_side or config.short_side, max_side=max_side or config.max_side
    )


def own_preset(weights: Path | str, runtime: Runtime = "torch") -> str | None:
    """The preset of a network that finds objects itself; None for one that takes detections.

    MOTR and CO-MOT are known by their names. A file that cannot be read is told of when it is
    loaded, not here.
    """
    if runtime != "torch" or str(weights) in ("", "tiny"):
        return None
    from tfsasm.motrv2.comot import is_comot
    from tfsasm.motrv2.motr import is_motr
    from tfsasm.motrv2.weights import read_checkpoint

    try:
        state, config = read_checkpoint(weights)
    except (InputError, WeightsError):
        return None
    if is_motr(state):
        return "motr"
    sets = is_comot(state) or (config is not None and config.model.queries_per_track > 1)
    return "motrv2" if sets else None


def embedded(name: str) -> Path:
    """Path of a checkpoint that ships in the package."""
    return Path(str(files("tfsasm") / "weights" / f"{name}.safetensors"))


def torch_network(
    weights: Path | str, *, device: str = "auto", short_side: int | None = None,
    max_side: int | None = None, precision: str = "auto", exact: bool = False,
) -> TorchNetwork:
    """The network of a checkpoint in PyTorch, without a tracker; see `load`."""
    from tfsasm.motrv2.backbone import fold_batch_norms
    from tfsasm.motrv2.deformable_attention import sample_by
    from tfsasm.motrv2.exact import in_order
    from tfsasm.motrv2.fast.model import FastMOTRv2
    from tfsasm.motrv2.fast.precision import parse_precision
    from tfsasm.motrv2.motr import is_motr, make_motr
    from tfsasm.motrv2.network import MotrNetwork, as_network
    from tfsasm.motrv2.weights import make_model, read_checkpoint
    from tfsasm.pytorch import find_device

    _check_sides(short_side, max_side)
    place = find_device(device)
    path = embedded("tiny") if str(weights) == "tiny" else Path(weights)
    if (path / MANIFEST).is_file():
        raise InputError(f"{path} is an export; choose the runtime onnx or openvino")
    state, config = read_checkpoint(path)
    if is_motr(state):
        if precision not in ("auto", "fp32"):
            raise InputError(f"{path} is a MOTR, which computes in fp32, not in {precision}")
        motr_model, config = make_motr(state, path, config)
        motr_model.backbone = fold_batch_norms(motr_model.backbone)
        return MotrNetwork(motr_model.to(place), _scaled(config, short_side, max_side))
    model, config = make_model(state, config, path)
    network, model = _scaled(config, short_side, max_side), model.to(place)
    if exact and precision != "auto":
        raise InputError(f"precision {precision} sums in another order than the released code")
    if exact:
        sample_by(in_order, model)
        if network.model.backbone != "resnet50":  # the published backbone stays as published
            model.backbone = fold_batch_norms(model.backbone)
    else:
        model = FastMOTRv2(model, parse_precision(precision, place.type))
    return as_network(model, network, resize_there=place.type == "cuda" and not exact)
