"""Which videos a name stands for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfsasm.errors import InputError
from tfsasm.video.find import find_sources


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Two videos with a result of before, and a split of two MOT sequences."""
    monkeypatch.chdir(tmp_path)
    for name in ("clips/b.mp4", "clips/a.MOV", "clips/a.tracked.mp4", "clips/notes.txt",
                 "train/MOT-2/img1/1.jpg", "train/MOT-1/img1/1.jpg", "train/seqmap.txt",
                 "frames/1.jpg", "none/notes.txt"):  # fmt: skip
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


@pytest.mark.parametrize(("name", "sources"), [
    pytest.param("clips", ["clips/a.MOV", "clips/b.mp4"], id="a folder of videos"),
    pytest.param("train", ["train/MOT-1", "train/MOT-2"], id="a folder of sequences"),
    pytest.param("train/MOT-1", ["train/MOT-1"], id="a sequence"),
    pytest.param("frames", ["frames"], id="a folder of images"),
    pytest.param("none", ["none"], id="a folder of neither, which cannot be opened later"),
    pytest.param("clips/*.mp4", ["clips/b.mp4"], id="a pattern"),
    pytest.param("train/*", ["train/MOT-1", "train/MOT-2"], id="a pattern of folders"),
    pytest.param("0", ["0"], id="a camera"),
    pytest.param("rtsp://there/live", ["rtsp://there/live"], id="a stream"),
])  # fmt: skip
def test_what_a_name_stands_for(here, name, sources):
    assert [Path(source).as_posix() if "://" not in source else source
            for source in find_sources([name])] == sources  # fmt: skip


@pytest.mark.parametrize("name", ["gone.mp4", "clips/*.gif", ""])
def test_a_name_that_stands_for_nothing_is_refused(here, name):
    with pytest.raises(InputError):
        find_sources([name])
