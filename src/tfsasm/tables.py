"""A frozen table of arrays that share their first axis, NumPy's or PyTorch's.

State in this package is a value: every step makes a new table from the old one. `Table` gives the
few operations all of them need, so that no module indexes ten fields by hand. Code for either kind
of array takes its functions from `namespace`: both libraries have them under the same names.
"""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Array = Any
"""A NumPy array or a PyTorch tensor. Shapes and kinds stand in docstrings."""

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Image = NDArray[np.uint8]


def namespace(array: Array) -> Any:
    """NumPy or PyTorch, whichever `array` is of. Imports neither."""
    return np if isinstance(array, np.ndarray) else sys.modules["torch"]


def as_numpy(array: Array) -> np.ndarray:
    """The same values as a NumPy array, on the CPU."""
    return array if isinstance(array, np.ndarray) else array.cpu().numpy()


def unit(vectors: Floats, shortest: float = 1e-12) -> Floats:
    """Vectors `[..., C]` in NumPy at length 1; what is shorter than `shortest` stays near 0."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), shortest)


def lerp(start: Array, end: Array, share: float) -> Array:
    """From `start` (share 0) to `end` (share 1), exact at both.

    PyTorch has a function that rounds once where NumPy rounds twice, and golden vectors of it.
    """
    if not isinstance(start, np.ndarray):
        return start.lerp(end, share)
    difference = end - start
    return start + share * difference if share < 0.5 else end - (1 - share) * difference


def in_one_copy(columns: Sequence[Array]) -> list[np.ndarray]:
    """Tensors `[N, ...]` in NumPy, brought to the CPU together.

    They travel as doubles, which hold float32, flags and integers up to 2^53 exactly.
    """
    flat = [column.reshape(len(column), math.prod(column.shape[1:])) for column in columns]
    rows = as_numpy(namespace(flat[0]).concat([part.double() for part in flat], 1))
    parts = np.split(rows, np.cumsum([part.shape[1] for part in flat])[:-1], 1)
    return [
        part.astype(str(column.dtype).removeprefix("torch.")).reshape(column.shape)
        for part, column in zip(parts, columns, strict=True)
    ]


@dataclass(frozen=True)
class Table:
    """Base of the tables. Fields are arrays `[N, ...]` or other tables of the same length."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def __getitem__(self, index: Any) -> Self:
        """Rows chosen by a boolean mask `[N]`, integers `[M]` or a slice."""
        return self.map(lambda column: column[index])

    def map(self, change: Callable[[Any], Any]) -> Self:
        """The same table with `change` applied to every column, nested tables included."""

        def changed(column: Any) -> Any:
            return column.map(change) if isinstance(column, Table) else change(column)

        return type(self)(**{f.name: changed(getattr(self, f.name)) for f in fields(self)})

    @property
    def columns(self) -> list[Array]:
        """Every column in order, those of nested tables included."""
        values = [getattr(self, field.name) for field in fields(self)]
        parts = [value.columns if isinstance(value, Table) else [value] for value in values]
        return [column for part in parts for column in part]

    def on_host(self) -> Self:
        """The same table in NumPy; from a GPU by one copy, for which the host waits once."""
        columns = self.columns
        if isinstance(columns[0], np.ndarray) or columns[0].device.type == "cpu":
            return self.map(as_numpy)
        found = iter(in_one_copy(columns))
        return self.map(lambda _: next(found))

    def to(self, device: Any) -> Self:
        """The same table of tensors on another device."""
        return self.map(lambda column: column.to(device))

    @classmethod
    def cat(cls, tables: Sequence[Self]) -> Self:
        """Tables below one another, in order."""

        def joined(parts: list[Any]) -> Any:
            nested = isinstance(parts[0], Table)
            return type(parts[0]).cat(parts) if nested else namespace(parts[0]).concat(parts)

        names = [field.name for field in fields(cls)]
        return cls(**{name: joined([getattr(t, name) for t in tables]) for name in names})
