"""JSON files and their fields, checked; what is wrong is said in JSON's words, not in Python's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfsasm.errors import InputError
from tfsasm.motchallenge import read_text

_FLAGS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}

_WHAT = {str: "text", list: "a list", dict: "an object", int: "a whole number"}

_LARGEST = 1e300  # whole numbers may be larger than any float; never true of NaN

_WORDS = {"Expecting value": "wanted is a value", "Expecting": "wanted is"}


def read_json(path: Path | str) -> Any:
    """What a JSON file holds. Raises `InputError` naming file, line and column of the damage."""
    text = read_text(path)
    try:
        return parsed(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}:{error.colno}: {not_json(error)}") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def parsed(text: str) -> Any:
    """What a JSON text means. Raises `ValueError`, or its kind `JSONDecodeError` with the place."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    except ValueError as error:  # Python refuses whole numbers of thousands of digits
        raise ValueError("not valid JSON: a number is too long") from error


def not_json(error: json.JSONDecodeError) -> str:
    """What is wrong with a JSON text at the place of an error."""
    if error.pos >= len(error.doc.rstrip()):
        return f"not valid JSON: it {'ends too early' if error.doc.strip() else 'is empty'}"
    reason = f"{error.msg[0].lower()}{error.msg[1:]}"
    for word, ours in _WORDS.items():
        reason = reason.replace(word.lower(), ours)
    return f"not valid JSON: {reason}"


def field(entry: Any, key: str, kind: type) -> Any:
    """`entry[key]`. Raises `ValueError` if there is none, or none of that kind."""
    if not isinstance(entry, dict):
        raise ValueError(f"{shown(entry)} is not an object")
    if key not in entry:
        raise ValueError(f"{key} is missing")
    return checked(entry[key], key, kind)


def checked(value: Any, what: str, kind: type) -> Any:
    """`value` if it is of that kind. Raises `ValueError`."""
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise ValueError(f"{what} is {shown(value)}, not {_WHAT[kind]}")


def identity(entry: Any, key: str) -> str:
    """A name or a number, as text. Raises `ValueError` as `field` does."""
    if isinstance(entry, dict) and isinstance(entry.get(key), int):
        entry = {key: str(entry[key])}
    return str(field(entry, key, str))


def number_or_name(entry: Any, key: str) -> int | str:
    """`entry[key]`, a whole number or text, as written. Raises `ValueError` as `field` does."""
    if isinstance(entry, dict) and isinstance(value := entry.get(key), int | str):
        if not isinstance(value, bool):
            return value
        raise ValueError(f"{key} is {shown(value)}, neither a whole number nor text")
    return str(field(entry, key, str))


def flag(value: Any, what: str) -> bool:
    """True or false, also written as text or number; nothing is false. Raises `ValueError`."""
    if value is None or isinstance(value, bool):
        return bool(value)
    if (found := _FLAGS.get(str(value).strip().lower())) is None:
        raise ValueError(f"{what} is {shown(value)}, neither true nor false")
    return found


def numbers(values: Sequence[Any], what: str) -> list[float]:
    """Finite numbers. Raises `ValueError` if one of them is none."""
    if not all(type(value) in (int, float) and abs(value) <= _LARGEST for value in values):
        wrong = shown(list(values)) if len(values) > 1 else shown(values[0])
        wanted = f"{len(values)} numbers" if len(values) > 1 else "a number"
        raise ValueError(f"{what} is {wrong}, not {wanted}")
    return [float(value) for value in values]


def shown(value: Any) -> str:
    """A value as its file has it, shortened."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
