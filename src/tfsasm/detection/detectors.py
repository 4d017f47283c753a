"""The protocol of what gives a tracker its boxes, and live detectors by name."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from tfsasm.detection import deformable_detr, huggingface, yolox
from tfsasm.detection.live import COCO_NAMES, LiveDetector
from tfsasm.detection.proposals import Proposals
from tfsasm.errors import InputError
from tfsasm.settings import pairs, with_settings
from tfsasm.video.source import Frame


class Detector(Protocol):
    """Where a tracker gets the boxes of a frame: call it once per frame, in any order.

    One that has `class_names`, a name for each number of a class, has its boxes labelled with them.
    """

    def __call__(self, frame: Frame) -> Proposals:
        """The proposals of `frame`; none is a normal answer."""

    def report(self) -> list[str]:
        """Notes for the user at the end, a sentence each; usually none.

        Frames without an entry, lines that were left out, assumptions that were made.
        """


class NoDetector:
    """No boxes at all, for a tracker that finds objects itself (MOTR)."""

    def __call__(self, frame: Frame) -> Proposals:
        """None."""
        return Proposals.empty()

    def report(self) -> list[str]:
        """Nothing."""
        return []


Settings = (
    yolox.YoloxSettings | huggingface.HuggingFaceSettings | deformable_detr.DetrSettings
)

NAMES = (*yolox.NAMES, deformable_detr.NAME)
"""Live detectors that are called by a name alone."""

CHOICES = (
    f"{yolox.PACKAGED} (in the package), {', '.join(yolox.SHA256)} (downloaded once, or from "
    f"--detector-weights FILE), {deformable_detr.NAME} (needs --detector-weights FILE), and "
    f"{huggingface.PREFIX}OWNER/NAME or {huggingface.PREFIX}./FOLDER "
    '(needs pip install "tfsasm[hf]")'
)
"""What a live detector can be called."""


def detector(
    name: str, weights: Path | str | None = None, settings: Settings | None = None
) -> LiveDetector:
    """A live detector: one of `CHOICES`.

    `weights` are the checkpoint of a Deformable DETR, or a YOLOX's own: an ONNX file, or a PyTorch
    checkpoint by its suffix; without them the file of the official release, which is in the package
    (yolox-nano) or downloaded once into the cache. `settings` are of the detector's kind
    (`default_settings`).

    Raises `InputError` for an unknown name, a file that is none, or when the download is not
    possible; `WeightsError` for a checkpoint that doesn't fit.
    """
    usual = default_settings(name)
    chosen = settings or usual
    if type(chosen) is not type(usual):
        raise InputError(f"{type(chosen).__name__} are not settings of {name}")
    if isinstance(chosen, huggingface.HuggingFaceSettings):
        if weights is not None:
            raise InputError(f"{name} brings its own weights; leave {weights} away")
        return huggingface.HuggingFaceDetector(name, chosen)
    if isinstance(chosen, deformable_detr.DetrSettings):
        if weights is None:
            raise InputError(f"{name} needs its checkpoint: --detector-weights FILE")
        return deformable_detr.DeformableDetrDetector(weights, chosen)
    if weights is None:
        return yolox.YoloxDetector(yolox.release_file(name), chosen, COCO_NAMES)
    if Path(weights).suffix.lower() in yolox.CHECKPOINT_SUFFIXES:
        from tfsasm.detection.yolox_torch import YoloxTorchDetector

        return YoloxTorchDetector(weights, chosen, name=name)
    return yolox.YoloxDetector(weights, chosen)


def default_settings(
    name: str, *, score_threshold: float = 0.1, device: str = "cpu", changes: Iterable[str] = (),
    classes: Sequence[str] = (),
) -> Settings:
    """The settings of a detector's kind, changed by NAME=VALUE: `input_size=800x1440 legacy=true`.

    `classes` are those wanted, by the names of the detector (COCO's for YOLOX's own files) or, for
    YOLOX, by number; without any it is people.

    Raises `InputError` for an unknown detector, a setting it doesn't have or a value of the wrong
    kind.
    """
    settings: Settings
    if name.startswith(huggingface.PREFIX):
        settings = huggingface.HuggingFaceSettings(score_threshold=score_threshold, device=device)
    elif name in NAMES:
        kind = deformable_detr.DetrSettings if name == deformable_detr.NAME else yolox.YoloxSettings
        settings = kind(score_threshold=score_threshold, device=device)
    else:
        raise InputError(f"there is no detector {name!r}; there are {CHOICES}")
    if classes:
        settings = replace(settings, labels=tuple(classes))
    return with_settings(settings, pairs(list(changes), "--detector-set"))
