"""The people of a clip: how they are built and what they wear."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from tfsasm.tables import Table

COLOURS = SKIN, HAIR, TOP, TRIM, BOTTOM, SHOES, BAG = range(7)
"""Colours of one person."""

_HAIR = np.array([[18, 18, 22], [25, 35, 50], [40, 60, 85], [110, 165, 195], [170, 170, 170]])


@dataclass(frozen=True)
class People(Table):
    """The people of a clip: `G` rows. `colours` is uint8 `[G, 7, 3]` BGR, by `COLOURS`."""

    height: np.ndarray
    build: np.ndarray
    colours: np.ndarray
    striped: np.ndarray
    short_sleeves: np.ndarray
    bare_legs: np.ndarray
    skirt: np.ndarray  # length as a fraction of the thigh, 0 for none
    long_hair: np.ndarray
    backpack: np.ndarray
    hand_bag: np.ndarray


def make_people(rng: Generator, people: int, costumes: int, spread: float) -> People:
    """`people` persons in `costumes` different outfits; `spread` 0 makes wearers of one identical.

    With a costume each (`costumes >= people`) it is an ordinary crowd, with one a dance troupe.
    """
    costumes = max(1, min(costumes, people))
    wears = rng.permutation(np.arange(people) % costumes)
    skirt = np.where(rng.random(costumes) < 0.25, rng.uniform(0.3, 1.1, costumes), 0.0)
    # From TOP to BAG; lower parts are more often dark.
    cloths = [_cloth(rng, costumes, dark) for dark in (0.35, 0.35, 0.55, 0.6, 0.5)]
    striped, short_sleeves = rng.random(costumes) < 0.3, rng.random(costumes) < 0.4
    bare_legs = (rng.random(costumes) < 0.2) | (skirt > 0) & (rng.random(costumes) < 0.6)
    has_bags = (rng.random(costumes) < 0.6)[wears]
    colours = np.stack(cloths, axis=1)[wears] + rng.normal(0, 4 + 40 * spread, (people, 5, 3))
    tone = rng.beta(2, 1.3, people)[:, None]
    skin = (1 - tone) * np.array([40, 62, 95]) + tone * np.array([160, 185, 228])
    hair = _HAIR[rng.choice(5, people, p=[0.4, 0.3, 0.15, 0.1, 0.05])]
    palette = np.concatenate([skin[:, None], hair[:, None], colours], axis=1)
    odd = rng.random(people) < 0.6 * spread  # some differ in cut, too
    return People(
        height=np.clip(rng.normal(1.0, 0.05, people), 0.85, 1.15),
        build=np.clip(rng.normal(1.08, 0.12, people), 0.85, 1.5),
        colours=np.clip(palette, 0, 255).astype(np.uint8),
        striped=striped[wears] ^ odd,
        short_sleeves=short_sleeves[wears] ^ odd,
        bare_legs=bare_legs[wears],
        skirt=skirt[wears],
        long_hair=rng.random(people) < 0.35,
        backpack=(rng.random(people) < 0.25) & has_bags,
        hand_bag=(rng.random(people) < 0.2) & has_bags,
    )


def _cloth(rng: Generator, count: int, dark: float) -> np.ndarray:
    """Clothes are mostly dark, grey or muted, sometimes vivid: BGR float `[count, 3]`."""
    vivid = rng.random(count) < 0.35
    hue = rng.integers(0, 180, count)
    saturation = np.where(vivid, rng.uniform(110, 240, count), rng.uniform(0, 90, count))
    darkness = rng.random(count) < dark
    value = np.where(darkness, rng.uniform(15, 75, count), rng.uniform(70, 245, count))
    hsv = np.stack([hue, saturation, value], axis=1).astype(np.uint8)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2BGR)[0].astype(float)
