"""Videos of look-alike people that never existed, with ground truth and a detector's boxes.

Unusual here: a clip is decided completely before its first frame is drawn. Where people go,
how they move and what the camera does are arrays over time; rendering only reads them, so frames
can be streamed and a seed always means the same video. Images and detections use separate random
streams: tuning the simulated detector leaves every pixel as it was.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

from tfsasm.datasets.synthetic.config import SceneConfig, SyntheticFrame
from tfsasm.datasets.synthetic.detector import SimulatedDetector
from tfsasm.datasets.synthetic.figures import make_wardrobe
from tfsasm.datasets.synthetic.motion import make_camera, plan_motion, smoothed
from tfsasm.datasets.synthetic.people import People, make_people
from tfsasm.datasets.synthetic.rendering import Optics, PlannedClip, render
from tfsasm.datasets.synthetic.scenery import Ground, Scenery, make_scenery
from tfsasm.errors import InputError
from tfsasm.files import check_folder, partial_folder, writing

_LTWH = "{:.2f},{:.2f},{:.2f},{:.2f}"


def render_clip(seed: int, config: SceneConfig) -> Iterator[SyntheticFrame]:
    """Make the frames of one clip, one at a time. Equal `(seed, config)` give equal frames."""
    if seed < 0:
        raise InputError(f"seed must not be negative, but is {seed}")
    clip = plan_clip(seed, config)
    for frame in range(config.frames):
        yield render(clip, frame)


def sequence_seed(seed: int, index: int) -> int:
    """The clip seed of sequence `index` in the collection of `seed`: collections share none."""
    if seed < 0 or index < 0:
        raise InputError(f"seed and index must not be negative, but are {seed} and {index}")
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=(index,))
    return int(sequence.generate_state(1, np.uint64)[0])


def plan_clip(seed: int, config: SceneConfig) -> PlannedClip:
    """All of a clip but its images: what `render` draws frame by frame."""
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(7)]
    world, wear, moves, scene, lens, sensor, errors = streams
    kind = config.kinds[int(world.integers(0, len(config.kinds)))]
    count = _between(world, config.people or {"street": (3, 15)}.get(kind, (5, 14)))
    ground = _stage(world, kind, config)
    slow, fast = np.log(config.frame_rate)
    # Surveillance video may be slow; dance and sport filmed that way cannot be followed at all.
    rate = np.exp(world.uniform(slow if kind == "street" else (slow + fast) / 2, fast))
    times = np.arange(config.frames) / rate
    far, near = ground.rows
    beyond = far - max(ground.horizon, -0.2 * config.height)
    wall = max(far - world.uniform(0.05, 0.9) * beyond, ground.horizon + 2)
    # Streets have poles and hedges, stages seldom, pitches never.
    share = {"street": 1.0, "dance": 0.4, "sport": 0.0}[kind]
    occluders = _between(world, config.occluders) if world.random() < share else 0
    scenery = make_scenery(scene, ground, wall, occluders, config.photographs)
    alike, costumes, spread = wear.random() < config.alike, count, 0.3
    if kind == "sport":
        costumes, spread = 2 + (wear.random() < 0.2), 0.0
    elif alike:
        costumes, spread = int(wear.choice([1, 1, 2])), float(wear.choice([0, 0.05, 0.2]))
    people, contrast = make_people(wear, count, costumes, spread), wear.uniform(0.15, 0.7)
    place, joints = plan_motion(moves, kind, ground, times, people, config.leave)
    follow = None
    if kind == "sport" and count:
        follow = smoothed(ground.project(place)[0].mean(axis=1), 9)
    camera = make_camera(lens, times, (config.width, config.height), follow, config.camera_motion)
    scenery, people = _grade(sensor, scenery, people)
    clothes = make_wardrobe(wear, people, contrast)
    worst, best = config.detector_quality
    quality = worst + (best - worst) * errors.random() ** 2  # what runs live is seldom the best
    typical = ((far + near) / 2 - ground.horizon) / ground.camera_height
    detector = SimulatedDetector(
        errors, quality, count, scenery.clutter, (config.width, config.height), typical,
        config.min_score,
    )
    return PlannedClip(
        config, float(rate), ground, scenery, camera, people, clothes, place, joints,
        Optics(sensor, config), detector, sensor,
    )


def _between(rng: Generator, pair: tuple[int, int]) -> int:
    return int(rng.integers(pair[0], pair[1] + 1))


def _stage(rng: Generator, kind: str, config: SceneConfig) -> Ground:
    """A camera over a ground plane that suits what is done there."""
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
    return Ground(config.width, config.height, skyline, camera, focal, (far, near))


def _grade(rng: Generator, scenery: Scenery, people: People) -> tuple[Scenery, People]:
    """Tint and saturation of the whole clip, applied where it is cheap: to canvas and colours."""
    keep = (1.0, 1.0, float(rng.uniform(0.3, 1.0)), 0.1)[int(rng.integers(0, 4))]
    tint = 1 + rng.normal(0, 0.06) * np.array([-1, 0, 1]) + rng.normal(0, 0.015, 3)
    luma = np.array([0.114, 0.587, 0.299])
    matrix = (keep * np.eye(3) + (1 - keep) * luma) * tint[:, None]
    colours = cv2.transform(people.colours, matrix) if len(people) else people.colours
    fronts = []
    for front in scenery.occluders:
        image = front.image.copy()
        image[..., :3] = cv2.transform(np.ascontiguousarray(image[..., :3]), matrix)
        fronts.append(replace(front, image=image))
    canvas = cv2.transform(scenery.canvas, matrix)
    return replace(scenery, canvas=canvas, occluders=fronts), replace(people, colours=colours)


def write_sequences(
    output: Path, sequences: int, seed: int, config: SceneConfig, *, overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write clips as MOT folders `output/synthetic-SEED-0000` and on; returns them in order.

    Each holds `img1/00000001.jpg`, `gt/gt.txt` (frame, id, left, top, width, height, 1, 1,
    visibility), `det/det.txt` (frame, -1, left, top, width, height, score) and `seqinfo.ini`. A
    folder appears under its name only when complete, so whatever stops this leaves whole sequences;
    killing the process may leave one hidden folder besides, which the next run removes when it
    writes the same sequence.
    `progress` gets (done, all) after each. Raises `InputError` when a folder exists already
    and `overwrite` is not set, before anything is written.
    """
    output = Path(output)
    folders = [output / f"synthetic-{seed}-{index:04d}" for index in range(sequences)]
    taken = [folder.name for folder in folders if folder.exists()]
    if taken and not overwrite:
        raise InputError(f"{output} already has {taken[0]} ({len(taken)} in all); ask to overwrite")
    check_folder(output)
    for index, folder in enumerate(folders):
        with partial_folder(output, folder.name) as aside:
            new, old = aside / folder.name, aside / "old"
            with writing(folder):
                _write_sequence(new, sequence_seed(seed, index), config)
            if folder.exists():
                folder.replace(old)
            new.replace(folder)
        if progress is not None:
            progress(index + 1, sequences)
    return folders


def _write_sequence(folder: Path, seed: int, config: SceneConfig) -> None:
    for part in ("img1", "gt", "det"):
        (folder / part).mkdir(parents=True)
    truth, found = [], []
    clip = plan_clip(seed, config)
    for number in range(1, config.frames + 1):
        frame = render(clip, number - 1)
        path = folder / "img1" / f"{number:08d}.jpg"
        if not cv2.imwrite(str(path), frame.image, [cv2.IMWRITE_JPEG_QUALITY, 92]):
            raise InputError(f"cannot write {path}")
        for box, identity, seen in zip(frame.boxes, frame.ids, frame.visibility, strict=True):
            truth.append(f"{number},{identity},{_LTWH.format(*box)},1,1,{seen:.3f}\n")
        for *box, score in frame.detections:
            found.append(f"{number},-1,{_LTWH.format(*box)},{score:.4f}\n")
    (folder / "gt" / "gt.txt").write_text("".join(truth))
    (folder / "det" / "det.txt").write_text("".join(found))
    (folder / "seqinfo.ini").write_text(
        f"[Sequence]\nname={folder.name}\nimDir=img1\nframeRate={round(clip.rate)}\n"
        f"seqLength={config.frames}\nimWidth={config.width}\nimHeight={config.height}\nimExt=.jpg\n"
    )
