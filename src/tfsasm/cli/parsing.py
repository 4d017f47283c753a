"""What tyro is given of a command's options, so that it addresses users rather than programmers.

Options of long commands stand in boxes, everyday ones first; nothing is called None or False.
"""

import ast
import inspect
import math
import sys
from collections.abc import Callable
from dataclasses import MISSING, field, fields, is_dataclass, make_dataclass, replace
from functools import cache, partial, reduce
from itertools import pairwise
from operator import or_
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    UnsupportedTypeAnnotationError,
)  # fmt: skip

from tfsasm.errors import InputError

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

_OPTIONAL: dict[Any, str] = {Path: "FILE", str: "NAME"}
"""How the help calls a value that need not be given, where it is not called as any other."""

_annotated: Any = Annotated  # hints are made here, which type checkers do not follow

_LONG = 12  # options from which a command's help has boxes


class _Words(tuple[str, ...]):
    """Choices that a message lists in words."""

    __slots__ = ()

    def __str__(self) -> str:
        return ", ".join(self)


@cache
def form(kind: type) -> Any:
    """What tyro parses for a class of options; `filled` makes the options of what it returns."""
    titles = {name: title for title, group in GROUPS.items() for name in group}
    docs, hints = _explanations(kind), get_type_hints(kind, include_extras=True)
    boxes = dict[str, list[tuple[str, Any, Any]]]({title: [] for title in ("", *GROUPS)})
    for one in fields(kind):
        says_nothing = one.default in (MISSING, None, (), "") or one.default is False
        hint = _annotated[_inner(hints[one.name]), tyro.conf.arg(
            help=docs[one.name],
            help_behavior_hint="" if says_nothing else "(default: {})".format,
        )]  # fmt: skip
        title = titles.get(one.name, "") if len(fields(kind)) >= _LONG else ""
        boxes[title].append((one.name, hint, field(default=one.default)))
    everyday = boxes.pop("")
    for title, group in boxes.items():
        if group:
            box = make_dataclass(title.title().replace(" ", ""), group, kw_only=True)
            box.__doc__ = ""
            named = _annotated[box, tyro.conf.arg(name=title, help="")]
            everyday.append((f"box {title}".replace(" ", "_"), named, field()))
    made = make_dataclass(kind.__name__, everyday, kw_only=True, namespace={"made_for": kind})
    made.__doc__ = kind.__doc__
    return _annotated[made, tyro.conf.OmitArgPrefixes]


def filled(parsed: Any) -> Any:
    """The options of a parsed `form`."""
    if not hasattr(parsed, "made_for"):
        return parsed
    values = dict[str, Any]()
    for name, value in vars(parsed).items():
        values |= vars(value) if name.startswith("box_") else {name: filled(value)}
    return parsed.made_for(**values)


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


def _inner(hint: Any) -> Any:
    """A hint with the forms of the classes of options in it, those of a command's own commands."""
    if is_dataclass(hint) and isinstance(hint, type):
        return form(hint)
    if get_origin(hint) is Annotated:
        kind, *more = get_args(hint)
        return reduce(lambda made, one: _annotated[made, one], more, _inner(kind))
    if get_origin(hint) in (Union, UnionType):
        return reduce(or_, map(_inner, get_args(hint)))
    return hint


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
    """How values are read, so that one that is none is answered in words."""
    registry = ConstructorRegistry()

    @registry.primitive_rule
    def word(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        choices = None
        if info.type_origin is Literal:
            by_word = {str(value): value for value in get_args(info.type)}
            choices = _Words(by_word)
            metavar, read = f"{{{','.join(by_word)}}}", by_word.__getitem__
            kind: Any = tuple(map(type, by_word.values()))
        elif info.type in _KINDS:
            metavar, read, kind = _KINDS[info.type]
        else:
            return None
        return PrimitiveConstructorSpec(
            nargs=1, metavar=metavar, instance_from_str=lambda texts: read(texts[0]),
            is_instance=lambda value: isinstance(value, kind) and not isinstance(value, bool),
            str_from_instance=lambda value: [str(value)], choices=choices,
        )  # fmt: skip

    @registry.primitive_rule
    def optional(
        info: PrimitiveTypeInfo,
    ) -> PrimitiveConstructorSpec[Any] | UnsupportedTypeAnnotationError | None:
        kinds = [kind for kind in get_args(info.type) if kind is not NoneType]
        if info.type_origin not in (Union, UnionType) or NoneType not in get_args(info.type):
            return None
        kind = reduce(or_, kinds)
        if all(get_origin(one) is Literal for one in kinds):
            kind = Literal[tuple(word for one in kinds for word in get_args(one))]
        spec = ConstructorRegistry.get_primitive_spec(
            PrimitiveTypeInfo.make(raw_annotation=kind, parent_markers=info.markers)
        )
        if isinstance(spec, UnsupportedTypeAnnotationError):
            return spec
        return replace(
            spec, metavar=_OPTIONAL.get(kind, spec.metavar),
            is_instance=lambda value: value is None or spec.is_instance(value),
            str_from_instance=lambda value: (
                [] if value is None else spec.str_from_instance(value)
            ),
        )  # fmt: skip

    return registry


def _path(text: str) -> Path:
    """An empty one would be the folder where the command runs: `--output "$UNSET"`."""
    if not text.strip():
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


_KINDS: dict[Any, tuple[str, Callable[[str], Any], Any]] = {
    int: ("N", partial(_number, int), int),
    float: ("NUMBER", partial(_number, float), int | float),
    str: ("TEXT", str, str),
    Path: ("PATH", _path, Path),
}
"""How the help calls a value of a type, what reads one, and what it is then."""
