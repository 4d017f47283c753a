"""Places for synthetic people: ground plane, background, clutter, things in front, and the camera.

The background of a clip is painted once, larger than the image, and the camera is a similarity
transform of it and of people. scikit-image's photographs serve as textures when it is installed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

# Images in scikit-image's wheel that show no person: an unlabelled one would teach a miss.
_PHOTOGRAPHS = ("motorcycle_left", "motorcycle_right", "coffee", "chelsea", "ihc", "coins")
_SURFACES = ("brick", "grass", "gravel")
_MARGIN = 0.3  # canvas beyond each side of the image, as a fraction of it


@dataclass(frozen=True)
class Ground:
    """A flat ground under a pinhole camera; its lengths are in body heights.

    A person with the feet in image row `y` is `(y - horizon) / camera_height` pixels high. `rows`
    (far, near) are those that people's feet may reach.
    """

    width: int
    height: int
    horizon: float
    camera_height: float
    focal: float
    rows: tuple[float, float]

    @property
    def pitch(self) -> float:
        """How far the camera looks down, in radians."""
        return float(np.arctan((self.height / 2 - self.horizon) / self.focal))

    @property
    def depths(self) -> tuple[float, float]:
        """How far away people's feet may be: the far end and the near one."""
        far, near = (self.locate(np.array([self.width / 2, row]))[1] for row in self.rows)
        return far, near

    def project(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Image points `[..., 2]` and pixels per body height `[...]` of places (x, depth)."""
        depth = np.maximum(place[..., 1], 0.05)
        size = self.focal / depth
        x = self.width / 2 + size * place[..., 0]
        return np.stack([x, self.horizon + size * self.camera_height], axis=-1), size

    def locate(self, pixel: np.ndarray) -> np.ndarray:
        """Ground points (x, depth) under image points `[..., 2]` below the horizon."""
        below = np.maximum(pixel[..., 1] - self.horizon, 1e-3)
        depth = self.focal * self.camera_height / below
        return np.stack([(pixel[..., 0] - self.width / 2) * depth / self.focal, depth], axis=-1)


@dataclass(frozen=True)
class Occluder:
    """A pole, tree or box among the people: premultiplied BGRA, image left and top, foot row."""

    image: np.ndarray
    left: float
    top: float
    foot: float


@dataclass(frozen=True)
class Scenery:
    """What does not move in a clip. `clutter` `[K, 4]`: ltwh boxes that may fool a detector."""

    canvas: np.ndarray
    offset: np.ndarray
    occluders: list[Occluder]
    clutter: np.ndarray


def make_scenery(
    rng: Generator, ground: Ground, wall: float, occluders: int, photographs: bool
) -> Scenery:
    """Paint a place. `wall` is the image row where the ground ends and something upright begins."""
    offset = np.round(_MARGIN * np.array([ground.width, ground.height]))
    size = (int(ground.height + 2 * offset[1]), int(ground.width + 2 * offset[0]))
    edge = int(np.clip(wall + offset[1], 0, size[0]))
    # Both are drawn from the generator in any case: what follows must not depend on scikit-image.
    canvas = np.empty((*size, 3), np.uint8)
    canvas[:edge] = _upright(rng, edge, size[1], photographs)
    canvas[edge:] = _floor(rng, ground, offset, edge, size, photographs)
    if rng.random() < 0.08:
        canvas = _whole_photograph(rng, canvas, photographs)
    clutter = _clutter(rng, canvas, ground, offset, wall)
    canvas = _light(rng, canvas)
    fronts = [_occluder(rng, ground, wall) for _ in range(occluders)]
    return Scenery(canvas, offset, fronts, clutter)


@cache
def _photograph(name: str) -> np.ndarray | None:
    """One of the wheel's own images as BGR; None without scikit-image. Never from the network."""
    try:
        import skimage
    except ImportError:
        return None
    return cv2.imread(str(Path(skimage.__file__).parent / "data" / f"{name}.png"))


def _noise(rng: Generator, height: int, width: int, cells: tuple[int, ...]) -> np.ndarray:
    """Cloudy noise `[height, width]` around 0, one octave per cell size in pixels."""
    total = np.zeros((height, width), np.float32)
    for cell in cells:
        shape = (height // cell + 2, width // cell + 2)
        grid = rng.standard_normal(shape, dtype=np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR)
    return total / np.float32(np.sqrt(len(cells)))


def _colour(rng: Generator, vivid: float = 0.15, low: int = 40, high: int = 225) -> np.ndarray:
    value = rng.uniform(low, high)
    strength = value * (0.25 if rng.random() < vivid else 0.06)
    warm, green = rng.normal(0.2, 1), rng.normal(0.1, 0.4)  # things are seldom pink
    tint = strength * np.array([-warm, green, warm])
    return np.clip(value + tint, 0, 255)


def _texture(rng: Generator, size: int = 384, photographs: bool = True) -> np.ndarray:
    """A square surface that can be repeated: brick, grass, gravel, tiles, planks, asphalt, felt."""
    colour, kind = _colour(rng).astype(np.float32), int(rng.integers(0, 7))
    grain = _noise(rng, size, size, (2, 6, 40)) * np.float32(rng.uniform(4, 16))
    photo = _photograph(_SURFACES[kind % 3]) if photographs else None
    contrast = np.float32(rng.uniform(0.3, 1.0))
    if kind < 3 and photo is not None:
        grey = cv2.resize(cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY), (size, size)).astype(np.float32)
        tile = colour * (1 + contrast * (grey[..., None] / max(grey.mean(), 1) - 1))
    else:
        tile = colour + grain[..., None]
        if kind in (3, 4):
            step = size // int(rng.choice([2, 4, 8]))
            shade = rng.normal(0, 10, (size // step, size // step)).astype(np.float32)
            tile = tile + shade.repeat(step, 0).repeat(step, 1)[..., None]
            tile[::step] *= 0.75
            if kind == 3:
                tile[:, ::step] *= 0.75
    return np.clip(tile, 0, 255).astype(np.uint8)


def _floor(
    rng: Generator, ground: Ground, offset: np.ndarray, edge: int, size: tuple[int, int],
    photographs: bool,
) -> np.ndarray:
    """The ground below canvas row `edge` in perspective, with patches, lines and a sheen."""
    texture = _texture(rng, photographs=photographs)
    density = np.float32(len(texture) / rng.uniform(2, 8))  # texture pixels per body height
    rows = np.arange(edge, size[0], dtype=np.float32) - np.float32(offset[1])
    columns = np.arange(size[1], dtype=np.float32) - np.float32(offset[0] + ground.width / 2)
    depth = np.float32(ground.focal * ground.camera_height) / np.maximum(rows - ground.horizon, 2)
    depth = depth.astype(np.float32)[:, None]
    u = np.mod(columns * depth * (density / np.float32(ground.focal)), len(texture))
    v = np.repeat(np.mod(depth * density, len(texture)), size[1], axis=1)
    # Far texture is finer than a pixel: fade to a blurred copy instead of letting it flicker.
    coarse = depth * density * depth / (ground.focal * ground.camera_height)
    weight = np.repeat(np.clip(coarse / 6, 0, 1).astype(np.float32), size[1], axis=1)

    def laid(surface: np.ndarray) -> np.ndarray:
        sharp = cv2.remap(surface, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        return cv2.blendLinear(sharp, cv2.blur(sharp, (9, 9)), 1 - weight, weight)

    flat = laid(texture)
    if rng.random() < 0.6:
        mask = _paths(rng, ground, offset, edge, size)
        cv2.copyTo(laid(_texture(rng, photographs=photographs)), mask, flat)
    return flat


def _paths(
    rng: Generator, ground: Ground, offset: np.ndarray, edge: int, size: tuple[int, int]
) -> np.ndarray:
    """Where another surface lies: roads, lawns or painted lines, as polygons on the ground."""
    mask = np.zeros((size[0] - edge, size[1]), np.uint8)
    lines = rng.random() < 0.4
    for _ in range(int(rng.integers(1, 6 if lines else 3))):
        ends = rng.uniform([-0.5, 0.1], [1.5, 1.2], (2, 2)) * [ground.width, ground.height]
        ends[:, 1] = np.maximum(ends[:, 1], ground.horizon + 5)
        a, b = ground.locate(ends)
        along = (b - a) / (np.linalg.norm(b - a) + 1e-6)
        half = (0.03 if lines else rng.uniform(0.5, 2.5)) * np.array([-along[1], along[0]])
        a, b = a - 6 * along, b + 6 * along
        corners = np.stack([a - half, a + half, b + half, b - half])
        corners[:, 1] = np.maximum(corners[:, 1], 0.3)
        pixels, _ = ground.project(corners)
        pixels = np.clip(pixels + offset - [0, edge], -8000, 8000)
        cv2.fillPoly(mask, [pixels.astype(np.int32)], 255)
    return mask


def _upright(rng: Generator, height: int, width: int, photographs: bool) -> np.ndarray:
    """What stands behind: sky, a facade with windows, a wall, trees, a stage, a photograph."""
    if height < 1:
        return np.zeros((0, width, 3), np.uint8)
    kind = int(rng.integers(0, 6))
    top, bottom = _colour(rng, high=250), _colour(rng)
    ramp = np.linspace(0, 1, height)[:, None, None]
    cloud = _noise(rng, height, width, (3, 20, 90))[..., None] * np.float32(rng.uniform(1, 12))
    image = ((1 - ramp) * top + ramp * bottom).astype(np.float32) + cloud
    image = np.clip(image, 0, 255).astype(np.uint8)
    if kind in (0, 1):
        _windows(rng, image)
    elif kind == 2:
        _trees(rng, image)
    elif kind == 3:
        surface = _texture(rng, 256, photographs)
        image = np.tile(surface, (height // 256 + 1, width // 256 + 1, 1))[:height, :width].copy()
    elif kind == 4:
        image = _whole_photograph(rng, image, photographs)
    if kind in (3, 5):
        _panels(rng, image)
    return image


def _windows(rng: Generator, image: np.ndarray) -> None:
    height, width = image.shape[:2]
    pitch_x, pitch_y = rng.integers(18, 130), rng.integers(24, 130)
    w, h = pitch_x * rng.uniform(0.4, 0.92), pitch_y * rng.uniform(0.4, 0.9)
    glass, frame = _colour(rng, low=15, high=160), _colour(rng, low=60, high=255)
    for y in range(int(rng.integers(0, pitch_y)), height, int(pitch_y)):
        for x in range(int(rng.integers(0, pitch_x)), width, int(pitch_x)):
            pane = np.clip(glass + rng.normal(0, 18), 0, 255)
            corner = (int(x + w), int(y + h))
            cv2.rectangle(image, (x, y), corner, pane.tolist(), -1)
            cv2.rectangle(image, (x, y), corner, frame.tolist(), int(rng.integers(1, 3)))
            if rng.random() < 0.3:  # a reflection or a lamp
                centre = (int(x + w * rng.random()), int(y + h * rng.random()))
                axes = (int(w * 0.2) + 1, int(h * 0.08) + 1)
                cv2.ellipse(image, centre, axes, 0, 0, 360, _colour(rng).tolist(), -1)


def _trees(rng: Generator, image: np.ndarray) -> None:
    height, width = image.shape[:2]
    green = np.array([rng.uniform(20, 70), rng.uniform(50, 120), rng.uniform(25, 90)])
    for _ in range(int(rng.integers(40, 160))):
        shade = np.clip(green * rng.uniform(0.5, 1.5) + rng.normal(0, 8, 3), 0, 255).tolist()
        centre = (int(rng.uniform(0, width)), int(height * rng.beta(2.5, 1.2)))
        axes = (int(rng.uniform(6, 45)), int(rng.uniform(5, 35)))
        cv2.ellipse(image, centre, axes, rng.uniform(0, 180), 0, 360, shade, -1)


def _panels(rng: Generator, image: np.ndarray) -> None:
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(0, 16))):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        w, h = rng.uniform(4, 160), rng.uniform(4, height * 0.8 + 5)
        box = (int(x), int(y)), (int(x + w), int(y + h))
        thick = -1 if rng.random() < 0.6 else int(rng.integers(1, 5))
        cv2.rectangle(image, *box, _colour(rng, 0.4, 10, 250).tolist(), thick)
    for x in rng.uniform(0, width, int(rng.integers(0, 9))):
        sway = rng.normal(0, 6)
        colour = _colour(rng, 0.2, 10, 250).tolist()
        cv2.line(image, (int(x), 0), (int(x + sway), height), colour, int(rng.integers(1, 7)))


def _whole_photograph(rng: Generator, canvas: np.ndarray, photographs: bool) -> np.ndarray:
    """A random crop of a photograph in changed colours, as large as `canvas`."""
    choice, corner, share = rng.integers(0, len(_PHOTOGRAPHS)), rng.random(2), rng.uniform(0.3, 1)
    flip, gain, shift = rng.random() < 0.5, rng.uniform(0.4, 1.2, 3), rng.uniform(-30, 50)
    image = _photograph(_PHOTOGRAPHS[choice]) if photographs else None
    if image is None:
        return canvas
    height, width = image.shape[:2]
    h, w = max(int(height * share), 1), max(int(width * share), 1)
    y, x = int(corner[0] * (height - h)), int(corner[1] * (width - w))
    crop = image[y : y + h, x : x + w]
    crop = crop[:, ::-1] if flip else crop
    crop = cv2.resize(crop, canvas.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.clip(crop * (0.7 * gain.mean() + 0.3 * gain) + shift, 0, 255).astype(np.uint8)


def _clutter(
    rng: Generator, canvas: np.ndarray, ground: Ground, offset: np.ndarray, wall: float
) -> np.ndarray:
    """Stand poles, bins, cones, posters and cars on the ground. Returns their boxes."""
    boxes = []
    for _ in range(int(rng.integers(2, 12))):
        highest = min(max(wall, ground.horizon + 8), ground.height)
        row = rng.uniform(highest, ground.height * 1.1)
        foot = np.array([rng.uniform(-0.2, 1.2) * ground.width, row])
        unit = (row - ground.horizon) / ground.camera_height
        draw, tall, slim = _CLUTTER[int(rng.integers(0, len(_CLUTTER)))]
        h = unit * tall * rng.uniform(0.7, 1.3)
        w = h * slim * rng.uniform(0.7, 1.3)
        if h < 3 or w < 1:
            continue
        box = np.array([foot[0] - w / 2, row - h, w, h])
        x, y = (box[:2] + offset).astype(int)
        draw(rng, canvas, x, y, max(int(w), 1), max(int(h), 2))
        boxes.append(box)
    return np.array(boxes).reshape(-1, 4)


def _pole(rng: Generator, canvas: np.ndarray, x: int, y: int, w: int, h: int) -> None:
    colour = _colour(rng, 0.2, 20, 220)
    middle, thick = x + w // 2, max(w // 4, 1)
    cv2.rectangle(canvas, (middle - thick, y), (middle + thick, y + h), colour.tolist(), -1)
    cv2.line(canvas, (middle, y), (middle, y + h), np.clip(colour * 1.3, 0, 255).tolist(), 1)
    if rng.random() < 0.5:  # a lamp or a sign at the top
        sign = _colour(rng, 0.6, 40, 250).tolist()
        cv2.rectangle(canvas, (x - w // 2, y), (x + w + w // 2, y + h // 5), sign, -1)


def _bin(rng: Generator, canvas: np.ndarray, x: int, y: int, w: int, h: int) -> None:
    colour = _colour(rng, 0.5, 20, 200)
    cv2.rectangle(canvas, (x, y), (x + w, y + h), colour.tolist(), -1)
    cv2.rectangle(canvas, (x, y), (x + w // 3, y + h), np.clip(colour * 1.25, 0, 255).tolist(), -1)
    cv2.rectangle(canvas, (x - 1, y), (x + w + 1, y + h // 8), (colour * 0.6).tolist(), -1)


def _cone(rng: Generator, canvas: np.ndarray, x: int, y: int, w: int, h: int) -> None:
    colour = _colour(rng, 0.8, 80, 230)
    points = np.array([[x + w // 2, y], [x + w, y + h], [x, y + h]])
    cv2.fillPoly(canvas, [points], colour.tolist(), cv2.LINE_AA)
    points = points * [1, 0] + [0, 1] * np.array([[y + h // 3], [y + h // 2], [y + h // 2]])
    cv2.fillPoly(canvas, [points], (230, 230, 230), cv2.LINE_AA)


def _bush(rng: Generator, canvas: np.ndarray, x: int, y: int, w: int, h: int) -> None:
    green = np.array([rng.uniform(15, 70), rng.uniform(40, 120), rng.uniform(20, 100)])
    for _ in range(12):
        centre = (int(x + w * rng.beta(2, 2)), int(y + h * rng.uniform(0.2, 0.9)))
        shade = np.clip(green * rng.uniform(0.5, 1.5), 0, 255).tolist()
        axes = (max(w // 4, 1), max(h // 5, 1))
        cv2.ellipse(canvas, centre, axes, rng.uniform(0, 90), 0, 360, shade, -1, cv2.LINE_AA)


def _poster(rng: Generator, canvas: np.ndarray, x: int, y: int, w: int, h: int) -> None:
    """A sheet with blocks of colour where a person's head and clothes would be."""
    cv2.rectangle(canvas, (x, y), (x + w, y + h), _colour(rng, 0.5).tolist(), -1)
    for top, bottom, narrow in ((0.05, 0.2, 0.4), (0.22, 0.6, 0.2), (0.6, 0.95, 0.3)):
        a = (int(x + w * narrow), int(y + h * top))
        b = (int(x + w * (1 - narrow)), int(y + h * bottom))
        cv2.rectangle(canvas, a, b, _colour(rng, 0.5, 10, 240).tolist(), -1)


def _tripod(rng: Generator, canvas: np.ndarray, x: int, y: int, w: int, h: int) -> None:
    colour, thick = _colour(rng, 0.1, 5, 70).tolist(), max(w // 12, 1)
    head = (x + w // 2, y + h // 4)
    for foot in (x, x + w // 2, x + w):
        cv2.line(canvas, head, (foot, y + h), colour, thick, cv2.LINE_AA)
    cv2.rectangle(canvas, (head[0] - w // 8, y), (head[0] + w // 8, head[1]), colour, -1)


def _car(rng: Generator, canvas: np.ndarray, x: int, y: int, w: int, h: int) -> None:
    colour = _colour(rng, 0.6, 30, 240)
    cv2.rectangle(canvas, (x, y + h // 2), (x + w, y + h - h // 8), colour.tolist(), -1)
    cabin = np.array([[0.15, 0.55], [0.3, 0], [0.75, 0], [0.9, 0.55]]) * [w, h] + [x, y]
    cv2.fillPoly(canvas, [cabin.astype(np.int32)], (colour * 0.5).tolist(), cv2.LINE_AA)
    for wheel in (0.22, 0.78):
        cv2.circle(canvas, (int(x + w * wheel), y + h - h // 6), max(h // 6, 1), (25, 25, 25), -1)


# drawing, height in body heights, width by height
_CLUTTER: tuple[tuple[Callable[..., None], float, float], ...] = (
    (_pole, 2.0, 0.08), (_pole, 1.1, 0.12), (_bin, 0.6, 0.6), (_bin, 0.9, 0.4), (_cone, 0.4, 0.6),
    (_bush, 0.7, 1.0), (_poster, 1.0, 0.45), (_tripod, 0.9, 0.45), (_car, 0.85, 2.4),
)  # fmt: skip


def _light(rng: Generator, canvas: np.ndarray) -> np.ndarray:
    """Uneven illumination over the canvas: a slope and a large soft spot or shadow."""
    height, width = canvas.shape[:2]
    coarse = np.clip(128 * (1 + rng.normal(0, 0.12, (3, 4))), 50, 190).astype(np.uint8)
    field = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.multiply(canvas, cv2.cvtColor(field, cv2.COLOR_GRAY2BGR), scale=1 / 128)


def _occluder(rng: Generator, ground: Ground, wall: float) -> Occluder:
    """Something upright that people pass behind: a pole, a trunk, a board, a counter, a hedge."""
    low = min(max(wall, ground.horizon + 10), ground.height)
    foot = rng.uniform(low + 0.3 * (ground.height - low), 1.15 * ground.height)
    unit = (foot - ground.horizon) / ground.camera_height
    shapes = ((3.0, 0.06), (3.0, 0.14), (0.75, 0.6), (0.55, 2.5), (1.3, 0.3))
    tall, wide = shapes[int(rng.integers(0, len(shapes)))]
    h = int(np.clip(unit * tall * rng.uniform(0.8, 1.2), 4, 2 * ground.height))
    w = int(np.clip(unit * wide * rng.uniform(0.7, 1.3), 2, ground.width / 2))
    round_ = np.sqrt(1 - np.linspace(-0.95, 0.95, w) ** 2) if wide < 0.2 else np.ones(w)
    shade = (0.55 + 0.45 * round_)[None, :, None]
    image = _colour(rng, 0.4, 20, 210) * shade + _noise(rng, h, w, (2, 8))[..., None] * 8
    cover = np.full((h, w, 1), 255.0)
    image = np.concatenate([np.clip(image, 0, 255), cover], axis=2).astype(np.uint8)
    if wide > 0.2 and rng.random() < 0.3:  # a fence lets people shine through
        image[:, :: max(w // 6, 2)] = 0
    left = rng.uniform(0, ground.width) - w / 2
    return Occluder(np.ascontiguousarray(image), float(left), float(foot - h), float(foot))
