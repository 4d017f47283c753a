"""What users read about files that are wrong, odd or damaged: the file's words, never Python's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from helpers.scenes import NETWORK, lively_model
from tfsasm.datasets.bdd100k import read_scalabel
from tfsasm.datasets.crowdhuman import read_odgt
from tfsasm.detection.coco import CocoImages, read_coco
from tfsasm.detection.formats import Reading
from tfsasm.detection.run import FrameRecord, Journal
from tfsasm.detection.stored import open_detections
from tfsasm.errors import InputError, TfsasmError, TruncatedInput, WeightsError
from tfsasm.experiments.results import claim
from tfsasm.files import check_distinct, check_output
from tfsasm.motrv2.config import NetworkConfig, tiny
from tfsasm.motrv2.family import load_model
from tfsasm.motrv2.weights import save_model
from tfsasm.pytorch import find_device
from tfsasm.runtime.exported import MANIFEST, read_manifest
from tfsasm.tracking.appearance.embedders import embedder
from tfsasm.tracking.config import MemoryConfig
from tfsasm.training.checkpoints import resume
from tfsasm.video.source import find_sources, open_video

PYTHON = re.compile(
    r"None|\bTrue\b|\bFalse\b|[A-Z]\w+Error|Errno|Traceback|<class|object at|codec|\bdict\b|"
    r"\bstr\b|\bint\b|subscript|iterable|unhashable|argument|Expecting|\['|\{'|\('|\(char \d|"
    r"set_int"
)

BOX = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(json.dumps(content), encoding="utf-8")
    return path


def refused(read, kind=TfsasmError):
    """The one line that a reader says."""
    with pytest.raises(kind) as caught:
        read()
    text = str(caught.value)
    assert "\n" not in text
    assert not PYTHON.search(text), text
    return text


DAMAGED = [
    pytest.param(b"", ":1:1: not valid JSON: it is empty", id="empty"),
    pytest.param(b'{"a": [', ":1:8: not valid JSON: it ends too early", id="cut off"),
    pytest.param(b'{"a": nothing}', ":1:7: not valid JSON: wanted is a value", id="a word"),
    pytest.param(b"{'a': 1}", ":1:2: not valid JSON: wanted is property name", id="single quotes"),
    pytest.param(b"[] []", ":1:4: not valid JSON: extra data", id="two"),
    pytest.param(b"[" * 100_000, ": it is nested too deep", id="deep"),
    pytest.param(b"[" + b"9" * 5000 + b"]", ": not valid JSON: a number is too long", id="long"),
    pytest.param(b'{"a": "\xe9"}', " is not text (byte 7 is not UTF-8)", id="Latin-1"),
    pytest.param('{"a": 1}'.encode("utf-16"), " is not text (byte 0 is not UTF-8)", id="UTF-16"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "words"), DAMAGED)
@pytest.mark.parametrize("reader", [read_scalabel, CocoImages], ids=["labels", "images"])
def test_damaged_json_is_named_by_line_and_column(tmp_path, reader, content, words):
    path = write(tmp_path / "v.json", content)
    assert refused(lambda: reader(path)).startswith(f"{path}{words}")


@pytest.mark.parametrize(("content", "words"), DAMAGED)
def test_a_damaged_record_of_an_export_too(tmp_path, content, words):
    write(tmp_path / MANIFEST, content)
    text = refused(lambda: read_manifest(tmp_path))
    assert words in text
    assert text.endswith("make it again with tfsasm export")


@pytest.mark.parametrize(("line", "words"), [
    pytest.param(b"{", "x.odgt:1:2: not valid JSON: it ends too early", id="cut off"),
    pytest.param(b"[" * 100_000, "x.odgt:1: it is nested too deep", id="deep"),
    pytest.param(b"9" * 5000, "x.odgt:1: not valid JSON: a number is too long", id="long"),
    pytest.param(b"null", "x.odgt:1: null is not an object", id="null"),
])  # fmt: skip
def test_a_damaged_line_of_crowd_labels_too(tmp_path, line, words):
    path = write(tmp_path / "x.odgt", line)
    assert words in refused(lambda: list(read_odgt(path)))


@pytest.mark.parametrize(("item", "words"), [
    pytest.param(None, "it is null; wanted is a list of", id="null"),
    pytest.param(True, "it is true; wanted is a list of", id="true"),
    pytest.param({**BOX, "image_id": None}, "image_id is null, not text", id="no image"),
    pytest.param({**BOX, "image_id": True}, "image_id is true, neither a whole", id="a flag"),
    pytest.param({**BOX, "category_id": None}, "category_id is null, not a whole", id="no class"),
    pytest.param({**BOX, "category_id": False}, "category_id is false, not a", id="false"),
    pytest.param({**BOX, "bbox": None}, "bbox is null, not a list", id="no box"),
    pytest.param({**BOX, "bbox": {"x": None}}, 'bbox is {"x": null}, not a list', id="an object"),
    pytest.param({**BOX, "bbox": [1, None, 3, 4]}, "top is null, not a number", id="half a box"),
    pytest.param({**BOX, "score": {"a": 1}}, 'score is {"a": 1}, not a number', id="no number"),
    pytest.param({"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]},
                 "score is missing; this is ground truth rather than results", id="ground truth"),
])  # fmt: skip
def test_coco_results_are_refused_in_the_words_of_the_file(tmp_path, item, words):
    path = write(tmp_path / "r.json", [BOX, item])
    text = refused(lambda: list(read_coco(path, Reading(), None)))
    assert f"r.json, item 2: {words}" in text


@pytest.mark.parametrize("row", [
    None, [1], "a.jpg", {"id": 1}, {"id": 1, "file_name": None}, {"id": None, "file_name": "a"},
    {"id": 1.5, "file_name": "a"}, {"id": True, "file_name": "a"}, {"id": 1, "file_name": ""},
])  # fmt: skip
def test_a_table_of_images_is_refused_in_the_words_of_the_file(tmp_path, row):
    path = write(tmp_path / "t.json", {"images": [row]})
    assert "t.json: image 1 " in refused(lambda: CocoImages(path))


def test_a_second_list_behind_the_results_is_not_left_out_silently(tmp_path):
    path = write(tmp_path / "r.json", json.dumps([BOX]).encode() * 2)
    assert "trailing garbage" in refused(lambda: list(read_coco(path, Reading(), None)))


MANIFEST_OF_TWO = {
    "format": 1, "short_side": 64, "max_side": 128, "levels": 2, "parameters": 9,
    "learned_content": [[1.0, 2.0]], "learned_boxes": [[0.1, 0.2, 0.3, 0.4]],
    "proposal_content": [[1.0, 2.0]],
}  # fmt: skip


@pytest.mark.parametrize(("change", "words"), [
    pytest.param({"format": None}, "format is null, not a whole number", id="no format"),
    pytest.param({"format": 2}, "its format is 2, not 1", id="a later format"),
    pytest.param({"short_side": 0}, "short_side is 0, not a whole number from 1", id="no side"),
    pytest.param({"levels": True}, "levels is true, not a whole number", id="a flag"),
    pytest.param({"levels": 10**9}, "levels is 1000000000, not a whole", id="many"),
    pytest.param({"learned_content": None}, "learned_content is null, not a list", id="null"),
    pytest.param({"learned_content": [[1], [1, 2]]}, "learned_content is not a table", id="ragged"),
    pytest.param({"learned_content": [[None]]}, "learned_content is null, not a number", id="hole"),
    pytest.param({"learned_content": [["a"]]}, 'learned_content is "a", not a number', id="text"),
    pytest.param({"learned_content": []}, "learned_content is not a table", id="nothing"),
    pytest.param({"learned_boxes": [[1.0]]}, "learned_boxes is not a table of 1 x 4", id="narrow"),
])  # fmt: skip
def test_the_record_of_an_export_is_refused_in_its_words(tmp_path, change, words):
    write(tmp_path / MANIFEST, MANIFEST_OF_TWO)
    assert read_manifest(tmp_path).levels == 2
    write(tmp_path / MANIFEST, {**MANIFEST_OF_TWO, **change})
    assert words in refused(lambda: read_manifest(tmp_path))


@pytest.mark.parametrize("value", [None, [], "x", 3, {}])
def test_a_record_of_another_kind_is_refused(tmp_path, value):
    write(tmp_path / MANIFEST, value)
    refused(lambda: read_manifest(tmp_path), InputError)


@pytest.mark.parametrize(("text", "words"), [
    pytest.param("null", "it is null, not an object", id="null"),
    pytest.param("[]", "it is [], not an object", id="a list"),
    pytest.param("", "not valid JSON: it is empty", id="empty"),
    pytest.param('{"model": null}', "model is null, not an object", id="no model"),
    pytest.param('{"model": {"depth": 1}}', "no setting depth", id="an unknown size"),
    pytest.param('{"model": {"width": "64"}}', 'width is "64", not a whole number', id="text"),
    pytest.param('{"model": {"width": 0}}', "width is 0, not from 1 to", id="nothing"),
    pytest.param('{"model": {"box_turns": NaN}}', "box_turns is NaN, not from", id="NaN"),
    pytest.param('{"model": {"feedforward": 1000000000000}}', "feedforward is 1", id="huge"),
    pytest.param('{"model": {}, "short_side": true}', "short_side is true, not a whole", id="flag"),
    pytest.param(b"\xff{}", "byte 0 is not UTF-8", id="no text"),
])  # fmt: skip
def test_a_network_configuration_is_refused_in_its_words(text, words):
    assert words in refused(lambda: NetworkConfig.from_json(text), WeightsError)


def test_a_network_configuration_with_a_byte_order_mark_is_read():
    assert NetworkConfig.from_json(b"\xef\xbb\xbf" + tiny().to_json().encode()) == tiny()


@pytest.mark.parametrize("record", [
    {}, [], None, {"settings": {}, "sequences": [[1]]}, {"settings": {}, "sequences": [None]},
    {"settings": [], "sequences": []}, {"settings": {}, "sequences": ["../up"]},
])  # fmt: skip
def test_a_folder_whose_record_is_damaged_is_refused(tmp_path, record):
    write(tmp_path / "evaluation.json", record)
    assert "evaluation.json cannot be read" in refused(lambda: claim(tmp_path, {"a": 1}, ["s"]))


def test_settings_that_changed_are_said_in_words_of_json(tmp_path):
    claim(tmp_path, {"weights": None, "sides": [8, None]}, ["s"])
    (tmp_path / "s.txt").touch()
    text = refused(lambda: claim(tmp_path, {"weights": True, "sides": [8, 9]}, ["s"]))
    assert "weights was null, not true; sides was [8, null], not [8, 9]" in text


@pytest.mark.parametrize("row", [
    {}, {"done": None}, {"done": "s"}, {"done": "s", "notes": [1]}, [], ["s", 1],
    ["s", "1", "k", []], ["s", 1, "k", None], ["s", 1, "k", [None]], 3,
])  # fmt: skip
def test_a_journal_goes_on_before_its_first_damaged_line(tmp_path, row):
    path = tmp_path / "j.partial"
    good = [FrameRecord("s", 1, "s/1.txt", []), FrameRecord("s", 2, "s/2.txt", [])]
    with Journal(path, {"a": 1}) as journal:
        for record in good:
            journal.add(record)
    with path.open("a") as file:
        file.write(f"{json.dumps(row)}\n")
    with Journal(path, {"a": 1}) as journal:
        assert journal.begun == ("s", 2)
        journal.finish("s", [])
        assert list(journal.frames(["s"])) == good[:1]  # the last one before damage is made again


def test_a_journal_of_another_run_says_what_changed_in_words_of_json(tmp_path):
    with Journal(tmp_path / "j", {"weights": None, "sides": [8, 8]}):
        pass
    text = refused(lambda: Journal(tmp_path / "j", {"weights": "x", "sides": [8, 9], "new": True}))
    assert 'weights was null, is "x"; sides was [8, 8], is [8, 9]; new was nothing, is true' in text


LONG = "x" * 300


def test_what_only_the_system_knows_to_be_bad_is_one_line(tfsasm, tmp_path):
    """Names that are too long, links that lead in a circle: whatever the command, no traceback."""
    (tmp_path / "circle.txt").symlink_to(tmp_path / "circle.txt")
    det = write(tmp_path / "det.txt", b"1,-1,1,2,3,4,0.5\n")
    for arguments in (
        ("detections", "convert", tmp_path / f"{LONG}.json", tmp_path / "o.json"),
        ("detections", "convert", det, tmp_path / f"{LONG}.json"),
        ("synth", "--output", tmp_path / LONG, "--frames", 2, "--sequences", 1),
        ("merge", "--results", tmp_path / "circle.txt", "--output", tmp_path / "o.txt"),
    ):
        ended = tfsasm(*arguments)
        assert ended.code == 2
        (line,) = [line for line in ended.err.splitlines() if line.startswith("error")]
        assert not PYTHON.search(line), line


def test_an_empty_name_is_not_the_folder_where_one_is(tfsasm, tmp_path, monkeypatch):
    """As a variable of the shell gives it that is not set: `tfsasm track "$VIDEO"`."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "v.mp4", b"")
    ended = tfsasm("track", "")
    assert (ended.code, "the name of a video is empty" in ended.err) == (2, True)
    for name in ("", " "):
        with pytest.raises(InputError, match="the name of a video is empty"):
            find_sources([name])
    for name in ("", "file://v.mp4"):  # which is a host
        with pytest.raises(InputError, match=f"'{name}' names no video; write a path"):
            open_video(name)


def test_a_pipe_is_not_taken_for_an_empty_file(tmp_path):
    """What it gave to the first look would be lost."""
    os.mkfifo(tmp_path / "det.txt")
    end = os.open(tmp_path / "det.txt", os.O_RDWR)  # so that no one waits for what is to come
    os.write(end, b"1,-1,1,2,3,4,0.5\n" * 50)
    with pytest.raises(InputError, match=r"det\.txt is a pipe or a device; save what comes"):
        open_detections(tmp_path / "det.txt")
    with pytest.raises(InputError, match=r"det\.txt is a pipe or a device; give a video"):
        find_sources([str(tmp_path / "det.txt")])


def test_an_output_is_refused_before_any_work(tmp_path):
    write(tmp_path / "file", b"")
    assert "too long" in refused(lambda: check_output(tmp_path / LONG, overwrite=False))
    text = refused(lambda: check_output(tmp_path / "file" / "o.txt", overwrite=False))
    assert text.endswith(f"{tmp_path / 'file'} is no folder")
    os.symlink(tmp_path / "circle", tmp_path / "circle")
    check_distinct([tmp_path / "circle", tmp_path / "other"], [tmp_path / "circle"])


@pytest.mark.parametrize(("option", "words"), [
    pytest.param(("--min-gap", "abc"), "'abc' is not a whole number", id="a word"),
    pytest.param(("--max-gap", "1.5"), "'1.5' is not a whole number", id="a part"),
])  # fmt: skip
def test_an_option_of_another_kind_is_refused_in_words(tfsasm, tmp_path, option, words):
    ended = tfsasm("merge", "--results", tmp_path, "--output", tmp_path / "o", *option)
    assert ended.code == 2
    assert words in ended.out + ended.err
    assert "literal" not in ended.out + ended.err


@pytest.mark.parametrize("score", ["high", "nan"])
def test_no_number_filters_everything_out_silently(tfsasm, tmp_path, score):
    det = write(tmp_path / "det.txt", b"1,-1,1,2,3,4,0.5\n")
    ended = tfsasm("detections", "filter", det, tmp_path / "o.json", "--score", score)
    assert ended.code == 2
    assert "is not a number" in ended.out + ended.err


@pytest.mark.parametrize("digits", [-3, 0, 99])
def test_digits_that_no_name_can_have_are_refused(digits):
    assert f"digits is {digits}" in refused(lambda: Reading(digits=digits))


@pytest.mark.parametrize(("data", "words"), [
    pytest.param(b"", "0 bytes, it is empty", id="empty"),
    pytest.param(b"hello", "5 bytes, damaged, cut or of a kind that is not supported", id="text"),
])  # fmt: skip
def test_an_image_that_is_none_is_named(tmp_path, data, words):
    write(tmp_path / "000001.jpg", data)
    with open_video(tmp_path) as source:
        assert words in refused(lambda: list(source), TruncatedInput)


def test_images_that_are_there_under_two_suffixes_are_told(tmp_path):
    for name in ("1.jpg", "2.jpg", "2.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((8, 8, 3), np.uint8))
    with open_video(tmp_path) as source:
        assert "1 image(s) are there under two suffixes; all are read" in source.problems[0]
        assert [frame.number for frame in source] == [1, 2, 3]


@pytest.mark.parametrize("change", [{"backbone": "vgg"}, {"width": 7}, {"levels": 9}])
def test_sizes_that_make_no_network_are_named(tmp_path, change):
    config = replace(NETWORK, model=replace(NETWORK.model, **change))
    save_model(tmp_path / "w.safetensors", lively_model(), config)
    text = refused(lambda: load_model(tmp_path / "w.safetensors"), WeightsError)
    assert 'w.safetensors: no network can be made of kind "motrv2", backbone "' in text


def test_a_device_that_holds_no_numbers_is_refused():
    assert "no device 'meta' here" in refused(lambda: find_device("meta"))


def test_a_memory_that_fits_no_machine_is_refused():
    assert "at most 10,000" in refused(lambda: MemoryConfig(capacity=10**12))


@pytest.mark.parametrize("config", [None, "{", "[]", 3])
def test_a_checkpoint_whose_settings_are_damaged_is_not_resumed_from(tmp_path, config):
    keys = ("model", "average", "step", "optimizer", "generator", "network")
    torch.save({**dict.fromkeys(keys), "config": config}, tmp_path / "last.pt")
    text = refused(lambda: resume(None, tmp_path / "last.pt"), WeightsError)
    assert "last.pt is not a checkpoint to resume from" in text


def test_a_number_beyond_all_floats_is_refused_in_words(tmp_path):
    box = {"x1": 1, "y1": 2, "x2": 10**400, "y2": 4}
    labels = [{"id": "1", "category": "car", "box2d": box}]
    path = write(tmp_path / "v.json", [{"name": "v-0000001.jpg", "labels": labels}])
    assert "the box2d of id 1 is [1, 2, 1000" in refused(lambda: read_scalabel(path))


@pytest.mark.parametrize(("setting", "words"), [
    ("height=0", "height is 0; give a whole number from 1 up"),
    ("hues=0", "hues is 0; give a whole number from 1 up"),
    ("width=0", "width is 0; give a whole number from 1 up"),
    ("spread=0", "spread is 0; give a share above 0"),
    ("stripes=0.5,0.2", "stripes are at least two shares from 0 to 1 that increase"),
])
def test_sizes_that_make_no_histogram_are_refused(setting, words):
    with pytest.raises(InputError, match=words):
        embedder("hist", None, [setting])


def test_libraries_say_nothing_beside_our_own_words(tmp_path):
    """opencv/opencv#18502: its TIFF reader logs to the terminal; in a process of its own."""
    ok, code = cv2.imencode(".tif", np.zeros((24, 32, 3), np.uint8))
    assert ok
    write(tmp_path / "img" / "1.tif", code.tobytes())
    write(tmp_path / "img" / "2.tif", code.tobytes()[: len(code) * 2 // 3])
    write(tmp_path / "det.txt", b"1,-1,1,1,5,9,0.9\n")
    done = subprocess.run(
        [sys.executable, "-m", "tfsasm", "track", "img", "--detections", "det.txt", "--quiet",
         "--save", "mot", "--embedder", "none", "--output", "."],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (3, "")
    assert "cut short: img/2.tif (frame 2 of 2) cannot be decoded" in done.stdout
