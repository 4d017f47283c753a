"""Pictures of many scores. SVG keeps every text as a comment, so it can be read."""

import re

import numpy as np
import pytest

from tfsasm.errors import InputError
from tfsasm.evaluation.plots import Slice, plot_slices, plot_tradeoff

POINTS = {"sort": (0.5, 48.1), "ocsort": (1.0, 51.6), "tfsasm": (80.0, 55.04)}
SLICE = Slice("capacity", ("0", "5", "10"), "travel", ("0", "0.1"),
              np.array([[50.0, 51.0, 52.0], [53.0, 54.5, 49.0]]), "overlap_with all")  # fmt: skip


def texts(path):
    return re.findall(r"<!-- (.*?) -->", path.read_text())


def test_every_tracker_is_named_with_its_score_and_time(tmp_path):
    plot_tradeoff(POINTS, tmp_path / "p.svg", "dancetrack, 3 sequences")
    told = texts(tmp_path / "p.svg")
    assert {"sort  48.1, 0.5 ms", "tfsasm  55.0, 80 ms", "dancetrack, 3 sequences"} <= set(told)
    assert [text for text in told if " ms" in text][0].startswith("tfsasm")  # noqa: RUF015


@pytest.mark.parametrize("count", [1, 14])
def test_few_or_many_trackers(tmp_path, count):
    plot_tradeoff({str(n): (1.0 + n, 50.0) for n in range(count)}, tmp_path / "p.svg")
    assert sum(" ms" in text for text in texts(tmp_path / "p.svg")) == count


def test_every_cell_has_its_score(tmp_path):
    plot_slices([SLICE], tmp_path / "s.svg", "15 sequences")
    told = texts(tmp_path / "s.svg")
    assert {"50.0", "51.0", "52.0", "53.0", "54.5", "49.0"} <= set(told)
    assert {"capacity", "travel", "overlap_with all", "15 sequences", "HOTA"} <= set(told)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_slices_stand_side_by_side(tmp_path, count):
    plot_slices([SLICE] * count, tmp_path / "s.svg")
    assert texts(tmp_path / "s.svg").count("54.5") == count


def test_scores_that_are_all_alike_can_be_drawn(tmp_path):
    plot_slices([Slice("a", ("0", "1"), "", ("",), np.full((1, 2), 50.0))], tmp_path / "s.png")
    assert (tmp_path / "s.png").stat().st_size > 5000


@pytest.mark.parametrize("draw", [
    pytest.param(lambda path: plot_tradeoff(POINTS, path), id="trade-off"),
    pytest.param(lambda path: plot_slices([SLICE], path), id="slices"),
])
def test_another_kind_of_file_is_refused(tmp_path, draw):
    with pytest.raises(InputError, match=r"is not a picture .* \.png, \.pdf, \.svg"):
        draw(tmp_path / "p.txt")
