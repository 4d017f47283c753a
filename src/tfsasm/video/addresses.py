"""Addresses as they may be shown: without user, password, and what their parameters say.

What is secret in a parameter is not known by its name (`?jwt=`, `?streamid=`, `/user=admin&pin=`),
so small numbers are shown alone, such as those of a channel.
"""

import logging
import re
from urllib.parse import urlsplit

from tfsasm.errors import visible

_MISTYPED = "(?i:rtsps?|rtmps?|https?|srt):"  # without a slash

_ADDRESS = re.compile(  # with one slash as Path writes it
    rf"([A-Za-z][A-Za-z0-9+.-]+:/{{1,2}}|{_MISTYPED})(.+)", re.DOTALL
)

_IN_TEXT = re.compile(rf"\b([A-Za-z][A-Za-z0-9+.-]+:/|{_MISTYPED}[^\s'\"|]*@)[^\s'\"|]+")

_HOST = re.compile(r"(\[[^\]]*\]|[^:]*)(:\d*)?")

_FRAME = re.compile(r"(.*?)(#\d+)?", re.DOTALL)

_END = r"(?=[:,.)]*(?:[&;/?#]|$))"  # what follows in a sentence is no part of a value

_OF_PATH = re.compile(rf"(=)([^&;/]+?){_END}")

_OF_QUERY = re.compile(rf"(?<=[?&;#/])([^=&;?#/]*=|)([^&;?#/]+?){_END}")

_SMALL = re.compile(r"\d{1,3}|\*\*\*")


def public_address(address: str) -> str:
    """An address without what must not be shown. Paths of files, and other text, as they are."""
    found = _ADDRESS.fullmatch(address)
    if found is None or found[1].lower().startswith("file:"):
        return address
    place, frame = _FRAME.fullmatch(found[2]).groups("")  # type: ignore[union-attr]
    place = place[_user(place) :]
    path = re.split(r"[?#]", place, maxsplit=1)[0]
    public = _OF_PATH.sub(_hidden, path) + _OF_QUERY.sub(_hidden, place[len(path) :])
    return found[1] + public + frame


def local_name(source: str) -> str:
    """The path that a `file://` address names; any other source as it is."""
    if not source.startswith("file://"):
        return source
    from urllib.request import url2pathname  # which brings all of HTTP along

    return url2pathname(urlsplit(source).path)


def public_text(text: str) -> str:
    """A text that may hold addresses, such as a message, with each as it may be shown."""
    return _IN_TEXT.sub(lambda found: public_address(found[0]), text) if ":" in text else text


class PublicFormatter(logging.Formatter):
    """Log records with control characters written out, and addresses as they may be shown."""

    def format(self, record: logging.LogRecord) -> str:
        """The text of a record."""
        return public_text(visible(super().format(record)))


def _user(place: str) -> int:
    """Characters of user and password, up to the host; a password may hold all kinds of them."""
    path = re.split(r"[?#]", place, maxsplit=1)[0]
    host = path.split("/", maxsplit=1)[0]
    return (path if "@" in path or _HOST.fullmatch(host) else place).rfind("@") + 1


def _hidden(found: re.Match[str]) -> str:
    name, value = found.groups()
    return name + (value if _SMALL.fullmatch(value) else "***")
