"""Many videos by processes and by a Ray cluster: time, and what an engine costs per video.

    python benchmarks/scale.py --videos 8 --json scale.json

Copies of the clip in the package go through `tfsasm track` (yolox-nano on a thread, the appearance
tracker), by 1 and 2 processes and by Ray clusters of 1 to 3 nodes of one CPU on this machine. The
bytes of all must be the same. Then videos of no work at all are given to each, after its workers
have begun: what is left is the engine's own time. Needs the extra ray for the clusters.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from rich.console import Console

from tfsasm.cli import main, track
from tfsasm.experiments.on_ray import Ray
from tfsasm.experiments.pool import Engine, Finished, Processes, Work

CLIP = files("tfsasm") / "clips" / "people.mp4"


def tracked(videos: Path, output: Path, frames: int, *flags: str) -> tuple[float, dict[str, bytes]]:
    """Seconds of `tfsasm track` on a folder of videos, and the contents of its files."""
    options = main.parse([
        "track", str(videos), "--output", str(output), "--save", "mot", "--end", str(frames),
        "--detector-set", "threads=1", "--threads", "1", "--quiet", *flags,
    ])  # fmt: skip
    began = time.perf_counter()
    code = track.run(options, Console(file=io.StringIO()), Console(stderr=True))
    spent = time.perf_counter() - began
    assert code == 0, code
    return spent, {path.name: path.read_bytes() for path in output.iterdir()}


def make_nothing() -> Work:
    """Work that is done at once."""

    def work(name: str) -> Generator[int, None, str]:
        yield 1
        return name

    return work


def overhead(engine: Engine, count: int) -> float:
    """Seconds that an engine needs for a video, once its workers have begun."""
    names = [str(number) for number in range(count)]
    ends = [time.perf_counter() for one in engine(names, make_nothing) if isinstance(one, Finished)]
    return (ends[-1] - ends[count // 10]) / (count - count // 10 - 1)


@contextmanager
def ray_nodes(count: int) -> Iterator[None]:
    """A cluster of nodes of one CPU, to which this process is connected."""
    import ray
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(count - 1):
        cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()


def measure(videos: int, frames: int, nodes: int, names: int) -> Iterator[Mapping[str, Any]]:
    """A row per engine, processes first."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "videos"
        source.mkdir()
        for number in range(videos):
            shutil.copy(str(CLIP), source / f"{number:03d}.mp4")
        wanted = None

        def row(name: str, engine: Engine, *flags: str) -> dict[str, Any]:
            nonlocal wanted
            output = Path(tempfile.mkdtemp(dir=folder))
            seconds, found = tracked(source, output, frames, *flags)
            wanted = wanted or found
            return {
                "engine": name, "seconds": round(seconds, 1), "same_bytes": found == wanted,
                "frames_per_second": round(videos * frames / seconds, 1),
                "ms_per_empty_video": round(1000 * overhead(engine, names), 2),
            }  # fmt: skip

        for workers in (1, 2):
            yield row(f"{workers} processes", Processes(workers), "--workers", str(workers))
        for count in range(1, nodes + 1):
            with ray_nodes(count):
                yield row(f"Ray, {count} nodes", Ray(), "--engine", "ray")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--videos", type=int, default=8)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--nodes", type=int, default=3, help="of the largest cluster; 0 for none")
    parser.add_argument("--names", type=int, default=300, help="videos of no work")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    rows = []
    for one in measure(options.videos, options.frames, options.nodes, options.names):
        rows.append(one)
        print("  ".join(f"{key} {value}" for key, value in one.items()), flush=True)
    if options.json:
        about = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count(),
                 "load": os.getloadavg(), "videos": options.videos, "frames": options.frames}
        options.json.write_text(json.dumps({"about": about, "rows": rows}, indent=2) + "\n")
