"""Sets of queries that follow one object together, as a tracker sees them: as one query (CO-MOT).

What is unusual here: a row holds the content of all G queries of its set one behind the other, and
the box of each as `members`. So births, losses and the memory are those of the set, while the
decoder and the query interaction see the queries themselves. NumPy arrays and PyTorch tensors
alike.
"""

from dataclasses import replace
from typing import Any, Generic, TypeVar

from tfsasm.runtime.network import Network, Prediction, Queries, predicted
from tfsasm.tables import Array, namespace

Single = TypeVar("Single", bound=Network)


class SetNetwork(Generic[Single]):
    """A `Network` whose queries are sets of `size`, made of the one `single` of their queries.

    Detections are no queries. All queries of all sets attend to one another.
    """

    proposals = False
    preset = "motrv2"

    def __init__(self, single: Single, size: int) -> None:
        self.single, self.size = single, size
        self.learned = single.learned // size
        self.classes, self.parameters = single.classes, single.parameters
        self.inference, self.asarray = single.inference, single.asarray
        self.repeat = single.repeat
        self.encode, self.input_size = single.encode, single.input_size
        self.padded = single.padded

    def queries(self, boxes: Array, scores: Array) -> Queries:
        """New sets of a frame: the learned ones."""
        return as_sets(self.single.queries(boxes[:0], scores[:0]), self.size)

    def decode(self, features: Any, queries: Queries, alive: Array | None = None) -> Prediction:
        """Predictions for Q sets in one image."""
        single = as_queries(queries, self.size)
        return of_sets(self.single.decode(features, single, self._each(alive)), self.size)

    def interact(
        self, content: Array, boxes: Array, embeddings: Array, alive: Array | None = None
    ) -> Array:
        """Content `[A, G*C]` of the next frame for A sets whose queries stand at `[A, 4G]`."""
        one, two, three = (split(rows, self.size) for rows in (content, boxes, embeddings))
        return joined(self.single.interact(one, two, three, self._each(alive)), self.size)

    def _each(self, alive: Array | None) -> Array | None:
        """Of each set `[N]` as of each of its queries `[N * size]`."""
        if alive is None:
            return None
        return namespace(alive).concat([alive[:, None]] * self.size, 1).reshape(-1)


def in_sets(network: Single, size: int) -> Single | SetNetwork[Single]:
    """The network itself where one query follows an object, else a `SetNetwork` of it."""
    return network if size == 1 else SetNetwork(network, size)


def as_sets(queries: Queries, size: int) -> Queries:
    """N sets of queries whose `N * size` rows are those of each set one behind the other.

    A new set stands where its first query does.
    """
    members = joined(queries.boxes, size)
    return Queries(joined(queries.content, size), members[:, :4], members)


def as_queries(sets: Queries, size: int) -> Queries:
    """The single queries of `as_sets`."""
    return Queries(split(sets.content, size), split(sets.members, size))


def of_sets(prediction: Prediction, size: int) -> Prediction:
    """The answers to N sets, of those to their `N * size` queries.

    The score of a set is its smallest: of each class where there are several. Its box is that of
    its first query: when the set counts all of them are sure, and this one does not change.
    """
    n, classes = len(prediction) // size, prediction.class_scores.shape[1]
    scores = prediction.class_scores.reshape(n, size, classes)
    least = namespace(scores).amin(scores, 1)
    answer = predicted(
        least[:, 0] if classes == 1 else least, prediction.boxes[::size],
        prediction.first_boxes[::size], joined(prediction.embeddings, size),
    )  # fmt: skip
    return replace(answer, members=joined(prediction.boxes, size))


def split(rows: Array, size: int) -> Array:
    """`[N, size * C]` as `[N * size, C]`."""
    return rows.reshape(len(rows) * size, rows.shape[1] // size)


def joined(rows: Array, size: int) -> Array:
    """`[N * size, C]` as `[N, size * C]`."""
    return rows.reshape(len(rows) // size, size * rows.shape[1])
