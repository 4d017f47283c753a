"""Work in processes that may die."""

import multiprocessing
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import pytest

from helpers.works import make, make_writer, refuse, share
from tfsasm.experiments.pool import Advanced, Failed, Finished, Processes


def outcomes(events):
    return {event.name: event for event in events if not isinstance(event, Advanced)}


def test_every_name_is_worked_on_and_reported(tmp_path):
    events = list(Processes()(["a2", "b1", "c3"], partial(make, tmp_path)))
    found = {name: Finished(name, f"did {name}") for name in ("a2", "b1", "c3")}
    assert outcomes(events) == found
    assert [e.done for e in events if isinstance(e, Advanced) and e.name == "c3"] == [1, 2, 3]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_stopped_leaves_no_half_written_file(tmp_path, workers):
    events = Processes(workers)(["a", "b"], partial(make_writer, tmp_path))
    next(events)
    assert list(tmp_path.iterdir())
    assert bool(multiprocessing.active_children()) == (workers > 1)
    events.close()
    assert not list(tmp_path.iterdir())
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_is_reported_and_costs_nothing_else(tmp_path, workers):
    """A process that dies is replaced; what it was working on is begun again, twice at most."""
    dying = ["die1", "once1"] if workers > 1 else []  # both at once: others must take their places
    names = [*dying, "bad1", "a1", "bug1", "b1"]
    found = outcomes(Processes(workers)(names, partial(make, tmp_path)))
    assert found["bad1"] == Failed("bad1", "bad1 is bad")
    assert found["bug1"].message == "KeyError: 'bug1'"
    assert "raise KeyError(name)" in found["bug1"].trace
    for name in ("a1", "b1", *dying[1:]):
        assert found[name] == Finished(name, f"did {name}")
    for name in dying[:1]:
        assert found[name].message == "its process ended with code -9, 3 times; out of memory?"
    assert found.keys() == set(names)


def test_work_that_cannot_begin_fails_on_every_name():
    found = outcomes(Processes(2)(["a1", "b1", "c1"], refuse))
    assert found == {name: Failed(name, "no weights") for name in ("a1", "b1", "c1")}


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_to_do_is_nothing_done(workers):
    assert list(Processes(workers)([], partial(make, None))) == []


def test_workers_that_need_no_pytorch_do_not_wait_until_it_is_loaded(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    found = outcomes(Processes(2)(["a", "b"], partial(partial, share)))
    assert "torch" not in sys.modules
    assert found == {name: Finished(name, "1") for name in ("a", "b")}


@pytest.mark.slow
def test_workers_do_not_outlive_a_parent_that_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(textwrap.dedent("""
        import os, time
        from tfsasm.experiments.pool import Processes

        def make():
            def work(name):
                open(f"pid-{os.getpid()}", "w").close()
                while True:
                    time.sleep(0.05)
                    yield 1
            return work

        if __name__ == "__main__":
            for event in Processes(2)(["a", "b"], make):
                pass
    """))
    parent = subprocess.Popen([sys.executable, script], cwd=tmp_path)
    try:
        workers = wait_for(lambda: len(pids(tmp_path)) == 2 and pids(tmp_path))
    finally:
        parent.kill()
        parent.wait()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def pids(folder):
    return [int(path.name[4:]) for path in folder.glob("pid-*")]


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError("waited in vain")
