"""The page of a video's identities: its data, what to review, nothing that becomes HTML."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import supervision as sv

from tfsasm.errors import InputError
from tfsasm.tracking.report import FORMAT, ReportFile, page, read_page, videos_of
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
