"""Sine encodings, against the formulas of SPEC 3.4 and 4.3 written as loops in double."""

import math

import pytest
import torch

from helpers.golden_data import tensor, vectors
from tfsasm.motrv2.position_encoding import embed_coordinates, embed_grid

CPU = torch.device("cpu")


def wave(angle, index, features):
    phase = angle / 10000 ** (2 * (index // 2) / features)
    return math.cos(phase) if index % 2 else math.sin(phase)


@pytest.mark.parametrize(("features", "turns"), [
    pytest.param(64, 1.0, id="boxes, published"),
    pytest.param(8, 16.0, id="more turns, fewer features"),
])
def test_coordinates_are_encoded_one_behind_the_other(features, turns):
    boxes = torch.tensor([[0.1, 0.9, 0.25, 0.5], [0.0, 1.0, -0.2, 1.3]])
    found = embed_coordinates(boxes, features, turns)
    wanted = [
        [wave(value * 2 * math.pi * turns, i, features) for value in row for i in range(features)]
        for row in boxes.double().tolist()
    ]
    torch.testing.assert_close(found, torch.tensor(wanted), rtol=0, atol=2e-5)


def test_a_score_fills_the_whole_width():
    scores = torch.tensor([[0.25], [1.0]])
    found = embed_coordinates(scores, 256)
    assert found.shape == (2, 256)
    torch.testing.assert_close(found[0, :2], torch.tensor([1.0, 0.0]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0, 4)])
def test_no_coordinates_have_an_empty_encoding(shape):
    assert embed_coordinates(torch.zeros(shape), 16).shape == (*shape[:-1], 64)


def test_pixels_count_from_half_and_fill_a_turn():
    height, width, features = 3, 5, 8
    found = embed_grid(height, width, features, CPU)
    assert found.shape == (1, 2 * features, height, width)
    for i in range(height):
        for j in range(width):
            y = (i + 0.5) / (height + 1e-6) * 2 * math.pi
            x = (j + 0.5) / (width + 1e-6) * 2 * math.pi
            wanted = [wave(angle, k, features) for angle in (y, x) for k in range(features)]
            torch.testing.assert_close(found[0, :, i, j], torch.tensor(wanted), rtol=0, atol=1e-5)


def test_positions_are_those_of_the_released_code():
    golden = vectors("mod_transformer_memread")
    for level in range(4):
        wanted = tensor(golden[f"pos{level}"])
        found = embed_grid(*wanted.shape[-2:], 128, CPU)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
