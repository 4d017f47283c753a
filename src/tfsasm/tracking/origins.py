"""What came with the detections that tracks were born of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import supervision as sv

from tfsasm.tables import Array


class Origins:
    """What came with the detection that each live track was born of."""

    def __init__(self) -> None:
        self._data: dict[int, dict[str, Any]] = {}

    def learn(
        self, ids: Array, sources: Array, detections: sv.Detections | None
    ) -> None:
        """Take over the data of tracks that are born, reported or not; forget those that died.

        `ids` and `sources` `[N]` are those of `TrackOutput`, of all that live.
        """
        if detections is not None:
            for identity, source in zip(ids.tolist(), sources.tolist(), strict=True):
                if source >= 0:
                    row = {key: values[source] for key, values in detections.data.items()}
                    self._data[identity] = row
        alive = set(ids.tolist())
        self._data = {i: value for i, value in self._data.items() if i in alive}

    def attach(self, tracks: sv.Detections) -> sv.Detections:
        """The tracks of `report` with what is known of each."""
        ids = (np.asarray(tracks.tracker_id) - 1).tolist()
        keys = {key for identity in ids for key in self._data.get(identity, {})}
        return replace(tracks, data={key: self._column(key, ids) for key in sorted(keys)})

    def _column(self, key: str, ids: list[int]) -> np.ndarray:
        """One row per track; as objects where a track has none (None) or shapes differ."""
        values: list[Any] = [self._data.get(identity, {}).get(key) for identity in ids]
        if all(value is not None for value in values) and len({np.shape(v) for v in values}) == 1:
            return np.asarray(values)
        column = np.empty(len(values), dtype=object)
        for row, value in enumerate(values):
            column[row] = value
        return column
