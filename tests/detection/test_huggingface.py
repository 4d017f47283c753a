"""Hugging Face detectors: small ones with random weights, saved to disk."""

import json
import re
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tfsasm.detection.detectors import detector
from tfsasm.detection.huggingface import HuggingFaceDetector, HuggingFaceSettings
from tfsasm.errors import InputError, WeightsError

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
safetensors = pytest.importorskip("safetensors.torch")

LABELS = {0: "dog", 1: "Person", 2: "N/A"}
IMAGE = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
ALL = HuggingFaceSettings(score_threshold=0, clip=False)


def rt_detr():
    """RT-DETRv2 as small as it gets."""
    backbone = transformers.RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 16, 16], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"])
    return transformers.RTDetrV2ForObjectDetection(transformers.RTDetrV2Config(
        backbone_config=backbone, encoder_hidden_dim=16, encoder_in_channels=[16, 16, 16],
        encoder_ffn_dim=16, encoder_attention_heads=2, d_model=16, num_queries=12,
        decoder_in_channels=[16, 16, 16], decoder_ffn_dim=16, decoder_layers=2,
        decoder_attention_heads=2, num_denoising=0, id2label=LABELS)
    ), transformers.RTDetrImageProcessor(size={"height": 64, "width": 64})


def yolos():
    """A plain transformer, and the softmax over classes that DETR has."""
    return transformers.YolosForObjectDetection(transformers.YolosConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        image_size=[64, 96], num_detection_tokens=12, id2label=LABELS)
    ), transformers.YolosImageProcessor(size={"shortest_edge": 48, "longest_edge": 96})


def save(folder, make):
    torch.manual_seed(0)
    model, processor = make()
    with torch.no_grad():  # heads begin almost silent
        for name, parameter in model.named_parameters():
            if re.search("class|score|bbox", name):
                parameter.normal_(0, 0.5)
                if "class" in name and len(parameter) > 1:
                    parameter[1] += 0.3
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(tmp_path_factory.mktemp("hf") / "rt_detr", rt_detr)


@pytest.fixture(scope="module")
def found(folder):
    return HuggingFaceDetector(folder, ALL)


@pytest.mark.parametrize("make", [rt_detr, yolos])
def test_boxes_are_those_of_the_library_itself(tmp_path, make):
    """Of the class that a random model likes best."""
    from PIL import Image

    folder = save(tmp_path / "model", make)
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    model = transformers.AutoModelForObjectDetection.from_pretrained(folder).eval()
    given = processor(images=Image.fromarray(IMAGE[:, :, ::-1].copy()), return_tensors="pt")
    with torch.no_grad():
        answer = model(**given)
    (wanted,) = processor.post_process_object_detection(
        answer, threshold=0, target_sizes=[(96, 128)])
    label = int(wanted["labels"].mode().values)
    of_label = wanted["labels"] == label

    settings = replace(ALL, labels=(LABELS[label],))
    boxes, scores = detector(f"hf:{folder}", settings=settings).detect(IMAGE)
    order = wanted["scores"][of_label].argsort(descending=True, stable=True)
    assert len(scores) > 1
    np.testing.assert_allclose(scores, wanted["scores"][of_label][order], rtol=1e-4)
    np.testing.assert_allclose(boxes, wanted["boxes"][of_label][order], rtol=1e-3, atol=1e-3)


def test_a_frame_becomes_proposals_best_first(found):
    frame = SimpleNamespace(image=IMAGE, number=1, name="a", time=None)
    proposals = found(frame)
    assert len(proposals) > 0
    assert (np.diff(proposals.scores) <= 0).all()
    assert proposals.boxes.dtype == np.float32
    assert found.report() == []


def test_colours_are_not_swapped(found):
    """The model was trained on RGB."""
    seen = []
    handle = found.model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs["pixel_values"]), with_kwargs=True)
    found.detect(np.full((64, 64, 3), (0, 0, 255), np.uint8))
    handle.remove()
    red, green, blue = seen[0][0].mean(dim=(1, 2)).tolist()
    assert red > blue == green


SETTINGS = HuggingFaceSettings


@pytest.mark.parametrize(("settings", "expect"), [
    pytest.param(SETTINGS(score_threshold=1), lambda few, every: len(few) == 0, id="nobody"),
    pytest.param(SETTINGS(score_threshold=0, nms_iou=0.01), lambda few, every: 0 < len(few) < every,
                 id="suppression"),
    pytest.param(SETTINGS(score_threshold=0), lambda few, every: (few >= 0).all()
                 and (few[:, 2] <= 128).all() and (few[:, 3] <= 96).all(), id="clipped"),
    pytest.param(SETTINGS(score_threshold=0, clip=False, labels=("dog", "PERSON", "n/a")),
                 lambda few, every: len(few) > every, id="more classes, in any case"),
])
def test_settings_choose_the_boxes(folder, found, settings, expect):
    every = len(found.detect(IMAGE)[0])
    assert expect(HuggingFaceDetector(folder, settings).detect(IMAGE)[0], every)


@pytest.mark.parametrize(("settings", "problem"), [
    pytest.param({"score_threshold": 1.5}, "score_threshold 1.5 is not within", id="score"),
    pytest.param({"nms_iou": -1}, "nms_iou -1 is not within", id="IoU"),
    pytest.param({"labels": ()}, "at least one class", id="no class"),
])
def test_settings_that_make_no_sense_are_refused(settings, problem):
    with pytest.raises(InputError, match=problem):
        SETTINGS(**settings)


@pytest.mark.parametrize(("settings", "problem"), [
    pytest.param({"labels": ("cat",)}, "no class cat; set labels to some of: N/A, Person, dog",
                 id="a class it lacks"),
    pytest.param({"device": "gpu"}, "no device 'gpu' here", id="no such device"),
])
def test_what_is_asked_of_a_model_must_be_there(folder, settings, problem):
    with pytest.raises(InputError, match=problem):
        HuggingFaceDetector(folder, SETTINGS(**settings))


def without_head(folder):
    """What a classifier or a bare backbone would lack."""
    file = folder / "model.safetensors"
    state = safetensors.load_file(file)
    kept = {n: t for n, t in state.items() if "class_embed" not in n}
    assert len(kept) < len(state)
    safetensors.save_file(kept, file, {"format": "pt"})


def cut(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def classifier(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))


@pytest.mark.parametrize(("spoil", "kind", "parts"), [
    pytest.param(without_head, WeightsError, ["do not make a whole object detector", "class_embed"],
                 id="no head"),
    pytest.param(cut, WeightsError, ["cannot be loaded"], id="half a file"),
    pytest.param(classifier, InputError, ["cannot be used as an object detector"], id="a bert"),
    pytest.param(lambda f: (f / "config.json").unlink(), InputError, ["config.json"],
                 id="no config"),
    pytest.param(lambda f: (f / "config.json").write_text("{"), InputError, ["cannot be used"],
                 id="a broken config"),
    pytest.param(lambda f: (f / "preprocessor_config.json").unlink(), InputError,
                 ["cannot be used", "preprocessor_config.json"], id="no processor"),
    pytest.param(lambda f: (f / "model.safetensors").unlink(), InputError, ["model.safetensors"],
                 id="no weights"),
])
def test_a_folder_that_is_no_whole_detector_is_refused(tmp_path, folder, spoil, kind, parts):
    copy = tmp_path / "model"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    spoil(copy)
    with pytest.raises(kind) as caught:
        HuggingFaceDetector(copy)
    for part in (str(copy), *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["hf:./nowhere", "hf:", "hf:/nowhere/at/all", "hf:a/b/c"])
def test_what_looks_like_a_folder_must_be_there(name):
    with pytest.raises(InputError, match=r"there is no folder .*; give hf:OWNER/NAME"):
        detector(name)


def test_track_takes_a_model(tmp_path, track, folder):
    outcome = track(detections=None, detector=f"hf:{folder}", detector_set="labels=dog", end=2,
                    mot_output=tmp_path / "o.txt")
    assert outcome.code == 0, outcome


def test_weights_cannot_be_given_beside(folder, tmp_path):
    with pytest.raises(InputError, match="brings its own weights"):
        detector(f"hf:{folder}", tmp_path / "x.onnx")


def test_without_the_library_the_message_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r'pip install "tfsasm\[hf\]"'):
        HuggingFaceDetector(folder)
