"""What a tracker needs of a network, whichever library computes it.

What is unusual here: queries that follow one object together (CO-MOT) are one query to a tracker. A
row holds the content of all G queries of its set one behind the other, and the box of each as
`members`. So births, losses and the memory are those of the set, while the decoder and the query
interaction see the queries themselves.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from tfsasm.tables import Array, Table, namespace


@dataclass(frozen=True)
class Queries(Table):
    """What the decoder starts from: content and reference box of each query."""

    content: Array
    """`[Q, C]`."""
    boxes: Array
    """Reference boxes `[Q, 4]`, normalised cxcywh, used as they are (QUIRK-5)."""
    members: Array = None
    """Where G queries follow one object together, the reference box of each, `[Q, 4G]`; `content`
    is then theirs, `[Q, G*C]`. By default, one query per object, `[Q, 0]`."""

    def __post_init__(self) -> None:
        if self.members is None:
            object.__setattr__(self, "members", self.boxes[:, :0])

    @property
    def references(self) -> Array:
        """The boxes that the queries start from: `boxes`, or those of `members`."""
        return self.members if self.members.shape[1] else self.boxes


@dataclass(frozen=True)
class Prediction(Table):
    """What the decoder predicts, row by row with the queries."""

    scores: Array
    """`[Q]`."""
    boxes: Array
    """`[Q, 4]` normalised cxcywh, of the last layer."""
    first_boxes: Array
    """`[Q, 4]`, of the first layer."""
    embeddings: Array
    """`[Q, C]`."""
    class_scores: Array = None
    """`[Q, K]` of each class, whose largest is the score; by default of one class."""
    members: Array = None
    """As in `Queries`."""

    def __post_init__(self) -> None:
        if self.members is None:
            object.__setattr__(self, "members", self.boxes[:, :0])
        if self.class_scores is None:
            object.__setattr__(self, "class_scores", self.scores[:, None])

    @property
    def classes(self) -> Array:
        """The most likely class of each query, `[Q]` int64 from 0."""
        return namespace(self.class_scores).argmax(self.class_scores, 1)


def predicted(scores: Array, boxes: Array, first_boxes: Array, embeddings: Array) -> Prediction:
    """The prediction of a network that gives `scores` `[Q]` of one class, or `[Q, K]` of several.
    """
    if scores.ndim == 1:
        return Prediction(scores, boxes, first_boxes, embeddings)
    best = namespace(scores).amax(scores, 1)
    return Prediction(best, boxes, first_boxes, embeddings, scores)


class InNumPy:
    """What every `Network` on NumPy arrays does alike: nothing to turn off, capture or move."""

    inference: Callable[[], AbstractContextManager[object]] = nullcontext
    padded = False

    def repeat(self, function: Callable[..., Any], *given: Any) -> Any:
        """`function(*given)`."""
        return function(*given)

    def asarray(self, values: np.ndarray) -> np.ndarray:
        """The array itself."""
        return values


class Network(Protocol):
    """The network of a query tracker (SPEC 3 to 6).

    Arrays are NumPy's or PyTorch's, the same in all calls.
    """

    learned: int
    """Learned queries that stand before those of the detections."""
    proposals: bool
    """Whether detections are queries of their own, as in MOTRv2; MOTR finds objects itself."""
    preset: str
    """The method that goes with it, by name."""
    classes: int
    """How many there are. With several, each track has one."""
    padded: bool
    """Whether tables of tracks keep rows that stand empty, so that nobody waits to count tracks."""
    parameters: int
    """How many numbers were learned, a rough measure of the work per frame."""

    def inference(self) -> AbstractContextManager[object]:
        """A block in which its library need not track gradients."""

    def repeat(self, function: Callable[..., Any], *given: Any) -> Any:
        """`function(*given)`, which a GPU may repeat as a graph: it asks for no number in an array.
        """

    def asarray(self, values: np.ndarray) -> Array:
        """An array of the network's library, where it computes."""

    def encode(self, images: Sequence[np.ndarray]) -> list[Any]:
        """Features of each of some uint8 BGR images `[H, W, 3]`, which have one `input_size`.

        Needs no state.
        """

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width inside the network of an image of that size."""

    def queries(self, boxes: Array, scores: Array) -> Queries:
        """New queries of a frame: the learned ones, then one per detection `[P, 4]`, `[P]`."""

    def decode(self, features: Any, queries: Queries, alive: Array | None = None) -> Prediction:
        """Scores, boxes and embeddings of Q queries in one image.

        Of padded tables `alive` `[Q]` bool says which rows are queries; the others are ignored.
        """

    def interact(
        self, content: Array, boxes: Array, embeddings: Array, alive: Array | None = None
    ) -> Array:
        """Content `[A, C]` of the next frame for A tracks (query interaction module, SPEC 6.3).

        `boxes` are the `references` of their queries; `alive` `[A]` as in `decode`.
        """


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
        """New sets of a frame: the learned ones. A new set stands where its first query does."""
        single = self.single.queries(boxes[:0], scores[:0])
        members = self._joined(single.boxes)
        return Queries(self._joined(single.content), members[:, :4], members)

    def decode(self, features: Any, queries: Queries, alive: Array | None = None) -> Prediction:
        """Predictions for Q sets in one image.

        The score of a set is its smallest: of each class where there are several. Its box is that
        of its first query: when the set counts all of them are sure, and this one does not change.
        """
        single = Queries(self._split(queries.content), self._split(queries.members))
        answer = self.single.decode(features, single, self._each(alive))
        classes = answer.class_scores.shape[1]
        scores = answer.class_scores.reshape(len(queries), self.size, classes)
        least = namespace(scores).amin(scores, 1)
        found = predicted(
            least[:, 0] if classes == 1 else least, answer.boxes[::self.size],
            answer.first_boxes[::self.size], self._joined(answer.embeddings),
        )  # fmt: skip
        return replace(found, members=self._joined(answer.boxes))

    def interact(
        self, content: Array, boxes: Array, embeddings: Array, alive: Array | None = None
    ) -> Array:
        """Content `[A, G*C]` of the next frame for A sets whose queries stand at `[A, 4G]`."""
        one, two, three = map(self._split, (content, boxes, embeddings))
        return self._joined(self.single.interact(one, two, three, self._each(alive)))

    def _split(self, rows: Array) -> Array:
        """`[N, size * C]` as `[N * size, C]`."""
        return rows.reshape(len(rows) * self.size, rows.shape[1] // self.size)

    def _joined(self, rows: Array) -> Array:
        """`[N * size, C]` as `[N, size * C]`."""
        return rows.reshape(len(rows) // self.size, self.size * rows.shape[1])

    def _each(self, alive: Array | None) -> Array | None:
        """Of each set `[N]` as of each of its queries `[N * size]`."""
        if alive is None:
            return None
        return namespace(alive).concat([alive[:, None]] * self.size, 1).reshape(-1)


def in_sets(network: Single, size: int) -> Single | SetNetwork[Single]:
    """The network itself where one query follows an object, else a `SetNetwork` of it."""
    return network if size == 1 else SetNetwork(network, size)
