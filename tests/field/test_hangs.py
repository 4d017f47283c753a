"""Processes that wait for ever: a worker forked after OpenCV or PyTorch had started threads.

pytorch/pytorch#1838, pytorch/pytorch#45198, opencv/opencv#5150: the fork has the locks of threads
that it does not have.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import tfsasm
from helpers.scenes import drawn_blocks
from tfsasm.errors import InputError
from tfsasm.training.data import SamplingConfig, SyntheticBlocks, stream

SMALL = SamplingConfig(frames=2, max_interval=1, sequences=1, sizes=((384, 288),))


@pytest.mark.slow
def test_no_worker_is_a_fork_of_a_process_that_has_threads(monkeypatch):
    """The resuming stream renders a clip here, which starts OpenCV's threads."""

    def refuse():
        raise AssertionError("forked")

    cv2.resize(np.zeros((999, 999, 3), np.uint8), (1999, 1999))
    monkeypatch.setattr(os, "fork", refuse)
    here = next(stream(drawn_blocks, skip=3, workers=0))
    there = next(stream(drawn_blocks, skip=3, workers=1))
    assert torch.equal(here.images, there.images)


def test_nothing_in_the_package_takes_the_systems_way_to_start_a_process():
    """Which is a fork on Linux, until Python 3.14."""
    sources = [
        path.read_text(encoding="utf-8") for path in Path(tfsasm.__file__).parent.rglob("*.py")
    ]
    ways = r"(DataLoader|get_context|ProcessPoolExecutor)\("
    makers = [text for text in sources if re.search(ways, text)]
    assert len(makers) >= 3
    assert all('"spawn"' in text for text in makers)
    assert not any(re.search(r"\bos\.fork|mp\.Process", text) for text in sources)


@pytest.mark.filterwarnings("ignore:Got pickle error")
def test_what_cannot_be_sent_to_a_worker_is_named():
    with pytest.raises(InputError, match="cannot be sent to another process; give a function"):
        next(stream(lambda index: drawn_blocks(index), workers=1))


@pytest.mark.slow
def test_a_run_resumes_ten_times():
    blocks = SyntheticBlocks(7, SMALL)
    wanted = next(stream(blocks, skip=2, workers=0)).images
    for _ in range(10):
        assert torch.equal(next(stream(blocks, skip=2, workers=1)).images, wanted)
