"""What tyro is given of a command's options, so that it addresses users rather than programmers.

Options of long commands stand in boxes, everyday ones first; nothing is called None or False.
"""

import ast
import inspect
import math
import sys
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, partial, reduce, wraps
from itertools import pairwise
from operator import or_
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypedDict, Union, get_args, get_origin, get_type_hints

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)  # fmt: skip

from tfsasm.errors import InputError, visible

GROUPS = {
    "input": (
        "split", "sequences", "public", "detections", "start", "end", "stride", "reconnect",
        "skip_bad_detections", "allow_missing",
    ),
    "output": ("mot_output", "json_output", "json", "csv", "plot"),
    "detector": ("detector_weights", "detector_score", "score", "detector_set"),
    "appearance tracker": ("embedder", "embedder_weights", "embedder_set"),
    "query tracker": (
        "weights", "preset", "miss_tolerance", "score_threshold", "runtime", "short_side",
        "max_side", "precision", "batch_encode", "streams",
    ),
    "worker": (
        "workers", "engine", "ray_address", "cpus_per_worker", "gpus_per_worker", "price_per_hour",
    ),
    "expert": ("set", "device", "decoder", "threads"),
}  # fmt: skip
"""Boxes of the help by the names of their options; all others are everyday ones, before them.
Those of a tracker are for it alone."""

# Hints are made here, which type checkers do not follow.
_annotated: Any = Annotated
_typed_dict: Any = TypedDict

_LONG = 12  # options from which a command's help has boxes


class _Words(tuple[str, ...]):
    """Choices that a message lists in words."""

    __slots__ = ()

    def __str__(self) -> str:
        return ", ".join(self)


def flag(name: str) -> str:
    """An option as it is given."""
    return f"--{name.replace('_', '-')}"


def refuse_nan(options: Any) -> None:
    """Raises `InputError` for an option that is NaN, which passes bounds and compares with nothing.
    """
    for name, value in vars(options).items():
        if isinstance(value, float) and math.isnan(value):
            raise InputError(f"{flag(name)} nan is not a number")
        if is_dataclass(value):  # a command's own command
            refuse_nan(value)


@cache
def _in_boxes(kind: Any) -> StructConstructorSpec:
    """A class of options as tyro is to ask for them: texts, defaults, and each box as a dict."""
    titles = {name: title for title, group in GROUPS.items() for name in group}
    docs, hints = _explanations(kind), get_type_hints(kind, include_extras=True)
    boxes: dict[str, list[StructFieldSpec]] = {title: [] for title in ("", *GROUPS)}
    for one in fields(kind):
        says_nothing = one.default in (MISSING, None, (), "") or one.default is False
        hint = _annotated[hints[one.name], tyro.conf.arg(
            help=docs[one.name],
            help_behavior_hint="" if says_nothing else "(default: {})".format,
        )]  # fmt: skip
        title = titles.get(one.name, "") if len(fields(kind)) >= _LONG else ""
        default = tyro.MISSING if one.default is MISSING else one.default
        boxes[title].append(StructFieldSpec(one.name, hint, default))
    everyday = boxes.pop("")
    for title, group in boxes.items():
        if group:
            box = _typed_dict(title, {one.name: one.type for one in group})
            hint = _annotated[box, tyro.conf.arg(name=title, help="")]
            defaults = {one.name: one.default for one in group}
            everyday.append(StructFieldSpec(f"box {title}", hint, defaults))

    @wraps(kind, updated=())
    def made(**values: Any) -> Any:
        boxes = [values.pop(name) for name in [*values] if name.startswith("box ")]
        return kind(**values, **reduce(or_, boxes, {}))

    return StructConstructorSpec(made, tuple(everyday))


def _explanations(kind: type) -> dict[str, str]:
    """The text below each field of a dataclass and of those that it inherits from."""
    found = dict[str, str]()
    for one in reversed(kind.__mro__[:-1]):
        body = _classes_of(one.__module__)[one.__qualname__].body
        for before, after in pairwise(body):
            if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and (
                isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            ):
                found[before.target.id] = " ".join(str(after.value.value).split())
    return found


@cache
def _classes_of(module: str) -> dict[str, ast.ClassDef]:
    """The source of a module's classes by their names, read once: a start waits for it."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


@cache
def spoken() -> ConstructorRegistry:
    """How options are asked for and values read, so that one that is none is answered in words."""
    registry = ConstructorRegistry()

    @registry.struct_rule
    def options(info: StructTypeInfo) -> StructConstructorSpec | None:
        kind: Any = info.type
        ours = is_dataclass(kind) and not kind.__module__.startswith("tyro.")
        return _in_boxes(kind) if ours else None

    @registry.primitive_rule
    def word(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        either = get_args(info.type) if info.type_origin in (Union, UnionType) else (info.type,)
        kinds, choices = [kind for kind in either if kind is not NoneType], None
        if all(get_origin(kind) is Literal for kind in kinds):
            by_word = {str(value): value for kind in kinds for value in get_args(kind)}
            choices = _Words(by_word)
            metavar, read = f"{{{','.join(by_word)}}}", by_word.__getitem__
        elif info.type in _KINDS:
            metavar, read = _KINDS[info.type]
        else:
            return None
        return PrimitiveConstructorSpec(
            nargs=1, metavar=metavar, instance_from_str=lambda texts: read(texts[0]),
            is_instance=lambda value: choices is not None or isinstance(value, info.type),
            str_from_instance=lambda value: [] if value is None else [str(value)], choices=choices,
        )  # fmt: skip

    return registry


def _path(text: str) -> Path:
    """An empty one would be the folder where the command runs: `--output "$UNSET"`."""
    if not visible(text).strip():
        raise ValueError("a name is empty; is a variable of the shell not set?")
    if text == "-":
        raise ValueError("'-' is no file; give the name of one")
    return Path(text)


def _number(kind: type[float], text: str) -> float:
    try:
        return kind(text)
    except ValueError as error:
        what = "a whole number" if kind is int else "a number"
        raise ValueError(f"{text!r} is not {what}") from error


_KINDS: dict[Any, tuple[str, Callable[[str], Any]]] = {
    int: ("N", partial(_number, int)),
    int | None: ("N", partial(_number, int)),
    float: ("NUMBER", partial(_number, float)),
    float | None: ("NUMBER", partial(_number, float)),
    str: ("TEXT", str),
    str | None: ("NAME", str),
    Path: ("PATH", _path),
    Path | None: ("FILE", _path),
}
"""How the help calls a value of a type, and what reads one."""
