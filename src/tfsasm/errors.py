"""What the package raises when a user can mend the cause.

The command line prints these as one line and exits with a code; anything else is a defect of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence


class TfsasmError(Exception):
    """Base of every error that is a message to the user rather than a defect."""


class InputError(TfsasmError, ValueError):
    """A file, line, frame or setting that cannot be used. The message says which, and the mend."""


class WeightsError(TfsasmError, ValueError):
    """A checkpoint that is unreadable, unsafe or does not fit the network."""


class TruncatedInput(TfsasmError):
    """A source ended early. What came before is good; raised after the last good frame."""


ErrorHandler = Callable[[InputError], None]


def raise_error(error: InputError) -> None:
    """Raise it: what readers of many entries do with a bad one unless told otherwise."""
    raise error


def first_few(texts: Sequence[str], most: int = 3, between: str = ", ") -> str:
    """What a message lists, the first `most` if there are many, and how many more."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return between.join(texts[:most]) + more
