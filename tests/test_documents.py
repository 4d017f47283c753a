"""Examples in documents do what they say."""

import contextlib
import io
import re
from importlib.resources import files
from pathlib import Path

import pytest

from tfsasm.video.source import open_video
from tfsasm.video.writer import VideoWriter

DOCS = Path(__file__).parents[1] / "docs"


def test_the_example_of_the_memory_runs():
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "memory.md").read_text(), re.S)
    assert len(code.splitlines()) <= 45
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert printed.getvalue() == "[0 1 2]\n"


def test_the_example_of_the_page_runs(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "page.md").read_text(), re.S)
    people = files("tfsasm") / "clips" / "people.mp4"
    with open_video(str(people), end=24) as frames, VideoWriter(tmp_path / "video.mp4", 60) as clip:
        for frame in frames:
            clip.write(frame.image)
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert "stored in 11: waited, dropped in None" in printed.getvalue()
    assert "Match(frame=24," in printed.getvalue()


@pytest.mark.parametrize("document", sorted({*DOCS.glob("*.md"), *DOCS.parent.glob("*.md")}),
                         ids=lambda path: path.name)  # fmt: skip
def test_links_lead_somewhere(document):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    missing = [link for link in links if not (document.parent / link).exists()]
    assert not missing
