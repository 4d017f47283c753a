"""Writing: whole or not at all, and refused before the work is done."""

import errno
import fcntl
import os
import resource
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import partial

import numpy as np
import pytest
import supervision as sv

from tfsasm.detection.run import FrameRecord, Journal
from tfsasm.errors import InputError
from tfsasm.files import (
    atomic_path,
    check_distinct,
    check_folder,
    check_output,
    check_outputs,
    locked,
    partial_folder,
    partial_path,
    remove_abandoned,
    sha256,
    write_text,
)
from tfsasm.tracking.results import JsonFile, MotFile
from tfsasm.training.reports import json_log
from tfsasm.video.source import Frame
from tfsasm.video.writer import VideoWriter


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_appears_when_it_is_whole(tmp_path):
    target = tmp_path / "new" / "folder" / "out.txt"
    with atomic_path(target) as partial:
        partial.write_text("half")
        assert not target.exists()
        assert partial.parent == target.parent
        assert partial.suffix == ".txt"
    assert target.read_text() == "half"
    assert names(target.parent) == ["out.txt"]


def test_a_crash_leaves_the_old_file(tmp_path):
    target = tmp_path / "out.txt"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(target) as partial:  # noqa: PT012
        partial.write_text("half of the new")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert names(tmp_path) == ["out.txt"]


def test_a_reader_of_the_old_file_is_not_disturbed(tmp_path):
    target = tmp_path / "out.txt"
    target.write_text("old")
    with target.open() as reader:
        write_text(target, "new")
        assert reader.read() == "old"
    assert target.read_text() == "new"


def test_nothing_is_left_behind_when_nothing_was_written(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "out.txt"):
        pass
    assert names(tmp_path) == []


@pytest.fixture
def abandoned(tmp_path):
    """What a process that is gone was writing, of `out.mp4` and of another file."""

    def left(name):
        mine = partial_path(tmp_path / name)
        gone = mine.with_name(mine.name.replace(f"-{os.getpid()}.", f"-{process.pid}."))
        gone.write_text("half")
        return gone

    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return left("out.mp4"), left("other.mp4")


def test_what_a_killed_run_left_of_an_output_goes_with_the_next_run_of_it(tmp_path, abandoned):
    out, other = abandoned
    sound = out.with_name(f"{out.stem}.sound.mp4")
    sound.write_text("half")
    with atomic_path(tmp_path / "out.mp4") as partial:
        partial.write_text("new")
    assert names(tmp_path) == sorted([other.name, "out.mp4"])
    remove_abandoned(tmp_path)
    assert names(tmp_path) == ["out.mp4"]


def test_what_was_written_beside_a_partial_file_goes_with_it(tmp_path, abandoned):
    for path in abandoned:
        twice = partial_path(path)
        twice.with_name(twice.name.replace(str(os.getpid()), path.name.split("-")[2][:-4])).touch()
    partial_path(tmp_path / "out.mp4")
    assert [name for name in names(tmp_path) if "out" in name] == []
    assert len(names(tmp_path)) == 2
    remove_abandoned(tmp_path)
    assert names(tmp_path) == []


def test_what_a_living_process_or_another_host_writes_stays(tmp_path):
    living = partial_path(tmp_path / "out.mp4")
    parent = living.with_name(living.name.replace(str(os.getpid()), str(os.getppid())))
    host = living.name.split("-")[1]
    elsewhere = living.with_name(living.name.replace(host, "0" * len(host)))
    for path in (living, parent, elsewhere):
        path.write_text("half")
    remove_abandoned(tmp_path)
    partial_path(tmp_path / "out.mp4")
    assert names(tmp_path) == sorted(path.name for path in (living, parent, elsewhere))


def test_a_partial_folder_goes_with_what_is_in_it_also_after_a_kill(tmp_path, abandoned):
    for path in abandoned:
        path.unlink()
    left = abandoned[0].with_name(abandoned[0].name.replace(".out.", ".export.")).with_suffix("")
    left.mkdir()
    (left / "file").write_text("half")
    with partial_folder(tmp_path, "export") as folder:
        assert names(tmp_path) == [folder.name]
        (folder / "file").write_text("half")
    assert names(tmp_path) == []


def test_one_process_at_a_time_writes_a_folder(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom tfsasm.files import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('mine', flush=True)\n    sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    )
    assert other.stdout.readline() == b"mine\n"
    with pytest.raises(InputError, match="is being written by another process; wait until"):
        locked(tmp_path).__enter__()
    other.kill()
    other.communicate()
    with locked(tmp_path):
        pass
    assert names(tmp_path) == []


def test_where_there_are_no_locks_there_is_none(tmp_path, monkeypatch):
    """Some network file systems."""

    def none(*given):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with locked(tmp_path), locked(tmp_path):
        pass


def text(path):
    write_text(path, "words " * 1000)


def results(kind, path):
    track = sv.Detections(np.ones((1, 4)), confidence=np.ones(1), tracker_id=np.ones(1, int))
    with kind(path) as file:
        for number in range(1, 200):
            file.write(Frame(np.zeros((4, 4, 3), np.uint8), number, "", None), track)


def journal(path):
    with Journal(path, {}) as record:
        for number in range(1, 200):
            record.add(FrameRecord("a", number, f"a/{number}", ["1,1,5,5,0.5\n"] * 9))


@pytest.mark.parametrize("write", [
    pytest.param(text, id="text"),
    pytest.param(partial(results, MotFile), id="results in MOT text"),
    pytest.param(partial(results, lambda path: JsonFile(path, {})), id="results in JSON"),
    pytest.param(journal, id="a journal of detections"),
])
def test_a_full_disk_is_reported_with_the_name_of_the_file(tmp_path, write):
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, usual[1]))
    try:
        with pytest.raises(InputError, match=r"cannot write .*out\.txt: File too large"):
            write(tmp_path / "out.txt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert names(tmp_path) == (["out.txt"] if write is journal else [])


def frames(path, folder=False):
    """An annotated video, or a folder of images whose first one is `path`."""
    with VideoWriter(path.parent if folder else path, 25, overwrite=True) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8))


def log(path):
    with json_log(path, 0):
        pass


@pytest.mark.parametrize(("name", "write"), [
    pytest.param("out.txt", text, id="text"),
    pytest.param("out.txt", partial(results, partial(MotFile, overwrite=True)), id="results"),
    pytest.param("out.mp4", frames, id="a video"),
    pytest.param("00000001.jpg", partial(frames, folder=True), id="an image of a folder"),
    pytest.param("out.partial", journal, id="a journal of detections"),
    pytest.param("log.jsonl", log, id="the log of a training run"),
])  # fmt: skip
@pytest.mark.parametrize("there", [True, False])
def test_no_writer_writes_what_a_link_points_to(tmp_path, name, write, there):
    """A link in the place of the output, and one where it is written until it is whole."""
    folder = tmp_path / "results"
    folder.mkdir()
    if there:
        (tmp_path / "mine").write_text("mine")
    unfinished = folder / name if name.endswith(".jpg") else partial_path(folder / name)
    for link in {folder / name, unfinished}:
        link.symlink_to(tmp_path / "mine")
    with suppress(InputError):
        write(folder / name)
    assert (tmp_path / "mine").exists() == there
    assert not there or (tmp_path / "mine").read_text() == "mine"
    if write is not journal:  # which is refused
        assert (folder / name).exists()
        assert not (folder / name).is_symlink()


def test_a_partial_file_of_an_earlier_process_of_this_number_is_no_obstacle(tmp_path):
    partial_path(tmp_path / "export").mkdir()
    with partial_folder(tmp_path, "export") as folder:
        assert names(folder) == []


def test_text_is_the_same_on_every_system(tmp_path):
    write_text(tmp_path / "out.txt", "a\nä\n")
    assert (tmp_path / "out.txt").read_bytes() == "a\nä\n".encode()


@pytest.mark.parametrize("overwrite", [
    pytest.param(False, id="without overwrite"), pytest.param(True, id="with overwrite")
])
def test_a_new_output_is_fine(tmp_path, overwrite):
    target = tmp_path / "new" / "out.mp4"
    assert check_output(str(target), overwrite=overwrite) == target
    assert not target.exists()
    assert target.parent.is_dir()


def test_an_output_that_exists_needs_overwrite(tmp_path):
    target = tmp_path / "out.mp4"
    target.write_text("old")
    with pytest.raises(InputError, match=r"out\.mp4 exists; .*--overwrite"):
        check_output(target, overwrite=False)
    assert check_output(target, overwrite=True) == target
    assert target.read_text() == "old"


def test_a_folder_is_no_output_file(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path.name} is a folder"):
        check_output(tmp_path, overwrite=True)


def test_a_folder_below_a_file_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write in .*file"):
        check_output(tmp_path / "file" / "out.txt", overwrite=False)
    with pytest.raises(InputError, match=r"cannot write in .*inner"):
        check_folder(tmp_path / "file" / "inner")


def test_a_folder_that_is_not_writable_is_named(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(InputError, match=f"cannot write in .*{tmp_path.name}: Permission denied"):
        check_output(tmp_path / "out.txt", overwrite=False)


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="cannot write in"):
            check_folder(tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_check_leaves_no_trace(tmp_path):
    assert check_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert names(tmp_path / "a" / "b") == []


def test_several_outputs_are_checked_together_and_absent_ones_left_out(tmp_path):
    check_outputs([tmp_path / "a.txt", None, tmp_path / "b.txt"], overwrite=False)
    (tmp_path / "b.txt").touch()
    with pytest.raises(InputError, match=r"b\.txt exists; give another name or --overwrite"):
        check_outputs([tmp_path / "a.txt", tmp_path / "b.txt"], overwrite=False)
    check_outputs([tmp_path / "a.txt", tmp_path / "b.txt"], overwrite=True)


def test_two_outputs_are_never_the_same_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="two outputs have the same name"):
        check_distinct(["a.txt", "./a.txt"])
    check_distinct(["a.txt", None, None])


def test_an_output_is_never_an_input(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(InputError, match=r"mine\.txt is an input; write the output elsewhere"):
        check_distinct([tmp_path / "mine.txt"], [None, tmp_path / "mine.txt"])
    check_distinct([tmp_path / "new.txt"], [tmp_path / "new.txt"])  # a name such as `tiny`


def test_a_checksum_is_that_of_the_content(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256(tmp_path / "file").startswith("ba7816bf8f01cfea")
    with pytest.raises(InputError, match="cannot read"):
        sha256(tmp_path / "lost")
