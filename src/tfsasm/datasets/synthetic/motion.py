"""What moves in a clip: people's trajectories, poses and skeletons, and the camera.

Each is one array over all of the clip's time. Lengths are in body heights, angles in radians.
Skeletons are three-dimensional, in the view frame: x right, y up, z to the camera.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from tfsasm.datasets.synthetic.people import People
from tfsasm.datasets.synthetic.scenery import Ground

# Angles of one pose, left before right. Flexion is forward, abduction sideways.
HIP, SPREAD, KNEE, SHOULDER, ABDUCT, ELBOW = (slice(i, i + 2) for i in range(0, 12, 2))
LEAN, TILT = 12, 13
ANGLES = 14

# Joints of a skeleton, left before right.
PELVIS, NECK, CHIN, CROWN = 0, 1, 2, 3
SHOULDERS, ELBOWS, WRISTS, HANDS = (slice(i, i + 2) for i in range(4, 12, 2))
HIPS, KNEES, ANKLES, TOES = (slice(i, i + 2) for i in range(12, 20, 2))
HAIR_TOP, HAIR_END, PACK_TOP, PACK_END = 20, 21, 22, 23
JOINTS = 24


def plan_motion(
    rng: Generator, kind: str, ground: Ground, times: np.ndarray, people: People, leave: float
) -> tuple[np.ndarray, np.ndarray]:
    """What the people of a clip of this kind do at `times` `[T]`, seconds.

    Returns each one's place on the ground `[T, G, 2]` and joints `[T, G, JOINTS, 3]`. `leave` is
    the chance that a next walk leads out of the image.
    """
    count = len(people)
    if not count or not len(times):
        empty = np.zeros((len(times), count, JOINTS, 3))
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
    pose = walk_pose(rng, phase, pace)
    # A person who stands still keeps facing somewhere.
    gaze = velocity + 0.04 * rng.normal(0, 1, (count, 2))
    yaw = np.arctan2(gaze[..., 0], -gaze[..., 1])
    jump = np.zeros_like(yaw)
    if kind == "dance":
        walk = pose
        pose, jump, yaw = dance_pose(rng, times, count)
        # Arms always dance; legs walk as far as the dancer has to travel.
        share = np.clip(1.6 * pace, 0, 1)[..., None]
        for part in (HIP, KNEE, SPREAD):
            pose[..., part] = (1 - share) * pose[..., part] + share * walk[..., part]
    return place, skeletons(people, pose, yaw, jump)


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
    ease = smoothstep(ease)[..., None]
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
    angle = 2 * np.pi * order / people
    side = int(np.ceil(np.sqrt(people)))
    formations = (
        (along, np.zeros(people)),
        (along, np.where(order % 2, 0.8, -0.8)),  # two rows, the rear one looking through the gaps
        (along, np.abs(along) * 2 - 1),
        (np.cos(angle), np.sin(angle)),
        tuple(np.array([order % side, order // side]) / max(side - 1, 1) * 2 - 1),
    )
    kind = rng.integers(0, len(formations) + 1)
    known = kind < len(formations)
    slots = np.stack(formations[kind], axis=1) if known else rng.uniform(-1, 1, (people, 2))
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
    turns = (rng.random((keys, people)) < rng.choice([0.0, 0.1, 0.25])) * rng.choice([-1, 1])
    before = np.concatenate([np.zeros((1, people)), np.cumsum(turns, axis=0)])
    each = np.arange(people)
    facing = rng.choice([0.0, 0.0, 0.5, np.pi]) + rng.normal(0, 0.25, people)
    spun = before[index, each] + turns[index, each] * smoothstep(part)
    return angles, jump, facing + 2 * np.pi * spun


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


def skeletons(people: People, pose: np.ndarray, yaw: np.ndarray, jump: np.ndarray) -> np.ndarray:
    """Joints `[T, G, JOINTS, 3]` in the view frame, the ground point of each person at the origin.

    `yaw` `[T, G]` turns the body, 0 faces the camera; `jump` `[T, G]` lifts it.
    """
    joints = np.zeros((*yaw.shape, JOINTS, 3))
    left_right = np.array([1.0, -1.0])
    wide = (0.5 + 0.5 * people.build)[:, None] * left_right
    joints[..., HIPS, 0] = 0.055 * wide
    leg = _swing(pose[..., HIP], pose[..., SPREAD] * left_right)
    shin = _swing(pose[..., HIP] - pose[..., KNEE], pose[..., SPREAD] * left_right)
    foot = _swing(pose[..., HIP] - pose[..., KNEE] + 1.45, pose[..., SPREAD] * left_right)
    joints[..., KNEES, :] = joints[..., HIPS, :] + 0.245 * leg
    joints[..., ANKLES, :] = joints[..., KNEES, :] + 0.235 * shin
    joints[..., TOES, :] = joints[..., ANKLES, :] + 0.105 * foot
    up = -_swing(-pose[..., LEAN], pose[..., TILT])  # a leaning spine tips forward
    for part, height in ((NECK, 0.30), (CHIN, 0.375), (CROWN, 0.435)):
        joints[..., part, :] = height * up
    joints[..., SHOULDERS, :] = (0.285 * up)[..., None, :]
    joints[..., SHOULDERS, 0] += 0.105 * wide
    side = pose[..., ABDUCT] * left_right  # of the arms
    upper = _swing(pose[..., SHOULDER], side)
    lower = _swing(pose[..., SHOULDER] + pose[..., ELBOW], side)
    joints[..., ELBOWS, :] = joints[..., SHOULDERS, :] + 0.165 * upper
    joints[..., WRISTS, :] = joints[..., ELBOWS, :] + 0.145 * lower
    joints[..., HANDS, :] = joints[..., WRISTS, :] + 0.045 * lower
    back = np.array([0.0, 0.0, -1.0])  # where hair hangs and a backpack is
    joints[..., HAIR_TOP, :] = joints[..., CROWN, :] + 0.018 * back + [0, 0.008, 0]
    hanging = np.where(people.long_hair, 0.16, 0.035)[:, None] * np.array([0, -1.0, 0])
    joints[..., HAIR_END, :] = joints[..., HAIR_TOP, :] + hanging + 0.022 * back
    joints[..., PACK_TOP, :] = joints[..., NECK, :] + 0.10 * back + [0, -0.06, 0]
    joints[..., PACK_END, :] = joints[..., PELVIS, :] + 0.11 * back + [0, 0.09, 0]
    lowest = joints[..., 16:20, 1].min(axis=-1) - 0.024
    joints[..., 1] += (jump - lowest)[..., None]
    cos, sin = np.cos(yaw)[..., None], np.sin(yaw)[..., None]
    x, y, z = np.moveaxis(joints, -1, 0)
    turned = np.stack([x * cos + z * sin, y, z * cos - x * sin], axis=-1)
    return turned * people.height[:, None, None]


def _swing(flex: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Unit vectors of limbs that hang down, swung forward by `flex` and out by `side`."""
    return np.stack([np.sin(side), -np.cos(flex) * np.cos(side), np.sin(flex) * np.cos(side)], -1)


@dataclass(frozen=True)
class Camera:
    """Per frame: zoom `[T]` about the image centre and shift `[T, 2]` in pixels."""

    zoom: np.ndarray
    shift: np.ndarray
    centre: np.ndarray

    def apply(self, frame: int, points: np.ndarray) -> np.ndarray:
        """Where points `[..., 2]` of the unmoved image appear in frame `frame`."""
        return self.zoom[frame] * (points - self.centre) + self.centre + self.shift[frame]

    def matrix(self, frame: int, offset: np.ndarray) -> np.ndarray:
        """The 2x3 transform of an image whose left top corner lies at `offset`."""
        moved = self.apply(frame, np.asarray(offset, dtype=float))
        zoom = self.zoom[frame]
        # Pixel centres: an image pixel i covers [i, i + 1).
        x, y = moved + zoom / 2 - 0.5
        return np.array([[zoom, 0, x], [0, zoom, y]])


def make_camera(
    rng: Generator, times: np.ndarray, size: tuple[int, int], follow: np.ndarray | None,
    liveliness: float,
) -> Camera:
    """A camera that stands, drifts, shakes, or follows image points `follow` `[T, 2]`.

    `liveliness` is the chance that it moves at all. `size` is (width, height).
    """
    frames, extent = len(times), np.array(size, dtype=float)
    zoom, shift = np.ones(frames), np.zeros((frames, 2))
    moves = rng.random() < liveliness
    waves = np.sin(times[:, None] * rng.uniform(0.2, 1.3, 3) + rng.uniform(0, 6.3, 3))
    swing = rng.uniform(0, 1, 3) * np.array([0.10, 0.12, 0.04])
    shake = np.cumsum(rng.normal(0, 1, (frames, 2)), axis=0)
    if moves:
        zoom = np.exp(swing[0] * waves[:, 0])
        shift = swing[1:] * waves[:, 1:] * extent
    if moves and rng.random() < 0.5:
        shift = shift + (shake - smoothed(shake, 15)) * rng.uniform(0, 0.003) * extent[0]
    if moves and follow is not None:
        shift = shift + np.clip((extent / 2 - follow) * [1, 0.2], -0.3 * extent, 0.3 * extent)
    return Camera(zoom, shift, extent / 2)
