"""Work on the three nodes of a Ray cluster that may die. About half a minute on two free cores."""

import os
import resource
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tfsasm.errors import InputError
from tfsasm.experiments import on_ray
from tfsasm.experiments.on_ray import Ray
from tfsasm.experiments.pool import Advanced, Failed, Finished
from tfsasm.files import atomic_path, write_text

ray = pytest.importorskip("ray", reason="needs tfsasm[ray]")

pytestmark = pytest.mark.ray


def make(folder):
    """Writes a file per name, after as many steps as its number; some names end badly."""

    def work(name):
        with atomic_path(folder / f"{name}.txt") as half:
            half.write_text(name)
            node = ray.get_runtime_context().get_node_id()
            (folder / f"{name}.begun-{os.getpid()}").write_text(node)
            for step in range(1, int(name[-1]) + 1):
                yield step
            if name.startswith("bad"):
                raise InputError(f"{name} is bad")
            first = len(list(folder.glob(f"{name}.begun-*"))) == 1
            if name.startswith("die") or (name.startswith("once") and first):
                os.kill(os.getpid(), signal.SIGKILL)
            if name.startswith("full"):
                fill(folder / "full")
            while name.startswith("wait") and not (folder / "go").exists():
                time.sleep(0.05)
                yield step
        return f"did {name}"

    return work


def fill(path):
    """Write to a disk that has no room."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, usual[1]))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        write_text(path, "x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def outcomes(events):
    return {event.name: event for event in events if not isinstance(event, Advanced)}


def until(condition, events, seconds=60):
    """The events until something holds: the driver must go on for the workers to be given names."""
    end, seen = time.monotonic() + seconds, []
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        seen.append(next(events))
    return seen


def begun(folder, name="*"):
    """The nodes on which the work on a name was begun, each time."""
    return [path.read_text() for path in folder.glob(f"{name}.begun-*")]


def test_every_name_is_worked_on_once_and_on_all_nodes(ray_cluster, tmp_path):
    names = [f"wait{n}" for n in range(1, 4)] + ["a1"]
    events = Ray()(names, partial(make, tmp_path))
    seen = until(lambda: len(begun(tmp_path)) == 3, events)
    (tmp_path / "go").touch()
    assert outcomes([*seen, *events]) == {name: Finished(name, f"did {name}") for name in names}
    assert {path.stem for path in tmp_path.glob("*.txt")} == set(names)
    assert len(set(begun(tmp_path, "wait*"))) == 3


def test_a_dead_worker_is_replaced_and_a_name_that_kills_three_given_up(ray_cluster, tmp_path):
    names = ["die1", "once2", "bad1", "full1", "a1"]
    found = outcomes(Ray(workers=2)(names, partial(make, tmp_path)))
    assert found["bad1"] == Failed("bad1", "bad1 is bad")
    assert found["full1"] == Failed("full1", f"cannot write {tmp_path}/full: File too large")
    for name in ("a1", "once2"):
        assert found[name] == Finished(name, f"did {name}")
    assert "its process or node ended" in found["die1"].message
    assert "3 times" in found["die1"].message
    assert len(begun(tmp_path, "die1")) == 3
    assert not (tmp_path / "die1.txt").exists()


def test_a_node_that_dies_costs_what_it_was_working_on_and_no_more(ray_cluster, tmp_path):
    lost = ray_cluster.add_node(num_cpus=1)
    names = [f"wait{n}" for n in range(1, 5)]
    events = Ray()(names, partial(make, tmp_path))
    seen = until(lambda: len(begun(tmp_path)) == 4, events)
    [on_lost] = [name for name in names if begun(tmp_path, name) == [lost.node_id]]
    ray_cluster.remove_node(lost)
    (tmp_path / "go").touch()
    assert outcomes([*seen, *events]) == {name: Finished(name, f"did {name}") for name in names}
    assert {name: len(begun(tmp_path, name)) for name in names} == {
        name: 2 if name == on_lost else 1 for name in names
    }


def test_what_is_stopped_leaves_no_half_written_file(ray_cluster, tmp_path):
    events = Ray()(["wait1", "wait2"], partial(make, tmp_path))
    until(lambda: len(begun(tmp_path)) == 2, events)
    events.close()
    assert not list(tmp_path.glob(".*"))
    assert not list(tmp_path.glob("*.txt"))


def read(path, folder):
    def work(name):
        yield 1
        (folder / name).write_text(str(path))
        return path.read_bytes()

    return work


def test_files_of_the_driver_reach_the_nodes_by_the_object_store(ray_cluster, tmp_path):
    weights = tmp_path / "weights.bin"
    weights.write_bytes(os.urandom(10_000))
    run = partial(read, weights, tmp_path)
    found = outcomes(Ray(files=(weights,))(["a", "b", "c"], run))
    assert {event.value for event in found.values()} == {weights.read_bytes()}
    places = {(tmp_path / name).read_text() for name in "abc"}
    assert str(weights) not in places
    assert {Path(place).parent.name for place in places} == {"shared"}


def make_environment():
    def work(name):
        yield 1
        import torch

        return torch.get_num_threads(), os.environ["CUDA_VISIBLE_DEVICES"]

    return work


def test_a_worker_has_the_threads_of_its_cpus_and_no_gpu_unless_asked_for(ray_cluster):
    [event] = outcomes(Ray()(["a1"], make_environment)).values()
    assert event.value == (1, "")


def refuse():
    raise InputError("no weights")


def test_work_that_cannot_begin_fails_on_every_name(ray_cluster):
    found = outcomes(Ray()(["a1", "b1"], refuse))
    assert found == {name: Failed(name, "no weights") for name in ("a1", "b1")}


def test_a_worker_that_no_node_has_room_for_is_refused(ray_cluster):
    with pytest.raises(InputError, match=r"no node .* has the 1 CPUs and 0\.5 GPUs"):
        list(Ray(gpus=0.5)(["a1"], refuse))


def shown_gpu(folder):
    """Says which GPU it sees, when four are at work at the same time."""

    def work(name):
        (folder / name).touch()
        while len(list(folder.iterdir())) < 4:
            time.sleep(0.05)
            yield 1
        yield 2
        return os.environ.get("CUDA_VISIBLE_DEVICES"), ray.get_runtime_context().get_node_id()

    return work


def test_four_workers_share_a_gpu_by_quarters(ray_cluster, tmp_path):
    """Of a node that says it has one; Ray counts what is declared."""
    before = {node["NodeID"] for node in ray.nodes()}
    node = ray_cluster.add_node(num_cpus=5, num_gpus=1)
    try:
        ray_cluster.wait_for_nodes()
        [there] = {node["NodeID"] for node in ray.nodes() if node["Alive"]} - before
        found = outcomes(Ray(gpus=0.25)(["a", "b", "c", "d", "e"], partial(shown_gpu, tmp_path)))
        assert {event.value for event in found.values()} == {("0", there)}
        with pytest.raises(InputError, match=r"no node .* has the 1 CPUs and 2 GPUs"):
            list(Ray(gpus=2)(["a1"], refuse))
    finally:
        ray_cluster.remove_node(node)


def test_another_version_on_a_node_is_refused(ray_cluster, monkeypatch):
    monkeypatch.setattr(on_ray, "__version__", "0.0.0")
    [failed] = outcomes(Ray()(["a1"], refuse)).values()
    assert "the run was begun by 0.0.0; install the same on all nodes" in failed.message


def test_a_cluster_that_is_not_there_is_named(tmp_path):
    code = (
        "from tfsasm.experiments.on_ray import Ray; from tfsasm.errors import InputError\n"
        "try: list(Ray('127.0.0.1:9')(['a'], None))\n"
        "except InputError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("no Ray cluster at 127.0.0.1:9: ")


def test_nothing_to_do_is_nothing_done():
    assert list(Ray()([], refuse)) == []
