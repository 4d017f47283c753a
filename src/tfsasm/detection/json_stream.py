"""A large JSON file entry by entry: as strict as `json.loads`, in the memory of a few megabytes.

The standard library's own scanner parses the entries, in C, on a window that moves over the file.
Where it finds the end of the window instead of the end of an entry, the window grows.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

from tfsasm.errors import InputError

_WINDOW = 1 << 20  # bytes read at once

_LONGEST = 1 << 24  # characters of one entry; a file that has more in one is not what it should be

_EXPONENT = len("e+")  # what may follow a number before it goes on

_SPACE = re.compile(r"[ \t\n\r]*")

_decode = json.JSONDecoder().raw_decode


class Entry(NamedTuple):
    """One pair of a JSON object."""

    key: str
    value: Any
    start: int
    """Where it begins in the file, in bytes."""
    stop: int
    """Where it ends."""


def object_entries(
    path: Path | str, *, wanted: str = "one object", window: int = _WINDOW
) -> Iterator[Entry]:
    """The pairs of the object that a file is, in its order. Keys may repeat.

    `wanted` ends the message for a file that is something else. Raises `InputError` for a file
    that cannot be read, is not UTF-8 (by byte), not JSON (by line and column) or no object.
    """
    with _opened(path) as file:
        reader = _Reader(file, path, window)
        if reader.peek() != "{":
            reader.refuse(wanted)
        for _ in reader.inside("}"):
            if reader.peek() != '"':
                reader.fail("Expecting property name enclosed in double quotes")
            start = reader.byte
            key = reader.value()
            if reader.peek() != ":":
                reader.fail("Expecting ':' delimiter")
            reader.step()
            reader.peek()
            yield Entry(key, reader.value(), start, reader.byte)


def array_items(
    path: Path | str, *, wanted: str = "one array", window: int = _WINDOW
) -> Iterator[Any]:
    """The items of the array that a file is, in its order. Raises as `object_entries` does."""
    with _opened(path) as file:
        reader = _Reader(file, path, window)
        if reader.peek() != "[":
            reader.refuse(wanted)
        for _ in reader.inside("]"):
            reader.peek()
            yield reader.value()


def first_character(path: Path | str) -> str:
    """What a file begins with, blanks and a byte order mark apart; `""` for an empty one."""
    with _opened(path) as file:
        return file.read(256).removeprefix(codecs.BOM_UTF8).lstrip()[:1].decode("latin-1")


def _opened(path: Path | str) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder; give a file") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


class _Reader:
    """Where we are in the file. `byte` is the place of the next character."""

    def __init__(self, file: BinaryIO, path: Path | str, window: int) -> None:
        self.byte = 0
        self._file, self._path, self._window = file, path, window
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._fed = 0  # bytes given to the decoder
        self._text, self._at = "", 0
        self._line, self._column = 1, 1  # of the window's first character
        self._ended = False
        while not self._text and self._more():
            pass
        if self._text.startswith("\ufeff"):
            self._advance(1)
            self._drop()
            self._column = 1

    def peek(self) -> str:
        """The next character that is no blank, not consumed; `""` at the end."""
        while True:
            blank = _SPACE.match(self._text, self._at)
            self._advance(blank.end() if blank else self._at)
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def step(self) -> None:
        """Consume one character."""
        self._advance(self._at + 1)

    def value(self) -> Any:
        """The JSON value that begins here."""
        while True:
            at = self._at
            try:
                value, end = _decode(self._text, at)
            except json.JSONDecodeError as error:
                if not self._more():
                    self.fail(error.msg, error.pos - at)  # the window begins here now
            except (ValueError, RecursionError) as error:  # huge numbers, deep nesting
                raise InputError(f"{self._path} is not a detection JSON: {error}") from error
            else:
                near = not self._ended and len(self._text) - end <= _EXPONENT
                if near and isinstance(value, int | float):
                    self._more()  # the number may go on
                    continue
                self._advance(end)
                return value

    def inside(self, end: str) -> Iterator[None]:
        """One turn for each entry of the object or array that begins here, up to the file's end."""
        self.step()
        if self.peek() != end:
            yield
            while (mark := self.peek()) != end:
                if mark != ",":
                    self.fail("Expecting ',' delimiter")
                self.step()
                yield
        self.step()
        if self.peek():
            self.fail("Extra data")

    def refuse(self, wanted: str) -> NoReturn:
        """Say what the file is instead of what was wanted."""
        kind = {"{": "dict", "[": "list"}.get(self.peek())
        while self._more():
            pass
        if self._ended or kind is None:  # otherwise it is too long to look at the whole
            kind = type(self.value()).__name__
            if self.peek():
                self.fail("Extra data")
        raise InputError(f"{self._path} is one JSON {kind}; wanted is {wanted}")

    def fail(self, problem: str, at: int | None = None) -> NoReturn:
        """Raise `InputError` for what is at `at` in the window, or here."""
        line, column = self._place(self._at if at is None else at)
        if not self._ended and len(self._text) - self._at >= _LONGEST:
            problem += f" within {_LONGEST:,} characters"
        raise InputError(f"{self._path}:{line}:{column}: not valid JSON: {problem}")

    def _more(self) -> bool:
        """Read on, at least as much again as is still unread; False at the end."""
        self._drop()
        if self._ended or len(self._text) >= _LONGEST:
            return False
        data = self._file.read(max(self._window, len(self._text)))
        self._ended = not data
        held = len(self._decoder.getstate()[0])  # the beginning of a character
        try:
            self._text += self._decoder.decode(data, final=self._ended)
        except UnicodeDecodeError as error:
            place = self._fed - held + error.start
            raise InputError(
                f"{self._path} is not text (byte {place} is not UTF-8); save it as UTF-8"
            ) from error
        self._fed += len(data)
        return not self._ended

    def _advance(self, to: int) -> None:
        passed = to - self._at
        if passed and not self._text.isascii():
            passed = len(self._text[self._at : to].encode())
        self.byte += passed
        self._at = to

    def _drop(self) -> None:
        """Forget what was consumed."""
        self._line, self._column = self._place(self._at)
        self._text, self._at = self._text[self._at :], 0

    def _place(self, index: int) -> tuple[int, int]:
        """Line and column, from 1, of a character of the window."""
        lines = self._text.count("\n", 0, index)
        if not lines:
            return self._line, self._column + index
        return self._line + lines, index - self._text.rindex("\n", 0, index)
