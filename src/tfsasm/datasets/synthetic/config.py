"""Settings of synthetic clips, and what a frame of one holds."""

from dataclasses import dataclass

import numpy as np

from tfsasm.errors import InputError

KINDS = ("dance", "street", "sport")


@dataclass(frozen=True)
class SceneConfig:
    """What clips to make. Ranges are inclusive and drawn from once per clip.

    `kinds` may repeat a name to make it more frequent. `people` None means what suits the kind
    (dance 5-14, street 3-15, sport 5-14). A person is in the ground truth while at least
    `min_visibility` of the body is in sight. `detector_quality` runs from 0 (YOLOX-nano) to 1
    (YOLOX-X) and is drawn nearer to its lower end; boxes at or below `min_score` are not reported.
    Chances per clip: `alike` that its people dress alike, `camera_motion` that the camera moves;
    `leave` is the chance that a person's next walk leads out of the image. `photographs` uses
    scikit-image's photographs as textures where that package is installed: a seed repeats exactly
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
    """One frame and its ground truth.

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
