import av
import cv2
import numpy as np
import pytest

from helpers.scenes import write_images
from tfsasm.evaluation.errors import SHOWN_FOR
from tfsasm.video.annotate import FALSE_POSITIVE, IDENTITY_SWITCH, MISS, side_by_side

A, B, AWAY = [20, 30, 30, 60], [150, 30, 30, 60], [230, 60, 40, 60]


def lines(*rows):
    return "".join(f"{f},{i},{','.join(map(str, box))},1,-1,-1,-1\n" for f, i, box in rows)


@pytest.fixture
def video(tmp_path):
    """Twenty grey frames, a truth of two people, and a result with one error of each kind."""
    images = [np.full((160, 320, 3), 60, np.uint8)] * 20
    write_images(tmp_path / "seq" / "img1", images)
    frames = range(1, 21)
    truth = [(f, i, box) for f in frames for i, box in ((1, A), (2, B))]
    result = [(f, 4 if f < 5 else 6, A) for f in frames] + [(f, 5, B) for f in frames if f != 7]
    (tmp_path / "gt.txt").write_text(lines(*truth))
    (tmp_path / "result.txt").write_text(lines(*result, (9, 8, AWAY)))
    return tmp_path


@pytest.fixture
def show(tfsasm, video):
    def run(*flags, output="out"):
        return tfsasm("show", "--results", video / "result.txt", "--source", video / "seq",
                      "--output", video / output, "--quiet", *flags)  # fmt: skip

    return run


def near(image, color, distance=90):
    """Where the image has about that colour: video and JPEG change it a little."""
    return np.abs(image.astype(int) - np.array(color)).sum(axis=2) < distance


def images(folder):
    return [cv2.imread(str(path)) for path in sorted(folder.glob("*.jpg"))]


def test_results_are_drawn_on_their_frames(show, video):
    outcome = show()
    assert outcome.code == 0, outcome.err
    assert "20 frames" in outcome.out
    shown = images(video / "out")
    assert [image.shape for image in shown] == [(160, 320, 3)] * 20
    changed = [np.abs(image.astype(int) - 60).max(axis=2) > 60 for image in shown]
    assert all(mask[20:100, 10:60].any() for mask in changed), "a box is at A in every frame"
    assert not changed[0][60:130, 225:280].any()
    assert changed[8][60:130, 225:280].any(), "and once there is a box without a person"


def test_the_truth_stands_beside_with_the_errors_marked(show, video):
    assert show("--gt", video / "gt.txt").code == 0
    shown = images(video / "out")
    blank = np.zeros((160, 320, 3), np.uint8)
    assert shown[0].shape == side_by_side(blank, blank).shape
    count = {color: [near(image, color).sum() > 40 for image in shown]
             for color in (FALSE_POSITIVE, MISS, IDENTITY_SWITCH)}  # fmt: skip
    assert [n for n, seen in enumerate(count[FALSE_POSITIVE], start=1) if seen] == [9]
    assert [n for n, seen in enumerate(count[MISS], start=1) if seen] == [7]
    assert [n for n, seen in enumerate(count[IDENTITY_SWITCH], start=1) if seen] == [
        *range(5, 5 + SHOWN_FOR)
    ]
    assert near(shown[8], FALSE_POSITIVE)[:, :320].any(), "false boxes are on the left"
    assert near(shown[6], MISS)[:, 330:].any(), "misses on the right"


def test_a_video_of_part_of_the_frames(show, video):
    outcome = show("--start", 3, "--end", 8, "--gt", video / "gt.txt", output="out.mp4")
    assert outcome.code == 0, outcome.err
    assert "boxes after" not in outcome.out
    with av.open(str(video / "out.mp4")) as movie:
        assert sum(1 for _ in movie.decode(video=0)) == 6
    again = show(output="out.mp4")
    assert again.code == 2
    assert "out.mp4 exists" in again.err
    assert show("--overwrite", output="out.mp4").code == 0


def test_boxes_after_the_last_frame_are_mentioned(show, video):
    with (video / "result.txt").open("a") as file:
        file.write(lines((25, 1, A), (31, 1, A)))
    assert "has 2 boxes after the last frame, 20, up to frame 31" in " ".join(show().out.split())


def test_what_a_benchmark_exempts_is_not_marked(show, video):
    rows = lines((1, 1, A), (1, 2, B)).replace("1,-1,-1,-1", "1,1,1").replace("1,2,", "9,9,")
    odd = lines((9, 3, AWAY)).replace("1,-1,-1,-1", "0,8,1")
    (video / "gt.txt").write_text(rows + odd)
    assert show("--gt", video / "gt.txt", "--dataset", "mot17").code == 0
    assert near(images(video / "out")[8], FALSE_POSITIVE)[60:, 225:280].sum() < 40


@pytest.mark.parametrize(("flags", "message"), [
    pytest.param(["--results", "nowhere.txt"], "cannot read nowhere.txt", id="no results"),
    pytest.param(["--source", "nowhere"], "nowhere does not exist", id="no frames"),
    pytest.param(["--gt", "nowhere.txt"], "cannot read nowhere.txt", id="no truth"),
    pytest.param(["--output", "x.txt"], "x.txt ends in .txt, which is no video", id="no video"),
    pytest.param(["--trail", "-1"], "trail is -1", id="trail"),
    pytest.param(["--start", "99"], "none from 99 on", id="after the end"),
    pytest.param(["--output", "gt.txt", "--gt", "gt.txt"], "gt.txt is an input", id="an input"),
    pytest.param(["--results", "twice.txt"], "has id 4 twice in frame 1", id="an id twice"),
])
def test_bad_requests_are_refused(show, video, monkeypatch, flags, message):
    monkeypatch.chdir(video)
    (video / "twice.txt").write_text(lines((1, 4, A), (1, 4, B)))
    outcome = show(*flags)
    assert outcome.code == 2
    assert message in outcome.err
