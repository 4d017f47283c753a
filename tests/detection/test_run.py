"""Names and lines of what is detected; the journal, from which a killed run continues."""

import json

import numpy as np
import pytest

from tfsasm.datasets.sequences import Sequence
from tfsasm.detection.proposals import Proposals
from tfsasm.detection.run import FrameRecord, Journal, as_lines, folder_of
from tfsasm.errors import InputError

ABOUT = {"detector": "yolox-s", "sources": ["a", "b"]}


def found(sequence, number):
    return FrameRecord(sequence, number, f"{sequence}/{number}.txt", [f"{number},1,2,3,0.5\n"])


def begin(path):
    """Sequence a done, two frames of b."""
    with Journal(path, ABOUT) as journal:
        journal.add(found("a", 1))
        journal.finish("a", ["a note"])
        journal.add(found("b", 1))
        journal.add(found("b", 2))
    return path


def test_a_new_record_is_empty(tmp_path):
    with Journal(tmp_path / "p", ABOUT) as journal:
        assert (journal.finished, journal.begun, list(journal.frames([]))) == ({}, None, [])


def test_frames_come_back_in_the_order_that_is_asked_for(tmp_path):
    with Journal(tmp_path / "p", ABOUT) as journal:
        for name in ("a", "b"):
            journal.add(found(name, 1))
            journal.finish(name, [])
        for order in (["a", "b"], ["b", "a"]):
            assert list(journal.frames(order)) == [found(name, 1) for name in order]


def test_a_run_of_whole_sequences_forgets_what_was_begun(tmp_path):
    with Journal(begin(tmp_path / "p"), ABOUT, whole=True) as journal:
        assert (journal.finished, journal.begun) == ({"a": ["a note"]}, None)
        journal.add(found("b", 7))
        journal.finish("b", [])
        assert list(journal.frames(["b", "a"])) == [found("b", 7), found("a", 1)]


def test_the_last_frame_of_a_stopped_run_is_done_again(tmp_path):
    with Journal(begin(tmp_path / "p"), ABOUT) as journal:
        assert journal.finished == {"a": ["a note"]}
        assert journal.begun == ("b", 2)
        journal.add(found("b", 2))
        journal.add(found("b", 3))
        journal.finish("b", [])
        assert list(journal.frames("ab")) == [found("a", 1), *(found("b", n) for n in (1, 2, 3))]


def test_wherever_it_was_cut_it_goes_on_to_the_same_end(tmp_path):
    """Every length that a kill may leave."""
    whole = begin(tmp_path / "whole").read_bytes()
    wanted = [found("a", 1), found("b", 1), found("b", 2)]
    for length in range(len(whole) + 1):
        path = tmp_path / "cut"
        path.write_bytes(whole[:length])
        with Journal(path, ABOUT) as journal:
            for sequence, frames in (("a", 1), ("b", 2)):
                if sequence in journal.finished:
                    continue
                first = journal.begun[1] if journal.begun and journal.begun[0] == sequence else 1
                for number in range(first, frames + 1):
                    journal.add(found(sequence, number))
                journal.finish(sequence, [])
            assert list(journal.frames("ab")) == wanted, length


def test_what_follows_a_damaged_line_is_done_again(tmp_path):
    path = begin(tmp_path / "p")
    path.write_bytes(path.read_bytes().replace(b'["b", 1', b'\0\0\0\0'))
    with Journal(path, ABOUT) as journal:
        assert journal.begun is None
        assert list(journal.frames("a")) == [found("a", 1)]


@pytest.mark.parametrize(("content", "problem"), [
    pytest.param(None, 'of another run .detector was "yolox-s", is "yolox-x"', id="others"),
    pytest.param(b"a picture\n", "no record of a run at all", id="another file"),
    pytest.param(b"a key", "no record of a run at all", id="another file of one line"),
])
def test_a_record_of_something_else_is_kept_unless_it_may_go(tmp_path, content, problem):
    path = begin(tmp_path / "p")
    if content:
        path.write_bytes(content)
    before = path.read_bytes()
    about = ABOUT | {"detector": "yolox-x"}
    with pytest.raises(InputError, match=problem):
        Journal(path, about)
    assert path.read_bytes() == before
    with Journal(path, about, overwrite=True) as journal:
        assert journal.finished == {}
    assert json.loads(path.read_bytes()) == about


def test_overwriting_still_goes_on_with_the_same_run(tmp_path):
    with Journal(begin(tmp_path / "p"), ABOUT, overwrite=True) as journal:
        assert journal.begun == ("b", 2)


@pytest.mark.parametrize(("dataset", "source", "folder"), [
    ("dancetrack", "x/train/dancetrack0001/img1", "DanceTrack/train/dancetrack0001/img1"),
    ("mot17", "data/MOT17/train/MOT17-02-FRCNN/img1", "MOT17/train/MOT17-02-SDP/img1"),
    ("bdd100k", "bdd/images/track/val/b1c9", "BDD100K/val/b1c9"),
    ("mot", "clips/all/synth1/img1", "clips/all/synth1/img1"),
])
def test_keys_do_not_depend_on_where_the_data_lies(tmp_path, dataset, source, folder):
    name = folder.split("/")[2]
    sequence = Sequence(name, dataset, 3, 8, 8, 1.0, tmp_path / source, None, None)
    assert folder_of(sequence) == folder


def test_a_box_is_never_written_as_nothing(tmp_path):
    lines = as_lines(
        Proposals(np.float32([[0.5, 0.5, 1e-9, 0.5]]), np.float32([0.123456])), 100, 50)
    assert lines == ["50.00,12.50,0.01,25.00,0.1235\n"]
