"""Which tracker `tfsasm track` takes, and what its files say."""

import json
import threading

import numpy as np
import pytest

from helpers.scenes import write_detections, write_images
from tfsasm.motrv2.fast import kernels

LINES = [
    [f"{20 + 4 * frame + 150 * person},30,24,60,0.9" for person in range(2)] for frame in range(6)
]


@pytest.fixture
def walk(tfsasm, tmp_path):
    """`tfsasm track` on two people who walk side by side."""
    images = write_images(tmp_path / "img1", [np.full((120, 320, 3), 90, np.uint8)] * 6)
    boxes = write_detections(tmp_path / "det.txt", LINES)

    def run(*flags):
        return tfsasm("track", "--source", images, "--detections", boxes, "--quiet", *flags)

    return run


@pytest.mark.parametrize("embedder", ["hist", "none"])
def test_the_appearance_tracker_needs_no_weights(walk, tmp_path, embedder):
    outcome = walk(
        "--tracker", "appearance", "--embedder", embedder, "--set", "match.hits=1",
        "--mot-output", tmp_path / "o.txt", "--json-output", tmp_path / "o.json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    rows = [line.split(",") for line in (tmp_path / "o.txt").read_text().splitlines()]
    assert {row[1] for row in rows} == {"1", "2"}
    about = json.loads((tmp_path / "o.json").read_text())["about"]
    assert about["embedder"] == embedder
    assert about["method"]["match"]["hits"] == 1


@pytest.mark.parametrize(("flags", "part"), [
    pytest.param(["--embedder", "hist"], "--embedder is for --tracker appearance", id="query"),
    pytest.param(["--tracker", "appearance", "--short-side", "200"],
                 "--short-side is for --tracker query", id="appearance"),
    pytest.param(["--tracker", "appearance", "--set", "match.hots=1"], "no setting 'match.hots'",
                 id="no such setting"),
    pytest.param(["--tracker", "appearance", "--embedder", "osnet"], "--embedder-weights FILE",
                 id="no weights"),
])  # fmt: skip
def test_options_that_do_not_fit_are_explained(walk, tmp_path, flags, part):
    outcome = walk("--mot-output", tmp_path / "o.txt", *flags)
    assert outcome.code == 2
    assert part in " ".join(outcome.err.split())


@pytest.mark.parametrize("method", ["default", "released"])
def test_kernels_are_compiled_where_a_signal_can_stop_it(
    walk, small_weights, tmp_path, monkeypatch, method
):
    """Not in the thread of the first frame, for whose compiler Ctrl-C and `kill` would wait."""
    asked, real = [], kernels.library
    monkeypatch.setattr(kernels, "library", lambda: asked.append(threading.get_ident()) or real())
    outcome = walk(
        "--weights", small_weights, "--preset", method, "--mot-output", tmp_path / "o.txt"
    )
    assert outcome.code == 0, outcome.err
    assert asked[0] == threading.get_ident()
    assert set(asked) != {threading.get_ident()}
