"""Video files decoded by torchcodec: on an NVIDIA GPU by NVDEC, beside what a network computes.

What is unusual here: PyAV still reads the file. Images get their numbers and times by its packets,
and the file is displayed as it says, so that both agree whatever decodes; pixels alone come from
elsewhere.
"""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from itertools import islice
from typing import Any, Literal

import numpy as np

from tfsasm.errors import InputError
from tfsasm.video.decoder import Decoder
from tfsasm.video.hdr import HLG, PQ
from tfsasm.video.timeline import REORDERED

log = logging.getLogger(__name__)

Choice = Literal["auto", "pyav", "torchcodec"]

Opener = Callable[[str, str], Decoder]
"""Opens a file by its path and by the name that messages have for it."""


_CONTAINERS = {"mp4", "matroska"}
"""Names of FFmpeg for those that have a time for each image, one clock, and no other files: a
playlist would have torchcodec open whatever it names."""


class UnfitError(InputError):
    """A file that PyAV decodes and torchcodec does not, or not alike."""


def opener(choice: Choice, device: str) -> Opener:
    """What `open_video` opens files with, where a network computes on `device` (or auto).

    `auto` takes torchcodec where it is installed and the device is an NVIDIA GPU, for the files
    that it decodes alike. Raises `InputError` when torchcodec is asked for and is not there, or the
    device is not.
    """
    if choice == "pyav" or (choice == "auto" and (device == "cpu" or not find_spec("torchcodec"))):
        return Decoder
    from tfsasm.pytorch import find_device

    place = find_device(device)
    if choice == "auto" and place.type != "cuda":
        return Decoder
    if lack := _lack():
        problem = f"torchcodec cannot be used ({lack}): pip install torchcodec, and install FFmpeg"
        if choice == "torchcodec":
            raise InputError(problem)
        log.warning("%s; PyAV decodes", problem)
        return Decoder
    return partial(_open_alike if choice == "auto" else TorchcodecDecoder, device=place)


def _lack() -> str:
    """What torchcodec lacks here; empty where it can be used."""
    try:
        import torchcodec
    except (ImportError, RuntimeError, OSError) as error:
        return str(error).strip().split("\n")[0]
    found = getattr(torchcodec, "ffmpeg_major_version", 0)  # older ones cannot be imported then
    return "no shared libraries of FFmpeg that it knows" if found is None else ""


def _open_alike(address: str, label: str, device: Any) -> Decoder:
    """By torchcodec if that decodes it alike, else by PyAV."""
    try:
        return TorchcodecDecoder(address, label, device)
    except UnfitError as error:
        log.info("%s", error)
        return Decoder(address, label)


class TorchcodecDecoder(Decoder):
    """An open file whose images are decoded on `device`, a `torch.device`.

    Raises `UnfitError` for what would not come out as by PyAV, and `InputError` as `Decoder`.
    """

    def __init__(self, address: str, label: str, device: Any) -> None:
        from torchcodec.decoders import VideoDecoder

        from tfsasm.pytorch import side_queue

        super().__init__(address, label, live=False)  # its first image tells how it is displayed
        try:
            if reason := self._unfit():
                raise ValueError(reason)
            self._video: Any = VideoDecoder(
                f"file:{address}", stream_index=self._stream.index, dimension_order="NHWC",
                num_ffmpeg_threads=0, device=device,
            )  # fmt: skip
        except (RuntimeError, ValueError) as error:
            self.close()
            reason = str(error).strip().split("\n")[0]
            raise UnfitError(f"{label} is not for torchcodec: {reason}; give --decoder auto"
                             ) from error  # fmt: skip
        self._begin_anew()
        self._queue, self._images = side_queue(device), self._there()

    def pixels(self, image: Any) -> np.ndarray:
        """One of the images, uint8 BGR `[H, W, 3]`; from a GPU by pinned memory."""
        from tfsasm.pytorch import beside, download

        with beside(self._queue):
            return download(image.data.flip(-1))

    def _unfit(self) -> str:
        """Why it would not come out as by PyAV; empty if it would."""
        codec: Any = self._stream.codec_context
        (a, b), (c, d) = self._display
        if not _CONTAINERS & self._kinds:
            return "it is no MP4, MOV, Matroska or WebM file"
        if max(part.bits for part in codec.format.components) > 8:
            return "its colours have more than 8 bits"
        if codec.color_trc in (PQ, HLG):
            return "it is of high dynamic range"
        if (a, b) != (d, -c) or (a and b):
            return "it is displayed mirrored or aslant"
        return ""

    def _there(self) -> Iterator[Any]:
        """The images in order, without those that cannot be decoded."""
        from tfsasm.pytorch import beside

        counted, before = map(self._count, self._announced()), None
        for _ in islice(counted, REORDERED):  # packets of an image may stand behind later ones
            pass
        for index in range(len(self._video)):
            next(counted, None)
            try:
                with beside(self._queue):
                    image = self._video.get_frame_at(index)
            except (RuntimeError, IndexError):
                self.timeline.damaged(lost=1)
                continue
            if image.pts_seconds != before and self.timeline.image(image.pts_seconds):
                yield image
            before = image.pts_seconds
        for _ in counted:  # what is wrong at its end
            pass
