"""The names of COCO's 80 classes, in the order that YOLOX and most detectors number them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from tfsasm.errors import InputError

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

CATEGORIES = tuple(
    number for number in range(1, 91) if number not in {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
)
"""COCO's own numbers of these classes, in their order; models with 91 outputs go by them."""


def coco_numbers(words: Sequence[str]) -> tuple[int, ...]:
    """The numbers of classes given by COCO's names, in any case, or by number.

    Raises `InputError` for a name that COCO has not.
    """
    found = []
    for word in words:
        name = word.strip().casefold()
        if not name.isdecimal() and name not in COCO:
            close = ", ".join(difflib.get_close_matches(name, COCO)) or ", ".join(COCO)
            raise InputError(f"COCO has no class {word!r}; there are {close}, or give a number")
        found.append(int(name) if name.isdecimal() else COCO.index(name))
    return tuple(dict.fromkeys(found))
