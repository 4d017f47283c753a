"""A frozen table of tensors that share their first axis.

State in this package is a value: every step makes a new table from the old one. `Rows` gives the
few operations all of them need, so that no module indexes ten fields by hand. NumPy arrays are
columns as good as tensors, and need no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Table:
    """Base of the tables. Fields are tensors `[N, ...]` or other `Rows` of the same length."""

    def __len__(self) -> int:
        first = fields(self)[0]
        return len(getattr(self, first.name))

    def __getitem__(self, index: Any) -> Self:
        """Rows chosen by a boolean mask `[N]`, integers `[M]` or a slice."""
        return self.map(lambda column: column[index])

    def map(self, change: Callable[[Any], Any]) -> Self:
        """The same table with `change` applied to every column, nested tables included."""
        return self._rebuild(
            lambda value: value.map(change) if isinstance(value, Table) else change(value)
        )

    def to(self, device: torch.device | str) -> Self:
        """The same table on another device."""
        return self.map(lambda column: column.to(device))

    @classmethod
    def cat(cls, tables: Sequence[Self]) -> Self:
        """Tables below one another, in order."""
        columns: dict[str, Any] = {}
        for field in fields(cls):
            parts = [getattr(table, field.name) for table in tables]
            nested = isinstance(parts[0], Table)
            columns[field.name] = type(parts[0]).cat(parts) if nested else _concatenated(parts)
        return cls(**columns)

    def _rebuild(self, change: Callable[[Any], Any]) -> Self:
        return type(self)(**{f.name: change(getattr(self, f.name)) for f in fields(self)})


def _concatenated(columns: Sequence[Any]) -> Any:
    if hasattr(columns[0], "__array_namespace__"):  # NumPy's own mark
        return columns[0].__array_namespace__().concat(columns)
    import torch

    return torch.cat(list(columns))
