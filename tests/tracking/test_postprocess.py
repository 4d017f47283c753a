"""Tracks joined after the fact, corrections by hand, and that only ids change in a file."""

import json

import numpy as np
import pytest

from tfsasm.errors import InputError
from tfsasm.motchallenge import read_tracks
from tfsasm.tracking.config import NO_ID
from tfsasm.tracking.postprocess import (
    MergeConfig,
    corrected_ids,
    corrected_text,
    merge_text,
    merged_ids,
    read_corrections,
    renumbered,
    with_gaps_filled,
)

BOXES = [(1, 1), (1, 2), (2, 1), (2, 3), (3, 2), (3, 3)]  # frame, identity


def released(frames, ids, least=20, most=100):
    """The rule of SPEC 10 as it is written there, with loops and a union-find."""
    names = list(dict.fromkeys(ids))
    first = {i: min(f for f, j in zip(frames, ids, strict=True) if j == i) for i in names}
    last = {i: max(f for f, j in zip(frames, ids, strict=True) if j == i) for i in names}
    parent = {i: i for i in names}

    def root(i):
        return i if parent[i] == i else root(parent[i])

    for i in names:
        for j in names:
            if root(i) == root(j):
                continue
            if sum(0 <= first[j] - last[k] < most for k in names) > 1:
                continue
            if sum(0 <= first[k] - last[i] < most for k in names) > 1:
                continue
            if least < first[j] - last[i] < most:
                parent[root(j)] = root(i)
    return {i: root(i) for i in names}


def tracks(*extents):
    """Frames and ids of tracks 1, 2 ..., each from its first to its last frame."""
    rows = [(f, i) for i, (a, b) in enumerate(extents, start=1) for f in range(a, b + 1)]
    frames, ids = zip(*rows, strict=True) if rows else ((), ())
    return np.array(frames, dtype=np.int64), np.array(ids, dtype=np.int64)


@pytest.mark.parametrize(("extents", "merged"), [
    pytest.param([(1, 10), (40, 50)], [1, 1], id="one ends, one begins"),
    pytest.param([(1, 10), (30, 50)], [1, 2], id="a gap of 20 is too short"),
    pytest.param([(1, 10), (31, 50)], [1, 1], id="21 is not"),
    pytest.param([(1, 10), (109, 120)], [1, 1], id="99 is short enough"),
    pytest.param([(1, 10), (110, 120)], [1, 2], id="100 is too long"),
    pytest.param([(1, 10), (5, 20)], [1, 2], id="both at once"),
    pytest.param([(1, 10), (40, 150), (180, 300)], [1, 1, 1], id="a chain"),
    pytest.param([(1, 10), (1, 12), (40, 50)], [1, 2, 3], id="two ended: ambiguous"),
    pytest.param([(1, 10), (40, 50), (45, 50)], [1, 2, 3], id="two began"),
    pytest.param([(1, 10), (40, 50), (15, 60)], [1, 2, 3], id="one began too near, and blocks"),
    pytest.param([(1, 10), (40, 50), (1, 38)], [1, 2, 3], id="one ended too near, and blocks"),
    pytest.param([(1, 10), (40, 40)], [1, 2], id="a track of one frame blocks itself"),
    pytest.param([(40, 50), (1, 10)], [2, 2], id="the earlier one gives the name"),
    pytest.param([], [], id="no tracks"),
    pytest.param([(1, 300)], [1], id="one track"),
])
def test_which_track_continues_which(extents, merged):
    frames, ids = tracks(*extents)
    assert list(merged_ids(frames, ids, MergeConfig()).values()) == merged
    assert released(frames.tolist(), ids.tolist()) == merged_ids(frames, ids, MergeConfig())


@pytest.mark.parametrize("seed", range(8))
def test_random_tracks_merge_as_by_the_loops(seed):
    rng = np.random.default_rng(seed)
    starts = rng.integers(1, 1500, 25)
    extents = [(int(s), int(s + rng.integers(0, 120))) for s in starts]
    frames, ids = tracks(*extents)
    order = rng.permutation(len(frames))
    frames, ids = frames[order], 7 * ids[order] - 3
    for least, most in ((20, 100), (0, 60), (5, 200)):
        merged = merged_ids(frames, ids, MergeConfig(least, most))
        assert merged == released(frames.tolist(), ids.tolist(), least, most)
        rows = {(f, merged[i]) for f, i in zip(frames.tolist(), ids.tolist(), strict=True)}
        assert len(rows) == len(frames), "a merged track has one box per frame"


def test_a_start_that_is_too_near_need_not_block():
    frames, ids = tracks((1, 10), (40, 50), (15, 60))
    assert len(set(merged_ids(frames, ids, MergeConfig(block_from=21)).values())) == 2


@pytest.mark.parametrize("settings", [
    pytest.param({"min_gap": -1}, id="overlaps are no gap"),
    pytest.param({"min_gap": 100}, id="nothing fits"),
    pytest.param({"block_from": -1}, id="blocked from before the end"),
    pytest.param({"block_from": 22}, id="two could be continued by one"),
])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(InputError):
        MergeConfig(**settings)


BROKEN = "".join(f"{f},{i},10.50,20,30,40.00,0.9,-1,-1,-1\n"
                 for f, i in [(2, 4), (1, 4), (40, 9), (41, 9), (41, 5), (200, 5)])  # fmt: skip


def test_only_ids_change(tmp_path):
    path = tmp_path / "a.txt"
    odd = BROKEN.replace("40,9,10.50", " 40, 9 ,  10.5").replace("41,5", "\n41,5.0").rstrip("\n")
    path.write_text(odd)
    text, before, after = merge_text(path, MergeConfig(block_from=21, max_gap=45))
    assert (before, after) == (3, 3)
    assert text == odd
    path.write_text(BROKEN.replace("41,5,", "300,5,"))
    text, before, after = merge_text(path, MergeConfig())
    assert (before, after) == (3, 2)
    assert text == BROKEN.replace("41,5,", "300,5,").replace(",9,10.50", ",4,10.50")


@pytest.mark.parametrize(("first", "second", "after"), [
    pytest.param(1, 1, 1, id="the same class"),
    pytest.param(1, 3, 2, id="two classes"),
    pytest.param(-1, 3, 1, id="one of none"),
    pytest.param(1.5, 2.5, 1, id="no classes: positions on the ground"),
])
def test_a_track_is_not_continued_by_one_of_another_class(tmp_path, first, second, after):
    path = tmp_path / "a.txt"
    path.write_text(f"1,1,0,0,9,9,1,{first},-1,-1\n40,2,0,0,9,9,1,{second},-1,-1\n")
    assert merge_text(path, MergeConfig(block_from=21))[1:] == (2, after)


# Corrections by hand


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


def test_lines_keep_their_ends(tmp_path, corrections):
    text = "1,1,0,0,9,9,1\r\n1 2 0 0 9 9 1\r\n\n2 3 0 0 9 9 1\r3,3,0,0,9,9,1"
    (tmp_path / "v.txt").write_bytes(text.encode())
    text, _, _ = corrected_text(tmp_path / "v.txt", corrections({"delete": 1}, {"merge": [2, 3]}))
    assert text == "1 2 0 0 9 9 1\r\n\n2 2 0 0 9 9 1\r3,2,0,0,9,9,1"


@pytest.mark.parametrize("line", [
    "2 {} 0 0 9 9", "2\t {}\t0\t0\t9\t9", "2;{};0,5;0;9;9", " 2| {}|0|0|9|9",
])
def test_lines_keep_what_is_between_their_fields(tmp_path, line):
    (tmp_path / "v.txt").write_text(line.format(34))
    assert renumbered(tmp_path / "v.txt", [5]) == line.format(5)


# Gaps filled


@pytest.mark.parametrize(("text", "filled"), [
    pytest.param("1,7,10,20,30,40,0.5,2,-1,-1\n4,7,16,20,33,40,0.8,2,-1,-1\n",
                 ["2,7,12.00,20.00,31.00,40.00,0.6,2,-1,-1",
                  "3,7,14.00,20.00,32.00,40.00,0.7,2,-1,-1"], id="two frames"),
    pytest.param("3,1,14,0,5,5\n1,1,10,0,5,5\n", ["2,1,12.00,0.00,5.00,5.00"],
                 id="without a score, and later frames first"),
    pytest.param("1 4 10.5 0 5 5 1\r\n3 4 11.5 0 5 5 1\r\n",
                 ["2,4,11.00,0.00,5.00,5.00,1"], id="between spaces"),
    pytest.param("1;4;10,5;0;5;5\n3;4;11,5;0;5;5\n",
                 ["2,4,11.00,0.00,5.00,5.00"], id="decimal commas"),
    pytest.param("1,1,0,0,5,5,1\n2,2,0,0,5,5,1\n3,1,0,0,5,5,1\n4,1,0,0,5,5,1\n",
                 ["2,1,0.00,0.00,5.00,5.00,1"], id="beside another track"),
    pytest.param("1,1,0,0,5,5,1\n21,1,0,0,5,5,1\n", [], id="a gap of 20 is too long"),
    pytest.param("", [], id="nothing there"),
])
def test_boxes_on_the_line_between_fill_a_gap(tmp_path, text, filled):
    whole, added = with_gaps_filled(text, 20)
    lines = whole.splitlines()
    assert [line for line in lines if line in filled] == filled
    assert added == len(filled) == len(lines) - len(text.splitlines())
    (tmp_path / "a.txt").write_text(whole)
    frames = read_tracks(tmp_path / "a.txt").frame.tolist()
    assert frames == sorted(frames)


def test_a_gap_of_one_less_than_the_limit_is_filled():
    assert with_gaps_filled("1,1,0,0,5,5,1\n20,1,0,0,5,5,1\n", 20)[1] == 18
