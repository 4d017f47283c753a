"""Trajectories of the people of a clip, and how they move: arrays over all of its time."""

import cv2
import numpy as np
from numpy.random import Generator

from tfsasm.datasets.synthetic import figures, poses
from tfsasm.datasets.synthetic.people import People
from tfsasm.datasets.synthetic.scenery import Ground


def plan_motion(
    rng: Generator, kind: str, ground: Ground, times: np.ndarray, people: People, leave: float
) -> tuple[np.ndarray, np.ndarray]:
    """What the people of a clip of this kind do at `times` `[T]`, seconds.

    Returns each one's place on the ground `[T, G, 2]` and joints `[T, G, JOINTS, 3]`. `leave` is
    the chance that a next walk leads out of the image.
    """
    count = len(people)
    if not count or not len(times):
        empty = np.zeros((len(times), count, figures.JOINTS, 3))
        return empty[:, :, 0, :2], empty
    step = times[1] - times[0] if len(times) > 1 else 0.1
    # Smoothing needs neighbours: plan a second more at either end, and cut it off again.
    extra = int(np.ceil(1 / step))
    longer = np.arange(-extra, len(times) + extra) * step
    planner = {"dance": _dancers, "street": _pedestrians, "sport": _players}[kind]
    place = planner(rng, ground, longer, count, leave)
    place = smoothed(place.reshape(len(longer), -1), int(0.5 / step)).reshape(place.shape)
    velocity = np.gradient(place, step, axis=0)[extra : extra + len(times)]
    place = place[extra : extra + len(times)]
    speed = np.linalg.norm(velocity, axis=-1)
    pace = np.clip(speed / 0.75, 0, 2)
    stride = 0.82 * (1 + 0.6 * np.clip(pace - 1, 0, 1))
    phase = np.cumsum(speed * step * 2 * np.pi / stride, axis=0) + rng.uniform(0, 6.3, count)
    pose = poses.walk_pose(rng, phase, pace)
    # A person who stands still keeps facing somewhere.
    gaze = velocity + 0.04 * rng.normal(0, 1, (count, 2))
    yaw = np.arctan2(gaze[..., 0], -gaze[..., 1])
    jump = np.zeros_like(yaw)
    if kind == "dance":
        walk = pose
        pose, jump, yaw = poses.dance_pose(rng, times, count)
        # Arms always dance; legs walk as far as the dancer has to travel.
        share = np.clip(1.6 * pace, 0, 1)[..., None]
        for part in (poses.HIP, poses.KNEE, poses.SPREAD):
            pose[..., part] = (1 - share) * pose[..., part] + share * walk[..., part]
    return place, figures.skeletons(people, pose, yaw, jump)


def smoothed(track: np.ndarray, frames: int) -> np.ndarray:
    """Moving average over time, as many frames, of `[T, C]`."""
    if frames < 2 or not track.size:
        return track
    return cv2.blur(track, (1, frames | 1), borderType=cv2.BORDER_REPLICATE)


def _pedestrians(
    rng: Generator, ground: Ground, times: np.ndarray, people: int, leave: float
) -> np.ndarray:
    """Pedestrians: straight walks between random targets, pauses, and pairs side by side."""
    place = np.zeros((len(times), people, 2))
    for person in range(people):
        if person and rng.random() < 0.35:
            angle = rng.uniform(0, 2 * np.pi)
            beside = rng.uniform(0.25, 0.6) * np.array([np.cos(angle), np.sin(angle)])
            drift = smoothed(rng.normal(0, 0.15, (len(times), 2)), max(len(times) // 3, 2))
            place[:, person] = place[:, person - 1] + beside + drift
            continue
        place[:, person] = _pedestrian(rng, ground, times, leave)
    return place


def _pedestrian(rng: Generator, ground: Ground, times: np.ndarray, leave: float) -> np.ndarray:
    speed = rng.uniform(0.5, 1.0)
    stops: list[np.ndarray] = []
    clock = [times[0] - rng.uniform(0, 8)]
    lanes = rng.random() < 0.5  # crossing the image rather than strolling
    while not stops or clock[-1] < times[-1]:
        x = float(rng.uniform(-0.05, 1.05))
        if lanes or rng.random() < leave:
            x = float(rng.choice([-0.15, 1.15]) if len(stops) % 2 else rng.uniform(-0.1, 1.1))
        row = rng.uniform(*ground.rows)
        target = ground.locate(np.array([x * ground.width, row]))
        if stops:
            clock.append(clock[-1] + max(float(np.linalg.norm(target - stops[-1])), 0.05) / speed)
        stops.append(target)
        if rng.random() < 0.25:
            stops.append(target + rng.normal(0, 0.02, 2))
            clock.append(clock[-1] + rng.exponential(1.5) + 0.1)
    track = np.array(stops[: len(clock)])
    return np.stack([np.interp(times, clock, track[:, axis]) for axis in (0, 1)], axis=1)


def _dancers(
    rng: Generator, ground: Ground, times: np.ndarray, people: int, leave: float
) -> np.ndarray:
    """Dancers: a formation per phrase, and slots that are kept, mirrored, rotated or shuffled."""
    far, near = ground.depths
    middle, half_deep = (far + near) / 2, (far - near) / 2
    half_wide = rng.uniform(0.5, 0.95) * ground.width / 2 * middle / ground.focal
    phrase = rng.uniform(0.9, 3.0)
    count = int(np.ptp(times) / phrase) + 3
    slots = _slots(rng, people)
    stations = []
    for _ in range(count):
        if rng.random() < 0.6:
            slots = _slots(rng, people) if rng.random() < 0.5 else slots * rng.choice([-1, 1], 2)
        turn = rng.choice([0, 0, 1, 2])
        slots = np.roll(slots, 1, axis=0) if turn == 1 else slots
        slots = rng.permutation(slots) if turn == 2 else slots
        station = np.stack([slots[:, 0] * half_wide, middle + slots[:, 1] * half_deep], axis=1)
        if rng.random() < leave:  # one goes off the stage for a phrase
            station[rng.integers(0, people), 0] = rng.choice([-2.3, 2.3]) * half_wide / 0.6
        stations.append(station)
    return _between_stations(rng, np.array(stations), times, phrase)


def _between_stations(
    rng: Generator, stations: np.ndarray, times: np.ndarray, phrase: float
) -> np.ndarray:
    people = stations.shape[1]
    clock = (times - times[0])[:, None] / phrase + rng.normal(0, 0.05, people) + rng.random()
    clock = np.clip(clock, 0, len(stations) - 1.001)
    index, part = clock.astype(int), clock % 1
    start = rng.uniform(0.0, 0.4)
    ease = np.clip((part - start) / rng.uniform(0.4, 1 - start), 0, 1)
    ease = poses.smoothstep(ease)[..., None]
    each = np.arange(people)
    place = (1 - ease) * stations[index, each] + ease * stations[index + 1, each]
    sway = rng.uniform(0, 0.08, (people, 2)) * rng.choice([0.3, 1, 2])
    beat = rng.uniform(2, 7) + rng.normal(0, 0.2, people)
    waves = np.sin(times[:, None] * beat + rng.uniform(0, 6.3, people))
    return place + sway * waves[..., None]


def _slots(rng: Generator, people: int) -> np.ndarray:
    """Places of a formation in [-1, 1] x [-1, 1]."""
    along = np.linspace(-1, 1, people) if people > 1 else np.zeros(1)
    order = np.arange(people)
    kind = rng.integers(0, 6)
    if kind == 0:
        slots = np.stack([along, np.zeros(people)], axis=1)
    elif kind == 1:  # two rows, the rear one looking through the gaps
        slots = np.stack([along, np.where(order % 2, 0.8, -0.8)], axis=1)
    elif kind == 2:
        slots = np.stack([along, np.abs(along) * 2 - 1], axis=1)
    elif kind == 3:
        angle = 2 * np.pi * order / people
        slots = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    elif kind == 4:
        side = int(np.ceil(np.sqrt(people)))
        slots = np.stack([order % side, order // side], axis=1) / max(side - 1, 1) * 2 - 1
    else:
        slots = rng.uniform(-1, 1, (people, 2))
    tight = rng.uniform(0.55, 1.0)
    return slots * [tight, 1] + rng.normal(0, 0.05, (people, 2))


def _players(
    rng: Generator, ground: Ground, times: np.ndarray, people: int, leave: float
) -> np.ndarray:
    """Players chase a ball that changes direction; each keeps roughly to a role around it."""
    far, near = ground.depths
    half_wide = ground.width / 2 * (far + near) / 2 / ground.focal
    reach = np.array([1.2 * half_wide, (far - near) / 2])
    step = times[1] - times[0]
    role = rng.uniform(-1, 1, (people, 2)) * reach * rng.uniform(0.5, 1.0)
    eager = rng.uniform(0.2, 0.9, (people, 1))
    ball, goal = rng.uniform(-0.5, 0.5, 2) * reach, rng.uniform(-0.8, 0.8, 2) * reach
    place, velocity = role + ball * eager, np.zeros((people, 2))
    whim = np.zeros((people, 2))
    path = np.empty((len(times), people, 2))
    for frame in range(len(times)):
        if rng.random() < step / 1.5:
            goal = rng.uniform(-1 - leave / 2, 1 + leave / 2, 2) * reach
        ball = ball + np.clip(goal - ball, -3 * step, 3 * step)
        whim = whim * np.exp(-step / 0.8) + rng.normal(0, 1.2, (people, 2)) * np.sqrt(step)
        wish = role + ball * eager + whim - place
        wish *= np.minimum(1, 3.0 / (2 * np.linalg.norm(wish, axis=1, keepdims=True) + 1e-6)) * 2
        velocity += (wish - velocity) * (1 - np.exp(-step / 0.35))
        place = place + velocity * step
        path[frame] = place
    path[..., 1] = np.clip(path[..., 1], -1.2 * reach[1], 1.2 * reach[1]) + (far + near) / 2
    return path
