"""Fixtures of the tests of `tfsasm track`."""

from __future__ import annotations

import pytest


@pytest.fixture
def result(track, tmp_path):
    """Bytes of the MOT file of a good run."""

    def make(*flags, name="result.txt", **options):
        path = tmp_path / name
        outcome = track(*flags, mot_output=path, overwrite=None, **options)
        assert outcome.code == 0, outcome.err
        return path.read_bytes()

    return make
