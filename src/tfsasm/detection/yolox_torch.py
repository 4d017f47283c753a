"""YOLOX from PyTorch checkpoints: Megvii's, ByteTrack's, DanceTrack's (which made MOTRv2's boxes).

`pixeltable-yolox` has the network under Megvii's parameter names. Of that package only the network
is used. What it leaves open for these files is settled here: the size follows from the tensors, a
file that does not fit is a list of all that is wrong, and images are prepared by `yolox.py`, since
its own are never normalised.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tfsasm import pytorch
from tfsasm.detection.yolox import Yolox, YoloxSettings
from tfsasm.errors import InputError, WeightsError
from tfsasm.tables import Floats

_STEM, _CLASSES = "backbone.backbone.stem.conv.conv.weight", "head.cls_preds.0.weight"

_SIZES = {  # channels of the stem
    16: "yolox-nano", 24: "yolox-tiny", 32: "yolox-s", 48: "yolox-m", 64: "yolox-l", 80: "yolox-x",
}  # fmt: skip

_LARGE = ("yolox-m", "yolox-l", "yolox-x")

State = Mapping[str, Tensor]


def usual_input(file: str, size: str, classes: int) -> tuple[tuple[int, int], bool]:
    """What a checkpoint expects, by its file name, size (`yolox-x`) and number of classes.

    Height and width of its images, and whether they are legacy: RGB, normalised as for ImageNet,
    rather than BGR from 0 to 255. YOLOX was so before 0.1.1, and named its files `.pth.tar`;
    ByteTrack and DanceTrack are built on it, detect one class, and see 800x1440 pixels (608x1088
    the sizes up to s; from their experiment files). Later Megvii files see 640x640 or 416x416.
    """
    legacy = Path(file).suffix.lower() == ".tar"
    if legacy and classes == 1:
        return (800, 1440) if size in _LARGE else (608, 1088), legacy
    side = 416 if size in ("yolox-nano", "yolox-tiny") else 640
    return (side, side), legacy


class YoloxTorchDetector(Yolox):
    """A YOLOX checkpoint as a source of proposals.

    `name` is the size that is expected, if any. Size and number of classes are read from the
    tensors, the rest from `usual_input`, and both are reported.

    Raises `WeightsError` for a checkpoint that is missing, damaged, would run code or does not
    fit, `InputError` when the package is missing or the settings ask for what is not there.
    """

    def __init__(
        self, weights: Path | str, settings: YoloxSettings | None = None, *,
        name: str | None = None,
    ) -> None:
        settings = settings or YoloxSettings()
        path = Path(weights)
        self._device = pytorch.find_device(settings.device)
        self._queue = pytorch.side_queue(self._device)
        # stripped files lack the counters, and nothing uses them
        whole = pytorch.read_state_dict(path)
        state = {name: tensor for name, tensor in whole.items() if not _is_counter(name)}
        self.size, classes = recognise(state, path)
        if name not in (None, self.size):
            raise InputError(
                f"{path} holds a {self.size}, not a {name}; say --detector {self.size}"
            )
        network = new_network(self.size, classes)
        wanted = {n: tensor for n, tensor in network.state_dict().items() if not _is_counter(n)}
        pytorch.refuse(pytorch.differences(wanted, state), f"{path} does not fit a {self.size}")
        tensors = {name: tensor.float() for name, tensor in state.items()}
        network.load_state_dict(network.state_dict() | tensors)
        self._network = network.requires_grad_(False).to(self._device)
        input_size, legacy = usual_input(path.name, self.size, classes)
        super().__init__(
            path, settings, settings.input_size or input_size,
            fixed=settings.input_size is not None, decoded=False, names={},
            legacy=legacy if settings.legacy is None else settings.legacy,
        )  # fmt: skip
        if settings.input_size is None or settings.legacy is None:
            height, width = self.input_size
            colours = "RGB normalised as for ImageNet" if self.legacy else "BGR from 0 to 255"
            self.notes.insert(
                0, f"{path} was taken to be a {self.size} of {classes} class(es) that sees "
                f"{height}x{width} pixels, {colours}; if it is not, set input_size and legacy"
            )

    @torch.inference_mode()
    def infer(self, batch: Floats) -> Any:
        """See `Yolox.infer`."""
        with pytorch.beside(self._queue):  # it waits for its own answer only
            return pytorch.download(self._network(pytorch.upload(batch, self._device)))


def recognise(state: State, path: Path) -> tuple[str, int]:
    """Size and number of classes of a YOLOX, by the shapes of two tensors."""
    stem, classes = state.get(_STEM), state.get(_CLASSES)
    found = [tensor for tensor in (stem, classes) if tensor is not None and tensor.numel()]
    if stem is None or classes is None or [tensor.ndim for tensor in found] != [4, 4]:
        raise WeightsError(
            f"{path} is not a YOLOX checkpoint: it lacks {_STEM} or {_CLASSES}; it begins with "
            f"{', '.join(list(state)[:3])}"
        )
    if len(stem) not in _SIZES:
        known = ", ".join(f"{width} ({name})" for width, name in _SIZES.items())
        raise WeightsError(f"{path} is a YOLOX of width {len(stem)}; known are {known}")
    return _SIZES[len(stem)], len(classes)


def new_network(size: str, classes: int) -> nn.Module:
    """A YOLOX with random weights, in evaluation mode, giving boxes as offsets from their cells.

    By way of the package's configuration: modules made directly have batch norms of another
    epsilon (1e-5) than all the checkpoints (1e-3).
    """
    try:
        from yolox.config import YoloxConfig  # Megvii's own package has the name but not this
    except ImportError as error:
        raise InputError(
            'YOLOX from a PyTorch file needs pixeltable-yolox: pip install "tfsasm[yolox]" '
            f"(without Megvii's yolox beside it), or export the file to ONNX ({error})"
        ) from error
    config = YoloxConfig.get_named_config(size)
    config.num_classes = classes
    network = config.get_model().eval()
    network.head.decode_in_inference = False
    return network


def _is_counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")
