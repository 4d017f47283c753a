"""What live detectors have in common: which classes and boxes of a network are wanted.

Classes have names, those of COCO, which YOLOX and most detectors number alike, or a file's own.
"""

import ast
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tfsasm.boxes import clipped, iou_matrix, suppress
from tfsasm.detection.proposals import Proposals
from tfsasm.errors import InputError
from tfsasm.tables import Floats, Image, Integers, Table
from tfsasm.video.source import Frame

COCO = tuple("""
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant,
stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe,
backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite,
baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork,
knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake,
chair, couch, potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard,
cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear,
hair drier, toothbrush
""".replace("\n", " ").strip().split(", "))  # fmt: skip

COCO_NAMES = dict(enumerate(COCO))


@dataclass(frozen=True)
class LiveSettings:
    """Which boxes of a live detector are kept."""

    score_threshold: float = 0.1
    """Keep boxes that score more."""
    nms_iou: float | None = None
    """Of two boxes that overlap more, the lower is dropped. None for models that detect each object
    once, as DETR and its descendants do."""
    class_agnostic: bool = False
    """Whether a box is also dropped for one of another class."""
    merge: bool = True
    """Whether a box that is kept becomes the mean of itself and those that were dropped for it,
    weighted by score (box voting, arXiv 1505.01749). Off for the boxes of the detector itself."""
    clip: bool = True
    """Clip boxes to the image, and drop what is then less than a pixel wide or high."""
    device: str = "cpu"
    """Where it runs: cpu, cuda, cuda:1 ..., or auto."""

    def __post_init__(self) -> None:
        for name in ("score_threshold", "nms_iou"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"{name} {value} is not within 0 and 1")


@dataclass(frozen=True)
class ClassSettings(LiveSettings):
    """The same, of a detector whose file numbers its classes."""

    classes: tuple[int, ...] | None = None
    """Wanted classes by number (of a Deformable DETR with COCO's 91 outputs those of COCO's 80
    classes); None: that which the file calls person, else 0, COCO's person."""
    labels: tuple[str, ...] = ()
    """Wanted classes by the file's own names, or number; they count instead of `classes`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes is not None and (not self.classes or min(self.classes) < 0):
            raise InputError(f"classes {self.classes} must name at least one class, from 0 on")


@dataclass(frozen=True)
class Detected(Table):
    """Boxes of one image."""

    xyxy: Floats
    """Pixel corners `[P, 4]`."""
    scores: Floats
    """`[P]`."""
    classes: Integers
    """`[P]`, the detector's own numbers."""


class LiveDetector:
    """A network as a source of proposals; subclasses say what its `candidates` in an image are."""

    settings: LiveSettings
    weights: Path | str
    """Its file, or its name on the hub."""
    classes: tuple[int, ...]
    """Those wanted, by number."""
    class_names: dict[int, str]
    """Of those; empty for the only class of a file that doesn't name it."""
    input_size: tuple[int, int] | None = None
    """Height and width of the network's input, where they do not follow the image's."""
    notes: list[str]
    """What was assumed of its file, for the user."""

    def __repr__(self) -> str:
        size = ["{}x{}".format(*self.input_size)] if self.input_size else []
        wanted = [*self.class_names.values()] or map(str, self.classes)
        return f"{type(self).__name__}({', '.join([repr(str(self.weights)), *size, *wanted])})"

    def candidates(self, image: Image) -> Detected:
        """Boxes of the wanted classes that score enough in a BGR `image` `[H, W, 3]`, best first
        where they are not compared (`nms_iou`)."""
        raise NotImplementedError

    def find(self, image: Image) -> Detected:
        """The same without duplicates and clipped, as the settings say, best first."""
        found, settings = self.candidates(image), self.settings
        if settings.nms_iou is not None:
            found = without_duplicates(found, settings.nms_iou, settings)
        if not settings.clip:
            return found
        found = replace(found, xyxy=clipped(found.xyxy, image.shape[1], image.shape[0]))
        return found[((found.xyxy[:, 2:] - found.xyxy[:, :2]) >= 1).all(axis=1)]

    def report(self) -> list[str]:
        """What was assumed, such as the classes of its file; it has an answer for every frame."""
        return [*self.notes]

    def __call__(self, frame: Frame) -> Proposals:
        """The people in `frame`, best first."""
        height, width = frame.image.shape[:2]
        found = self.find(frame.image)
        return Proposals.from_xyxy(found.xyxy, found.scores, width, height, found.classes)

    def detect(self, image: Image) -> tuple[Floats, Floats]:
        """Pixel corners `[P, 4]` and scores `[P]` in a BGR `image` `[H, W, 3]`, best first."""
        found = self.find(image)
        return found.xyxy, found.scores


def without_duplicates(found: Detected, iou: float, settings: LiveSettings) -> Detected:
    """What non-maximum suppression keeps, best first. Boxes that are not finite are dropped."""
    found = found[np.isfinite(found.xyxy).all(axis=1)]
    classes = None if settings.class_agnostic else found.classes
    best = suppress(found.xyxy, found.scores, iou, classes)
    chosen = found[best]
    if not settings.merge or len(best) == len(found.scores):
        return chosen
    votes = (iou_matrix(chosen.xyxy, found.xyxy) > np.float64(iou)) * found.scores
    if classes is not None:
        votes *= chosen.classes[:, None] == found.classes
    votes[np.arange(len(best)), best] = chosen.scores  # a box of no area has no IoU with itself
    return replace(chosen, xyxy=votes @ found.xyxy / votes.sum(axis=1, keepdims=True))


def choose(
    labels: Sequence[str], numbers: tuple[int, ...] | None, names: Mapping[int, str], count: int,
    file: str,
) -> tuple[tuple[int, ...], dict[int, str], list[str]]:
    """The classes wanted by `labels`, else by `numbers`, else people, of the `count` in `file`.

    Returns their numbers, their names (none for the only class of a file that doesn't name it) and
    what was assumed: 80 classes without `names` are taken to be COCO's. Raises `InputError` for a
    class that there is not.
    """
    notes, person = list[str](), 0
    if not names and count == len(COCO):
        names = COCO_NAMES
        notes = [f"{file} does not name its {count} classes; they were taken to be COCO's"]
    if labels:
        numbers = class_numbers(labels, names, file)
    if numbers is None:
        person = next((n for n, name in names.items() if name.casefold() == "person"), -1)
        numbers = (max(person, 0),)
    if max(numbers) >= count:
        raise InputError(f"{file} has {count} classes, 0 to {count - 1}; no class {max(numbers)}")
    if person < 0 and count > 1:
        first = names.get(0, "0")
        notes = [f"{file} has no class that is called person; boxes are its class {first} "
                 "(--classes)"]
    known = names or count > 1
    return numbers, {n: names.get(n, f"class {n}") for n in numbers if known}, notes


def class_numbers(words: Sequence[str], names: Mapping[int, str], whose: str) -> tuple[int, ...]:
    """The numbers of classes given by the `names` of `whose` file, in any case, or by number.

    Raises `InputError` for a name that is not among them.
    """
    by_name = {name.casefold(): number for number, name in reversed([*names.items()])}
    found = []
    for word in words:
        name = word.strip().casefold()
        if not name.isdecimal() and name not in by_name:
            close = difflib.get_close_matches(name, by_name)
            which = ", ".join(close or reversed(by_name))
            known = f"{'did you mean' if close else 'there are'} {which}, or"
            mend = f"{known} give" if by_name else "it names none; give"
            raise InputError(f"{whose} has no class {word!r}; {mend} a number")
        found.append(int(name) if name.isdecimal() else by_name[name])
    return tuple(dict.fromkeys(found))


def read_names(text: str) -> dict[int, str]:
    """Class names as exporters write them into a file: `{0: 'person', 1: 'car'}`, a list, or JSON.

    Empty for anything else.
    """
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return {}
    pairs = dict(enumerate(found)) if isinstance(found, list | tuple) else found
    if not isinstance(pairs, dict) or not all(re.fullmatch(r"\d{1,9}", str(n)) for n in pairs):
        return {}
    return {int(number): str(name) for number, name in pairs.items()}
