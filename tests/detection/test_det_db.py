"""det_db files: read an entry at a time, kept as one array, refused with one clear line."""

import json
import os
import subprocess
import sys

import pytest

from tfsasm.detection.det_db import (
    kind_of,
    parsed_entries,
    read_det_db,
    read_entries,
    write_det_db,
)
from tfsasm.errors import InputError


def frames(count, folder="seq/img1"):
    """One box in each, whose left edge is the frame's number."""
    return {f"{folder}/{n:06d}.txt": [f"{n},5,10.5,20,0.5\n"] for n in range(1, count + 1)}


def write(path, content, **how):
    if not isinstance(content, str | bytes):
        content = json.dumps(content, **how)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_the_boxes_of_every_frame_are_found_by_folder_and_name(tmp_path):
    table = frames(2500) | frames(3, "b") | {"seq/img1/none.txt": []}
    database = read_det_db(write(tmp_path / "db.json", table))
    assert {folder: len(stems) for folder, stems in database.folders.items()} == {
        ("seq", "img1"): 2501, ("b",): 3}
    stems = database.folders["seq", "img1"]
    for number in (1, 999, 1000, 1001, 2500):
        assert database.at(stems[f"{number:06d}"]).tolist() == [[number, 5, 10.5, 20, 0.5]]
    assert database.at(stems["none"]).shape == (0, 5)
    assert database.of(("b",))[:, 4].tolist() == [0.5] * 3
    assert database.skipped == {}


def test_bad_lines_are_counted_by_folder(tmp_path):
    table = frames(1200) | {"seq/img1/000008.txt": ["8,5,1,1,0.5\n", "bad"], "b/1.txt": ["bad"]}
    database = read_det_db(write(tmp_path / "db.json", table))
    assert len(database.at(database.folders["seq", "img1"]["000008"])) == 1
    assert {folder: bad.count for folder, bad in database.skipped.items()} == {
        ("seq", "img1"): 1, ("b",): 1}
    assert "key 'seq/img1/000008.txt', line 2: too few" in database.skipped["seq", "img1"].first


def test_every_bad_line_is_named(tmp_path):
    table = {"a/1.txt": ["bad", "1,1,1,1,1"], "a/2.txt": ["1,1,1,1,1", "1,1,1,1,1", "worse"]}
    path = write(tmp_path / "db.json", table)
    parsed = list(parsed_entries(path))
    assert [len(boxes) for _, _, boxes, _ in parsed] == [1, 2]
    assert [bad.places for *_, bad in parsed] == [
        (f"{path}, key 'a/1.txt', line 1",), (f"{path}, key 'a/2.txt', line 3",)]


@pytest.mark.parametrize("how", [{}, {"ensure_ascii": False}, {"indent": 1}], ids=str)
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte order mark"])
def test_names_outside_of_ascii_are_read(tmp_path, how, mark):
    table = {f"naïve/日本/{n}.txt": [f"{n},1,2,3,0.5 \n"] for n in range(1, 6)}
    path = write(tmp_path / "db.json", mark + json.dumps(table, **how))
    assert dict(read_entries(path)) == table


DAMAGE = [
    pytest.param("", "not valid JSON: parse error: premature EOF", id="empty"),
    pytest.param('{"a": [', "premature EOF", id="cut off"),
    pytest.param('{\n"a": x}', 'invalid char in json text near { "a": x}', id="malformed"),
    pytest.param('{"a": [],}', "invalid object key", id="comma at the end"),
    pytest.param('{"a": []} x', "trailing garbage", id="more after the end"),
    pytest.param(b'{"a": ["\xff"]}', "invalid bytes in UTF8 string", id="not UTF-8"),
    pytest.param(b'{"a": ["\xed\xa0\x80"]}', "not valid JSON", id="half a surrogate pair"),
    pytest.param('{"a": [NaN]}', "not valid JSON", id="NaN"),
    pytest.param("9" * 5000, "integer overflow", id="a huge number"),
    pytest.param("[1]", "is not a det_db; wanted is one object", id="a list"),
    pytest.param("3", "is not a det_db; wanted is one object", id="a number"),
    pytest.param('{"b": [], "a": "1,2,3,4,5"}', "value of 'a' is not a list", id="a string"),
    pytest.param('{"a": [[1,2,3,4,5]]}', "value of 'a' is not a list", id="numbers"),
    pytest.param('{"a": {"b": []}}', "value of 'a' is not a list", id="an object"),
    pytest.param('{"a": ' + "[" * 100_000, "value of 'a' is not a list", id="too deep"),
    pytest.param('{"s/a.txt": [], "s/a.txt": []}', "names a frame that has an entry", id="twice"),
    pytest.param('{"s/a.txt": [], "./s/a.jpg": []}', "'./s/a.jpg' names a frame that has an entry",
                 id="twice by path and suffix"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "problem"), DAMAGE)
def test_damage_is_named_in_one_line(tmp_path, content, problem):
    path = write(tmp_path / "db.json", content)
    with pytest.raises(InputError) as caught:
        read_det_db(path)
    assert str(caught.value).startswith(str(path))
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wherever_it_is_cut_the_file_is_refused(tmp_path):
    whole = json.dumps(frames(3)).encode()
    for length in range(len(whole)):
        with pytest.raises(InputError, match="not valid JSON"):
            list(read_entries(write(tmp_path / "db.json", whole[:length])))


def test_a_file_that_is_not_there_is_named(tmp_path):
    for path, problem in ((tmp_path, "is a folder"), (tmp_path / "no", "cannot read")):
        with pytest.raises(InputError, match=problem):
            read_det_db(path)


@pytest.mark.parametrize(("name", "content", "kind"), [
    ("x", "", "mot"), ("x.JSON", "", "det_db"), ("x", " \n{", "det_db"), ("x", "\ufeff [", "coco"),
    ("x.json", "[", "coco"), ("x.txt", "1,2", "mot")])
def test_the_first_character_tells_the_kind(tmp_path, name, content, kind):
    assert kind_of(write(tmp_path / name, content)) == kind
    assert kind_of(tmp_path) == "mot"


def test_what_is_written_is_what_json_would_write(tmp_path):
    table = frames(3) | {"é/2.txt": [], 'quote"/3.txt': ["a", "\t"]}
    assert write_det_db(tmp_path / "db.json", table.items()) == 5
    assert (tmp_path / "db.json").read_text() == json.dumps(table)
    assert dict(read_entries(tmp_path / "db.json")) == table


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
    assert write_det_db(tmp_path / "copy.json", read_entries(path)) == 9588
    with open(path, "rb") as file:
        assert (tmp_path / "copy.json").read_bytes() == file.read()
    assert sum(len(boxes) for _, _, boxes, _ in parsed_entries(path)) == 82147
    assert len(read_det_db(path).boxes) == 82147


MEASURE = """
import resource, sys
from tfsasm.detection.det_db import read_det_db
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
assert len(read_det_db(sys.argv[1]).boxes) == 200 * 670 * 20
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks are measured in kilobytes on Linux")
def test_reading_takes_little_more_memory_than_the_boxes(tmp_path):
    """100 MB, whose boxes are 107 MB of doubles; `json.load` takes 400 MB for such a file."""
    lines = [f"{n}.25,{n}.75,101.5,233.25,0.{n:03d}\n" for n in range(101, 121)]
    path = tmp_path / "db.json"
    write_det_db(path, (
        (f"s{sequence:04d}/img1/{frame:06d}.txt", lines)
        for sequence in range(1, 201) for frame in range(1, 671)
    ))
    assert path.stat().st_size > 95e6
    done = subprocess.run([sys.executable, "-c", MEASURE, path], capture_output=True, text=True,
                          check=True)
    assert int(done.stdout) < 180e6
