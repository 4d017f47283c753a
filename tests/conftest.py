"""Fixtures of the commands. Its place makes the helpers here importable from the subfolders.

Packages are imported where they are used: what hands the tests to workers, which wait for it,
loads this file too and runs none of them.
"""

from __future__ import annotations

import gc
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if sys.platform != "win32":
    import fcntl
if TYPE_CHECKING:
    from helpers.exports import Exported
    from helpers.scenes import Outcome, Scene


def pytest_collection():
    import torch

    gc.disable()  # while test modules are loaded, which takes a quarter longer with it
    if not torch.cuda.is_available():  # before anything imports Triton: NumPy runs its kernels then
        os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(scope="session", autouse=True)
def options_are_looked_at_once():
    """tyro looks at all options of a command at each call, which takes longer than most tests."""
    import tyro

    looked = tyro._parsers.ParserSpecification.from_callable_or_type
    known = {}

    def once(f, **how):
        if how["parent_classes"]:  # a part of another one
            return looked(f, **how)
        if (f, how["description"]) not in known:
            known[f, how["description"]] = looked(f, **how)
        return known[f, how["description"]]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            tyro._parsers.ParserSpecification, "from_callable_or_type", staticmethod(once)
        )
        yield


def pytest_collection_modifyitems(items):
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """A test of two threads has the machine to itself: beside another it takes thrice as long."""
    if sys.platform == "win32":
        return (yield)
    with open(__file__) as room, open(Path(__file__).with_name("helpers") / "scenes.py") as door:
        fcntl.flock(door, fcntl.LOCK_EX)  # who waits for the room lets nobody else in
        fcntl.flock(room, fcntl.LOCK_EX if "two_threads" in item.fixturenames else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        try:
            return (yield)
        finally:
            fcntl.flock(room, fcntl.LOCK_UN)  # a process that was forked meanwhile has it too


def pytest_collection_finish():
    gc.freeze()  # modules and tests stay to the end: no collection need look through them
    gc.enable()


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory):
    """A whole checkpoint of a small network."""
    from helpers.scenes import NETWORK, lively_model
    from tfsasm.motrv2.weights import save_model

    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_model(path, lively_model(), NETWORK)
    return path


@pytest.fixture(scope="session")
def known_weights(tmp_path_factory):
    """The same with a backbone that other processes know too."""
    from helpers.scenes import NETWORK, lively_model
    from tfsasm.motrv2.weights import save_model

    path = tmp_path_factory.mktemp("weights") / "known.safetensors"
    network = replace(NETWORK, model=replace(NETWORK.model, backbone="mobilenetv2"))
    save_model(path, lively_model(network.model, seed=0), network)
    return path


@pytest.fixture(scope="session")
def exported() -> Exported:
    from helpers.exports import Exported

    return Exported()


@pytest.fixture(scope="session")
def scene(tmp_path_factory) -> Scene:
    from helpers.scenes import make_scene

    return make_scene(tmp_path_factory.mktemp("scene"))


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory):
    """Three Ray nodes of one CPU each on this machine, to which this process is connected."""
    ray = pytest.importorskip("ray", reason="needs tfsasm[ray]")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFSASM_CACHE", str(tmp_path_factory.mktemp("cache")))  # of the nodes
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)  # for helpers
        head = {"num_cpus": 1, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
        yield cluster
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture
def tfsasm(capsys):
    """The command line, in this process: `tfsasm("track", "video.mp4", ...) -> Outcome`."""
    from helpers.scenes import Outcome
    from tfsasm.cli import main

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Outcome(left.value.code, out, err)

    return run


@pytest.fixture
def track(tfsasm, scene, small_weights):
    """`tfsasm track` on the scene with the small network and a fixed method, the paper's.

    Options replace or add; None removes.
    """
    from helpers.commands import words_of

    def run(*flags: object, **options: object) -> Outcome:
        given = {
            "source": scene.folder, "detections": scene.detections, "weights": small_weights,
            "preset": "paper",
        } | options  # fmt: skip
        source = given.pop("source")
        return tfsasm("track", source, *words_of(given, "--quiet", *flags))

    return run


@pytest.fixture
def two_threads():
    """As many as the released code had when it made the golden vectors."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
