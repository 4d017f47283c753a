"""What Prometheus asks for: counters of each stream as they are now, and how old answers were."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from tfsasm.tracking.serving.hub import Hub

_COUNTERS = {
    "read": "Frames that were decoded.",
    "tracked": "Frames with an answer.",
    "dropped": "Frames that were replaced by a newer one before there was time.",
    "skipped": "Frames above the limit per second.",
    "failed": "Frames that the detector or the tracker could not take.",
    "reconnects": "Connections that were lost and came back.",
}

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class _Streams(Collector):
    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """A sample per stream and metric, at the moment of the scrape."""
        streams = self._hub.streams()
        for name, text in _COUNTERS.items():
            family = CounterMetricFamily(f"tfsasm_frames_{name}", text, labels=["stream"])
            if name == "reconnects":
                family = CounterMetricFamily("tfsasm_reconnects", text, labels=["stream"])
            for stream in streams:
                family.add_metric([stream.name], getattr(stream.counts, name))
            yield family
        tracks = GaugeMetricFamily("tfsasm_tracks", "Of the last frame.", labels=["stream"])
        live = GaugeMetricFamily("tfsasm_live", "1 while it is connected.", labels=["stream"])
        for stream in streams:
            tracks.add_metric([stream.name], stream.tracks)
            live.add_metric([stream.name], float(stream.state == "live"))
        yield from (tracks, live)


def registry(hub: Hub) -> tuple[CollectorRegistry, Histogram]:
    """The metrics of a hub, and the one that takes the age of each answer, by stream."""
    made = CollectorRegistry()
    made.register(_Streams(hub))
    ages = Histogram(
        "tfsasm_age_seconds", "From the reading of a frame to its answer.", ["stream"],
        buckets=_SECONDS, registry=made,
    )  # fmt: skip
    return made, ages
