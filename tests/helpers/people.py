"""Scripted people for the appearance tracker: boxes that walk, and what they look like."""

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
    """What a person looks like: a unit vector of its own."""
    return np.eye(channels, dtype=np.float32)[person]


def found(boxes, people=None, score=0.9, **data):
    """Detections of `boxes` `[P, 4]`, with vectors if `people` says whose they are."""
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    if people is not None:
        data["embedding"] = np.stack([vector(p) for p in people]) if len(people) else None
    return sv.Detections(
        xyxy=boxes, confidence=np.full(len(boxes), score), data={k: v for k, v in data.items()
                                                                 if v is not None},
    )  # fmt: skip


def identities(tracker, scene, frame=None):
    """Per frame a dictionary person -> id. `scene` gives (person, box) lists per frame."""
    told = []
    for shown in scene:
        people = [person for person, _ in shown]
        tracks = tracker.update(found([box for _, box in shown], people,
                                      person=np.array(people, dtype=int)), frame)  # fmt: skip
        told.append(dict(zip(tracks.data.get("person", np.zeros(0, int)).tolist(),
                             tracks.tracker_id.tolist(), strict=True)))  # fmt: skip
    return told
