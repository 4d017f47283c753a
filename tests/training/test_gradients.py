"""Gradients of a clip and steps of the optimiser.

Held to the derivative of the released loss, to AdamW written out, and to what they were before.
"""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.golden_data import tensor, vectors
from helpers.gradients import CONFIG, FILE, SIZES, clip, digest, new_run, ruled_model, step
from helpers.scenes import drawn_clip
from helpers.trainer import NETWORK as SMALL_NETWORK
from helpers.trainer import drawn_model
from tfsasm.motrv2.transformer import Prediction
from tfsasm.training.clip import clip_loss
from tfsasm.training.data import normalised, to_clip
from tfsasm.training.losses import Targets, frame_loss, match_frame, total_loss
from tfsasm.training.trainer import noise, start, train_step

# The released code's losses, to which `test_clip.py` holds the same functions


def released_total(changes=None):
    """The golden clip's loss in float64, as a function of the scores and boxes of four frames.

    Each frame's inputs may be moved by `changes`; returned beside the loss.
    """
    golden = vectors("mod_clip_matcher")
    losses, inputs, count = [], [], 0
    for number in range(4):
        keys = [key for key in golden if key.startswith(f"{number}/")]
        frame = {key.partition("/")[2]: tensor(golden[key]) for key in keys}
        wanted = Targets(frame["gt_boxes"].double(), frame["gt_ids"].long())
        given = [frame["logits"].double(), frame["boxes"].double()]
        if changes is not None:
            given = [one + move for one, move in zip(given, changes[number], strict=True)]
        given = [one.requires_grad_() for one in given]
        queries = len(frame["pre_obj"])
        layers = [
            Prediction(logits, boxes, frame["hs"].double())
            for logits, boxes in zip(*given, strict=True)
        ]
        normal, denoised = [p[:queries] for p in layers], [p[queries:] for p in layers]
        ids, iou = frame["pre_obj"], torch.ones(queries, dtype=torch.float64)
        matches = match_frame(ids, iou, normal[-1], wanted, CONFIG.clip.loss)
        assert torch.equal(matches.target, frame["matched"])
        losses.append(
            frame_loss(normal, ids, matches, wanted, CONFIG.clip.loss, denoised=denoised)
        )
        inputs.append(given)
        count += len(wanted)
    return total_loss(losses, count, CONFIG.clip.loss)[0], inputs


def test_gradients_are_the_derivative_of_the_released_loss():
    total, inputs = released_total()
    assert total.item() == pytest.approx(float(vectors("mod_clip_matcher")["total"]), rel=1e-6)
    total.backward()
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        moves = [
            [1e-7 * torch.randn(one.shape, generator=generator, dtype=torch.float64) for one in row]
            for row in inputs
        ]
        back = [[-one for one in row] for row in moves]
        with torch.no_grad():
            difference = (released_total(moves)[0] - released_total(back)[0]).item() / 2
        expected = sum(
            (one.grad * move).sum().item()
            for row, others in zip(inputs, moves, strict=True)
            for one, move in zip(row, others, strict=True)
        )
        assert difference == pytest.approx(expected, rel=1e-4)


# The optimiser, beside its formulas


def raw_gradients(model, config, number):
    """Of clip `number` before anything is done with them, by name; float64."""
    model = copy.deepcopy(model)
    model.zero_grad()
    given = normalised(to_clip(drawn_clip(number)), 3)
    loss, _ = clip_loss(model, given, config.clip, noise(config.seed, number))
    loss.backward()
    return {n: p.grad.double().numpy() for n, p in model.named_parameters() if p.grad is not None}


def rate(name, step):
    """SPEC 9.9: the backbone and the sampling offsets a tenth, and a tenth of all at the end."""
    slow = name.startswith("backbone.") or "sampling_offsets" in name
    return (2e-5 if slow else 2e-4) * (1.0 if step < 2 else 0.1)


@pytest.mark.parametrize("decay", [
    pytest.param(1e-4, id="as published"),
    pytest.param(20.0, id="with a weight decay that float32 can show"),
])
def test_steps_are_those_of_adamw_on_clipped_gradients(decay):
    """Loshchilov and Hutter, arXiv 1711.05101, algorithm 2, with the published figures."""
    config = replace(CONFIG, steps=3, decay_from=0.6, weight_decay=decay)
    run = start(drawn_model(), SMALL_NETWORK, config)
    first, second = {}, {}
    for number in range(3):
        gradients = raw_gradients(run.model, config, number)
        before = {n: p.detach().double().numpy() for n, p in run.model.named_parameters()}
        values = train_step(run, [to_clip(drawn_clip(number))])
        norm = np.sqrt(sum((one**2).sum() for one in gradients.values()))
        assert values["norm"] == pytest.approx(norm, rel=1e-5)
        assert norm > 0.1, "there is something to clip"
        after = {n: p.detach().double().numpy() for n, p in run.model.named_parameters()}
        assert {n for n in after if (after[n] != before[n]).any()} <= gradients.keys()
        for name, gradient in gradients.items():
            gradient = gradient * 0.1 / norm
            first[name] = 0.9 * first.get(name, 0) + 0.1 * gradient
            second[name] = 0.999 * second.get(name, 0) + 0.001 * gradient**2
            mean = first[name] / (1 - 0.9 ** (number + 1))
            square = second[name] / (1 - 0.999 ** (number + 1))
            move = mean / (np.sqrt(square) + 1e-8) + decay * before[name]
            away = np.abs(after[name] - (before[name] - rate(name, number) * move))
            rounding = 2e-7 * np.abs(before[name]) + 1e-4 * rate(name, number)
            assert (away <= rounding).all(), name


# A regression: this package's own numbers


@pytest.fixture(scope="module", params=["small", pytest.param("full", marks=pytest.mark.slow)])
def size(request):
    return request.param


@pytest.fixture(scope="module")
def model(size):
    return ruled_model(size)


@pytest.fixture(scope="module")
def plain(model, size):
    return step(new_run(copy.deepcopy(model).double(), SIZES[size]), clip(size))


def test_a_clips_loss_gradients_and_step_are_what_they_were(size, plain):
    loss, gradients, change = plain
    before = np.load(FILE)
    assert loss == pytest.approx(float(before[f"{size}/loss"]), rel=1e-9)
    names = before[f"{size}/names"].tolist()
    assert sorted(gradients) == names
    for found, part in ((gradients, "gradients"), (change, "change")):
        rows, wanted = digest(found[name] for name in names), before[f"{size}/{part}"]
        away = np.abs(rows - wanted).max(1) / wanted[:, 0]
        assert away.max() < 1e-6, f"{part} of {names[away.argmax()]}"


def test_a_step_in_float32_is_that_step(size, model, plain):
    loss, gradients, change = plain
    run = new_run(copy.deepcopy(model), SIZES[size])
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    values = train_step(run, [clip(size)])
    assert values["loss"] == pytest.approx(loss, rel=1e-5)
    norm = torch.stack([one.norm() for one in gradients.values()]).norm().item()
    assert values["norm"] == pytest.approx(norm, rel=1e-4)
    for name, parameter in run.model.named_parameters():
        if name in gradients:
            scaled = gradients[name] * (CONFIG.clip_norm / norm)
            away = (parameter.grad - scaled).norm() / scaled.norm()
            assert away < 2e-2, name  # a level of one pixel is ill-conditioned
            # the first step follows the sign of a gradient, however small; noise has one too
            clear = gradients[name].abs() > 1e-2 * gradients[name].square().mean().sqrt()
            assert clear.any()
            moved, wanted = (parameter.detach() - before[name])[clear], change[name][clear]
            assert (moved - wanted).norm() < 2e-2 * wanted.norm(), name
