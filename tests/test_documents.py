"""Examples in documents do what they say."""

import contextlib
import io
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def test_the_example_of_the_memory_runs():
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "memory.md").read_text(), re.S)
    assert len(code.splitlines()) <= 45
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert printed.getvalue() == "[0 1 2]\n"


@pytest.mark.parametrize("document", sorted({*DOCS.glob("*.md"), *DOCS.parent.glob("*.md")}),
                         ids=lambda path: path.name)  # fmt: skip
def test_links_lead_somewhere(document):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    missing = [link for link in links if not (document.parent / link).exists()]
    assert not missing
