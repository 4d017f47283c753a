"""The README's picture: `python docs/pictures/make.py` tracks the clip in the package and draws it.

The clip is Demo_MultiPerson of pose2sim (NOTICE), here at a third of its size and every third
frame.
"""

from importlib.resources import files
from pathlib import Path

import supervision as sv
from PIL import Image

import tfsasm
from tfsasm.video.annotate import Annotator
from tfsasm.video.writer import resized

SCALE, STRIDE = 3, 3

clip = Path(str(files("tfsasm") / "clips" / "people.mp4"))
tracker = tfsasm.AppearanceTracker(tfsasm.embedder("hist"))
annotator, pictures = Annotator(trail=20), []
for frame, tracks in tracker.track(clip, "yolox-nano"):
    height, width = frame.image.shape[:2]
    small = resized(frame.image, width // SCALE, height // SCALE)
    drawn = annotator.annotate(
        small, sv.Detections(xyxy=tracks.xyxy / SCALE, tracker_id=tracks.tracker_id)
    )
    if frame.number % STRIDE == 1:
        pictures.append(Image.fromarray(drawn[90:520, :, ::-1]))  # without ceiling and mats
path = Path(__file__).with_name("people.webp")
pictures[0].save(
    path, save_all=True, append_images=pictures[1:], duration=50 * STRIDE // 2, loop=0, quality=60,
    method=6,
)
print(f"wrote {path}, {path.stat().st_size / 1e6:.2f} MB, {len(pictures)} pictures")
