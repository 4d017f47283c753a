"""`tfsasm view`: which page, with which videos, and the errors by ground truth."""

import json
import re
import webbrowser

import numpy as np
import pytest
import supervision as sv

from helpers.walks import flawed, walk
from tfsasm.evaluation.errors import tracking_errors
from tfsasm.evaluation.metrics import score_sequence
from tfsasm.motchallenge import result_line
from tfsasm.tracking.report import ReportFile
from tfsasm.tracking.serving.page import PageServer
from tfsasm.video.source import Frame
from tfsasm.video.writer import VideoWriter

IMAGE = np.zeros((64, 96, 3), np.uint8)
TRUTH = walk(20, 5, 3)
RESULT = flawed(TRUTH, 3)


def data_of(text):
    return json.loads(re.search(r'id="data">(.*?)</script>', text)[1])


def rows(table, frame):
    here = table.frames == frame
    ltwh = table.ltwh[here]
    return sv.Detections(
        xyxy=np.hstack([ltwh[:, :2], ltwh[:, :2] + ltwh[:, 2:]]), confidence=np.ones(len(ltwh)),
        tracker_id=table.ids[here],
    )  # fmt: skip


def mot(table):
    boxes = zip(table.frames, table.ids, table.ltwh, strict=True)
    return "".join(result_line(f, i, [*b[:2], *(b[:2] + b[2:])]) + "\n" for f, i, b in boxes)


@pytest.fixture
def folder(tmp_path):
    """A video, and beside it the results of tracking it."""
    for name in ("v.mp4", "v.tracked.mp4"):
        with VideoWriter(tmp_path / name, 10) as video:
            for _ in range(20):
                video.write(IMAGE)
    with ReportFile(
        tmp_path / "v.report.html", title="v.mp4", video=tmp_path / "v.tracked.mp4",
        source=tmp_path / "v.mp4", rate=10,
    ) as page:  # fmt: skip
        for number in range(1, 21):
            page.write(Frame(IMAGE, number, "", (number - 1) / 10), rows(RESULT, number))
    (tmp_path / "v.mot.txt").write_text(mot(RESULT))
    (tmp_path / "gt.txt").write_text(mot(TRUTH))
    return tmp_path


@pytest.fixture
def view(tfsasm, monkeypatch):
    """`tfsasm view`, which is ended as soon as it serves; what it serves, and what it opened."""

    def run(*arguments):
        served, opened = [], []

        def serve(server):
            served.append((data_of(server.page.decode()), dict(server.videos)))
            raise KeyboardInterrupt

        monkeypatch.setattr(PageServer, "serve_forever", serve)
        monkeypatch.setattr(webbrowser, "open", opened.append)
        outcome = tfsasm("view", *arguments)
        return outcome, served, opened

    return run


@pytest.mark.parametrize(
    "name", ["", "v.mp4", "v.report.html", "v.tracked.mp4", "v.mot.txt", "v"]
)
def test_a_result_is_found_by_anything_that_is_named_so(view, folder, name):
    (folder / "v").mkdir()  # of images
    outcome, [(data, videos)], opened = view(folder / name)
    assert outcome.code == 0, outcome.err
    assert [entry["src"] for entry in data["videos"]] == ["video-1.mp4", "video-2.mp4"]
    assert [path.name for path in videos.values()] == ["v.mp4", "v.tracked.mp4"]
    assert opened[0] in outcome.out
    assert outcome.out.startswith("http://127.0.0.1:")


def test_the_browser_is_left_alone_where_that_is_asked(view, folder):
    _, served, opened = view(folder, "--no-browser")
    assert served
    assert not opened


def test_a_page_leads_to_no_file_that_is_no_video(view, folder):
    page = folder / "v.report.html"
    page.write_text(page.read_text().replace('"v.tracked.mp4"', '"gt.txt"'))
    _, [(data, videos)], _ = view(page)
    assert [path.name for path in videos.values()] == ["v.mp4"]
    assert len(data["videos"]) == 1


def test_errors_and_scores_are_those_of_the_result(tfsasm, folder):
    outcome = tfsasm("view", folder, "--truth", folder / "gt.txt", "--output", folder / "new.html")
    assert outcome.code == 0, outcome.err
    truth = data_of((folder / "new.html").read_text())["truth"]
    expected, scores = tracking_errors(TRUTH, RESULT), score_sequence(TRUTH, RESULT)
    assert len(truth["false"]) == expected.false_positive.sum() == scores.FP > 0
    assert len(truth["missed"]) == expected.missed.sum() == scores.FN > 0
    assert len(truth["switches"]) == expected.switched.sum() == scores.IDSW > 0
    assert truth["scores"]["HOTA"] == pytest.approx(scores.HOTA, abs=0.1)  # of boxes in tenths


def test_a_page_elsewhere_still_finds_its_videos(tfsasm, folder):
    target = folder / "deep" / "new.html"
    assert tfsasm("view", folder, "--output", target).code == 0
    entries = data_of(target.read_text())["videos"]
    assert [entry["src"] for entry in entries] == ["../v.mp4", "../v.tracked.mp4"]
    again = tfsasm("view", folder, "--output", target)
    assert again.code == 2
    assert "exists" in again.err


def test_a_result_in_mot_text_gets_a_page(view, folder):
    (folder / "other.txt").write_text(mot(RESULT))
    outcome, [(data, videos)], _ = view(folder / "other.txt", "--source", folder / "v.mp4",
                                        "--truth", folder / "gt.txt")  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert data["size"] == [96, 64]
    assert data["numbers"] == [*range(1, 21)]
    assert sum(len(track["frames"]) for track in data["tracks"]) == len(RESULT)
    assert [path.name for path in videos.values()] == ["v.mp4"]
    assert data["truth"]["switches"]


def test_a_result_in_mot_text_has_the_times_of_its_video(view, folder):
    times = [0.0, 0.1, 0.2, 0.9, 1.0, 1.5]
    with VideoWriter(folder / "uneven.mp4", None) as video:
        for time in times:
            video.write(IMAGE, time)
    (folder / "other.txt").write_text("6,1,10,10,20,30,1,-1,-1,-1\n")
    _, [(data, _)], _ = view(folder / "other.txt", "--source", folder / "uneven.mp4")
    assert data["times"] == pytest.approx([1000 * time for time in times], abs=2)


@pytest.mark.parametrize("kind", ["appearance", "query"])
def test_a_page_of_track_knows_the_plain_video_and_the_memory(tfsasm, folder, small_weights, kind):
    boxes = "".join(f"{frame},-1,20,10,30,50,0.95\n" for frame in range(1, 21))
    (folder / "det.txt").write_text(boxes)
    query = ("--weights", small_weights, "--set", "memory.gap_needs_score=false")
    more = query if kind == "query" else ()
    outcome = tfsasm(
        "track", folder / "v.mp4", "--detections", folder / "det.txt", "--tracker", kind,
        "--output", folder / "new", "--save", "report", "--quiet", *more,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    data = data_of((folder / "new" / "v.report.html").read_text())
    assert data["videos"] == [{"src": "../v.mp4", "drawn": False, "start": 0}]
    assert [view[1] for view in data["tracks"][0]["views"]] == [11]
    assert data["tracks"][0]["views"][0][5]  # a picture


@pytest.mark.parametrize(("arguments", "message"), [
    pytest.param(["nothing.mp4"], "there is no page", id="no result"),
    pytest.param(["gt.txt"], "give the video that was tracked as --source", id="no source"),
    pytest.param(["empty"], "has no single page", id="an empty folder"),
    pytest.param(["other.html"], "is no page that tfsasm track has written", id="another page"),
    pytest.param(["old.html"], "is of another version", id="a page of another version"),
    pytest.param(["cut.html"], "the data of this page is damaged", id="a damaged page"),
    pytest.param([".", "--truth", "bad.txt"], "bad.txt:1: too few fields", id="bad truth"),
    pytest.param([".", "--source", "no.mp4"], "--source no.mp4 does not exist", id="no video"),
    pytest.param([".", "--port", "99999"], "there is no port 99999", id="no port"),
])
def test_bad_requests_are_refused(view, folder, monkeypatch, arguments, message):
    monkeypatch.chdir(folder)
    (folder / "empty").mkdir()
    (folder / "other.html").write_text("<p>hello")
    (folder / "bad.txt").write_text("1,2\n")
    begin = '<script type="application/json" id="data">'
    (folder / "old.html").write_text(begin + "{}</script>")
    (folder / "cut.html").write_text(begin + '{"a":</script>')
    outcome, served, _ = view(*arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert not served
