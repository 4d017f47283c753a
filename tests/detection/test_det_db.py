"""det_dbs that are larger than what is kept of them, or changed behind our back."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tfsasm.detection import det_db
from tfsasm.detection.det_db import Index, SequenceBoxes, parse, read_entries, write_det_db
from tfsasm.detection.stored import open_detections
from tfsasm.errors import InputError


def frames(count, folder="seq/img1"):
    """One box in each, whose left edge is the frame's number."""
    return {f"{folder}/{n:06d}.txt": [f"{n},5,10.5,20,0.5\n"] for n in range(1, count + 1)}


def write(path, table, **how):
    path.write_text(json.dumps(table, **how), encoding="utf-8")
    return path


@pytest.fixture
def small_blocks(monkeypatch):
    """Three frames at once, two such blocks in memory."""
    monkeypatch.setattr(det_db, "_BLOCK", 3)
    monkeypatch.setattr(det_db, "_KEPT", 2)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("order", [range(10), reversed(range(10)), [0, 9, 1, 8, 0, 5, 5, 9]],
                         ids=["forwards", "backwards", "to and fro"])
def test_boxes_that_were_let_go_are_read_again(tmp_path, order):
    index = Index(write(tmp_path / "db.json", frames(10)))
    boxes = SequenceBoxes(index, ("seq", "img1"), skip_bad=False)
    assert boxes.scores == (0.5, 0.5)
    for position in order:
        np.testing.assert_array_equal(boxes.at(position), [[position + 1, 5, 10.5, 20, 0.5]])
        assert len(boxes._blocks) <= 2


@pytest.mark.usefixtures("small_blocks")
def test_a_bad_line_in_a_later_block_is_named_and_counted_once(tmp_path):
    table = frames(10) | {"seq/img1/000008.txt": ["8,5,1,1,0.5\n", "bad"]}
    path = write(tmp_path / "db.json", table)
    with pytest.raises(InputError, match=r"key 'seq/img1/000008.txt', line 2: too few"):
        SequenceBoxes(Index(path), ("seq", "img1"), skip_bad=False)
    boxes = SequenceBoxes(Index(path), ("seq", "img1"), skip_bad=True)
    for position in (9, 7, 0, 7):
        assert len(boxes.at(position)) == 1
    assert boxes.skipped.count == 1


def test_every_skipped_line_is_named(tmp_path):
    table = {"a/1.txt": ["bad", "1,1,1,1,1"], "a/2.txt": ["1,1,1,1,1", "1,1,1,1,1", "worse"]}
    parsed, skipped = parse("db.json", list(table.items()), skip_bad=True)
    assert [len(rows) for rows in parsed] == [1, 2]
    assert skipped.places == ("db.json, key 'a/1.txt', line 1", "db.json, key 'a/2.txt', line 3")
    assert str(skipped).endswith("; the others: db.json, key 'a/2.txt', line 3")


def test_names_outside_of_ascii_do_not_shift_places(tmp_path):
    table = {f"naïve/日本/{n}.txt": [f"{n},1,2,3,0.5 \n"] for n in range(1, 6)}
    for how in ({}, {"ensure_ascii": False}, {"ensure_ascii": False, "indent": 1}):
        index = Index(write(tmp_path / "db.json", table, **how))
        assert index.lines(("naïve", "日本"), range(5)) == list(table.items())


@pytest.mark.parametrize("change", [
    pytest.param(lambda path: path.write_text('{"seq/img1/000001.txt": []}'), id="other content"),
    pytest.param(lambda path: os.utime(path, ns=(1, 1)), id="other time"),
    pytest.param(lambda path: path.unlink(), id="removed"),
])
def test_a_file_that_changed_since_is_not_used(tmp_path, change):
    index = Index(write(tmp_path / "db.json", frames(3)))
    change(index.path)
    with pytest.raises(InputError, match=r"db\.json was changed|cannot read .*db\.json"):
        index.lines(("seq", "img1"), range(1))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with a name")
def test_a_pipe_is_refused_before_it_blocks(tmp_path):
    os.mkfifo(tmp_path / "db.json")
    with pytest.raises(InputError, match="is no file that can be read twice"):
        Index(tmp_path / "db.json")


def test_what_is_written_is_what_json_would_write(tmp_path):
    table = frames(3) | {"é/2.txt": [], 'quote"/3.txt': ["a", "\t"]}
    assert write_det_db(tmp_path / "db.json", table.items()) == 5
    assert (tmp_path / "db.json").read_text() == json.dumps(table)
    assert {entry.key: entry.lines for entry in read_entries(tmp_path / "db.json")} == table


def test_an_empty_database_is_an_empty_object(tmp_path):
    assert write_det_db(tmp_path / "db.json", []) == 0
    assert (tmp_path / "db.json").read_text() == "{}"


def test_an_error_on_the_way_leaves_the_old_file(tmp_path):
    def broken():
        yield "a/1.txt", []
        raise InputError("stop")

    write(tmp_path / "db.json", {"old": []})
    with pytest.raises(InputError, match="stop"):
        write_det_db(tmp_path / "db.json", broken())
    assert [path.name for path in tmp_path.iterdir()] == ["db.json"]
    assert "old" in (tmp_path / "db.json").read_text()


@pytest.mark.data
def test_the_real_database_is_read_whole_and_written_back_equal(tmp_path):
    if not (root := os.environ.get("TFSASM_DATA")):
        pytest.skip("TFSASM_DATA does not say where the data is")
    path = f"{root}/det_db/det_db_motrv2_lowfps.json"
    count = write_det_db(
        tmp_path / "copy.json", ((entry.key, entry.lines) for entry in read_entries(path)))
    assert count == 9588
    with open(path, "rb") as file:
        assert (tmp_path / "copy.json").read_bytes() == file.read()
    database = open_detections(path)
    index = database._index
    boxes = sum(len(SequenceBoxes(index, folder, skip_bad=False).at(position))
                for folder, stems in index.folders.items() for position in stems.values())
    assert boxes == 82147


MEASURE = """
import resource, sys
from types import SimpleNamespace
import numpy as np
from tfsasm.detect import open_detections
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
database = open_detections(sys.argv[1])
image = np.zeros((8, 8, 3), np.uint8)
for sequence in range(1, 201):
    name = f"s{sequence:04d}/img1/000001.jpg"
    frame = SimpleNamespace(image=image, number=1, time=None, name=name)
    assert len(database(frame)) == 20
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks are measured in kilobytes on Linux")
def test_reading_takes_far_less_memory_than_the_file(tmp_path):
    """100 MB and every sequence of it; `json.load` takes 400 MB for such a file."""
    lines = [f"{n}.25,{n}.75,101.5,233.25,0.{n:03d}\n" for n in range(101, 121)]
    path = tmp_path / "db.json"
    write_det_db(path, (
        (f"s{sequence:04d}/img1/{frame:06d}.txt", lines)
        for sequence in range(1, 201) for frame in range(1, 671)
    ))
    assert path.stat().st_size > 95e6
    done = subprocess.run([sys.executable, "-c", MEASURE, path], capture_output=True, text=True,
                          check=True)
    assert int(done.stdout) < 120e6
