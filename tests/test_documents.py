"""Examples in documents do what they say."""

import contextlib
import io
import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def test_the_example_of_the_memory_runs():
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "memory.md").read_text(), re.S)
    assert len(code.splitlines()) <= 45
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert printed.getvalue() == "[0 1 2]\n"
