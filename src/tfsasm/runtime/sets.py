"""Sets of queries that follow one object together, as a tracker sees them: as one query (CO-MOT).

What is unusual here: a row holds the content of all G queries of its set one behind the other, and
the box of each as `members`. So births, losses and the memory are those of the set, while the
decoder and the query interaction see the queries themselves. NumPy arrays and PyTorch tensors
alike.
"""

from dataclasses import replace

from tfsasm.runtime.network import Prediction, Queries, predicted
from tfsasm.tables import Array, namespace


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
