"""Trackers that share frames, detections and features give what each gives alone."""

import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from helpers.scenes import write_folders
from tfsasm.datasets.sequences import sequences
from tfsasm.detection.det_db import write_det_db
from tfsasm.errors import InputError
from tfsasm.experiments.plan import Experiment, make_folders, make_tasks
from tfsasm.experiments.run import Loaded, SharedEmbedder, make_work, open_stored
from tfsasm.tracking.appearance.embedders import embedder
from tfsasm.tracking.config import default, paper, released
from tfsasm.tracking.load import load, torch_network
from tfsasm.tracking.named import QuerySpec
from tfsasm.tracking.results import MotFile

METHODS = {"paper": paper(), "released": released(), "default": default()}


class CountingNetwork:
    """A network that counts the images it encodes, and the seconds."""

    def __init__(self, network):
        self._network, self.images, self.seconds = network, 0, 0.0

    def encode(self, images):
        began = time.perf_counter()
        features = self._network.encode(images)
        self.seconds += time.perf_counter() - began
        self.images += len(images)
        return features

    def __getattr__(self, name):
        return getattr(self._network, name)


@pytest.fixture
def experiment(scene, small_weights, tmp_path):
    root = write_folders(scene, tmp_path / "clips")
    tasks = make_tasks(sequences("mot", root, None, ()), detections=None, source=None)
    trackers = {label: QuerySpec(config) for label, config in METHODS.items()}
    folders = make_folders(tmp_path / "out", list(trackers), overwrite=False)
    return Experiment(tasks, trackers, folders, partial(torch_network, small_weights), embedder)


def alone(experiment):
    """With one of its trackers."""
    return replace(experiment, trackers={"paper": experiment.trackers["paper"]})


def outcome(steps):
    """What a generator returns."""
    try:
        while True:
            next(steps)
    except StopIteration as end:
        return end.value


def test_trackers_of_a_network_share_its_features_and_nothing_else(
    experiment, small_weights, tmp_path
):
    network = CountingNetwork(load(small_weights).network)
    specs, stored = experiment.trackers.items(), partial(open_stored, skip_bad=False)
    trackers = {label: spec.make(network, None) for label, spec in specs}
    done = outcome(Loaded(trackers, stored)(experiment, "a"))
    assert (done.frames, network.images) == (6, 6)
    assert done.seconds.keys() == METHODS.keys()
    assert min(done.seconds.values()) > 0.8 * network.seconds, "each is charged for the features"
    texts = {label: (folder / "a.txt").read_text() for label, folder in experiment.folders.items()}
    assert len(set(texts.values())) > 1
    task = experiment.tasks["a"]
    for label, config in METHODS.items():
        path = tmp_path / f"{label}.txt"
        tracked = load(small_weights, config).track(str(task.source), task.detections)
        with MotFile(path) as file:
            for frame, tracks in tracked:
                file.write(frame, tracks)
        assert texts[label] == path.read_text()


def test_trackers_in_one_process_start_each_sequence_from_a_fresh_state(experiment):
    work = make_work(alone(experiment))
    outcome(work("a"))
    path = experiment.folders["paper"] / "a.txt"
    first = path.read_bytes()
    outcome(work("b"))
    outcome(work("a"))
    assert path.read_bytes() == first != b""


def test_a_sequence_that_fails_leaves_no_file(experiment, tmp_path):
    class Broken:
        def __call__(self, frame):
            raise InputError("no detections of this frame")

        def report(self):
            return []

    with pytest.raises(InputError, match="no detections of this frame"):
        outcome(make_work(experiment, Broken())("a"))
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_det_db_of_several_sequences_is_read_once(experiment, tmp_path):
    path = tmp_path / "det_db.json"
    write_det_db(path, (
        (f"{name}/img1/{number:08d}.txt", ["10,10,20,30,0.9\n"])
        for name in "ab" for number in range(1, 7)
    ))  # fmt: skip
    tasks = {name: replace(task, detections=path) for name, task in experiment.tasks.items()}
    work = make_work(replace(alone(experiment), tasks=tasks))
    assert outcome(work("a")).notes == ()
    path.write_text("{}")
    assert outcome(work("b")).notes == ()


def test_one_embedding_serves_all_and_each_is_charged_for_it():
    image, boxes = np.zeros((9, 9, 3), np.uint8), np.array([[0.0, 0, 4, 8]])
    calls = []

    def embed(image, xyxy):
        calls.append(len(xyxy))
        return np.ones((len(xyxy), 2), np.float32)

    shared = SharedEmbedder(embed)
    for _ in range(3):
        assert shared(image, boxes).shape == (1, 2)
    assert calls == [1]
    assert shared.saved > 0
    shared(image, boxes[:0])
    assert calls == [1, 0]
