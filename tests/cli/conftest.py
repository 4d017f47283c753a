"""Fixtures of the tests of several commands."""

import pytest

from helpers.scenes import write_folders


@pytest.fixture
def result(track, tmp_path):
    """Bytes of the MOT file of a good run."""

    def make(*flags, name="result.txt", **options):
        path = tmp_path / name
        outcome = track(*flags, mot_output=path, overwrite=None, **options)
        assert outcome.code == 0, outcome.err
        return path.read_bytes()

    return make


@pytest.fixture
def clips(scene, tmp_path):
    """A folder of three short sequences."""
    return write_folders(scene, tmp_path / "clips")
