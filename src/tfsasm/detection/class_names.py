"""Classes by name: those of COCO, which YOLOX and most detectors number alike, and a file's own."""

import ast
import difflib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

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


COCO_NAMES = dict(enumerate(COCO))


class Chosen(NamedTuple):
    """The wanted classes of a detector's file."""

    numbers: tuple[int, ...]
    names: dict[int, str]
    """By number; empty for the only class of a file that doesn't name it."""
    note: str = ""
    """What was assumed, for the user."""


def choose(
    labels: Sequence[str], numbers: tuple[int, ...] | None, names: Mapping[int, str], count: int,
    file: str,
) -> Chosen:
    """The classes wanted by `labels`, else by `numbers`, else people, of the `count` in `file`.

    80 classes without `names` are taken to be COCO's. Raises `InputError` for a class that there is
    not.
    """
    note, person = "", 0
    if not names and count == len(COCO):
        names = COCO_NAMES
        note = f"{file} does not name its {count} classes; they were taken to be COCO's"
    if labels:
        numbers = class_numbers(labels, names, file)
    if numbers is None:
        person = next((n for n, name in names.items() if name.casefold() == "person"), -1)
        numbers = (max(person, 0),)
    if max(numbers) >= count:
        raise InputError(f"{file} has {count} classes, 0 to {count - 1}; no class {max(numbers)}")
    if person < 0 and count > 1:
        first = names.get(0, "0")
        note = f"{file} has no class that is called person; boxes are its class {first} (--classes)"
    known = names or count > 1
    return Chosen(numbers, {n: names.get(n, f"class {n}") for n in numbers if known}, note)


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
            known = f"{'did you mean' if close else 'there are'} {', '.join(close or by_name)}, or"
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
