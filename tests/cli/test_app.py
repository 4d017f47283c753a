"""`tfsasm app`: videos are tracked in a browser; what is uploaded is never trusted."""

import inspect
import os
import re
import signal
import socket
import sys
import webbrowser
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from unittest.mock import Mock

import pytest

from helpers.browser import chromium, opener
from tfsasm.motchallenge import read_tracks
from tfsasm.video.source import open_video

CHOICES = {
    "detector": "yolox-nano", "classes": ["person"], "tracker": "appearance", "formats": ["mot"],
}  # fmt: skip


@pytest.fixture(scope="module")
def app():
    """The module of the page. It loads Gradio, which takes seconds, so no other test waits for it.
    """
    with pytest.MonkeyPatch.context() as patch:  # half of them for stubs of every component
        patch.setattr(inspect, "getfile", Mock(side_effect=OSError))
        pytest.importorskip("gradio", reason='needs Gradio: pip install "tfsasm[app]"')
    from tfsasm.cli import app_page

    return app_page


def client_of(server, address="http://127.0.0.1"):
    from starlette.testclient import TestClient

    return TestClient(server, base_url=address)


@pytest.fixture(scope="module")
def runs(app, people, tmp_path_factory):
    """A short film, tracked."""
    runs = app.Runs(tmp_path_factory.mktemp("app"))
    runs.seen = list(runs.track("visitor", str(people), **CHOICES))
    return runs


def test_frames_are_shown_while_a_video_is_tracked(runs):
    *previews, _ = runs.seen
    assert previews
    for line, picture, page, results in previews:
        assert re.fullmatch(r"frame \d+ of 10: \d tracks, \d+ frames per second", line)
        assert (picture.ndim, picture.shape[2], page, results) == (3, 3, "", [])


def test_at_the_end_there_are_a_page_and_files(runs):
    line, picture, page, results = runs.seen[-1]
    assert line.startswith("10 frames, 3 identities")
    assert picture is None
    (run,) = runs.files
    assert f'src="/results/{run}/people.report.html"' in page
    names = {Path(path).name for path in results}
    served = {path.name for path in runs.files[run]}
    assert served == names | {"people.mp4"}, "the page plays the plain video with boxes over it"
    assert names == {"people.tracked.mp4", "people.mot.txt", "people.report.html"}
    (text,) = (path for path in results if path.endswith(".txt"))
    assert len(set(read_tracks(text).identity)) == 3


def test_stop_ends_a_run_and_keeps_what_was_done(app, people, tmp_path):
    runs = app.Runs(tmp_path)
    run = runs.track("visitor", str(people), **CHOICES)
    next(run)
    runs.stop("visitor")
    line, *_, results = list(run)[-1]
    assert "stopped; the files hold what was done so far" in line
    (video,) = (path for path in results if path.endswith(".mp4"))
    with open_video(video) as source:
        assert 0 < sum(1 for _ in source) < 10
    runs.stop("visitor")  # nothing runs: nothing happens


def test_a_visitor_who_leaves_ends_the_run(app, people, tmp_path):
    runs = app.Runs(tmp_path)
    run = runs.track("visitor", str(people), **CHOICES)
    next(run)
    run.close()
    assert not runs.stops
    (text,) = tmp_path.glob("*/people.mot.txt")
    assert text.is_file()


@pytest.mark.parametrize(
    ("upload", "words"),
    [
        pytest.param(None, "Drop a video first.", id="nothing was dropped"),
        pytest.param(b"no video", "bad.mp4 is not a video that can be read", id="no video"),
    ],
)
def test_what_is_no_video_is_said_without_the_place_of_the_upload(app, tmp_path, upload, words):
    if upload:
        (tmp_path / "bad.mp4").write_bytes(upload)
    with pytest.raises(app.gr.Error, match=words) as caught:
        list(app.Runs(tmp_path).track("v", upload and str(tmp_path / "bad.mp4"), **CHOICES))
    assert str(tmp_path) not in str(caught.value)


def test_results_are_served_in_parts_and_nothing_else_is(app, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "a.mp4").write_bytes(bytes(range(100)))
    (run / "secret").write_text("not a result")
    runs = app.Runs(tmp_path, {"run": [run / "a.mp4"]})
    client = client_of(app.web_app(runs), "http://localhost")
    part = client.get("/results/run/a.mp4", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, bytes(range(10, 20)))
    for path in ("run/secret", "run/..%2f..%2fetc%2fpasswd", "other/a.mp4", "run/"):
        assert client.get(f"/results/{path}").status_code == 404, path
    for path in (run / "secret", tmp_path / "run" / "a.mp4", "/etc/passwd"):
        assert client.get(f"/gradio_api/file={path}").status_code == 403, path
    assert "Track people through a video" in client.get("/").text


@pytest.fixture(scope="module")
def local(runs, app):
    """The page, for this computer alone."""
    return app.web_app(runs)


@pytest.mark.parametrize(("headers", "code"), [
    pytest.param({"Host": "evil.example"}, 400, id="a name that leads here"),
    pytest.param({"Origin": "http://evil.example"}, 403, id="a page of others"),
    pytest.param({"Origin": "null"}, 403, id="a page of nobody"),
    pytest.param({"Origin": "http://localhost:7860", "Host": "[::1]:7860"}, 200, id="its own page"),
])
def test_pages_of_others_cannot_use_the_app(local, headers, code):
    client = client_of(local)
    files = {"files": ("a.mp4", b"x")}
    assert client.post("/gradio_api/upload", files=files, headers=headers).status_code == code


def test_an_app_for_others_answers_by_any_name(app, tmp_path):
    client = client_of(app.web_app(app.Runs(tmp_path), local=False), "http://app.example")
    assert client.get("/").status_code == 200


def test_a_port_that_is_taken_is_one_clear_error(app, tfsasm):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        outcome = tfsasm("app", "--no-browser", "--port", taken.getsockname()[1])
    assert outcome.code == 2
    assert "give another --port" in outcome.err


def test_without_gradio_the_extra_is_named(tfsasm, monkeypatch):
    monkeypatch.setitem(sys.modules, "tfsasm.cli.app_page", None)
    outcome = tfsasm("app", "--no-browser")
    assert outcome.code == 2
    assert 'pip install "tfsasm[app]"' in outcome.err


@pytest.mark.browser
def test_a_person_drops_a_video_and_looks_at_the_result(
    app, tfsasm, people, tmp_path, monkeypatch
):
    """In a browser that the command opens, until Ctrl-C; nothing is asked of another machine."""
    opened = Queue()
    monkeypatch.setattr(webbrowser, "open", opened.put)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # as in the foreground
    try:
        with ThreadPoolExecutor(1) as pool:
            visitor = pool.submit(visit_and_stop, opened, people)
            outcome = tfsasm("app", "--port", 0, "--output", tmp_path)
            visitor.result()
    finally:
        signal.signal(signal.SIGINT, handler)
    assert outcome.code == 130
    assert re.match(r"open http://127\.0\.0\.1:\d+/ in a browser", outcome.out)


def visit_and_stop(opened, film):
    """Beside the server, which has the main thread."""
    try:
        address = opened.get(timeout=60)
        with chromium() as browser, opener(browser) as open_page:
            look_at(address, open_page(), film)
    finally:
        os.kill(os.getpid(), signal.SIGINT)


def look_at(address, page, film):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    upload(page, film)
    page.get_by_role("button", name="Track", exact=True).click()
    page.frame_locator("iframe").get_by_text("3 identities").wait_for()
    with page.expect_download() as download:
        page.locator("a[download*=mot]").first.click()
    assert download.value.suggested_filename == "people.mot.txt"
    assert not [url for url in asked if not url.startswith((address, "data:", "blob:"))]


def upload(page, path):
    """Give a file, and wait until the page has it.

    Its name is then the link's, for the text of the list has it in two parts; while a file is on
    its way, and afterwards, there is nothing to give another one to.
    """
    page.set_input_files("input[type=file]", path)
    page.locator(f"a[download='{path.name}']").wait_for()
