"""Work on the nodes of a Ray cluster that may die: three nodes on this machine, for all tests."""

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from tfsasm.errors import InputError
from tfsasm.experiments import on_ray
from tfsasm.experiments.on_ray import Ray
from tfsasm.experiments.pool import Advanced, Failed, Finished, run_all, run_sequences
from tfsasm.files import atomic_path

ray = pytest.importorskip("ray", reason="needs tfsasm[ray]")

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def cluster():
    """Three nodes of one CPU each, to which this process is connected."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def make(folder):
    """Writes a file per name, after as many steps as its number; some names end badly."""

    def work(name):
        with atomic_path(folder / f"{name}.txt") as half:
            half.write_text(name)
            (folder / f"{name}.begun-{os.getpid()}").write_text(ray.get_runtime_context().node_id)
            for step in range(1, int(name[-1]) + 1):
                yield step
            if name.startswith("bad"):
                raise InputError(f"{name} is bad")
            first = len(list(folder.glob(f"{name}.begun-*"))) == 1
            if name.startswith("die") or (name.startswith("once") and first):
                os.kill(os.getpid(), signal.SIGKILL)
            while name.startswith("wait") and not (folder / "go").exists():
                time.sleep(0.05)
                yield step
        return f"did {name}"

    return work


def outcomes(events):
    return {event.name: event for event in events if not isinstance(event, Advanced)}


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def test_every_name_is_worked_on_once_and_on_all_nodes(cluster, tmp_path):
    names = [f"wait{n}" for n in range(1, 4)] + ["a1"]
    events = Ray()(names, partial(make, tmp_path))
    next(events)
    wait_for(lambda: len(list(tmp_path.glob("*.begun-*"))) == 3)
    (tmp_path / "go").touch()
    assert outcomes(events) == {name: Finished(name, f"did {name}") for name in names}
    assert {path.stem for path in tmp_path.glob("*.txt")} == set(names)
    nodes = [path.read_text() for path in tmp_path.glob("wait*.begun-*")]
    assert len(set(nodes)) == len(nodes) == 3


def test_a_worker_that_dies_is_replaced_and_a_name_that_kills_three_is_given_up(cluster, tmp_path):
    names = ["die1", "once2", "bad1", "a1"]
    found = outcomes(Ray(workers=2)(names, partial(make, tmp_path)))
    assert found["bad1"] == Failed("bad1", "bad1 is bad")
    assert found["a1"], found["once2"] == (
        Finished("a1", "did a1"), Finished("once2", "did once2")
    )
    assert "its process or node ended" in found["die1"].message
    assert "3 times" in found["die1"].message
    assert len(list(tmp_path.glob("die1.begun-*"))) == 3
    assert not (tmp_path / "die1.txt").exists()
