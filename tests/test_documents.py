"""What documents say is so: snippets and commands run, options exist, links lead somewhere.

A block ```sh or ```python is run in a folder that has `video.mp4` and two videos in `clips/`, each
page's blocks after one another. What cannot run says so in the line before its fence:
`<!-- not run: it needs a camera -->`; what takes long is marked `<!-- slow -->`. Blocks without a
language are measurements on real data: of those, the commands are parsed.
"""

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import supervision as sv

from helpers.documents import ROOT, blocks, documents
from tfsasm import open_video
from tfsasm.cli import main
from tfsasm.detection.proposals import Proposals
from tfsasm.video.writer import VideoWriter

RUN = ("sh", "python")
FRAMES = 3
SIDES = 272, 480  # smaller than documents say, and as good
UNPARSED = {"...", "--help", "--version", "--tyro-print-completion"}
"""Words of commands that have no options to be checked."""

DOCUMENTS = documents()
WITH_CODE = [path for path in DOCUMENTS if any(block.language in RUN for block in blocks(path))]
WITH_SLOW = [path for path in WITH_CODE if any(block.mark == "slow" for block in blocks(path))]


def named(path):
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="session")
def videos(tmp_path_factory):
    """The clip of the package, short and small, as `video.mp4`; two copies in `clips/`."""
    folder = tmp_path_factory.mktemp("videos")
    clip = ROOT / "src/tfsasm/clips/people.mp4"
    with open_video(clip, end=FRAMES) as frames, VideoWriter(folder / "video.mp4", 25) as video:
        for frame in frames:
            video.write(cv2.resize(frame.image, SIDES, interpolation=cv2.INTER_AREA))
    (folder / "clips").mkdir()
    for name in ("one", "two"):
        shutil.copy(folder / "video.mp4", folder / "clips" / f"{name}.mp4")
    return folder


@pytest.fixture
def place(videos, tmp_path, monkeypatch):
    """A folder with the videos, which is the current one and the home."""
    shutil.copytree(videos, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for home in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(home, str(tmp_path))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def run_blocks(document, tfsasm, *, slow):
    for block in blocks(document):
        if block.language not in RUN or block.mark.startswith("not run: "):
            continue
        if block.mark == "slow" and not slow:
            continue
        if block.language == "python":
            exec(compile(block.code, block.place, "exec"), at_hand())
        for command in block.commands if block.language == "sh" else []:
            typed, _, file = command.partition(" > ")
            words = shlex.split(typed, comments=True)
            if words[0] != "tfsasm":
                subprocess.run(["bash", "-ec", command], check=True, timeout=300)
                continue
            outcome = tfsasm(*words[1:])
            assert not outcome.code, f"{block.place}: {command}\n{outcome.err}"
            if file:
                Path(file).expanduser().write_text(outcome.out, encoding="utf-8")


def at_hand():
    """What a reader has already, by the names that documents give it: a frame and its boxes."""
    image, xyxy, scores = np.zeros((120, 160, 3), np.uint8), np.array([[10.0, 10, 60, 110]]), [0.9]
    detections = sv.Detections(xyxy, confidence=np.array(scores))
    return {
        "frame": image, "image": image, "width": 160, "height": 120, "frames": [image],
        "xyxy": xyxy, "scores": np.array(scores), "detections": detections,
        "proposals": Proposals.from_xyxy(xyxy, scores, 160, 120),
    }  # fmt: skip


@pytest.mark.parametrize("document", WITH_CODE, ids=named)
def test_what_a_document_tells_to_type_runs(document, place, tfsasm):
    run_blocks(document, tfsasm, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("document", WITH_SLOW, ids=named)
def test_what_takes_long_runs_too(document, place, tfsasm):
    run_blocks(document, tfsasm, slow=True)


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_marks_are_known_and_give_a_reason(document):
    marks = [block.mark for block in blocks(document) if block.mark]
    assert all(mark == "slow" or re.fullmatch("not run: .{8,}", mark) for mark in marks), marks


@pytest.mark.parametrize("document", WITH_CODE, ids=named)
def test_what_is_not_run_is_python_all_the_same(document):
    for block in blocks(document):
        if block.language == "python":
            compile(block.code, block.place, "exec")


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_commands_have_the_options_that_documents_give_them(document):
    """Whether they are run or not. `[...]` around options means that they may be left out."""
    for block in blocks(document):
        for command in block.commands if block.language in ("", "sh") else []:
            words = shlex.split(re.sub(r"[][]|>.*", "", command), comments=True)
            if words[0] == "tfsasm" and not UNPARSED.intersection(words):
                main.parse(words[1:])


def test_the_example_of_the_memory_prints_what_it_says():
    (block,) = (block for block in blocks(ROOT / "docs/memory.md") if block.language == "python")
    assert len(block.code.splitlines()) <= 45
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(block.code, {})
    assert printed.getvalue() == "[0 1 2]\n"


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_links_lead_somewhere(document):
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    missing = [link for link in links if not source_of(document.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_files_of_this_project_that_a_document_names_are_there(document):
    text = document.read_text(encoding="utf-8")
    files = re.findall(r"\b(?:tests|benchmarks|src|docs|fuzz)/[\w./-]*\w", text)
    assert not [name for name in files if not any(ROOT.glob(f"{name}*"))]


def source_of(page):
    """The file that a page of the site is made from, which is itself but for docs/hooks.py's."""
    if page.parent.name == "commands":
        return ROOT / "src/tfsasm/cli" / f"{page.stem.replace('index', 'main')}.py"
    if page.parent.name == "notebooks":
        return page.with_suffix(".ipynb")
    if page.name == "settings.md":
        return ROOT / "src/tfsasm/settings.py"
    return page
