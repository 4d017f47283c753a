"""People made of capsules: how their skeletons are outlined and drawn.

Unusual here: only filling the polygons is done person by person. Patches carry premultiplied colour
and coverage in four channels, so that shrinking, blurring and pasting them needs no special case at
the outline. Lengths are in body heights.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from tfsasm.datasets.synthetic.motion import HIPS, KNEES, NECK, PELVIS, SHOULDERS
from tfsasm.datasets.synthetic.people import BAG, BOTTOM, HAIR, SHOES, SKIN, TOP, TRIM, People

# Every limb is a tapered capsule: joint, joint, radius, radius, bonus in the depth order.
_LIMBS = np.array(
    [
        (12, 14, 0.058, 0.043, 0.0), (13, 15, 0.058, 0.043, 0.0),  # thighs
        (14, 16, 0.042, 0.027, 0.0), (15, 17, 0.042, 0.027, 0.0),  # shins
        (16, 18, 0.027, 0.021, 0.0), (17, 19, 0.027, 0.021, 0.0),  # feet
        (4, 6, 0.037, 0.030, 0.02), (5, 7, 0.037, 0.030, 0.02),  # upper arms
        (6, 8, 0.029, 0.021, 0.02), (7, 9, 0.029, 0.021, 0.02),  # forearms
        (8, 10, 0.022, 0.017, 0.02), (9, 11, 0.022, 0.017, 0.02),  # hands
        (1, 2, 0.030, 0.028, 0.0),  # neck
        (2, 3, 0.038, 0.044, 0.015),  # head
        (20, 21, 0.052, 0.046, 0.015),  # hair
        (22, 23, 0.060, 0.070, 0.0),  # backpack
        (10, 11, 0.0, 0.0, 0.0),  # bag in a hand: radii from the person
    ]
)  # fmt: skip

# Parts of the body are the limbs, then these.
_BACKPACK, _HAND_BAG, _TORSO, _SKIRT = range(len(_LIMBS) - 2, len(_LIMBS) + 2)

_STRIPES = 5

# Half a circle, as shares of the direction ahead and of the direction to the side.
_ARC = np.stack([f(np.linspace(-np.pi / 2, np.pi / 2, 6)) for f in (np.cos, np.sin)])[..., None]

# Width of a torso by level: 0 at the neck, 1 at the pelvis.
_TORSO_LEVELS = np.array([-0.06, 0.02, 0.12, 0.45, 0.75, 1.0, 1.1])
_TORSO_PROFILE = np.array([0.38, 0.80, 1.0, 0.94, 0.86, 0.98, 0.90])


@dataclass(frozen=True)
class Outlines:
    """All polygons of one frame's people, in image pixels; made by `outlines`.

    `limbs` `[G, L, 2, 12, 2]` and `torso` `[G, 2, 14, 2]` (whole, and the part of it that the light
    reaches), `stripes` `[G, S, 4, 2]`, `skirt` `[G, 4, 2]`, `order` `[G, L + 2]` from far to near,
    `bounds` `[G, 4]` xyxy of everything that is drawn.
    """

    limbs: np.ndarray
    torso: np.ndarray
    stripes: np.ndarray
    skirt: np.ndarray
    order: np.ndarray
    bounds: np.ndarray


def outlines(
    people: People, joints: np.ndarray, feet: np.ndarray, size: np.ndarray, pitch: float,
    light: np.ndarray,
) -> Outlines:
    """Project one frame's skeletons `[G, JOINTS, 3]` and outline every body part.

    `feet` `[G, 2]` is the ground point in pixels, `size` `[G]` the pixels of one body height,
    `pitch` how far the camera looks down, `light` `[2]` where light comes from in the image.
    """
    up = joints[..., 1] * np.cos(pitch) - joints[..., 2] * np.sin(pitch)
    near = joints[..., 2] * np.cos(pitch) + joints[..., 1] * np.sin(pitch) * 0.3
    points = feet[:, None] + size[:, None, None] * np.stack([joints[..., 0], -up], axis=-1)
    unit = (size * people.height)[:, None]
    start, end = _LIMBS[:, 0].astype(int), _LIMBS[:, 1].astype(int)
    radii = np.repeat(_LIMBS[None, :, 2:4], len(people), axis=0)
    radii[:, :12] *= (0.35 + 0.65 * people.build)[:, None, None]
    radii[:, _HAND_BAG] = 0.055 * people.hand_bag[:, None]
    radii[:, _BACKPACK] *= people.backpack[:, None]
    radii *= unit[..., None]
    a, b = points[:, start], points[:, end]
    a[:, _HAND_BAG], b[:, _HAND_BAG] = points[:, 10], points[:, 10] + unit * np.array([0, 0.09])
    limbs = _capsules(a, b, radii)
    shift = 0.38 * radii.mean(axis=-1, keepdims=True) * light
    lit = _capsules(a + shift, b + shift, 0.58 * radii)
    torso, stripes, skirt = _trunk(people, points, unit)
    # What is not carried is not drawn, and must not widen the bounds.
    for carried, limb in ((people.hand_bag, _HAND_BAG), (people.backpack, _BACKPACK)):
        limbs[~carried, limb] = torso[~carried, :1]
    dressed = np.where((people.skirt > 0)[:, None, None], skirt, torso[:, :4])
    drawn = np.concatenate([*np.moveaxis(limbs, 1, 0), torso, dressed], axis=1)
    bounds = np.concatenate([drawn.min(axis=1), drawn.max(axis=1)], axis=1)
    middle = torso.mean(axis=1, keepdims=True)
    lit_torso = middle + 0.7 * (torso - middle) + 0.035 * unit[..., None] * light
    depth = (near[:, start] + near[:, end]) / 2 + _LIMBS[:, 4]
    trunk = (near[:, PELVIS] + near[:, NECK]) / 2 + 0.01
    order = np.argsort(np.column_stack([depth, trunk, trunk + 0.02]), axis=1, kind="stable")
    limbs, torso = np.stack([limbs, lit], axis=2), np.stack([torso, lit_torso], axis=1)
    return Outlines(limbs, torso, stripes, skirt, order, bounds)


def _capsules(a: np.ndarray, b: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Outlines `[..., 12, 2]` of capsules from `a` to `b` `[..., 2]` with `radii` `[..., 2]`."""
    along = b - a
    along = along / (np.sqrt((along**2).sum(axis=-1, keepdims=True)) + 1e-6)
    across = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    arc = along[..., None, :] * _ARC[0] + across[..., None, :] * _ARC[1]
    far = b[..., None, :] + radii[..., 1, None, None] * arc
    near = a[..., None, :] - radii[..., 0, None, None] * arc
    return np.concatenate([far, near], axis=-2)


def _trunk(
    people: People, points: np.ndarray, unit: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Torso, stripes across it and skirt. Widths come from the joints, so a turned body is slim."""
    axis = points[:, PELVIS] - points[:, NECK]
    across = np.stack([-axis[:, 1], axis[:, 0]], axis=1)
    across /= np.linalg.norm(axis, axis=1, keepdims=True) + 1e-6
    stout = unit[:, 0] * (0.25 + 0.75 * people.build)

    def half_width(pair: slice, flesh: float) -> np.ndarray:
        span = points[:, pair][:, 0] - points[:, pair][:, 1]
        return np.abs((span * across).sum(axis=1)) / 2 + flesh * stout

    top, bottom = half_width(SHOULDERS, 0.038), half_width(HIPS, 0.052)

    def edges(levels: np.ndarray, profile: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        share = np.clip(levels, 0, 1)
        width = ((1 - share) * top[:, None] + share * bottom[:, None]) * profile
        centre = points[:, NECK, None] + levels[:, None] * axis[:, None]
        offset = width[..., None] * across[:, None]
        return centre - offset, centre + offset

    left, right = edges(_TORSO_LEVELS, _TORSO_PROFILE)
    torso = np.concatenate([left, right[:, ::-1]], axis=1)
    levels = np.linspace(0.1, 0.98, 2 * _STRIPES)
    left, right = edges(levels, np.interp(levels, _TORSO_LEVELS, _TORSO_PROFILE))
    stripes = np.stack([left[:, ::2], left[:, 1::2], right[:, 1::2], right[:, ::2]], axis=2)
    hips = points[:, HIPS].mean(axis=1)
    hem = hips + people.skirt[:, None] * (points[:, KNEES].mean(axis=1) - hips)
    flare = (half_width(KNEES, 0.06) * people.skirt + bottom)[:, None] * across
    belt = (bottom * 0.95)[:, None] * across
    skirt = np.stack([hips - belt, hips + belt, hem + flare, hem - flare], axis=1)
    return torso, stripes, skirt


@dataclass(frozen=True)
class Wardrobe:
    """Colours ready to draw: `dark` and `lit` are BGRA tuples `[G][part]`, `cloth` is folds.

    Parts are the limbs, then torso, skirt and stripes. `cloth` is a uint8 texture of four channels
    around 128 that is multiplied onto a drawn person.
    """

    dark: list[list[tuple[int, ...]]]
    lit: list[list[tuple[int, ...]]]
    cloth: np.ndarray


def make_wardrobe(rng: Generator, people: People, contrast: float) -> Wardrobe:
    """Choose every part's colour; `contrast` is how far light and shadow side differ (0 to 1)."""
    limbs = [BOTTOM] * 4 + [SHOES] * 2 + [TOP] * 4 + [SKIN] * 4 + [HAIR, BAG, BAG]
    slots = np.repeat(np.array([*limbs, TOP, BOTTOM, TRIM])[None], len(people), axis=0)
    slots[people.bare_legs, 2:4] = SKIN
    slots[people.bare_legs & (people.skirt > 0), :4] = SKIN
    slots[people.short_sleeves, 8:10] = SKIN
    base = people.colours[np.arange(len(people))[:, None], slots].astype(float)

    def tones(gain: float) -> list[list[tuple[int, ...]]]:
        shaded = np.clip(base * gain + 6 * (gain - 1), 0, 255).astype(int)
        return [[(*map(int, c), 255) for c in person] for person in shaded]

    coarse = cv2.resize(rng.standard_normal((32, 51), np.float32), (512, 512))
    fine = cv2.resize(rng.standard_normal((128, 170), np.float32), (512, 512))
    folds = np.clip(128 + 16 * coarse + 7 * fine, 0, 255).astype(np.uint8)
    cloth = cv2.merge([folds, folds, folds, np.full_like(folds, 128)])
    return Wardrobe(tones(1 - contrast / 2), tones(1 + contrast / 2), cloth)


def draw(
    people: People, clothes: Wardrobe, shape: Outlines, person: int, streak: int = 0
) -> tuple[np.ndarray, int, int]:
    """Draw one person. Returns a premultiplied BGRA patch and the pixel of its left top corner.

    `streak` blurs it sideways over that many pixels. The patch is not cut at the image's border.
    """
    x0, y0 = np.floor(shape.bounds[person, :2]).astype(int) - 1 - np.array([streak, 0])
    x1, y1 = np.ceil(shape.bounds[person, 2:]).astype(int) + 1 + np.array([streak, 0])
    tall = y1 - y0
    fine = 4 if tall < 50 else 3 if tall < 90 else 2 if tall < 170 else 1
    patch = np.zeros((tall * fine, (x1 - x0) * fine, 4), np.uint8)
    line = cv2.LINE_8 if fine > 1 else cv2.LINE_AA
    scale = 16 * fine  # four fractional bits

    def fixed(points: np.ndarray) -> np.ndarray:
        return np.round((points - np.array([x0, y0])) * scale - 8).astype(np.int32)

    limbs, dark, bright = fixed(shape.limbs[person]), clothes.dark[person], clothes.lit[person]
    for part in shape.order[person].tolist():
        if part == _TORSO:
            whole, lit = fixed(shape.torso[person])
            cv2.fillPoly(patch, [whole], dark[part], line, 4)
            cv2.fillPoly(patch, [lit], bright[part], line, 4)
            if people.striped[person]:
                cv2.fillPoly(patch, list(fixed(shape.stripes[person])), bright[part + 2], line, 4)
        elif part == _SKIRT:
            if people.skirt[person] > 0:
                cv2.fillConvexPoly(patch, fixed(shape.skirt[person]), dark[part], line, 4)
        elif (part != _HAND_BAG or people.hand_bag[person]) and (
            part != _BACKPACK or people.backpack[person]
        ):
            cv2.fillConvexPoly(patch, limbs[part, 0], dark[part], line, 4)
            cv2.fillConvexPoly(patch, limbs[part, 1], bright[part], line, 4)
    # The edge between lit and shaded is soft on cloth and skin: blur before shrinking.
    soft = max(tall * fine // 70, 1) | 1
    if soft > 1:
        patch = cv2.blur(patch, (soft, soft), borderType=cv2.BORDER_CONSTANT)
    if fine > 1:
        patch = cv2.resize(patch, (x1 - x0, tall), interpolation=cv2.INTER_AREA)
    if streak > 0:
        patch = cv2.blur(patch, (streak | 1, 1), borderType=cv2.BORDER_CONSTANT)
    if tall <= clothes.cloth.shape[0] and x1 - x0 <= clothes.cloth.shape[1]:
        patch = cv2.multiply(patch, clothes.cloth[:tall, : x1 - x0], scale=1 / 128)
    return patch, int(x0), int(y0)
