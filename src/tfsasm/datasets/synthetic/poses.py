"""How people hold themselves: the angles of their joints over time, in radians.

A whole clip of poses is one array, so posing costs a few vectorised operations.
"""

import numpy as np
from numpy.random import Generator

# Angles of one pose, left before right. Flexion is forward, abduction sideways.
HIP, SPREAD, KNEE, SHOULDER, ABDUCT, ELBOW = (slice(i, i + 2) for i in range(0, 12, 2))
LEAN, TILT = 12, 13
ANGLES = 14


def walk_pose(rng: Generator, phase: np.ndarray, pace: np.ndarray) -> np.ndarray:
    """Angles `[T, G, ANGLES]` of walking at `phase` `[T, G]`; `pace` 0 stands, 1 walks, 2 runs."""
    people = phase.shape[1]
    pose = np.zeros((*phase.shape, ANGLES))
    swing = np.minimum(pace, 1.6) * rng.uniform(0.8, 1.15, people)
    sides = np.stack([phase, phase + np.pi], axis=-1)
    pose[..., HIP] = 0.42 * swing[..., None] * np.sin(sides)
    # The knee bends while its leg swings forward, more so in a run.
    pose[..., KNEE] = 0.06 + 0.75 * swing[..., None] * np.clip(np.cos(sides), 0, None)
    pose[..., SHOULDER] = -0.38 * swing[..., None] * np.sin(sides)
    run = np.clip(pace - 1, 0, 1)
    bent = (0.15 + 0.2 * swing + 1.1 * run)[..., None]
    pose[..., ELBOW] = bent * rng.uniform(0.5, 1.6, (people, 1))
    pose[..., ABDUCT] = 0.08 + 0.1 * rng.random((people, 2))
    pose[..., SPREAD] = 0.03
    pose[..., LEAN] = 0.03 + 0.18 * run + rng.normal(0, 0.03, people)
    # A hand in the pocket, at the phone, on a strap: that arm stops swinging.
    busy = rng.random((people, 2)) < 0.12
    bend = rng.uniform(0.4, 2.2, (people, 2))
    pose[..., ELBOW] = np.where(busy, bend, pose[..., ELBOW])
    pose[..., SHOULDER] = np.where(busy, 0.2, pose[..., SHOULDER])
    return pose


def dance_pose(
    rng: Generator, times: np.ndarray, people: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Key poses on a beat, common to all, each person late, weaker and sometimes mirrored.

    Returns angles `[T, G, ANGLES]`, and how high each jumps and where each faces `[T, G]`.
    """
    beat = rng.uniform(0.35, 0.9)
    keys = int(times[-1] / beat) + 4 if len(times) else 4
    figures = _key_poses(rng, min(8, keys))
    tune = figures[rng.integers(0, len(figures), keys)]
    late = rng.normal(0, rng.choice([0.03, 0.15, 0.6]), people)
    clock = np.clip((times[:, None] + np.abs(late)) / beat, 0, keys - 2)
    index, part = clock.astype(int), clock % 1
    ease = smoothstep(np.clip(part * rng.uniform(1.0, 1.8), 0, 1))[..., None]
    angles = (1 - ease) * tune[index] + ease * tune[index + 1]
    angles = angles * rng.uniform(0.75, 1.15, (people, 1)) + rng.normal(0, 0.05, (people, ANGLES))
    mirrored = rng.random(people) < rng.choice([0.0, 0.5])
    swapped = angles[:, mirrored][..., [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, LEAN, TILT]]
    swapped[..., TILT] *= -1
    angles[:, mirrored] = swapped
    jumps = rng.random((keys, 1)) < rng.choice([0.0, 0.15, 0.3])
    jump = np.where(jumps[index, 0], 0.22 * part * (1 - part) * 4 * rng.random(), 0.0)
    return angles, jump, _spins(rng, keys, index, part, people)


def _spins(
    rng: Generator, keys: int, index: np.ndarray, part: np.ndarray, people: int
) -> np.ndarray:
    turns = (rng.random((keys, people)) < rng.choice([0.0, 0.1, 0.25])) * rng.choice([-1, 1])
    before = np.concatenate([np.zeros((1, people)), np.cumsum(turns, axis=0)])
    each = np.arange(people)
    facing = rng.choice([0.0, 0.0, 0.5, np.pi]) + rng.normal(0, 0.25, people)
    return facing + 2 * np.pi * (before[index, each] + turns[index, each] * smoothstep(part))


def _key_poses(rng: Generator, count: int) -> np.ndarray:
    pose = np.zeros((count, ANGLES))
    crouch = np.where(rng.random((count, 1)) < 0.2, rng.uniform(0.5, 1.5, (count, 1)), 0.0)
    lift = np.where(rng.random((count, 2)) < 0.2, rng.uniform(0.4, 1.4, (count, 2)), 0.0)
    pose[:, HIP] = crouch + lift + rng.normal(0, 0.12, (count, 2))
    pose[:, KNEE] = 1.8 * crouch + 1.2 * lift + 0.1
    pose[:, SPREAD] = np.abs(rng.normal(0.08, 0.12, (count, 2)))
    pose[:, SHOULDER] = rng.uniform(-0.6, 2.6, (count, 2))
    pose[:, ABDUCT] = np.abs(rng.normal(0.3, 0.6, (count, 2)))
    pose[:, ELBOW] = rng.uniform(0, 2.2, (count, 2))
    pose[:, LEAN] = rng.normal(0.05, 0.15, count)
    pose[:, TILT] = rng.normal(0, 0.12, count)
    return pose


def smoothstep(x: np.ndarray) -> np.ndarray:
    """From 0 to 1 with an even start and end, for `x` in [0, 1]."""
    return x * x * (3 - 2 * x)
