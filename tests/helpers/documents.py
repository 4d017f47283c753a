"""The fenced blocks of the documents, and the commands in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]*) -->\n)?```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    document: Path
    line: int
    """Of its first line of code, from 1."""
    language: str
    code: str
    mark: str
    """`slow`, `not run: REASON`, or nothing; an HTML comment in the line before the fence."""

    @property
    def place(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """Its lines without comments, those that end in a backslash joined with the next."""
        lines = re.sub(r"\\\n\s*", "", self.code).splitlines()
        return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def documents() -> list[Path]:
    """All documents of the repository and of the site, but those that are made when it is built."""
    return sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")})


def blocks(document: Path) -> list[Block]:
    text = document.read_text(encoding="utf-8")
    return [
        Block(document, text.count("\n", 0, found.start("code")) + 1, found["language"],
              found["code"], found["mark"] or "")
        for found in _FENCE.finditer(text)
    ]  # fmt: skip
