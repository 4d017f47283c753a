"""Tables of NumPy arrays: small per-track arithmetic costs less there than in tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tfsasm.tables import Table

Doubles = NDArray[np.float64]

Integers = NDArray[np.int64]

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Arrays(Table):
    """`Rows` whose columns are arrays `[N, ...]`, or other `Rows` of the same length."""

    def __getitem__(self, index: Any) -> Self:
        """Rows chosen by a mask `[N]`, indices `[M]` or a slice."""
        return self.map(lambda column: column[index])

    @classmethod
    def cat(cls, tables: Sequence[Self]) -> Self:
        """Tables below one another, in order."""
        columns: dict[str, Any] = {}
        for field in fields(cls):
            parts = [getattr(table, field.name) for table in tables]
            nested = isinstance(parts[0], Table)
            columns[field.name] = type(parts[0]).cat(parts) if nested else np.concatenate(parts)
        return cls(**columns)
