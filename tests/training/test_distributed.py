"""A run of several processes is the run of one: gradients, curve, and who may go on with it."""

from __future__ import annotations

import json
import os

import pytest
import torch

from helpers.processes import RUNS, STEPS, fail_in_processes, go_on, go_on_in_processes
from tfsasm.errors import InputError
from tfsasm.training import distributed


def curve(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {line["step"]: [line[name] for name in ("loss", "norm", "ce", "bbox", "giou")]
            for line in lines}  # fmt: skip


@pytest.fixture(scope="module", params=RUNS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folders(kind, tmp_path_factory):
    """Two processes for one step and then to the third; alone for one step and then all six."""
    root = tmp_path_factory.mktemp(kind)
    for name in ("two", "one"):
        (root / name).mkdir()
    go_on_in_processes(2, kind, root / "two", 1, 3)
    torch.save(go_on(kind, root / "one", stop=1), root / "one/gradients.pt")
    go_on(kind, root / "one")
    return root


@pytest.mark.slow
def test_two_processes_have_the_gradients_of_one_with_all_their_clips(folders):
    """A step of four clips: two each, or four one after the other."""
    alone = torch.load(folders / "one/gradients.pt")
    for rank in (0, 1):
        shared = torch.load(folders / f"two/gradients-1-{rank}.pt")
        assert shared.keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(shared[name], value, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.slow
def test_the_curve_is_that_of_one_process_also_after_a_stop(folders):
    one, two = curve(folders / "one"), curve(folders / "two")
    assert list(two) == [1, 2, 3]
    for step, values in two.items():
        assert values == pytest.approx(one[step], rel=1e-4), step


@pytest.mark.slow
def test_a_run_of_two_processes_goes_on_alone(kind, folders):
    go_on(kind, folders / "two")
    one, two = curve(folders / "one"), curve(folders / "two")
    assert list(two) == list(one) == list(range(1, STEPS + 1))
    for step, values in two.items():
        assert values == pytest.approx(one[step], rel=1e-3), step


@pytest.mark.slow
def test_a_process_that_refuses_ends_the_others_in_a_sentence(tmp_path):
    fail_in_processes(tmp_path)
    assert (tmp_path / "0").read_text() == "InputError: the folder is taken"
    assert (tmp_path / "1").read_text().startswith("TfsasmError: another process of this run ended")


def test_a_process_notes_that_torchrun_is_gone(monkeypatch):
    alone = distributed.left_alone()
    parent = os.getppid()
    for size, above, wanted in ((2, parent, False), (2, parent + 1, True), (1, parent + 1, False)):
        monkeypatch.setattr(distributed, "team", lambda size=size: distributed.Team(0, size))
        monkeypatch.setattr(os, "getppid", lambda above=above: above)
        assert alone() is wanted


def test_clips_that_cannot_be_shared_are_refused(monkeypatch):
    monkeypatch.setattr(distributed, "team", lambda: distributed.Team(0, 3))
    assert distributed.clips_each(9) == 3
    with pytest.raises(InputError, match=r"8 clips cannot be shared by 3 .* or give --batch 9"):
        distributed.clips_each(8)


def test_alone_there_is_nothing_to_join(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    with distributed.joined("cpu") as device:
        assert device == "cpu"
        assert distributed.team() == distributed.Team(0, 1)
    assert distributed.mean({"a": 2.0}) == {"a": 2.0}
