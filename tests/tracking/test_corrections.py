"""Corrections by hand, applied to result files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tfsasm.errors import InputError
from tfsasm.tracking.config import NO_ID
from tfsasm.tracking.corrections import corrected_ids, corrected_text, read_corrections

BOXES = [(1, 1), (1, 2), (2, 1), (2, 3), (3, 2), (3, 3)]  # frame, identity


@pytest.fixture
def corrections(tmp_path):
    def write(*entries):
        path = tmp_path / "v.corrections.json"
        path.write_text(json.dumps({"video": "v", "corrections": entries}))
        return read_corrections(path)

    return write


@pytest.mark.parametrize(("entries", "expected"), [
    pytest.param([], [1, 2, 1, 3, 2, 3], id="nothing"),
    pytest.param([{"delete": 1}], [NO_ID, 2, NO_ID, 3, 2, 3], id="delete"),
    pytest.param([{"split": 2, "frame": 2, "new": 4}], [1, 2, 1, 3, 4, 3], id="split"),
    pytest.param([{"merge": [1, 2]}], [1, NO_ID, 1, 3, 1, 3],
                 id="merge: of two boxes in a frame the lower number stays"),
    pytest.param([{"merge": [2, 1]}], [2, NO_ID, 2, 3, 2, 3], id="the same the other way round"),
    pytest.param([{"split": 3, "frame": 3, "new": 9}, {"merge": [1, 9]}], [1, 2, 1, 3, 2, 1],
                 id="a split that another gets"),
    pytest.param([{"merge": [1, 3]}, {"delete": 1}], [NO_ID, 2, NO_ID, NO_ID, 2, NO_ID],
                 id="one after the other"),
])  # fmt: skip
def test_corrections_are_applied_in_their_order(corrections, entries, expected):
    frames, ids = np.array(BOXES).T
    assert corrected_ids(frames, ids, corrections(*entries)).tolist() == expected


@pytest.mark.parametrize(("entries", "message"), [
    pytest.param([{"merge": [1, 7]}], "correction 1: there is no identity 7", id="unknown"),
    pytest.param([{"delete": 1}, {"delete": 1}], "correction 2: there is no identity 1", id="gone"),
    pytest.param([{"split": 1, "frame": 2, "new": 3}], "identity 3 is there already", id="taken"),
])
def test_corrections_of_another_result_are_refused(corrections, entries, message):
    frames, ids = np.array(BOXES).T
    with pytest.raises(InputError, match=message):
        corrected_ids(frames, ids, corrections(*entries))


@pytest.mark.parametrize(("entry", "message"), [
    pytest.param({"merge": [1, 1]}, "two identities", id="with itself"),
    pytest.param({"merge": ["a", 1]}, 'merge is "a"', id="a word"),
    pytest.param({"split": 1, "frame": 2}, "new is missing", id="half a split"),
    pytest.param({"split": 1, "frame": 2, "new": -1}, "counted from 1", id="none is a new one"),
    pytest.param({"delete": 4 * 10**28}, "delete is 4.*, not a whole number", id="a huge number"),
    pytest.param({"swap": 1}, "neither a merge, a split nor a delete", id="something else"),
    pytest.param(3, "neither a merge", id="a number"),
])
def test_a_bad_correction_is_named(corrections, entry, message):
    with pytest.raises(InputError, match=f"correction 2: .*{message}"):
        corrections({"delete": 1}, entry)


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InputError, match=r"corrections is missing; give the file of"):
        read_corrections(tmp_path / "x.json")


@pytest.mark.parametrize("first", [1, 0], ids=["ids from 1", "ids from 0, as released"])
def test_lines_keep_everything_but_their_identity(tmp_path, corrections, first):
    lines = [f"{frame},{i - 1 + first},1.25,2.5,3,4,0.5,-1,-1,-1\n" for frame, i in BOXES]
    (tmp_path / "v.txt").write_text("".join(lines))
    changes = corrections({"delete": 2}, {"merge": [1, 3]}, {"split": 1, "frame": 3, "new": 5})
    text, before, after = corrected_text(tmp_path / "v.txt", changes)
    assert (before, after) == (3, 2)
    tail = "1.25,2.5,3,4,0.5,-1,-1,-1"
    assert text.splitlines() == [
        f"{frame},{i - 1 + first},{tail}" for frame, i in [(1, 1), (2, 1), (3, 5)]
    ]
