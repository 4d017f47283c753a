"""The streaming reader against `json.loads`, with windows of a few characters."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfsasm.detection.json_stream import array_items, first_character, object_entries
from tfsasm.errors import InputError

WINDOWS = [1, 2, 3, 7, 64]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that hypothesis examples may share."""
    return tmp_path_factory.mktemp("stream")


def write(folder, content):
    path = folder / "x.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(allow_nan=False), st.text(max_size=6)),
    lambda inner: st.lists(inner, max_size=3), max_leaves=6)
INDENT = st.sampled_from([None, 0, 2])


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=5), VALUE, max_size=4), INDENT, st.booleans(),
       st.sampled_from(WINDOWS))
def test_an_object_is_read_as_it_was_written(folder, table, indent, escaped, window):
    text = json.dumps(table, indent=indent, ensure_ascii=escaped)
    path = write(folder, text.encode("utf-8", "surrogatepass") if escaped else text)
    entries = list(object_entries(path, window=window))
    assert {key: value for key, value, _, _ in entries} == table
    whole = path.read_bytes()
    for key, value, start, stop in entries:
        assert json.loads(b"{%b}" % whole[start:stop]) == {key: value}


@settings(max_examples=40, deadline=None)
@given(st.lists(VALUE.filter(lambda value: isinstance(value, list | str)), max_size=5), INDENT,
       st.sampled_from(WINDOWS))
def test_an_array_is_read_as_it_was_written(folder, items, indent, window):
    path = write(folder, json.dumps(items, indent=indent))
    assert list(array_items(path, window=window)) == items


def judged(read):
    """What came out, or the place of the complaint."""
    try:
        return read()
    except json.JSONDecodeError as error:
        return f"{error.lineno}:{error.colno}"
    except InputError as error:
        found = re.search(r"x\.json:(\d+:\d+): not valid JSON", str(error))
        return found[1] if found else str(error)
    except (ValueError, RecursionError):
        return "odd"


WHOLE = json.dumps({"a/1.txt": ["1,2,3,4,5\n"], "b": [], "é": ["x", ""]}, indent=1,
                   ensure_ascii=False)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(WHOLE)), st.integers(0, 3), st.text('{}[]",: \\n1\n\x01', max_size=3),
       st.sampled_from(WINDOWS))
def test_damage_is_found_where_json_finds_it(folder, at, cut, inserted, window):
    """The same verdict, and the same line and column."""
    text = WHOLE[:at] + inserted + WHOLE[at + cut :]
    path = write(folder, text)
    wanted = judged(lambda: json.loads(text, object_pairs_hook=list))
    got = judged(lambda: [(key, value) for key, value, _, _ in object_entries(path, window=window)])
    if "is one JSON" in str(got):
        assert not text.lstrip(" \n").startswith("{")
    else:
        assert got == wanted


@pytest.mark.parametrize(("content", "problem"), [
    pytest.param(b'{"a": "\xff"}', r"byte 7 is not UTF-8", id="not UTF-8"),
    pytest.param(b'{"a": "\xc3', r"byte 7 is not UTF-8", id="half a character at the end"),
    pytest.param(b'\xef\xbb\xbf{"a": "\xff"}', r"byte 10 is not UTF-8", id="after a mark"),
    pytest.param('\ufeff{"a": x}', r"1:7: not valid JSON: Expecting value", id="column, marked"),
    pytest.param('{"a": []} x', r"1:11: not valid JSON: Extra data", id="more after the end"),
    pytest.param('{"a": [],}', r"1:10: not valid JSON: Expecting property name", id="comma at end"),
    pytest.param('{"a" []}', r"1:6: not valid JSON: Expecting ':'", id="no colon"),
    pytest.param('{"a": []\n"b": []}', r"2:1: not valid JSON: Expecting ','", id="no comma"),
    pytest.param("[1, 2]", "is one JSON list; wanted is one object", id="another kind"),
    pytest.param("[1, 2", "1:6: not valid JSON", id="half of another kind"),
    pytest.param('{"a": ' + "[" * 100_000, "is not a detection JSON", id="too deep"),
])
@pytest.mark.parametrize("window", [1, 1 << 20])
def test_what_is_wrong_is_said_with_its_place(tmp_path, content, problem, window):
    with pytest.raises(InputError, match=problem):
        list(object_entries(write(tmp_path, content), window=window))


def test_an_entry_without_end_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("tfsasm.detection.json_stream._LONGEST", 1000)
    path = write(tmp_path, '{"a": ["' + "x" * 5000 + '"]}')
    with pytest.raises(InputError, match=r"1:8: .* Unterminated .* 1,000 characters"):
        list(object_entries(path, window=100))


@pytest.mark.parametrize(("content", "wanted"), [
    ("", ""), (" \n{", "{"), ("\ufeff [", "["), ("1,2", "1")])
def test_the_first_character_tells_the_kind(tmp_path, content, wanted):
    assert first_character(write(tmp_path, content)) == wanted


def test_a_file_that_is_not_there_is_named(tmp_path):
    for path, problem in ((tmp_path, "is a folder"), (tmp_path / "no", "cannot read")):
        with pytest.raises(InputError, match=problem):
            list(object_entries(path))
