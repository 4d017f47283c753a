"""Videos of look-alike people that never existed, with ground truth and a detector's boxes.

Unusual here: a clip is decided completely before its first frame is drawn. Where everybody goes,
how they move and what the camera does are arrays over time; rendering only reads them, so frames
can be streamed and a seed always means the same video. Images and detections use separate random
streams: tuning the simulated detector leaves every pixel as it was.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from tfsasm.data import figures
from tfsasm.data.detector_sim import SimulatedDetector, Truth, manners
from tfsasm.data.figures import Cast, Outlines, Wardrobe
from tfsasm.data.scenery import Camera, Ground, Occluder, Scenery, make_camera, make_scenery
from tfsasm.errors import InputError
from tfsasm.files import writing

KINDS = ("dance", "street", "sport")


@dataclass(frozen=True)
class SceneConfig:
    """What clips to make. Ranges are inclusive and drawn from once per clip.

    `kinds` may repeat a name to make it more frequent. `people` None means what suits the kind
    (dance 5-14, street 3-15, sport 5-14). A person is in the ground truth while at least
    `min_visibility` of the body is in sight. `detector_quality` runs from 0 (YOLOX-nano) to 1
    (YOLOX-X) and is drawn nearer to its lower end; boxes at or below `min_score` are not reported.
    Chances per clip: `alike` that its people dress alike, `camera_motion` that the camera moves;
    `leave` is the chance that a person's next way leads out of the image. `photographs` uses
    scikit-image's pictures as textures where that package is installed: a seed repeats exactly
    only with the same choice and the same installation.
    """

    width: int = 512
    height: int = 384
    frames: int = 24
    kinds: tuple[str, ...] = KINDS
    people: tuple[int, int] | None = None
    frame_rate: tuple[float, float] = (5.0, 25.0)
    alike: float = 0.65
    leave: float = 0.3
    occluders: tuple[int, int] = (0, 2)
    camera_motion: float = 0.5
    detector_quality: tuple[float, float] = (0.0, 1.0)
    min_score: float = 0.05
    min_visibility: float = 0.1
    photographs: bool = True

    def __post_init__(self) -> None:
        """Refuse settings that describe no video, naming the setting."""
        if min(self.width, self.height) < 8:
            raise InputError(f"width and height must be at least 8, not {self.width}x{self.height}")
        if self.frames < 0:
            raise InputError(f"frames must not be negative, but is {self.frames}")
        unknown = sorted(set(self.kinds) - set(KINDS))
        if unknown or not self.kinds:
            raise InputError(f"kinds must be some of {', '.join(KINDS)}, not {self.kinds!r}")
        if self.detector_quality[1] > 1:
            raise InputError(f"detector_quality must be in [0, 1], not {self.detector_quality!r}")
        for name in ("people", "frame_rate", "occluders", "detector_quality"):
            pair = getattr(self, name)
            if pair is not None and not 0 <= pair[0] <= pair[1]:
                raise InputError(f"{name} must be a rising range from 0 up, not {pair!r}")
        if self.people is not None and self.people[1] > 250:
            raise InputError(f"people must be at most 250, not {self.people!r}")
        if self.frame_rate[0] <= 0:
            raise InputError(f"frame_rate must be positive, not {self.frame_rate!r}")


@dataclass(frozen=True)
class SyntheticFrame:
    """One frame and what is true of it.

    `image` uint8 `[H, W, 3]` BGR. `boxes` float32 `[G, 4]` ltwh pixels: the whole person, also the
    covered part, cut at the image border. `ids` int64 `[G]` from 1, kept over absences.
    `visibility` float32 `[G]`: share of the person's own pixels that are in the image and
    uncovered. `detections` float32 `[P, 5]` ltwh + score, best first.
    """

    image: np.ndarray
    boxes: np.ndarray
    ids: np.ndarray
    visibility: np.ndarray
    detections: np.ndarray


def render_clip(seed: int, config: SceneConfig) -> Iterator[SyntheticFrame]:
    """Make the frames of one clip, one at a time. Equal `(seed, config)` give equal frames."""
    if seed < 0:
        raise InputError(f"seed must not be negative, but is {seed}")
    clip = _plan(seed, config)
    for frame in range(config.frames):
        yield _render(clip, config, frame)


def sequence_seed(seed: int, index: int) -> int:
    """The clip seed of sequence `index` in the collection of `seed`: collections share none."""
    if seed < 0 or index < 0:
        raise InputError(f"seed and index must not be negative, but are {seed} and {index}")
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=(index,))
    return int(sequence.generate_state(1, np.uint64)[0])


# --- Planning a clip -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Act:
    """Who is where: `place` `[T, G, 2]` on the ground, `joints` `[T, G, J, 3]`."""

    place: np.ndarray
    joints: np.ndarray


@dataclass(frozen=True)
class _Optics:
    """What lens, sensor and codec do to a picture."""

    gain: np.ndarray  # [T]
    gamma: float
    softness: float
    noise: np.ndarray | None
    jpeg: int
    shutter: float  # share of a frame interval in which the shutter is open
    light: np.ndarray  # [2] direction in the image
    shadow: float
    cast_shadow: np.ndarray


@dataclass(frozen=True)
class _Clip:
    ground: Ground
    scenery: Scenery
    camera: Camera
    cast: Cast
    clothes: Wardrobe
    act: _Act
    optics: _Optics
    detector: SimulatedDetector
    rng: np.random.Generator


def _plan(seed: int, config: SceneConfig) -> _Clip:
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(7)]
    world, wear, moves, scene, lens, sensor, errors = streams
    kind = config.kinds[int(world.integers(0, len(config.kinds)))]
    people = _between(world, config.people or {"street": (3, 15)}.get(kind, (5, 14)))
    ground, rows = _stage(world, kind, config)
    times = np.arange(config.frames) / _frame_rate(world, kind, config)
    beyond = rows[0] - max(ground.horizon, -0.2 * config.height)
    wall = max(rows[0] - world.uniform(0.05, 0.9) * beyond, ground.horizon + 2)
    # Streets have poles and hedges, stages seldom, pitches never.
    share = {"street": 1.0, "dance": 0.4, "sport": 0.0}[kind]
    occluders = _between(world, config.occluders) if world.random() < share else 0
    scenery = make_scenery(scene, ground, wall, occluders, config.photographs)
    cast, contrast = _dress(wear, kind, people, config)
    act = _act(moves, kind, ground, rows, times, cast, config)
    follow = None
    if kind == "sport" and people:
        follow = _blur(ground.project(act.place)[0].mean(axis=1), 9)
    camera = make_camera(lens, times, (config.width, config.height), follow, config.camera_motion)
    scenery, cast = _grade(sensor, scenery, cast)
    clothes = figures.make_wardrobe(wear, cast, contrast)
    worst, best = config.detector_quality
    quality = worst + (best - worst) * errors.random() ** 2  # what runs live is seldom the best
    typical = (sum(rows) / 2 - ground.horizon) / ground.camera_height
    detector = SimulatedDetector(
        errors, manners(errors, quality), people, scenery.clutter,
        (config.width, config.height), typical, config.min_score,
    )
    optics = _optics(sensor, config)
    return _Clip(ground, scenery, camera, cast, clothes, act, optics, detector, sensor)


def _between(rng: np.random.Generator, pair: tuple[int, int]) -> int:
    return int(rng.integers(pair[0], pair[1] + 1))


def _frame_rate(rng: np.random.Generator, kind: str, config: SceneConfig) -> float:
    slow, fast = np.log(config.frame_rate)
    # Surveillance video may be slow; dance and sport filmed that way cannot be followed at all.
    return float(np.exp(rng.uniform(slow if kind == "street" else (slow + fast) / 2, fast)))


def _stage(
    rng: np.random.Generator, kind: str, config: SceneConfig
) -> tuple[Ground, tuple[float, float]]:
    """A camera over a ground plane, and the image rows (far, near) that people's feet may reach."""
    high = kind == "street" and rng.random() < 0.6  # a surveillance mast rather than a passer-by
    horizon, nearest, deep = {
        "dance": ((0.12, 0.48), (0.3, 0.72), (1.15, 1.7)),
        "sport": ((-0.3, 0.3), (0.14, 0.42), (1.3, 2.2)),
        "street": ((-0.7, 0.08), (0.12, 0.32), (1.3, 2.0)) if high
        else ((0.2, 0.48), (0.3, 0.68), (1.2, 2.4)),
    }[kind]  # fmt: skip
    skyline = rng.uniform(*horizon) * config.height
    near = rng.uniform(0.88, 1.0) * config.height
    camera = (near - skyline) / (rng.uniform(*nearest) * config.height)
    far = skyline + (near - skyline) / rng.uniform(*deep)
    focal = rng.uniform(0.9, 1.8) * max(config.width, config.height)
    return Ground(config.width, config.height, skyline, camera, focal), (far, near)


def _dress(
    rng: np.random.Generator, kind: str, people: int, config: SceneConfig
) -> tuple[Cast, float]:
    alike = rng.random() < config.alike
    if kind == "sport":
        cast = figures.make_cast(rng, people, 2 + (rng.random() < 0.2), 0.0)
    elif alike:
        costumes, spread = int(rng.choice([1, 1, 2])), float(rng.choice([0, 0.05, 0.2]))
        cast = figures.make_cast(rng, people, costumes, spread)
    else:
        cast = figures.make_cast(rng, people, people, 0.3)
    return cast, rng.uniform(0.15, 0.7)


def _grade(
    rng: np.random.Generator, scenery: Scenery, cast: Cast
) -> tuple[Scenery, Cast]:
    """Tint and saturation of the whole clip, applied where it is cheap: to canvas and colours."""
    keep = (1.0, 1.0, float(rng.uniform(0.3, 1.0)), 0.1)[int(rng.integers(0, 4))]
    tint = 1 + rng.normal(0, 0.06) * np.array([-1, 0, 1]) + rng.normal(0, 0.015, 3)
    luma = np.array([0.114, 0.587, 0.299])
    matrix = (keep * np.eye(3) + (1 - keep) * luma) * tint[:, None]
    colours = cast.colours
    if len(cast):
        colours = cv2.transform(colours, matrix)
    canvas = cv2.transform(scenery.canvas, matrix)
    fronts = [_tinted(front, matrix) for front in scenery.occluders]
    return (
        replace(scenery, canvas=canvas, occluders=fronts),
        replace(cast, colours=colours),
    )


def _tinted(front: Occluder, matrix: np.ndarray) -> Occluder:
    picture = front.picture.copy()
    picture[..., :3] = cv2.transform(np.ascontiguousarray(picture[..., :3]), matrix)
    return replace(front, picture=picture)


def _optics(rng: np.random.Generator, config: SceneConfig) -> _Optics:
    frames = config.frames
    flicker = rng.choice([0.0, 0.0, 0.01, 0.04])
    slow = np.sin(np.arange(frames) * rng.uniform(0.02, 0.3)) * rng.choice([0, 0, 0.2])
    strength = rng.uniform(0, 1) ** 2 * 9
    noise = None
    if strength > 0.7:
        shape = (config.height + 32, config.width + 64)
        grey = rng.standard_normal(shape, dtype=np.float32) * np.float32(strength)
        coloured = [0.9 * grey + 0.4 * np.roll(grey, 7 * k + 5) + 128 for k in range(3)]
        noise = np.clip(np.stack(coloured, axis=-1), 0, 255).astype(np.uint8)
    angle = rng.uniform(-np.pi, 0)
    return _Optics(
        gain=rng.uniform(0.75, 1.2) * np.exp(slow + rng.normal(0, 1, frames) * flicker),
        gamma=float(np.exp(rng.normal(0, 0.2))),
        softness=float(rng.uniform(0.3, 1.4) * (rng.random() < 0.65)),
        noise=noise,
        jpeg=int(rng.integers(25, 80)) * int(rng.random() < 0.25),
        shutter=float(rng.choice([0.0, 0.2, 0.5])),
        light=np.array([np.cos(angle), np.sin(angle)]),
        shadow=float(rng.uniform(0.15, 0.6) * (rng.random() < 0.85)),
        cast_shadow=rng.normal(0, 0.5, 2) * [1, 0.35] * (rng.random() < 0.45),
    )


# --- Where people go --------------------------------------------------------------------------


def _act(
    rng: np.random.Generator, kind: str, ground: Ground, rows: tuple[float, float],
    times: np.ndarray, cast: Cast, config: SceneConfig,
) -> _Act:
    people = len(cast)
    if not people or not len(times):
        return _Act(
            np.zeros((len(times), people, 2)), np.zeros((len(times), people, figures.JOINTS, 3))
        )
    step = times[1] - times[0] if len(times) > 1 else 0.1
    # Smoothing needs neighbours: plan a second more at either end, and cut it off again.
    extra = int(np.ceil(1 / step))
    longer = np.arange(-extra, len(times) + extra) * step
    planner = {"dance": _formations, "street": _errands, "sport": _game}[kind]
    place = planner(rng, ground, rows, longer, people, config.leave)
    place = _blur(place.reshape(len(longer), -1), int(0.5 / step)).reshape(place.shape)
    velocity = np.gradient(place, step, axis=0)[extra : extra + len(times)]
    place = place[extra : extra + len(times)]
    speed = np.linalg.norm(velocity, axis=-1)
    pace = np.clip(speed / 0.75, 0, 2)
    stride = 0.82 * (1 + 0.6 * np.clip(pace - 1, 0, 1))
    phase = np.cumsum(speed * step * 2 * np.pi / stride, axis=0) + rng.uniform(0, 6.3, people)
    pose = figures.walk_pose(rng, phase, pace)
    # Someone who stands still keeps looking somewhere.
    gaze = velocity + 0.04 * rng.normal(0, 1, (people, 2))
    yaw = np.arctan2(gaze[..., 0], -gaze[..., 1])
    jump = np.zeros_like(yaw)
    if kind == "dance":
        dance = figures.dance_pose(rng, times, people)
        pose, yaw, jump = _dancing(pose, dance, pace), dance.spin, dance.jump
    return _Act(place, figures.skeletons(cast, pose, yaw, jump))


def _dancing(walk: np.ndarray, dance: figures.Dance, pace: np.ndarray) -> np.ndarray:
    """Dancing arms always; legs walk as far as the dancer has to travel."""
    pose = dance.angles.copy()
    share = np.clip(1.6 * pace, 0, 1)[..., None]
    for part in (figures.HIP, figures.KNEE, figures.SPREAD):
        pose[..., part] = (1 - share) * pose[..., part] + share * walk[..., part]
    return pose


def _blur(track: np.ndarray, frames: int) -> np.ndarray:
    """Moving average over time of `[T, C]`."""
    if frames < 2 or not track.size:
        return track
    return cv2.blur(track, (1, frames | 1), borderType=cv2.BORDER_REPLICATE)


def _errands(
    rng: np.random.Generator, ground: Ground, rows: tuple[float, float], times: np.ndarray,
    people: int, leave: float,
) -> np.ndarray:
    """Pedestrians: straight walks between random targets, pauses, and pairs side by side."""
    place = np.zeros((len(times), people, 2))
    for person in range(people):
        if person and rng.random() < 0.35:
            angle = rng.uniform(0, 2 * np.pi)
            beside = rng.uniform(0.25, 0.6) * np.array([np.cos(angle), np.sin(angle)])
            drift = _blur(rng.normal(0, 0.15, (len(times), 2)), max(len(times) // 3, 2))
            place[:, person] = place[:, person - 1] + beside + drift
            continue
        place[:, person] = _errand(rng, ground, rows, times, leave)
    return place


def _errand(
    rng: np.random.Generator, ground: Ground, rows: tuple[float, float], times: np.ndarray,
    leave: float,
) -> np.ndarray:
    speed = rng.uniform(0.5, 1.0)
    stops: list[np.ndarray] = []
    clock = [times[0] - rng.uniform(0, 8)]
    lanes = rng.random() < 0.5  # crossing the picture rather than strolling
    while not stops or clock[-1] < times[-1]:
        x = float(rng.uniform(-0.05, 1.05))
        if lanes or rng.random() < leave:
            x = float(rng.choice([-0.15, 1.15]) if len(stops) % 2 else rng.uniform(-0.1, 1.1))
        row = rng.uniform(*rows)
        target = ground.locate(np.array([x * ground.width, row]))
        if stops:
            clock.append(clock[-1] + max(float(np.linalg.norm(target - stops[-1])), 0.05) / speed)
        stops.append(target)
        if rng.random() < 0.25:
            stops.append(target + rng.normal(0, 0.02, 2))
            clock.append(clock[-1] + rng.exponential(1.5) + 0.1)
    track = np.array(stops[: len(clock)])
    return np.stack([np.interp(times, clock, track[:, axis]) for axis in (0, 1)], axis=1)


def _formations(
    rng: np.random.Generator, ground: Ground, rows: tuple[float, float], times: np.ndarray,
    people: int, leave: float,
) -> np.ndarray:
    """Dancers: a formation per phrase, and slots that are kept, mirrored, rotated or shuffled."""
    far, near = (ground.locate(np.array([ground.width / 2, row]))[1] for row in rows)
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
    rng: np.random.Generator, stations: np.ndarray, times: np.ndarray, phrase: float
) -> np.ndarray:
    people = stations.shape[1]
    clock = (times - times[0])[:, None] / phrase + rng.normal(0, 0.05, people) + rng.random()
    clock = np.clip(clock, 0, len(stations) - 1.001)
    index, part = clock.astype(int), clock % 1
    start = rng.uniform(0.0, 0.4)
    ease = np.clip((part - start) / rng.uniform(0.4, 1 - start), 0, 1)
    ease = (ease * ease * (3 - 2 * ease))[..., None]
    who = np.arange(people)
    place = (1 - ease) * stations[index, who] + ease * stations[index + 1, who]
    sway = rng.uniform(0, 0.08, (people, 2)) * rng.choice([0.3, 1, 2])
    beat = rng.uniform(2, 7) + rng.normal(0, 0.2, people)
    waves = np.sin(times[:, None] * beat + rng.uniform(0, 6.3, people))
    return place + sway * waves[..., None]


def _slots(rng: np.random.Generator, people: int) -> np.ndarray:
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


def _game(
    rng: np.random.Generator, ground: Ground, rows: tuple[float, float], times: np.ndarray,
    people: int, leave: float,
) -> np.ndarray:
    """Players chase a ball that changes its mind; everybody keeps roughly to a role around it."""
    far, near = (ground.locate(np.array([ground.width / 2, row]))[1] for row in rows)
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


# --- Drawing a frame ---------------------------------------------------------------------------


def _render(clip: _Clip, config: SceneConfig, frame: int) -> SyntheticFrame:
    size = (config.width, config.height)
    shapes, feet, streak = _shapes(clip, frame)
    image = _background(clip, frame, size)
    if clip.optics.shadow > 0 and len(clip.cast):
        _shadows(image, clip, frame, feet)
    owners = np.zeros((config.height, config.width), np.uint8)
    area = _people(image, owners, clip, frame, shapes, feet, streak)
    truth = _truth(owners, area, shapes.bounds, streak)
    image = _expose(image, clip, frame)
    shift = clip.camera.shift[frame]
    found = clip.detector.detect(truth, clip.camera.zoom[frame], shift)
    return _annotate(image, truth, found, config)


def _background(clip: _Clip, frame: int, size: tuple[int, int]) -> np.ndarray:
    if clip.camera.zoom[frame] == 1 and not clip.camera.shift[frame].any():
        x, y = clip.scenery.offset.astype(int)  # a camera at rest needs no warp
        return clip.scenery.canvas[y : y + size[1], x : x + size[0]].copy()
    matrix = clip.camera.matrix(frame, -clip.scenery.offset)
    return cv2.warpAffine(
        clip.scenery.canvas, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )


def _shapes(clip: _Clip, frame: int) -> tuple[Outlines, np.ndarray, np.ndarray]:
    """Everybody's outlines, ground points `[G, 2]` and sideways blur `[G]` in pixels."""
    def on_screen(at: int) -> tuple[np.ndarray, np.ndarray]:
        pixel, unit = clip.ground.project(clip.act.place[at])
        return clip.camera.apply(at, pixel), unit * clip.camera.zoom[at]

    feet, unit = on_screen(frame)
    shapes = figures.outlines(
        clip.cast, clip.act.joints[frame], feet, unit, clip.ground.pitch, clip.optics.light
    )
    before = on_screen(max(frame - 1, 0))[0]
    streak = np.abs(feet[:, 0] - before[:, 0]) * clip.optics.shutter
    return shapes, feet, np.clip(streak, 0, 0.15 * unit).astype(int)


def _people(
    image: np.ndarray, owners: np.ndarray, clip: _Clip, frame: int, shapes: Outlines,
    feet: np.ndarray, streak: np.ndarray,
) -> np.ndarray:
    """Paint people and occluders from far to near. Fills `owners`; returns body areas `[G]`."""
    height, width = owners.shape
    area = np.zeros(len(clip.cast))
    fronts = clip.scenery.occluders
    rows = [clip.camera.apply(frame, np.array([0.0, front.foot]))[1] for front in fronts]
    bounds = shapes.bounds
    inside = np.concatenate([bounds[:, 2:] > 0, bounds[:, :2] < [width, height]], axis=1)
    seen = np.all(inside, axis=1)
    order = np.argsort(np.concatenate([feet[:, 1], rows]), kind="stable")
    for index in order.tolist():
        if index >= len(clip.cast):
            _paste(image, owners, *_front(clip, frame, index - len(clip.cast)), 0)
        elif seen[index]:
            blur = int(streak[index])
            patch = figures.draw(clip.cast, clip.clothes, shapes, index, blur if blur > 1 else 0)
            area[index] = np.count_nonzero(patch[0][..., 3] > 127)
            _paste(image, owners, *patch, index + 1)
    return area


def _front(clip: _Clip, frame: int, index: int) -> tuple[np.ndarray, int, int]:
    front = clip.scenery.occluders[index]
    left, top = clip.camera.apply(frame, np.array([front.left, front.top]))
    x0, y0 = int(np.floor(left)), int(np.floor(top))
    zoom = clip.camera.zoom[frame]
    matrix = np.array([[zoom, 0, left - x0], [0, zoom, top - y0]])
    height, width = front.picture.shape[:2]
    size = (int(width * zoom) + 2, int(height * zoom) + 2)
    return cv2.warpAffine(front.picture, matrix, size, flags=cv2.INTER_LINEAR), x0, y0


def _paste(
    image: np.ndarray, owners: np.ndarray, patch: np.ndarray, left: int, top: int, owner: int
) -> None:
    """Lay a premultiplied BGRA patch over `image` and mark its pixels in `owners`."""
    height, width = owners.shape
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + patch.shape[1], width), min(top + patch.shape[0], height)
    if x0 >= x1 or y0 >= y1:
        return
    patch = patch[y0 - top : y1 - top, x0 - left : x1 - left]
    region = image[y0:y1, x0:x1]
    cover = np.ascontiguousarray(patch[..., 3])
    clear = cv2.cvtColor(cv2.bitwise_not(cover), cv2.COLOR_GRAY2BGR)
    under = cv2.multiply(region, clear, scale=1 / 255)
    image[y0:y1, x0:x1] = cv2.add(under, cv2.cvtColor(patch, cv2.COLOR_BGRA2BGR))
    owners[y0:y1, x0:x1][cover > 127] = owner


def _shadows(image: np.ndarray, clip: _Clip, frame: int, feet: np.ndarray) -> None:
    """Darken the ground: a soft blob under everybody, or a shadow thrown by a low light."""
    height, width = image.shape[:2]
    share = 4  # a quarter of the resolution is enough for something soft
    mask = np.full((height // share + 1, width // share + 1), 255, np.uint8)
    dark = 255 * (1 - clip.optics.shadow)
    _, unit = clip.ground.project(clip.act.place[frame])
    unit = unit * clip.camera.zoom[frame] / share
    throw = clip.optics.cast_shadow
    flat = max(np.sin(abs(clip.ground.pitch)), 0.12)
    for person, foot in enumerate(np.clip(feet / share, -4000, 4000)):
        size = unit[person]
        axes = (max(int(0.17 * size), 1), max(int(0.17 * size * flat), 1))
        cv2.ellipse(mask, foot.astype(int).tolist(), axes, 0, 0, 360, dark, -1)
        if throw.any():
            end = (foot + 1.0 * size * throw * [1, max(flat, 0.3)]).astype(int).tolist()
            cv2.line(mask, foot.astype(int).tolist(), end, dark, max(int(0.16 * size), 1))
    mask = cv2.resize(cv2.blur(mask, (3, 3)), (width, height), interpolation=cv2.INTER_LINEAR)
    cv2.multiply(image, cv2.cvtColor(mask, cv2.COLOR_GRAY2BGR), image, scale=1 / 255)


def _expose(image: np.ndarray, clip: _Clip, frame: int) -> np.ndarray:
    """Lens, sensor and codec."""
    optics = clip.optics
    pan = clip.camera.shift[frame] - clip.camera.shift[max(frame - 1, 0)]
    smear = int(min(abs(pan[0]) * optics.shutter, 12))
    if smear > 1:
        image = cv2.blur(image, (smear | 1, 1))
    if optics.softness > 0:
        image = cv2.GaussianBlur(image, (0, 0), optics.softness)
    levels = np.linspace(0, 1, 256) ** optics.gamma * 255 * optics.gain[frame]
    image = cv2.LUT(image, np.clip(levels, 0, 255).astype(np.uint8))
    if optics.noise is not None:
        y, x = clip.rng.integers(0, 32, 2)
        grain = optics.noise[y : y + image.shape[0], x : x + image.shape[1]]
        image = cv2.addWeighted(image, 1, grain, 1, -128)
    if optics.jpeg:
        _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, optics.jpeg])
        image = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))
    return image


def _truth(owners: np.ndarray, area: np.ndarray, bounds: np.ndarray, streak: np.ndarray) -> Truth:
    """Visibility and visible extent of everybody from the map of who owns which pixel."""
    people = len(area)
    counts = cv2.calcHist([owners], [0], None, [256], [0, 256]).reshape(-1)[1 : people + 1]
    visibility = counts / np.maximum(area, 1)
    visible = bounds.copy()
    height, width = owners.shape
    for person in np.flatnonzero((visibility > 0) & (visibility < 0.97)):
        x0, y0 = np.maximum(bounds[person, :2].astype(int) - 2 - streak[person], 0)
        x1, y1 = np.minimum(bounds[person, 2:].astype(int) + 3 + streak[person], [width, height])
        mine = (owners[y0:y1, x0:x1] == person + 1).astype(np.uint8)
        x, y, w, h = cv2.boundingRect(mine)
        visible[person] = x0 + x, y0 + y, x0 + x + w, y0 + y + h
    return Truth(bounds, visible, np.clip(visibility, 0, 1))


def _annotate(
    image: np.ndarray, truth: Truth, found: np.ndarray, config: SceneConfig
) -> SyntheticFrame:
    far = np.array([config.width, config.height] * 2)
    corners = np.clip(truth.boxes, 0, far)
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    enough = (truth.visibility >= config.min_visibility) & (truth.visibility > 0)
    enough &= (boxes[:, 2:] >= 2).all(axis=1)
    return SyntheticFrame(
        image=image,
        boxes=boxes[enough].astype(np.float32),
        ids=np.flatnonzero(enough).astype(np.int64) + 1,
        visibility=truth.visibility[enough].astype(np.float32),
        detections=found,
    )


# --- Writing folders ---------------------------------------------------------------------------


def write_sequences(
    output: Path, sequences: int, seed: int, config: SceneConfig, *, overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write clips as MOT folders `output/synthetic-SEED-0000` and on; returns them in order.

    Each holds `img1/00000001.jpg`, `gt/gt.txt` (frame, id, left, top, width, height, 1, 1,
    visibility), `det/det.txt` (frame, -1, left, top, width, height, score) and `seqinfo.ini`. A
    folder appears under its name only when complete, so whatever stops this leaves whole sequences;
    killing the process may leave one hidden folder besides (its name begins with a dot).
    `progress` is told (done, all) after each. Raises `InputError` when a folder exists already
    and `overwrite` is not set, before anything is written.
    """
    output = Path(output)
    folders = [output / f"synthetic-{seed}-{index:04d}" for index in range(sequences)]
    taken = [folder.name for folder in folders if folder.exists()]
    if taken and not overwrite:
        raise InputError(f"{output} already has {taken[0]} ({len(taken)} in all); ask to overwrite")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {output}: {error.strerror}") from error
    for index, folder in enumerate(folders):
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=output))
        try:
            with writing(folder):
                _write_sequence(partial, folder.name, sequence_seed(seed, index), config)
            _swap(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        if progress is not None:
            progress(index + 1, sequences)
    return folders


def _swap(new: Path, folder: Path) -> None:
    """Give `new` its name. An older folder moves away whole first, and is deleted last."""
    if not folder.exists():
        os.replace(new, folder)
        return
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-old-", dir=folder.parent) as aside:
        os.replace(folder, Path(aside) / folder.name)
        os.replace(new, folder)


def _write_sequence(folder: Path, name: str, seed: int, config: SceneConfig) -> None:
    folder.chmod(0o755)  # a temporary folder is private
    for part in ("img1", "gt", "det"):
        (folder / part).mkdir()
    truth, found = [], []
    for number, frame in enumerate(render_clip(seed, config), start=1):
        picture = folder / "img1" / f"{number:08d}.jpg"
        if not cv2.imwrite(str(picture), frame.image, [cv2.IMWRITE_JPEG_QUALITY, 92]):
            raise InputError(f"cannot write {picture}")
        for box, identity, seen in zip(frame.boxes, frame.ids, frame.visibility, strict=True):
            place = ",".join(f"{value:.2f}" for value in box)
            truth.append(f"{number},{identity},{place},1,1,{seen:.3f}\n")
        for detection in frame.detections:
            place = ",".join(f"{value:.2f}" for value in detection[:4])
            found.append(f"{number},-1,{place},{detection[4]:.4f}\n")
    (folder / "gt" / "gt.txt").write_text("".join(truth))
    (folder / "det" / "det.txt").write_text("".join(found))
    (folder / "seqinfo.ini").write_text(
        f"[Sequence]\nname={name}\nimDir=img1\nframeRate=20\nseqLength={config.frames}\n"
        f"imWidth={config.width}\nimHeight={config.height}\nimExt=.jpg\n"
    )
