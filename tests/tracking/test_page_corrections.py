"""Corrections by hand in a real browser: made, undone, saved, opened again."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import supervision as sv

from helpers.browser import until
from helpers.pages import FRAMES, ids, ready, scene
from tfsasm.motchallenge import read_tracks
from tfsasm.tracking.postprocess import corrected_text, read_corrections
from tfsasm.tracking.results import CvatFile

pytestmark = pytest.mark.browser


def test_an_entry_of_the_review_leads_there_and_can_be_merged(opened):
    opened.get_by_role("tab", name="Review").click()
    items = opened.locator("#review li")
    assert [items.nth(i).locator("span").nth(1).inner_text() for i in range(items.count())] == [
        "#2 is back after 2.0 s", "#4 begins where #3 ended",
    ]  # fmt: skip
    items.nth(0).locator("button").first.click()
    assert "frame 60" in opened.locator("#now").inner_text()
    opened.get_by_role("button", name="Merge #4 with #3").click()
    assert items.count() == 1
    assert opened.evaluate("tracks.map((track) => track.id)") == [1, 2, 3]


def test_merge_split_delete_and_undo(opened):
    opened.locator('#list [data-id="3"]').click()
    opened.get_by_label("Merge #3 with").select_option("4")
    assert ids(opened) == [1, 2, 3]
    assert "Frames 1 to 150" in opened.locator("#inspector").inner_text()

    opened.get_by_role("slider", name="Frame").fill("99")
    opened.get_by_role("button", name="Split here").click()
    assert ids(opened) == [1, 2, 3, 5]
    assert opened.locator("#inspector h2").inner_text().startswith("#5")
    opened.get_by_role("button", name="Delete").click()
    assert ids(opened) == [1, 2, 3]

    opened.get_by_role("tab", name="Corrections 3").click()
    assert opened.locator("#edits li").all_inner_texts()[0].startswith("#4 is #3")
    opened.get_by_role("button", name="Undo").click()
    assert ids(opened) == [1, 2, 3, 5]
    opened.get_by_role("button", name="Redo").click()
    assert ids(opened) == [1, 2, 3]
    opened.keyboard.press("Control+z")
    opened.keyboard.press("Control+z")
    opened.keyboard.press("Control+z")
    assert ids(opened) == [1, 2, 3, 4]


def corrected(shown):
    """The usual corrections: 4 is 3, 1 is another from frame 100 on, 2 is deleted."""
    shown.evaluate("merge(3, 4); go(positionOf(100)); split(1); remove(2)")
    shown.get_by_role("tab", name="Corrections").click()
    return shown


def saved(shown, name, folder):
    with shown.expect_download() as waiting:
        shown.get_by_role("button", name=name).click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def test_saved_files_are_the_corrected_result(opened, results, tmp_path):
    corrected(opened)
    mot = saved(opened, "Save MOT", tmp_path)
    changes = read_corrections(saved(opened, "Save corrections", tmp_path))
    assert mot.name == "v.corrected.mot.txt"
    text, before, after = corrected_text(results / "v.mot.txt", changes)
    assert (before, after) == (4, 3)
    (tmp_path / "python.txt").write_text(text)
    ours, theirs = read_tracks(mot), read_tracks(tmp_path / "python.txt")
    assert sorted(zip(ours.frame, ours.identity, strict=True)) == sorted(
        zip(theirs.frame, theirs.identity, strict=True)
    )
    assert abs(ours.ltwh.sum(0) / theirs.ltwh.sum(0) - 1).max() < 1e-3

    cvat = saved(opened, "Save CVAT", tmp_path)
    with CvatFile(tmp_path / "python.xml", "v.mp4") as file:
        for number in range(1, FRAMES + 1):
            rows = np.flatnonzero(ours.frame == number)
            ltwh = ours.ltwh[rows]
            file.write(scene(number)[0], sv.Detections(
                xyxy=np.hstack([ltwh[:, :2], ltwh[:, :2] + ltwh[:, 2:]]),
                confidence=ours.confidence[rows], tracker_id=ours.identity[rows],
            ))  # fmt: skip
    files = (cvat, tmp_path / "python.xml")
    ours, theirs = (ET.canonicalize(from_file=str(path)) for path in files)
    assert ours == theirs


def test_corrections_outlive_a_reload_and_can_be_opened_elsewhere(
    opened, look, results, tmp_path
):
    corrected(opened)
    path = saved(opened, "Save corrections", tmp_path)
    expected = opened.evaluate("JSON.stringify(tracks)")
    opened.reload()
    until(opened, f"JSON.stringify(tracks) === {json.dumps(expected)}")

    other = ready(look((results / "v.report.html").as_uri()))
    assert ids(other) == [1, 2, 3, 4]
    other.get_by_role("tab", name="Corrections").click()
    other.locator("#open-edits").set_input_files(path)
    until(other, "edits.length === 3")
    assert other.evaluate("JSON.stringify(tracks)") == expected


def test_corrections_of_another_video_are_refused(opened, tmp_path):
    path = tmp_path / "other.corrections.json"
    path.write_text(json.dumps({"corrections": [{"merge": [1, 77]}]}))
    opened.get_by_role("tab", name="Corrections").click()
    opened.locator("#open-edits").set_input_files(path)
    until(opened, "$('said').textContent.includes('does not fit')")
    assert ids(opened) == [1, 2, 3, 4]
