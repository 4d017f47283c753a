"""Sets of queries as one: rows, the smallest score, the box of the first; both libraries."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tfsasm.runtime.network import InNumPy, Queries, SetNetwork, predicted
from tfsasm.tables import as_numpy


class Single(InNumPy):
    """A network of queries one by one, which answers what it is told."""

    classes = parameters = encode = input_size = None

    def __init__(self, learned=None, answer=None):
        self.learned, self.new, self.answer = 12, learned, answer

    def queries(self, boxes, scores):
        return self.new

    def decode(self, features, queries, alive=None):
        self.asked = queries
        return self.answer


@pytest.mark.parametrize("library", [np, torch])
@pytest.mark.parametrize("sets", [0, 1, 4])
def test_queries_come_back_as_they_went(library, sets):
    random = np.random.default_rng(sets)
    content, boxes = (
        library.asarray(random.random((3 * sets, width), dtype=np.float32)) for width in (5, 4)
    )
    answer = predicted(content[:, 0], boxes, boxes, content)
    single = Single(Queries(content, boxes), answer)
    network = SetNetwork(single, 3)
    together = network.queries(boxes, content[:, 0])
    assert together.content.shape == (sets, 15)
    np.testing.assert_array_equal(as_numpy(together.boxes), as_numpy(boxes)[::3])
    network.decode(None, together)
    np.testing.assert_array_equal(as_numpy(single.asked.content), as_numpy(content))
    np.testing.assert_array_equal(as_numpy(single.asked.boxes), as_numpy(boxes))


@pytest.mark.parametrize("library", [np, torch])
@pytest.mark.parametrize(("scores", "expected", "kinds"), [
    pytest.param([0.2, 0.9, 0.5, 0.7, 0.7, 0.8], [0.2, 0.7], [0, 0], id="one class"),
    pytest.param([[0.1, 0.8], [0.2, 0.9], [0.6, 0.3], [0.7, 0.1], [0.6, 0.2], [0.8, 0.3]],
                 [0.3, 0.6], [1, 0], id="of each class the smallest"),
])  # fmt: skip
def test_a_set_is_as_sure_as_its_least_sure_query(library, scores, expected, kinds):
    boxes = np.arange(24, dtype=np.float32).reshape(6, 4)
    given = [np.asarray(scores, dtype=np.float32), boxes, boxes + 100, boxes[:, :2]]
    sets = Queries(*map(library.zeros, ((2, 6), (2, 4), (2, 12))))
    single = Single(answer=predicted(*map(library.asarray, given)))
    answer = SetNetwork(single, 3).decode(None, sets)
    np.testing.assert_allclose(as_numpy(answer.scores), expected)
    assert as_numpy(answer.classes).tolist() == kinds
    np.testing.assert_array_equal(as_numpy(answer.boxes), boxes[[0, 3]])
    np.testing.assert_array_equal(as_numpy(answer.first_boxes), boxes[[0, 3]] + 100)
    np.testing.assert_array_equal(as_numpy(answer.members), boxes.reshape(2, 12))
    np.testing.assert_array_equal(as_numpy(answer.embeddings), boxes[:, :2].reshape(2, 6))
