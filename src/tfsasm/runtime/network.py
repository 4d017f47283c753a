"""What a tracker needs of a network, whichever library computes it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

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
