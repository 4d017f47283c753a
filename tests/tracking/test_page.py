"""The page in a real browser: look, seek, inspect; for everybody, and for long videos."""

from __future__ import annotations

import threading
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from helpers.browser import until
from helpers.pages import FRAMES, HEIGHT, RATE, WIDTH, ids, painted, plays_h264, ready, scene
from tfsasm.tracking.report import ReportFile, page, read_page
from tfsasm.tracking.serving.page import PageServer
from tfsasm.video.writer import VideoWriter

pytestmark = pytest.mark.browser


# Video


def test_the_plain_video_plays_with_boxes_that_can_be_switched_off(opened):
    if not plays_h264(opened):
        pytest.skip("this browser plays no H.264")
    assert opened.evaluate("playing.src") == "v.mp4"
    boxes = opened.get_by_label("boxes")
    assert boxes.is_checked()
    assert painted(opened)
    boxes.uncheck()
    assert not painted(opened)


@pytest.mark.parametrize("plain", [
    pytest.param(b"no video", id="that no browser plays"), pytest.param(None, id="gone"),
    pytest.param(5, id="that is shorter"), pytest.param((90, 90), id="of another shape"),
])  # fmt: skip
def test_else_the_annotated_video_plays(look, results, tmp_path, plain):
    for name in ("v.report.html", "v.tracked.mp4"):
        (tmp_path / name).write_bytes((results / name).read_bytes())
    if isinstance(plain, bytes):
        (tmp_path / "v.mp4").write_bytes(plain)
    elif plain is not None:
        shape, count = ((HEIGHT, WIDTH), plain) if isinstance(plain, int) else (plain, FRAMES)
        with VideoWriter(tmp_path / "v.mp4", RATE) as video:
            for _ in range(count):
                video.write(np.zeros((*shape, 3), np.uint8))
    page = ready(look((tmp_path / "v.report.html").as_uri()))
    if not plays_h264(page):
        pytest.skip("this browser plays no H.264")
    assert page.evaluate("playing.src") == "v.tracked.mp4"
    assert not page.get_by_label("boxes").is_checked()
    assert not painted(page)
    assert "drawn into this video" in page.locator("#about-video").inner_text()


def test_a_video_whose_pixels_are_no_squares_is_known_by_its_shape_on_the_screen(look, tmp_path):
    film = tmp_path / "v.mp4"
    with (
        VideoWriter(film, RATE, aspect=Fraction(16, 11)) as video,
        ReportFile(tmp_path / "v.html", title="v", source=film, rate=RATE, aspect=16 / 11) as file,
    ):
        for number in range(1, 21):
            frame, found = scene(number)
            file.write(frame, replace(found, tracker_id=np.arange(len(found)) + 1))
            video.write(frame.image, frame.time)
    shown = ready(look((tmp_path / "v.html").as_uri()))
    if not plays_h264(shown):
        pytest.skip("this browser plays no H.264")
    assert shown.evaluate("playing.src") == "v.mp4"
    wide, high = shown.evaluate("[boxes.clientWidth, boxes.clientHeight]")
    assert wide / high == pytest.approx(16 / 11 * WIDTH / HEIGHT, rel=0.02)


def test_without_a_video_the_boxes_play_alone(look, results, tmp_path):
    path = tmp_path / "v.report.html"
    path.write_bytes((results / "v.report.html").read_bytes())
    page = ready(look(path.as_uri()))
    assert "boxes are shown alone" in page.locator("#about-video").inner_text()
    assert painted(page)
    page.get_by_role("button", name="Play").click()
    until(page, "at > 2")
    page.get_by_role("button", name="Pause").click()


@pytest.mark.parametrize(("start", "stride"), [(1, 1), (31, 3)], ids=["all frames", "a part"])
def test_the_boxes_are_those_of_the_frame_that_is_shown(look, results, tmp_path, start, stride):
    """Over HTTP, where a page may read the pixels of its video."""
    numbers = range(start, FRAMES + 1, stride)
    with ReportFile(tmp_path / "v.html", title="v", source=tmp_path / "v.mp4",
                    rate=RATE / stride) as file:  # fmt: skip
        for number in numbers:
            frame, found = scene(number)
            file.write(frame, replace(found, tracker_id=np.arange(len(found)) + 1))
    data = read_page(tmp_path / "v.html")
    with PageServer(page(data), {"v.mp4": results / "v.mp4"}, 0) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        shown = ready(look(server.address))
        if not plays_h264(shown):
            pytest.skip("this browser plays no H.264")
        read = """() => {
          const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
          canvas.width = video.videoWidth; canvas.height = video.videoHeight;
          context.drawImage(video, 0, 0);
          const bit = (i) => context.getImageData(20 * i + 10, 150, 1, 1).data[0] > 128;
          const number = [0, 1, 2, 3, 4, 5, 6, 7].reduce((sum, i) => sum + (bit(i) << i), 0);
          return [number, data.numbers[at]];
        }"""
        for frame in (numbers[0], numbers[25], numbers[4], numbers[-1]):
            shown.evaluate(f"go(positionOf({frame}))")
            until(shown, f"!video.seeking && `${{({read})()}}` === '{frame},{frame}'")
        shown.evaluate("go(0)")
        shown.get_by_role("button", name="Play").click()
        until(shown, "at > 5")
        shown.get_by_role("button", name="Pause").click()
        until(shown, f"((image, boxes) => boxes <= image && image < boxes + {stride})"
              f"(...({read})())")
        server.shutdown()


# Seek and choose


def test_seeking_by_slider_and_keys(opened):
    slider = opened.get_by_role("slider", name="Frame")
    slider.fill("49")
    assert "frame 50, 4.90 s, 2 seen" in opened.locator("#now").inner_text()
    opened.locator("h1").click()
    opened.keyboard.press("ArrowRight")
    assert "frame 51" in opened.locator("#now").inner_text()
    opened.keyboard.press("ArrowLeft")
    opened.keyboard.press("ArrowLeft")
    assert "frame 49" in opened.locator("#now").inner_text()
    assert slider.get_attribute("aria-valuetext") == "frame 49"


def test_a_click_on_the_timeline_goes_to_the_moment_and_the_identity(opened):
    area = opened.locator("#lines").bounding_box()
    width = area["width"] - 56 - 8
    opened.mouse.click(area["x"] + 56 + width * 100.5 / FRAMES, area["y"] + 16 + 16 + 8)  # axis, #1
    assert "frame 101" in opened.locator("#now").inner_text()
    assert opened.locator("#inspector h2").inner_text().startswith("#2")


@pytest.mark.parametrize(("seconds", "every", "text"), [
    (0, 5, "0:00"), (5, 5, "0:05"), (83.5, 0.5, "1:23.5"), (3725, 5, "1:02:05"),
])  # fmt: skip
def test_times_of_the_axis(opened, seconds, every, text):
    assert opened.evaluate(f"clockTime({seconds}, {every})") == text


def test_labels_of_people_at_one_place_hide_none_of_one_another(opened):
    places = opened.evaluate("""() => {
      const context = boxes.getContext("2d"), taken = [];
      for (const x of [100, 104, 108, 112, 130, 200])
        label(context, [x, 60, 60, 70], "#123", "#ff8800", 1, taken);
      return taken;
    }""")
    for number, (left, top, right, bottom) in enumerate(places):
        assert 0 <= left < right <= WIDTH
        assert 0 <= top < bottom <= HEIGHT
        for x0, y0, x1, y1 in places[:number]:
            assert right <= x0 or x1 <= left or bottom <= y0 or y1 <= top


def test_an_address_may_name_an_identity_and_a_frame(look, results):
    shown = ready(look((results / "v.report.html").as_uri() + "#2,70"))
    assert "frame 70" in shown.locator("#now").inner_text()
    assert shown.locator('#list [aria-pressed="true"]').get_attribute("data-id") == "2"


def test_filters(opened):
    opened.get_by_label("Find an identity").fill("2")
    assert ids(opened) == [2]
    assert opened.locator("#tab-review").inner_text() == "Review 1"
    opened.get_by_label("Find an identity").fill("")
    opened.get_by_label("at least").fill("8")
    assert ids(opened) == [1, 2, 4]
    opened.get_by_label("at least").fill("0")
    opened.get_by_role("slider", name="Frame").fill("49")
    for state, expected in {"present": [1, 3], "lost": [2], "unborn": [4], "ended": []}.items():
        opened.get_by_label("State at this moment").select_option(state)
        assert ids(opened) == expected


# The memory


def test_the_inspector_shows_the_memory_of_an_identity(opened):
    opened.locator('#list [data-id="1"]').click()
    opened.get_by_role("slider", name="Frame").fill("149")
    inspector = opened.locator("#inspector")
    views = inspector.locator("> .views .view")
    assert views.count() == 11  # ten, and the last one that was dropped
    for index in range(views.count()):
        image = views.nth(index).locator("img")
        assert image.evaluate("(i) => i.decode().then(() => i.naturalHeight)") == 96
    assert "out " in views.nth(0).inner_text()
    name = views.nth(1).get_attribute("aria-label")
    assert "seen in frame" in name
    assert "stored in frame" in name
    assert "seen now, score 0.90" in inspector.locator("h2").inner_text()
    assert "100 % sure" in inspector.locator("#match").inner_text()
    assert "second #" in inspector.locator("#match").inner_text().replace("\n", " ")

    first = int(views.nth(1).locator("small").nth(0).inner_text())
    views.nth(1).click()
    assert f"frame {first}," in opened.locator("#now").inner_text()


def test_the_memory_is_that_of_the_moment(opened):
    opened.locator('#list [data-id="1"]').click()
    assert opened.locator("#inspector > .views .view").count() == 0
    opened.get_by_role("slider", name="Frame").fill("30")
    assert opened.locator("#inspector > .views .view").count() == 2
    opened.locator("summary").click()
    until(opened, "document.querySelectorAll('details .view').length > 10")


# For everybody


def test_everything_can_be_done_by_keys(opened):
    opened.keyboard.press("j")
    opened.keyboard.press("j")
    assert opened.locator("#inspector h2").inner_text().startswith("#2")
    opened.keyboard.press("k")
    assert opened.locator("#inspector h2").inner_text().startswith("#1")
    for _ in range(3):
        opened.keyboard.press("ArrowRight")
    opened.keyboard.press("s")
    assert ids(opened) == [1, 2, 3, 4, 5]
    opened.keyboard.press("Delete")
    assert ids(opened) == [1, 2, 3, 4]
    opened.keyboard.press("j")
    opened.keyboard.press("m")
    assert opened.evaluate("document.activeElement.dataset.act") == "merge"
    opened.keyboard.press("Escape")
    assert opened.evaluate("chosen") is None

    opened.locator("#tab-list").focus()
    opened.keyboard.press("ArrowRight")
    assert opened.locator("#panel-review").is_visible()


@pytest.mark.parametrize("panel", ["list", "review", "edits"])
def test_a_screen_reader_has_a_name_for_everything(opened, panel):
    opened.locator('#list [data-id="1"]').click()
    opened.get_by_role("slider", name="Frame").fill("100")
    opened.locator(f"#tab-{panel}").click()
    tree = opened.context.new_cdp_session(opened).send("Accessibility.getFullAXTree")
    roles = {"button", "combobox", "slider", "checkbox", "tab", "tabpanel", "spinbutton", "list",
             "searchbox", "MenuListPopup", "region", "group"}  # fmt: skip
    nodes = [node for node in tree["nodes"] if not node["ignored"]
             and node["role"]["value"] in roles]  # fmt: skip
    assert len(nodes) > 15
    assert [node["role"]["value"] for node in nodes if not node["name"]["value"]
            and node["role"]["value"] != "MenuListPopup"] == []  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(look, results, scheme):
    shown = ready(look((results / "v.report.html").as_uri(), color_scheme=scheme))
    shown.locator('#list [data-id="1"]').click()
    contrasts = shown.evaluate("""() => {
      const parts = (text) => text.match(/[\\d.]+/g).map(Number);
      const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) =>
        v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) =>
        sum + v * [0.2126, 0.7152, 0.0722][i], 0);
      const back = (node) => {
        const color = parts(getComputedStyle(node).backgroundColor);
        return color.length < 4 || color[3] > 0 ? color : back(node.parentElement);
      };
      return [...document.querySelectorAll("h1, h2, p, label, small, .soft, button, summary")]
        .filter((node) => node.checkVisibility() && node.textContent.trim() && !node.disabled
          && !node.closest(".gone"))
        .map((node) => [light(parts(getComputedStyle(node).color)), light(back(node))])
        .map(([a, b]) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
    }""")
    assert len(contrasts) > 20
    assert min(contrasts) >= 4.5


def test_choosing_scrolls_lists_but_never_the_page(opened):
    opened.set_viewport_size({"width": 360, "height": 400})
    opened.evaluate("$('list').style.maxHeight = '30px'; choose(4, 80)")
    assert opened.evaluate("scrollY") == 0
    assert opened.evaluate("$('list').scrollTop") > 0


@pytest.mark.parametrize("width", [1300, 700, 360])
def test_nothing_is_wider_than_the_window(opened, width):
    opened.set_viewport_size({"width": width, "height": 800})
    opened.locator('#list [data-id="1"]').click()
    assert opened.evaluate("document.documentElement.scrollWidth") <= width


def test_names_from_a_file_stay_text(look, results, tmp_path):
    evil = '"><img src=x onerror="document.title=1"></script><script>document.title=2</script>'
    data = read_page(results / "v.report.html")
    data["title"] = data["tracks"][0]["name"] = data["review"][0]["text"] = evil
    data["videos"] = []
    (tmp_path / "evil.html").write_text(page(data), encoding="utf-8")
    shown = ready(look((tmp_path / "evil.html").as_uri() + "#1"))
    assert shown.title() == evil
    assert shown.locator("#inspector h2").inner_text().startswith(f"#1 {evil}")
    assert shown.locator("img[src=x]").count() == 0


def test_errors_by_ground_truth_are_on_the_timeline_and_in_a_list(look, results, tmp_path):
    data = read_page(results / "v.report.html")
    data["truth"] = {
        "scores": {"HOTA": 61.25, "IDSW": 1}, "false": [[2, 70], [2, 71], [2, 90]],
        "switches": [[66, 4, 3]], "missed": [[61, 9, 2200, 300, 400, 1000]],
    }  # fmt: skip
    (tmp_path / "truth.html").write_text(page(data), encoding="utf-8")
    shown = ready(look((tmp_path / "truth.html").as_uri()))
    assert "HOTA 61.3  IDSW 1" in shown.locator("#scores").text_content()
    shown.get_by_role("tab", name="Errors 4").click()
    texts = shown.locator("#faults li span:nth-child(2)").all_inner_texts()
    assert texts == ["person 9 is missed for 0.1 s", "#4 was #3", "#2 covers nobody for 0.2 s",
                     "#2 covers nobody for 0.1 s"]  # fmt: skip
    shown.locator("#faults button").nth(1).click()
    assert "frame 66" in shown.locator("#now").inner_text()
    assert shown.evaluate("faultsAt(at).map((fault) => fault.text)") == ["was #3"]
    shown.evaluate("merge(3, 4)")
    assert "#3 was #3" in shown.locator("#faults").inner_text()


def test_ten_minutes_with_two_hundred_identities_load_in_three_seconds(look, results, tmp_path):
    data, frames, life = read_page(results / "v.report.html"), 15_000, 1_500
    picture = next(view[5] for view in data["tracks"][0]["views"] if view[5])
    tracks = []
    for number in range(1, 201):
        begin = number * (frames - life) // 200
        own = [frame for frame in range(begin, begin + life) if frame % 97]
        tracks.append({
            "id": number, "color": "#ff8800", "name": "person", "frames": own,
            "boxes": [10 * number, 4000, 603, 1607] * len(own), "scores": [87] * len(own),
            "matches": [value for frame in own[::5] for value in (frame, 120, 3, 340, 98)],
            "views": [[frame, frame, "waited", 3, frame + 110, picture if frame % 9 == 0 else None]
                      for frame in own[::11]],
        })  # fmt: skip
    data |= {"numbers": [*range(1, frames + 1)], "times": [*range(0, 40 * frames, 40)], "rate": 25,
             "tracks": tracks, "review": [], "videos": [], "size": [1920, 1080]}  # fmt: skip
    (tmp_path / "long.html").write_text(page(data), encoding="utf-8")
    shown = look("about:blank")
    session = shown.context.new_cdp_session(shown)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})  # whatever else is running
    shown.goto((tmp_path / "long.html").as_uri())
    ready(shown)
    metrics = session.send("Performance.getMetrics")["metrics"]
    assert next(m["value"] for m in metrics if m["name"] == "TaskDuration") < 3
    assert shown.locator("#list li").count() == 200
