"""Folders and names of an experiment."""

import pytest

from tfsasm.errors import InputError
from tfsasm.experiments.plan import make_folders


def test_folders_are_named_after_trackers(tmp_path):
    found = make_folders(tmp_path, ["sort", "default:memory.capacity=0"], overwrite=False)
    assert [folder.name for folder in found.values()] == ["sort", "default_memory.capacity=0"]


def test_two_trackers_need_two_folders(tmp_path):
    with pytest.raises(InputError, match="two trackers would share a folder"):
        make_folders(tmp_path, ["paper:capacity=1", "paper_capacity=1"], overwrite=False)
