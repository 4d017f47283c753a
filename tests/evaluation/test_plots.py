"""Plots. SVG keeps every text as a comment, so it can be read."""

import re
from functools import cache

import cv2
import numpy as np
import pytest

from helpers.walks import flawed, walk
from tfsasm.errors import InputError
from tfsasm.evaluation.bdd100k import Labels, score_classes
from tfsasm.evaluation.metrics import score
from tfsasm.evaluation.plots import (
    Slice,
    plot_columns,
    plot_curves,
    plot_slices,
    plot_stages,
    plot_tradeoff,
)

TRUTH = walk(20, 3, 2)
POINTS = {"sort": (0.5, 48.1), "ocsort": (1.0, 51.6), "tfsasm": (80.0, 55.04)}
SLICE = Slice("capacity", ("0", "5", "10"), "travel", ("0", "0.1"),
              np.array([[50.0, 51.0, 52.0], [53.0, 54.5, 49.0]]), "overlap_with all")  # fmt: skip


@cache
def report(count):
    truths = {f"seq{index}": TRUTH for index in range(count)}
    return score(truths, {name: flawed(TRUTH, 1) for name in truths})


def class_report():
    labels = Labels.of(TRUTH, ["car"] * len(TRUTH))
    return score_classes({"v": labels}, {"v": labels})


@pytest.mark.parametrize("scores", [
    pytest.param(lambda: report(14), id="more than have names"),
    pytest.param(class_report, id="classes"),
])  # fmt: skip
def test_curves_are_drawn(tmp_path, scores):
    plot_curves(scores(), tmp_path / "hota.png", "a title")
    image = cv2.imread(str(tmp_path / "hota.png"))
    assert image.shape[0] > 400
    assert image.shape[1] > 1.5 * image.shape[0]
    assert (image == 255).all(axis=2).mean() > 0.5, "mostly paper"
    black = (image < 60).all(axis=2)
    assert black.any(axis=0).mean() > 0.5, "with lines all over its width"
    assert [path.name for path in tmp_path.iterdir()] == ["hota.png"]


def test_the_line_follows_the_scores(tmp_path):
    """Higher scores are drawn higher: the green line of LocA, beside the red one of AssA."""
    plot_curves(report(1), tmp_path / "hota.png")
    image = cv2.imread(str(tmp_path / "hota.png")).astype(int)
    blue, green, red = np.moveaxis(image[: int(0.55 * len(image)), : image.shape[1] // 3], 2, 0)
    heights = [
        np.nonzero((color > other + 60) & (color > blue + 60))[0].mean()  # above the legend
        for color, other in ((green, red), (red, green))
    ]
    scores = report(1).combined
    assert scores.LocA > scores.AssA
    assert heights[0] < heights[1]


def texts(path):
    return re.findall(r"<!-- (.*?) -->", path.read_text())


def test_every_tracker_is_named_with_its_score_and_time(tmp_path):
    plot_tradeoff(POINTS, tmp_path / "p.svg", "dancetrack, 3 sequences")
    written = texts(tmp_path / "p.svg")
    assert {"sort  48.1, 0.5 ms", "tfsasm  55.0, 80 ms", "dancetrack, 3 sequences"} <= set(written)
    assert [text for text in written if " ms" in text][0].startswith("tfsasm")  # noqa: RUF015


@pytest.mark.parametrize("count", [1, 14])
def test_few_or_many_trackers(tmp_path, count):
    plot_tradeoff({str(n): (1.0 + n, 50.0) for n in range(count)}, tmp_path / "p.svg")
    assert sum(" ms" in text for text in texts(tmp_path / "p.svg")) == count


def test_every_cell_has_its_score(tmp_path):
    plot_slices([SLICE], tmp_path / "s.svg", "15 sequences")
    written = texts(tmp_path / "s.svg")
    assert written.count("54.5") == 1
    assert {"50.0", "51.0", "52.0", "53.0", "54.5", "49.0"} <= set(written)
    assert {"capacity", "travel", "overlap_with all", "15 sequences", "HOTA"} <= set(written)


def test_slices_stand_side_by_side_in_rows_of_three(tmp_path):
    plot_slices([Slice("", ("",), "", ("",), np.array([[54.5]]))] * 4, tmp_path / "s.svg")
    assert texts(tmp_path / "s.svg").count("54.5") == 4


def test_scores_that_are_all_alike_can_be_drawn(tmp_path):
    plot_slices([Slice("a", ("0", "1"), "", ("",), np.full((1, 2), 50.0))], tmp_path / "s.png")
    assert (tmp_path / "s.png").stat().st_size > 5000


STAGES = {"a": {"stages": {"detect": 2.0, "track": 3.0}, "total_ms": 5.0},
          "b": {"stages": {"track": 1.0}, "total_ms": 1.0}}  # fmt: skip


def test_stages_are_bars_with_the_total_behind(tmp_path):
    plot_stages(STAGES, ("detect", "track"), tmp_path / "p.svg")
    written = texts(tmp_path / "p.svg")
    assert {"5 ms", "1 ms", "a", "b", "detect", "track"} <= {text.strip() for text in written}


def test_columns_are_drawn_over_the_first_one(tmp_path):
    plot_columns([{"tracks": 1, "update_ms": 2.0}, {"tracks": 9, "update_ms": 5.0}],
                 tmp_path / "p.svg")  # fmt: skip
    assert {"tracks", "update ms"} <= set(texts(tmp_path / "p.svg"))


@pytest.mark.parametrize("draw", [
    pytest.param(lambda path: plot_curves(report(1), path), id="curves"),
    pytest.param(lambda path: plot_tradeoff(POINTS, path), id="trade-off"),
    pytest.param(lambda path: plot_slices([SLICE], path), id="slices"),
    pytest.param(lambda path: plot_stages(STAGES, ("track",), path), id="stages"),
    pytest.param(lambda path: plot_columns([{"a": 1, "b": 2}], path), id="columns"),
])
@pytest.mark.parametrize("name", ["p.txt", "p"])
def test_another_kind_of_file_is_refused(tmp_path, draw, name):
    with pytest.raises(InputError, match=rf"{name} is not an image file .* \.png, \.pdf, \.svg"):
        draw(tmp_path / name)


def test_a_dollar_in_a_name_is_no_formula(tmp_path):
    name = r"a$\frac{b$"
    plot_tradeoff({name: (1.0, 50.0)}, tmp_path / "p.svg", name)
    written = texts(tmp_path / "p.svg")
    assert {name, f"{name}  50.0, 1 ms"} <= set(written)
