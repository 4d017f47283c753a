"""What the package raises when a user can mend the cause.

The command line prints these as one line and exits with a code; anything else is a defect of ours.
"""

import re
from collections.abc import Callable, Sequence


class TfsasmError(Exception):
    """Base of every error that is a message to the user rather than a defect."""


class InputError(TfsasmError, ValueError):
    """A file, line, frame or setting that cannot be used. The message says which, and the mend."""


class WeightsError(TfsasmError, ValueError):
    """A checkpoint that is unreadable, unsafe or does not fit the network."""


class TruncatedInput(TfsasmError):
    """A source ended early. What came before is good; raised after the last good frame."""


# Controls, and what turns the direction of the text around it.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")

ErrorHandler = Callable[[InputError], None]


def raise_error(error: InputError) -> None:
    """Raise it: what readers of many entries do with a bad one unless told otherwise."""
    raise error


def visible(text: str) -> str:
    """`text` with the characters that a terminal would obey written out: `\\x1b[2J`.

    Lines and tabs stay; so does everything that is seen.
    """
    return _OBEYED.sub(lambda found: repr(found[0])[1:-1], text)


def first_few(
    texts: Sequence[str], most: int = 3, between: str = ", ", count: int | None = None
) -> str:
    """What a message lists, the first `most` if there are many, and how many more.

    `count` is their number where not all are in `texts`.
    """
    count = len(texts) if count is None else count
    more = f" and {count - most} more" if count > most else ""
    return between.join(texts[:most]) + more
