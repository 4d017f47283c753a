"""Tracks and detections of one class at a time: a rider is not a duplicate of the motorcycle.

Each class is associated by itself, as if there were no other. What has no class, since a detector
gives none, may be anything: a track without class is associated after those that have one, with
what they leave, and detections without class with the tracks of all classes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tfsasm.detection.proposals import NO_CLASS
from tfsasm.tables import Doubles, Flags, Integers
from tfsasm.tracking.appearance import association
from tfsasm.tracking.appearance.association import Candidates, MatchConfig


def associate(
    pairs: Candidates, confirmed: Flags, scores: Doubles, classes: Integers, found: Integers
) -> Integers:
    """The detection of each track `[N]`, or -1: `association.associate` for each class.

    `classes` `[N]` are those of the tracks, `found` `[D]` of the detections.
    """
    if _is_one(classes, found):  # as in most videos
        return association.associate(pairs, confirmed, scores)
    matches = np.full(len(classes), -1)
    for rows, columns in _groups(classes, found):
        free = np.ones(len(found), dtype=bool)
        free[matches[matches >= 0]] = False
        own, their = np.flatnonzero(rows & (matches < 0)), np.flatnonzero(columns & free)
        matched = association.associate(pairs.of(own, their), confirmed[own], scores[their])
        matches[own[matched >= 0]] = their[matched[matched >= 0]]
    return matches


def _is_one(*classes: Integers) -> bool:
    """Whether all are the same class, which may be none."""
    one = next((some[0] for some in classes if len(some)), NO_CLASS)
    return all((some == one).all() for some in classes)


def _groups(classes: Integers, found: Integers) -> Iterator[tuple[Flags, Flags]]:
    """The tracks `[N]` and detections `[D]` that are associated one group after the other."""
    for number in np.unique(found[found != NO_CLASS]).tolist():
        yield classes == number, found == number
    none = found == NO_CLASS
    if none.any():
        yield np.ones(len(classes), dtype=bool), none
    yield classes == NO_CLASS, ~none


def births(
    boxes: Doubles, scores: Doubles, classes: Integers, matches: Integers, rules: MatchConfig
) -> Integers:
    """Detections `[B]` that start a track: `association.births` for each class `[D]`."""
    if _is_one(classes):
        return association.births(boxes, scores, matches, rules)
    taken = np.zeros(len(boxes), dtype=bool)
    taken[matches[matches >= 0]] = True
    born = []
    for number in np.unique(classes).tolist():
        rows = np.flatnonzero(classes == number)
        matched = np.flatnonzero(taken[rows])
        born.append(rows[association.births(boxes[rows], scores[rows], matched, rules)])
    return np.sort(np.concatenate(born))


def comparable(classes: Integers, found: Integers) -> Flags:
    """Pairs `[N, D]` that are not of two classes."""
    unknown = (classes == NO_CLASS)[:, None] | (found == NO_CLASS)
    return np.asarray(unknown | (classes[:, None] == found))
