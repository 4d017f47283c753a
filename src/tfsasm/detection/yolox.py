"""YOLOX (arXiv 2107.08430): letterbox in, boxes out, and its exports through onnxruntime.

Megvii's exports leave the boxes as offsets in a grid; many others decode them inside. Which one a
file is shows in its numbers, so there is one path for both. PyTorch checkpoints (`yolox_torch.py`)
take the same path but for the network itself.
"""

import http.client
import re
import shutil
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tfsasm.boxes import cxcywh_to_xyxy
from tfsasm.detection.live import ClassSettings, Detected, LiveDetector, choose, read_names
from tfsasm.errors import InputError
from tfsasm.files import atomic_path, cache_folder, check_folder, sha256
from tfsasm.processes import check_threads
from tfsasm.runtime.preprocess import MEAN, STD
from tfsasm.runtime.sessions import import_onnxruntime, last_line, onnx_session, providers_on
from tfsasm.tables import Floats, Image

RELEASE = "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0"

SHA256 = {
    "yolox-tiny": "427cc366d34e27ff7a03e2899b5e3671425c262ea2291f88bb942bc1cc70b0f7",
    "yolox-s": "c5c2d13e59ae883e6af3b45daea64af4833a4951c92d116ec270d9ddbe998063",
    "yolox-m": "21ff6cfdeb53b013bac2249599e55f00bff3cfdfdab37ed7a4620818c1d15b3f",
    "yolox-l": "7860ae79de6c89a3c1eb72ae9a2756c0ccfbe04b7791bb5880afabd97855a411",
    "yolox-x": "c892d7aaf1c4746d8a4d675bec669a4db4f434b4ee1efb654bc9b353379c7c55",
}
"""Checksums of the ONNX files of the release. It publishes none; several projects that have
downloaded the files pin these."""

PACKAGED = "yolox-nano"
"""The detector whose weights are in the package."""

NAMES = (PACKAGED, *SHA256)

CHECKPOINT_SUFFIXES = (".pth", ".pt", ".tar", ".ckpt")
"""Files that hold a PyTorch checkpoint (`yolox_torch.py`)."""

_STRIDES = ((8, 16, 32), (8, 16, 32, 64))  # the usual pyramid; the one of the P6 models

_PAD = 114

_SMALL = (128, 192)  # a size that takes a tenth of the time of the usual ones

_USER = "YOLOX as an ONNX file"

_ON_GPU = "pip install onnxruntime-gpu in its place, or give a PyTorch file by --detector-weights"

_TIMEOUT = 30.0  # seconds without an answer, not for the whole file


@dataclass(frozen=True)
class YoloxSettings(ClassSettings):
    """How a YOLOX file is run and which of its boxes are kept."""

    nms_iou: float | None = 0.7
    """Of two boxes that overlap more, the lower is dropped. High, since people stand in front of
    one another, and a tracker can better drop a duplicate than miss a person."""
    input_size: tuple[int, int] | None = None
    """Height and width of the network's input. An ONNX file may have it. Where it is open, images
    are scaled to lie within 416x416 when the file's name contains nano or tiny, else 640x640 (for a
    PyTorch file see `yolox_torch.usual_input`), and the input is no larger than they need."""
    legacy: bool | None = None
    """For files from before YOLOX 0.1.1, and all of ByteTrack's: RGB, divided by 255, normalised
    as for ImageNet. None: not for ONNX; for a PyTorch file see `yolox_torch.usual_input`."""
    decoded: bool | None = None
    """Whether an ONNX file decodes its boxes itself; None: by its numbers (`is_decoded`)."""
    threads: int = 2
    """Threads of one inference in onnxruntime."""
    providers: tuple[str, ...] = ()
    """Where onnxruntime runs it, in order of preference; by default where `device` says, if it has
    CUDAExecutionProvider there."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_threads(self.threads)
        if self.input_size and any(side < 32 or side % 32 for side in self.input_size):
            raise InputError(f"input_size {self.input_size} must be multiples of 32")


def release_file(name: str) -> Path:
    """The ONNX file of Megvii's release for one of `NAMES`.

    `PACKAGED` is in the package; the others are downloaded once into the cache. Raises `InputError`
    when onnxruntime is missing, and as `download` does.
    """
    import_onnxruntime(_USER)  # before a download that could not be used
    if name == PACKAGED:
        return Path(str(files("tfsasm") / "weights" / "yolox_nano.onnx"))
    file = f"{name.replace('-', '_')}.onnx"
    return download(f"{RELEASE}/{file}", cache_folder() / file, SHA256[name])


def download(url: str, path: Path, checksum: str) -> Path:
    """The file at `url`, at `path`; one that is there already is not downloaded again.

    Raises `InputError` when there is no network, the download breaks off, or the file has another
    SHA-256 than `checksum`; what was downloaded by then is removed.
    """
    if path.is_file():
        if (found := sha256(path)) != checksum:
            raise InputError(
                f"{path} is not {url}: its SHA-256 is {found}, not {checksum}. Delete it to "
                "download it again, or name it with --detector-weights FILE to use it as it is"
            )
        return path
    check_folder(path.parent)
    try:
        with atomic_path(path) as partial:
            _copy(url, partial)
            if sha256(partial) != checksum:
                raise ValueError("what came is not the file of the release, or a part of it")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise InputError(
            f"cannot download {url} ({error}); get it where there is a network and "
            f"put it at {path}, or name a file you have with --detector-weights FILE"
        ) from error
    return path


def _copy(url: str, target: Path) -> None:
    """Download with a progress bar on the error stream."""
    from rich.console import Console
    from rich.progress import wrap_file

    with urllib.request.urlopen(url, timeout=_TIMEOUT) as response, target.open("wb") as file:
        size = int(response.headers.get("Content-Length") or 0)
        description = f"downloading {url.rpartition('/')[2]}"
        with wrap_file(response, size, description=description, console=Console(stderr=True)) as it:
            shutil.copyfileobj(it, file)


class Yolox(LiveDetector):
    """A YOLOX network as a source of proposals; subclasses run it by `infer`.

    It is run once on a grey image, so that a file that is something else shows before any work.
    `names` are those of its classes, as far as they are known; 80 without names are taken to be
    COCO's, which `report` says. Raises `InputError` for what is no YOLOX, and for a class that it
    doesn't have.
    """

    settings: YoloxSettings
    weights: Path
    input_size: tuple[int, int]

    def __init__(
        self, weights: Path, settings: YoloxSettings, input_size: tuple[int, int], *,
        fixed: bool, legacy: bool, decoded: bool | None, names: Mapping[int, str],
    ) -> None:
        self.settings, self.input_size, self.legacy = settings, input_size, legacy
        self.weights = weights
        probe = self._run(np.full((*input_size, 3), _PAD, np.uint8))
        pyramids = {len(grid(input_size, strides)): strides for strides in _STRIDES}
        if len(probe) not in pyramids:
            wanted = " or ".join(map(str, pyramids))
            raise _no_yolox(weights, f"it has {len(probe)} cells, where {input_size} make {wanted}")
        low, high = probe[:, 4:].min(), probe[:, 4:].max()
        if not (low >= 0 and high <= 1):
            raise _no_yolox(weights, f"its scores go from {low:.3g} to {high:.3g}, not 0 to 1")
        self._strides = pyramids[len(probe)]
        cells = grid(input_size, self._strides)
        self.classes, self.class_names, self.notes = choose(
            settings.labels, settings.classes, names, probe.shape[1] - 5, str(weights)
        )
        self.decoded = is_decoded(probe[:, :2], cells) if decoded is None else decoded
        self._fixed = fixed or self.decoded  # what decodes inside may know one grid only

    def infer(self, batch: Floats) -> Any:
        """The network's output `[1, cells, 5 + classes]` to `batch` `[1, 3, H, W]`."""
        raise NotImplementedError

    def candidates(self, image: Image) -> Detected:
        """See `LiveDetector.candidates`."""
        size = self.input_size if self._fixed else needed(image, self.input_size)
        canvas, (scale_x, scale_y) = letterbox(image, size)
        output = self._run(canvas)
        of_classes = output[:, 5:][:, list(self.classes)]
        scores = output[:, 4] * of_classes.max(axis=1)
        chosen = np.flatnonzero(scores > self.settings.score_threshold)
        boxes = output[chosen, :4]
        if not self.decoded:
            boxes = decode(boxes, grid(size, self._strides)[chosen])
        scale = np.array([scale_x, scale_y, scale_x, scale_y], dtype=np.float32)
        xyxy = cxcywh_to_xyxy(boxes) / scale
        classes = np.asarray(self.classes)[of_classes[chosen].argmax(axis=1)]
        return Detected(xyxy, scores[chosen], classes)

    def _run(self, canvas: Image) -> Floats:
        """The network's output `[cells, 5 + classes]` for one letterboxed image."""
        pixels: np.ndarray = canvas
        if self.legacy:
            scaled = canvas[:, :, ::-1].astype(np.float32) / np.float32(255)
            mean, std = np.array([MEAN, STD], np.float32)
            pixels = (scaled - mean) / std
        output = self.infer(as_batch(pixels))
        if getattr(output, "ndim", 0) != 3 or output.shape[0] != 1 or output.shape[2] < 6:
            raise _no_yolox(self.weights, f"its output is {np.shape(output)}")
        return np.asarray(output[0], dtype=np.float32)


class YoloxDetector(Yolox):
    """A YOLOX ONNX file as a source of proposals.

    `names` are those of its classes; without them what the file's metadata say. Raises `InputError`
    when onnxruntime is missing, or the file is missing, damaged or no YOLOX.
    """

    def __init__(
        self, weights: Path | str, settings: YoloxSettings | None = None,
        names: Mapping[int, str] | None = None,
    ) -> None:
        settings = settings or YoloxSettings()
        path = Path(weights)
        self._session = onnx_session(
            path, user=_USER, threads=settings.threads,
            providers=settings.providers or providers_on(settings.device, _USER, _ON_GPU),
            mend="get it again, or name another with --detector-weights FILE",
        )  # fmt: skip
        self._input = self._session.get_inputs()[0].name
        size, fixed = _input_size(self._session, path, settings)
        about = self._session.get_modelmeta().custom_metadata_map
        super().__init__(
            path, settings, size, fixed=fixed,
            legacy=bool(settings.legacy), decoded=settings.decoded,
            names=read_names(about.get("names", "")) if names is None else names,
        )  # fmt: skip
        if not self._fixed:  # whatever it says of itself, it may not run on images of another size
            self._fixed = True
            with suppress(InputError):
                output = self._run(np.full((*_SMALL, 3), _PAD, np.uint8))
                self._fixed = len(output) != len(grid(_SMALL, self._strides))

    def infer(self, batch: Floats) -> Any:
        """See `Yolox.infer`. Raises `InputError` for a file that fails."""
        try:
            return self._session.run(None, {self._input: batch})[0]
        except Exception as error:  # onnxruntime's errors share no base of their own
            raise InputError(f"{self.weights} cannot be run: {last_line(error)}") from error


def as_batch(pixels: np.ndarray) -> Floats:
    """`[1, 3, H, W]` of an image `[H, W, 3]`."""
    batch = np.empty((1, 3, *pixels.shape[:2]), np.float32)
    for channel in range(3):  # five times as quick as to transpose all at once
        batch[0, channel] = pixels[:, :, channel]
    return batch


def letterbox(image: Image, size: tuple[int, int]) -> tuple[Image, tuple[float, float]]:
    """The image in the top left of a grey canvas `size` (height, width), and its scale in x and y.

    As YOLOX does it: one factor, cut to whole pixels. The scales returned are those of the whole
    pixels, so that boxes come back without that rounding.
    """
    height, width = image.shape[:2]
    factor = min(size[0] / height, size[1] / width)
    new_h, new_w = max(int(height * factor), 1), max(int(width * factor), 1)
    canvas = np.full((*size, 3), _PAD, dtype=np.uint8)
    canvas[:new_h, :new_w] = cv2.resize(image, (new_w, new_h), interpolation=cv2.INTER_LINEAR)
    return canvas, (new_w / width, new_h / height)


def needed(image: Image, size: tuple[int, int]) -> tuple[int, int]:
    """The least canvas, in whole cells, on which `letterbox` scales the image as on `size`."""
    sides = image.shape[:2]
    factor = min(size[0] / sides[0], size[1] / sides[1])
    height, width = (max(round(side * factor) + 31, 32) // 32 * 32 for side in sides)
    return height, width


@lru_cache(16)
def grid(size: tuple[int, int], strides: tuple[int, ...]) -> Floats:
    """Column, row and stride `[cells, 3]` of every cell, in the order of the output."""
    levels = []
    for stride in strides:
        rows, columns = np.mgrid[: size[0] // stride, : size[1] // stride]
        levels.append(np.stack([columns, rows, np.full_like(rows, stride)], axis=-1).reshape(-1, 3))
    return np.concatenate(levels).astype(np.float32)


def decode(boxes: Floats, cells: Floats) -> Floats:
    """Raw output `[P, 4]` (offset from the cell in cells, log size in cells) to pixel cxcywh."""
    stride = cells[:, 2:]
    with np.errstate(over="ignore"):
        return np.concatenate(
            [(boxes[:, :2] + cells[:, :2]) * stride, np.exp(boxes[:, 2:]) * stride], axis=1)


def is_decoded(centres: Floats, cells: Floats) -> bool:
    """Whether the first two outputs `[cells, 2]` are pixels rather than offsets from the cell.

    A cell predicts a box near itself. So under the right reading the distance between cell and
    centre is a few cells, under the wrong one it is the cell's own distance from the corner. The
    medians differ by a factor of about 40 for an input of 416.
    """
    as_pixels = np.median(np.abs(centres / cells[:, 2:] - cells[:, :2]))
    as_offsets = np.median(np.abs(centres))
    return bool(as_pixels < as_offsets)


def _input_size(
    session: Any, weights: Path, settings: YoloxSettings
) -> tuple[tuple[int, int], bool]:
    """Height and width of the network's input, and whether they are fixed.

    Of the file, else of the setting, else by the name, which fixes nothing.
    """
    inputs = session.get_inputs()
    shape, kind = inputs[0].shape, inputs[0].type
    # a free dimension has a name or nothing for its size
    fixed = [size for size in shape[:2] if isinstance(size, int)]
    if len(inputs) != 1 or kind != "tensor(float)" or len(shape) != 4 or fixed not in (
        [1, 3], [1], [3], []
    ):
        sizes = ", ".join(map(str, shape))
        raise _no_yolox(weights, f"its first of {len(inputs)} inputs is {kind} [{sizes}]")
    side = 416 if re.search("nano|tiny", weights.stem.lower()) else 640
    free = settings.input_size or (side, side)
    height, width = (s if isinstance(s, int) else f for s, f in zip(shape[2:], free, strict=True))
    if settings.input_size not in (None, (height, width)):
        raise InputError(f"{weights} takes images of {(height, width)} only, not input_size "
                         f"{settings.input_size}")
    return (height, width), settings.input_size is not None or any(
        isinstance(side, int) for side in shape[2:])


def _no_yolox(weights: Path, why: str) -> InputError:
    return InputError(
        f"{weights} is not a YOLOX export: {why}. Wanted is one float image [1, 3, H, W] in and "
        "[1, cells, 5 + classes] out, without NMS inside"
    )
