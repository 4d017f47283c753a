"""Fixtures of the tests of several commands."""

import functools
import json
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import pytest

from helpers.commands import run_command
from helpers.scenes import write_folders
from tfsasm.video.source import open_video
from tfsasm.video.writer import VideoWriter


@pytest.fixture
def result(track, tmp_path):
    """Bytes of the MOT file of a good run."""

    def make(*flags, name="result.txt", **options):
        path = tmp_path / name
        outcome = track(*flags, mot_output=path, overwrite=None, **options)
        assert outcome.code == 0, outcome.err
        return path.read_bytes()

    return make


@pytest.fixture(scope="session")
def usual(scene, small_weights, tmp_path_factory):
    """Bytes of the MOT file of the scene under a preset, up to frame `end`; each is made once."""

    @functools.cache
    def whole(preset):
        path = tmp_path_factory.mktemp("usual") / "o.txt"
        outcome = run_command(
            "track", scene.folder, "--detections", scene.detections, "--weights", small_weights,
            "--preset", preset, "--mot-output", path, "--quiet",
        )  # fmt: skip
        assert outcome.code == 0, outcome.err
        return path.read_bytes().splitlines(keepends=True)

    def make(preset="paper", end=12):
        return b"".join(row for row in whole(preset) if int(row.partition(b",")[0]) <= end)

    return make


@pytest.fixture
def clips(scene, tmp_path):
    """A folder of three short sequences."""
    return write_folders(scene, tmp_path / "clips")


class Evaluated(NamedTuple):
    """A run of `evaluate`. For tests that only read it."""

    clips: Path
    folder: Path
    files: dict[str, bytes]
    """The result of each sequence."""
    scores: dict[str, Any]
    """What is in scores.json."""


@pytest.fixture(scope="session")
def evaluated(scene, small_weights, tmp_path_factory):
    """Three short sequences by the small network and the paper's method."""
    place = tmp_path_factory.mktemp("evaluated")
    clips, folder = write_folders(scene, place / "clips"), place / "out"
    outcome = run_command(
        "evaluate", "--root", clips, "--weights", small_weights, "--preset", "paper",
        "--output", folder, "--quiet",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    results = {path.stem: path.read_bytes() for path in sorted(folder.glob("*.txt"))}
    return Evaluated(clips, folder, results, json.loads((folder / "scores.json").read_text()))


@pytest.fixture(scope="session")
def people(tmp_path_factory):
    """The first frames of the demo's clip, small."""
    path = tmp_path_factory.mktemp("people") / "people.mp4"
    clip = str(files("tfsasm") / "clips" / "people.mp4")
    with open_video(clip, end=10) as frames, VideoWriter(path, 25) as video:
        for frame in frames:
            video.write(cv2.resize(frame.image, (408, 720), interpolation=cv2.INTER_AREA))
    return path
