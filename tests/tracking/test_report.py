"""The page of a video's identities: its data, what to review, nothing that becomes HTML."""

from __future__ import annotations

import base64
import json
import re

import cv2
import numpy as np
import pytest
import supervision as sv

from tfsasm.errors import InputError
from tfsasm.tracking.report import (
    FORMAT,
    HEIGHT,
    WIDTH,
    Pictures,
    ReportFile,
    page,
    read_page,
    videos_of,
)
from tfsasm.video.source import Frame

IMAGE = np.zeros((100, 200, 3), np.uint8)


def frame(number: int) -> Frame:
    return Frame(IMAGE, number, f"v.mp4#{number}", (number - 1) / 10)


def people(**places: float) -> sv.Detections:
    """People by id (`_3=20.0`), at a place from the left."""
    left = np.array([*places.values()], dtype=float)
    return sv.Detections(
        xyxy=np.stack([left, np.full_like(left, 10), left + 20, np.full_like(left, 70)], axis=1),
        confidence=np.ones(len(left)), tracker_id=np.array([int(name[1:]) for name in places]),
    )  # fmt: skip


def data_of(path) -> dict:
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text)[1])


@pytest.fixture
def report(tmp_path):
    """A page of one second: 1 stays, 2 is away for a while, 4 begins where 3 ended."""
    path = tmp_path / "v.report.html"
    with ReportFile(path, title="v.mp4", video=tmp_path / "v.tracked.mp4", rate=10) as file:
        for number in range(1, 41):
            places = {"_1": 100.0}
            if not 5 < number < 20:
                places["_2"] = 150.0
            if number <= 10:
                places["_3"] = 20.0 + number
            if number >= 14:
                places["_4"] = 34.0
            file.write(frame(number), people(**places))
    return path


def test_the_size_is_that_of_the_first_image_as_in_the_annotated_video(tmp_path):
    with ReportFile(tmp_path / "v.report.html", title="v") as file:
        for number, image in enumerate([IMAGE, IMAGE[:50, :80]], start=1):
            file.write(Frame(image, number, "", None), people(_1=10.0))
    assert data_of(tmp_path / "v.report.html")["size"] == [200, 100]


def test_the_page_holds_every_box(report):
    data = data_of(report)
    assert (data["title"], data["size"]) == ("v.mp4", [200, 100])
    assert data["videos"] == [{"src": "v.tracked.mp4", "drawn": True, "start": 0}]
    tracks = {track["id"]: track for track in data["tracks"]}
    assert list(tracks) == [1, 2, 3, 4]
    assert tracks[2]["frames"] == [*range(1, 6), *range(20, 41)]
    assert tracks[3]["boxes"][:4] == [210, 100, 200, 600]  # tenths of a pixel
    assert data["times"][:3] == [0, 100, 200]


def test_what_to_review_is_listed_by_frame(report):
    items = [(item["id"], item["frame"], item["text"]) for item in data_of(report)["review"]]
    assert items == [(4, 14, "begins where #3 ended"), (2, 20, "is back after 1.5 s")]


def test_any_name_of_a_video_is_an_address(tmp_path):
    path = tmp_path / "v.report.html"
    with ReportFile(path, title="v", video=tmp_path / 'a "b" #1 ü.mp4') as file:
        file.write(frame(1), people(_1=5.0))
    assert data_of(path)["videos"][0]["src"] == "a%20%22b%22%20%231%20%C3%BC.mp4"


def test_nothing_in_the_data_becomes_html():
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    text = page({"title": evil})
    assert evil not in text
    assert "<img" not in text
    assert json.loads(re.search(r'id="data">(.*?)</script>', text)[1])["title"] == evil


def test_the_page_needs_no_network(report):
    text = report.read_text(encoding="utf-8")
    assert not re.search(r"(https?:)?//[a-z]", text)
    assert "import(" not in text


def test_an_interrupted_run_leaves_the_page_of_what_was_done(tmp_path):
    path = tmp_path / "v.report.html"

    def run():
        with ReportFile(path, title="v") as file:
            file.write(frame(1), people(_1=5.0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert data_of(path)["numbers"] == [1]


def test_without_a_frame_there_is_no_page_and_an_older_one_is_kept(tmp_path):
    path = tmp_path / "v.report.html"
    with ReportFile(path, title="v"):
        pass
    assert not path.exists()
    path.write_text("mine")
    with pytest.raises(InputError, match="exists; give another name"):
        ReportFile(path, title="v")


PAGE = {
    "format": FORMAT, "numbers": [1, 3], "videos": [{"src": "v.mp4", "drawn": True, "start": 0}],
    "tracks": [{"id": 1, "frames": [3], "boxes": [0, 0, 10, 10]}],
}  # fmt: skip


def test_the_data_of_a_page_is_read_again(tmp_path):
    (tmp_path / "v.html").write_text(page(PAGE), "utf-8")
    assert read_page(tmp_path / "v.html") == PAGE


def test_only_videos_that_are_there_are_those_of_a_page(tmp_path):
    (tmp_path / "v.mp4").touch()
    (tmp_path / "v.txt").touch()
    names = ("v.mp4", "v.txt", "w.mp4", "x" * 300 + ".mp4", "%00.mp4")
    videos = [{"src": name, "drawn": True, "start": 0} for name in names]
    assert videos_of(PAGE | {"videos": videos}, tmp_path) == [(tmp_path / "v.mp4", videos[0])]


@pytest.mark.parametrize(("change", "problem"), [
    pytest.param({"numbers": None}, "numbers is null, not a list", id="no frames"),
    pytest.param({"numbers": []}, "numbers are not those of frames", id="none of them"),
    pytest.param({"numbers": [0, 3]}, "numbers are not those of frames", id="before the first"),
    pytest.param({"numbers": [3, 1]}, "numbers are not those of frames", id="backwards"),
    pytest.param({"numbers": [1, 3, 10**12]}, "TFSASM_MAX_FRAMES", id="too many"),
    pytest.param({"videos": [{"src": 1}]}, "src is 1, not text", id="no address"),
    pytest.param({"videos": [{"src": "", "drawn": 1}]}, "drawn is 1, not true", id="drawn"),
    pytest.param({"videos": [{"src": "", "drawn": True}]}, "start is null", id="no start"),
    pytest.param({"tracks": {}}, "tracks is {}, not a list", id="no tracks"),
    pytest.param({"tracks": [{"id": 0, "frames": []}]}, "0 is no identity", id="no identity"),
    pytest.param({"tracks": [{"id": 1, "frames": [2]}]}, "not tracked", id="another frame"),
    pytest.param({"tracks": [{"id": 1, "frames": [3], "boxes": []}]}, "not a box", id="no box"),
])  # fmt: skip
def test_a_page_whose_data_is_damaged_is_refused(tmp_path, change, problem):
    (tmp_path / "v.html").write_text(page(PAGE | change), "utf-8")
    with pytest.raises(InputError, match=r"v\.html: the data of this page is damaged") as caught:
        read_page(tmp_path / "v.html")
    assert problem in str(caught.value)


# Pictures of views: which, how large, how many

SQUARE = np.full((200, 300, 3), 90, np.uint8)
SQUARE[50:150, 100:150] = (20, 200, 20)


def decoded(text):
    return cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR)


def test_a_picture_is_what_was_inside_the_box():
    pictures = Pictures()
    pictures.see(1, 7, SQUARE, np.array([100.0, 50, 150, 150]))
    pictures.keep(1, 7)
    [(frame, text)] = pictures.of(1)
    image = decoded(text)
    assert frame == 7
    assert image.shape == (HEIGHT, HEIGHT // 2, 3)
    assert np.abs(image.reshape(-1, 3).mean(0) - [20, 200, 20]).max() < 6


@pytest.mark.parametrize("xyxy", [
    pytest.param([-50.0, -50, 20, 20], id="over the border"),
    pytest.param([0.0, 0, 300, 10], id="wide"),
    pytest.param([10.2, 10.2, 10.4, 10.4], id="less than a pixel"),
])  # fmt: skip
def test_a_picture_has_a_size_whatever_the_box(xyxy):
    pictures = Pictures()
    pictures.see(1, 1, SQUARE, np.array(xyxy))
    pictures.keep(1, 1)
    [(_, text)] = pictures.of(1)
    height, width = decoded(text).shape[:2]
    assert 0 < height <= HEIGHT
    assert 0 < width <= WIDTH


def test_a_box_outside_of_the_image_has_no_picture_nor_that_of_before():
    pictures = Pictures()
    pictures.see(1, 1, SQUARE, np.array([0.0, 0, 10, 10]))
    pictures.see(1, 2, SQUARE, np.array([400.0, 0, 450, 10]))
    pictures.keep(1, 2)
    assert not [*pictures.of(1)]


def test_only_the_view_that_was_stored_is_kept():
    pictures = Pictures()
    pictures.see(1, 5, SQUARE, np.array([0.0, 0, 50, 50]))
    pictures.keep(1, 4)
    assert not [*pictures.of(1)]


def test_all_pictures_fit_and_the_newest_stay():
    pictures = Pictures(most=20_000)
    noise = np.random.default_rng(0).integers(0, 255, SQUARE.shape, np.uint8)
    for frame in range(1, 60):
        for identity in (1, 2):
            if identity == 1 or frame < 4:
                pictures.see(identity, frame, noise, np.array([0.0, 0, 50, 90]))
                pictures.keep(identity, frame)
    frames = {identity: [frame for frame, _ in pictures.of(identity)] for identity in (1, 2)}
    size = sum(len(base64.b64decode(text)) for i in (1, 2) for _, text in pictures.of(i))
    assert size <= 20_000
    assert frames[1][-1] == 59
    assert frames[2][-1] == 3
