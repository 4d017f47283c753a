"""Proposals for a frame: from a stored file or from a live detector, behind one protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from tfsasm.detect.hf import HuggingFaceDetector, HuggingFaceSettings
from tfsasm.detect.json_stream import first_character
from tfsasm.detect.live import default_settings, detector
from tfsasm.detect.stored import DetectionDatabase, MotDetections
from tfsasm.detect.yolox import YoloxDetector, YoloxSettings
from tfsasm.detect.yolox_torch import YoloxTorchDetector
from tfsasm.errors import InputError
from tfsasm.proposals import Proposals

if TYPE_CHECKING:
    from tfsasm.video import Frame

__all__ = [
    "DetectionDatabase", "HuggingFaceDetector", "HuggingFaceSettings", "MotDetections",
    "ProposalSource", "YoloxDetector", "YoloxSettings", "YoloxTorchDetector", "default_settings",
    "detector", "open_detections",
]


class ProposalSource(Protocol):
    """Where a tracker gets the boxes of a frame: call it once per frame, in any order."""

    def __call__(self, frame: Frame) -> Proposals:
        """The proposals of `frame`; none is a normal answer."""
        ...

    def report(self) -> list[str]:
        """What the user should hear at the end, a sentence each; usually nothing.

        Frames the source knew nothing of, lines that were left out, guesses that were made.
        """
        ...


def open_detections(
    path: Path | str, *, source_name: str | None = None, skip_bad: bool = False,
    missing: Literal["empty", "error"] = "empty",
) -> MotDetections | DetectionDatabase:
    """Stored detections: a MOT `det.txt` or a det_db JSON, by suffix and first character.

    `source_name` is the video or folder the frames come from, best as a full path: it helps to
    find the sequence in a JSON when a frame's own name says too little. A frame the file does not
    know has no proposals and is counted for the report; with `missing="error"` it is an
    `InputError`.

    Raises `InputError` naming file and line (or key) for anything that cannot be used; `skip_bad`
    leaves bad detection lines out and counts them.
    """
    if Path(path).is_dir():
        raise InputError(f"{path} is a folder; give a det.txt or a det_db JSON")
    if Path(path).suffix.lower() == ".json" or first_character(path) in ("{", "["):
        return DetectionDatabase(path, source_name=source_name, skip_bad=skip_bad, missing=missing)
    return MotDetections(path, skip_bad=skip_bad, missing=missing)
