"""YOLOX from PyTorch checkpoints: Megvii's, ByteTrack's, DanceTrack's (which made MOTRv2's boxes).

`pixeltable-yolox` has the network under Megvii's parameter names. Of that package only the network
is used. What it leaves open for these files is settled here: the size follows from the tensors, a
file that does not fit is a list of all that is wrong, and images are prepared by `yolox.py`, since
its own are never normalised.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tfsasm.detection.yolox import Floats, Yolox, YoloxSettings
from tfsasm.errors import InputError, WeightsError
from tfsasm.pytorch import find_device, read_state_dict

_STEM, _CLASSES = "backbone.backbone.stem.conv.conv.weight", "head.cls_preds.0.weight"

_SIZES = {  # channels of the stem
    16: "yolox-nano", 24: "yolox-tiny", 32: "yolox-s", 48: "yolox-m", 64: "yolox-l", 80: "yolox-x",
}  # fmt: skip

_SMALL = ("yolox-nano", "yolox-tiny")

_LARGE = ("yolox-m", "yolox-l", "yolox-x")

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class UsualInput:
    """The images that a checkpoint was trained on."""

    input_size: tuple[int, int]
    """Height and width."""
    legacy: bool
    """RGB, normalised as for ImageNet, rather than BGR from 0 to 255."""


def usual_input(file: str, size: str, classes: int) -> UsualInput:
    """What a checkpoint expects, by its file name, size (`yolox-x`) and number of classes.

    YOLOX before 0.1.1 normalised its images and named its files `.pth.tar`; ByteTrack and
    DanceTrack are built on it, detect one class, and see 800x1440 pixels (608x1088 the sizes up to
    s; from their experiment files). Later Megvii files see 640x640 or 416x416, not normalised.
    """
    legacy = Path(file).suffix.lower() == ".tar"
    if legacy and classes == 1:
        return UsualInput((800, 1440) if size in _LARGE else (608, 1088), legacy)
    side = 416 if size in _SMALL else 640
    return UsualInput((side, side), legacy)


class YoloxTorchDetector(Yolox):
    """A YOLOX checkpoint as a source of proposals.

    `name` is the size that is expected, if any. Size and number of classes are read from the
    tensors, the rest from `usual_input`, and both are told by `report`.

    Raises `WeightsError` for a checkpoint that is missing, damaged, would run code or does not
    fit, `InputError` when the package is missing or the settings ask for what is not there.
    """

    def __init__(
        self, weights: Path | str, settings: YoloxSettings | None = None, *,
        name: str | None = None,
    ) -> None:
        settings = settings or YoloxSettings()
        path = Path(weights)
        self._device = find_device(settings.device)
        state = read_state(path)
        self.size, self.classes = recognise(state, path)
        if name not in (None, self.size):
            raise InputError(
                f"{path} holds a {self.size}, not a {name}; say --detector {self.size}"
            )
        self._network = build(self.size, self.classes, state, path).to(self._device)
        usual = usual_input(path.name, self.size, self.classes)
        legacy = usual.legacy if settings.legacy is None else settings.legacy
        self._assumed = settings.input_size is None or settings.legacy is None
        super().__init__(
            path, settings, settings.input_size or usual.input_size, legacy=legacy, decoded=False
        )

    def report(self) -> list[str]:
        """How the file was taken, where the settings left that open."""
        if not self._assumed:
            return []
        height, width = self.input_size
        colours = "RGB normalised as for ImageNet" if self.legacy else "BGR from 0 to 255"
        return [
            f"{self._weights} was taken to be a {self.size} of {self.classes} class(es) that sees "
            f"{height}x{width} pixels, {colours}; if it is not, set input_size and legacy"
        ]

    @torch.inference_mode()
    def infer(self, batch: Floats) -> Any:
        """See `Yolox.infer`."""
        return self._network(torch.from_numpy(batch).to(self._device)).cpu().numpy()


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by Megvii's names, read without running anything in it.

    `num_batches_tracked` are left out: nothing uses them, and stripped files lack them.
    """
    if not path.is_file():
        raise InputError(f"there is no detector file {path}")
    state = read_state_dict(path)
    return {name: tensor for name, tensor in state.items() if not _is_counter(name)}


def recognise(state: State, path: Path) -> tuple[str, int]:
    """Size and number of classes of a YOLOX, by the shapes of two tensors."""
    stem, classes = state.get(_STEM), state.get(_CLASSES)
    if stem is None or classes is None or stem.ndim != 4 or classes.ndim != 4:
        raise WeightsError(
            f"{path} is not a YOLOX checkpoint: it lacks {_STEM} or {_CLASSES}; it begins with "
            f"{', '.join(list(state)[:3])}"
        )
    if len(stem) not in _SIZES:
        known = ", ".join(f"{width} ({name})" for width, name in _SIZES.items())
        raise WeightsError(f"{path} is a YOLOX of width {len(stem)}; known are {known}")
    return _SIZES[len(stem)], len(classes)


def build(size: str, classes: int, state: State, path: Path) -> nn.Module:
    """The network of that size with these tensors, float32, giving raw boxes.

    Raises one `WeightsError` that lists every name that is missing or surplus and every shape that
    is wrong.
    """
    network = new_network(size, classes)
    wanted = {n: tensor for n, tensor in network.state_dict().items() if not _is_counter(n)}
    problems = [f"missing: {name}" for name in wanted if name not in state]
    problems += [f"surplus: {name}" for name in state if name not in wanted]
    for name in wanted:
        if name in state and state[name].shape != wanted[name].shape:
            shapes = f"{list(state[name].shape)} instead of {list(wanted[name].shape)}"
            problems.append(f"wrong shape: {name} is {shapes}")
    if problems:
        listing = "\n  ".join(problems)
        raise WeightsError(
            f"{path} does not fit a {size}, {len(problems)} problem(s):\n  {listing}"
        )
    tensors = {name: tensor.float() for name, tensor in state.items()}
    network.load_state_dict(network.state_dict() | tensors)
    return network.requires_grad_(False)


def new_network(size: str, classes: int) -> nn.Module:
    """A YOLOX with random weights, in evaluation mode, giving boxes as offsets from their cells.

    By way of the package's configuration: modules made directly have batch norms of another
    epsilon (1e-5) than all the checkpoints (1e-3).
    """
    config = _package("yolox.config").YoloxConfig.get_named_config(size)
    config.num_classes = classes
    network = config.get_model().eval()
    network.head.decode_in_inference = False
    return network


def _package(module: str) -> Any:
    """A module of pixeltable-yolox, which is an extra."""
    try:
        importlib.import_module("yolox.config")  # Megvii's own package has the name but not this
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            'YOLOX from a PyTorch file needs pixeltable-yolox: pip install "tfsasm[yolox]" '
            f"(without Megvii's yolox beside it), or export the file to ONNX ({error})"
        ) from error


def _is_counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")
