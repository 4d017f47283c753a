"""BDD100K from images to a submission, with a network of its eight classes."""

import json
import zipfile
from dataclasses import replace

import cv2
import numpy as np
import pytest

from helpers.commands import run_command
from helpers.fakes import SMALL
from helpers.scenes import NETWORK, lively_model
from tfsasm.datasets.bdd100k import CATEGORIES
from tfsasm.detection.stored import MotDetections
from tfsasm.motrv2.weights import save_model
from tfsasm.tracking.config import paper
from tfsasm.tracking.load import load

VIDEO = "b1c9-01"


def network(folder, classes):
    config = replace(NETWORK, model=replace(SMALL, classes=classes))
    path = folder / f"{classes}.safetensors"
    save_model(path, lively_model(config.model, seed=13), config)
    return path


@pytest.fixture(scope="module")
def place(scene, tmp_path_factory):
    """Images, detections and labels of one video; the truth is what a network of eight sees."""
    tmp_path = tmp_path_factory.mktemp("bdd100k")
    images = tmp_path / "bdd100k/images/track/val" / VIDEO
    labels = tmp_path / "bdd100k/labels/box_track_20/val"
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    for number, image in enumerate(scene.images, start=1):
        cv2.imwrite(str(images / f"{VIDEO}-{number:07d}.jpg"), image)
    (tmp_path / "boxes").mkdir()
    (tmp_path / "boxes" / f"{VIDEO}.txt").write_text(scene.detections.read_text())
    tracker, frames = load(network(tmp_path, 8), paper()), []
    boxes = str(tmp_path / "boxes" / f"{VIDEO}.txt")
    for frame, tracks in tracker.track(images, boxes):
        seen = [
            {"id": str(identity), "category": CATEGORIES[kind],
             "box2d": dict(zip(("x1", "y1", "x2", "y2"), map(float, xyxy), strict=True))}
            for identity, kind, xyxy in zip(
                tracks.tracker_id.tolist(), tracks.class_id, tracks.xyxy, strict=True
            )
        ]  # fmt: skip
        frames.append({"name": f"{VIDEO}-{frame.number:07d}.jpg", "videoName": VIDEO,
                       "frameIndex": frame.number - 1, "labels": seen})  # fmt: skip
    (labels / f"{VIDEO}.json").write_text(json.dumps(frames))
    return tmp_path


@pytest.fixture
def evaluate(tfsasm, place):
    def run(*flags, output):
        return tfsasm(
            "evaluate", "--root", place / "bdd100k", "--dataset", "bdd100k", "--split", "val",
            "--detections", place / "boxes", "--output", place / output, "--quiet", *flags,
        )  # fmt: skip

    return run


def test_each_track_keeps_its_own_class_from_images_to_the_submission(tfsasm, place, evaluate):
    outcome = evaluate("--weights", place / "8.safetensors", "--preset", "paper", output="out")
    assert outcome.code == 0, outcome.err
    frames = json.loads((place / "bdd100k/labels/box_track_20/val" / f"{VIDEO}.json").read_text())
    seen = {label["category"] for frame in frames for label in frame["labels"]}
    assert len(seen) >= 3, "else this shows nothing"
    scores = json.loads((place / "out/scores.json").read_text())["classes"]
    for name in CATEGORIES:
        assert scores[name]["HOTA"] == pytest.approx(100 if name in seen else 0, abs=0.5)

    scored = tfsasm("score", "--gt", place / "bdd100k/labels/box_track_20/val", "--results",
                    place / "out", "--json", place / "scores.json")  # fmt: skip
    assert scored.code == 0, scored.err
    assert json.loads((place / "scores.json").read_text())["classes"] == scores

    packed = tfsasm("submit", "--dataset", "bdd100k", "--results", place / "out", "--root",
                    place / "bdd100k/images/track/val", "--output", place / "o.zip")  # fmt: skip
    assert packed.code == 0, packed.err
    with zipfile.ZipFile(place / "o.zip") as file:
        [inside] = [json.loads(file.read(name)) for name in file.namelist()]
    assert [sorted((x["id"], x["category"]) for x in frame["labels"]) for frame in inside] == [
        sorted((x["id"], x["category"]) for x in frame["labels"]) for frame in frames
    ]


def test_a_network_of_one_class_reports_pedestrians(place, evaluate):
    one = network(place, 1)
    outcome = evaluate("--weights", one, "--preset", "paper", output="one")
    assert outcome.code == 0, outcome.err
    rows = [row.split(",") for row in (place / "one" / f"{VIDEO}.txt").read_text().splitlines()]
    assert {row[7] for row in rows} == {"-1"}


class RoadUsers:
    """Takes the stored boxes for people, the narrow for cars, the narrowest for dogs: COCO's."""

    class_names = {0: "person", 2: "car", 16: "dog"}

    def __init__(self, path):
        self._stored = MotDetections(path)

    def __call__(self, frame):
        found = self._stored(frame)
        kinds = np.array([16, 2, 0])[np.digitize(128 * found.boxes[:, 2], [8.1, 9])]
        return replace(found, scores=np.maximum(found.scores, 0.9), classes=kinds)

    def report(self):
        return []


def test_other_trackers_take_the_class_by_the_name_that_the_detector_gives_it(place):
    outcome = run_command(
        "evaluate", "--root", place / "bdd100k", "--dataset", "bdd100k", "--split", "val",
        "--detector", "yolox-nano", "--output", place / "motion", "--quiet", "--tracker", "motion",
        "--set", "match.hits=1", detector=RoadUsers(place / "boxes" / f"{VIDEO}.txt"),
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    rows = [row.split(",") for row in (place / "motion" / f"{VIDEO}.txt").read_text().splitlines()]
    assert {row[7] for row in rows} == {"1", "3", "-1"}


def test_a_network_of_other_classes_is_refused_before_any_work(place, evaluate):
    outcome = evaluate("--weights", network(place, 3), output="three")
    assert outcome.code == 2
    assert "the network has 3 classes, and BDD100K has 8: pedestrian, " in outcome.err
    assert not (place / "three" / f"{VIDEO}.txt").exists()
