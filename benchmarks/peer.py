"""supervision's usual pipeline with the PyPI package `trackers`, for `tfsasm bench --baseline`.

    tfsasm bench --source video.mp4 --baseline \
        "python benchmarks/peer.py {source} {output} {detections}"

OpenCV reads, supervision draws boxes and labels and writes an MP4, `trackers` associates the boxes
of a MOT text file. Needs `pip install trackers`.
"""

import sys

import numpy as np
import supervision as sv
from trackers import ByteTrackTracker

LEFT, TOP, WIDTH, HEIGHT, SCORE = range(2, 7)


def main(source: str, output: str, detections: str) -> None:
    """Track the video `source` by the boxes in `detections`, and write it to `output`."""
    rows = np.loadtxt(detections, delimiter=",", ndmin=2)
    xyxy = rows[:, [LEFT, TOP, LEFT, TOP]]
    xyxy[:, 2:] += rows[:, [WIDTH, HEIGHT]]
    about = sv.VideoInfo.from_video_path(source)
    tracker, boxes, labels = ByteTrackTracker(), sv.BoxAnnotator(), sv.LabelAnnotator()
    with sv.VideoSink(output, about) as sink:
        for number, image in enumerate(sv.get_video_frames_generator(source), start=1):
            own = rows[:, 0] == number
            found = tracker.update(sv.Detections(
                xyxy[own], confidence=rows[own, SCORE], class_id=np.zeros(own.sum(), int)
            ))  # fmt: skip
            image = boxes.annotate(image, found)
            sink.write_frame(labels.annotate(image, found, [str(i) for i in found.tracker_id]))


if __name__ == "__main__":
    main(*sys.argv[1:])
