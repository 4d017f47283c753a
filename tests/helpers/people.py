"""Scripted people for the appearance tracker: boxes that walk, and their embeddings."""

from __future__ import annotations

import numpy as np
import supervision as sv

WIDTH, HEIGHT = 640, 480
SIZE = np.array([40.0, 100.0])


def walk(start, step, frames):
    """Boxes `[frames, 4]` of one person; corners in pixels."""
    centres = np.asarray(start, float) + np.arange(frames)[:, None] * np.asarray(step, float)
    return np.hstack([centres - SIZE / 2, centres + SIZE / 2])


def vector(person, channels=8):
    """The embedding of a person: a unit vector of its own."""
    return np.eye(channels, dtype=np.float32)[person]


def detections(boxes, people=None, score=0.9, **data):
    """Detections of `boxes` `[P, 4]`, with the embeddings of `people` if they are given."""
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    if people is not None and len(people):
        data["embedding"] = np.stack([vector(person) for person in people])
    return sv.Detections(xyxy=boxes, confidence=np.full(len(boxes), score), data=data)


def identities(tracker, scene, frame=None):
    """Per frame a dictionary person -> id. `scene` gives (person, box) lists per frame."""
    result = []
    for visible in scene:
        people = [person for person, _ in visible]
        boxes = [box for _, box in visible]
        tracks = tracker.update(
            detections(boxes, people, person=np.array(people, dtype=int)), frame
        )
        tracked = tracks.data.get("person", np.zeros(0, int)).tolist()
        result.append(dict(zip(tracked, tracks.tracker_id.tolist(), strict=True)))
    return result
