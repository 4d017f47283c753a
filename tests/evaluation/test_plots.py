import cv2
import numpy as np
import pytest

from helpers.walks import flawed, walk
from tfsasm.errors import InputError
from tfsasm.evaluation.classes import Labels, score_classes
from tfsasm.evaluation.metrics import score
from tfsasm.evaluation.plots import plot_curves

TRUTH = walk(20, 3, 2)


def report(count):
    truths = {f"seq{index}": TRUTH for index in range(count)}
    return score(truths, {name: flawed(TRUTH, 1) for name in truths})


def class_report():
    labels = Labels.of(TRUTH, ["car"] * len(TRUTH))
    return score_classes({"v": labels}, {"v": labels})


@pytest.mark.parametrize("scores", [
    pytest.param(report(14), id="more than have names"),
    pytest.param(class_report(), id="classes"),
])  # fmt: skip
def test_curves_are_drawn(tmp_path, scores):
    plot_curves(scores, tmp_path / "hota.png", "a title")
    image = cv2.imread(str(tmp_path / "hota.png"))
    assert image.shape[0] > 400
    assert image.shape[1] > 1.5 * image.shape[0]
    assert (image == 255).all(axis=2).mean() > 0.5, "mostly paper"
    black = (image < 60).all(axis=2)
    assert black.any(axis=0).mean() > 0.5, "with lines all over its width"
    assert [path.name for path in tmp_path.iterdir()] == ["hota.png"]


def test_the_line_follows_the_scores(tmp_path):
    """Higher scores are drawn higher: the green line of LocA, in the left half."""
    heights = []
    for noise in (0, 1):
        tracks = flawed(TRUTH, 1) if noise else TRUTH
        plot_curves(score({"a": TRUTH}, {"a": tracks}), tmp_path / f"{noise}.png")
        image = cv2.imread(str(tmp_path / f"{noise}.png")).astype(int)
        half = image[: int(0.55 * len(image)), : image.shape[1] // 3]  # above the legend
        green = (half[..., 1] > half[..., 2] + 60) & (half[..., 1] > half[..., 0] + 60)
        heights.append(np.nonzero(green)[0].mean())
    assert heights[0] < heights[1]


def test_the_suffix_chooses_the_kind_of_picture(tmp_path):
    plot_curves(report(2), tmp_path / "hota.svg")
    assert (tmp_path / "hota.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize("name", ["hota.txt", "hota"])
def test_a_name_that_is_no_picture_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=rf"{name} is not a picture .* \.png, \.pdf, \.svg"):
        plot_curves(report(1), tmp_path / name)
