"""Options of the commands that work on many videos: by processes here, or by a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from tfsasm.errors import InputError

if TYPE_CHECKING:
    from tfsasm.experiments.pool import Engine


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """What works on the videos, and on how many at a time."""

    workers: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Processes; each tracks a sequence at a time, with its share of the threads. By default one,
    and with --engine ray as many as the cluster has room for."""
    engine: Literal["processes", "ray"] = "processes"
    """What runs the workers: processes of this machine, or a Ray cluster, whose nodes must see the
    same files (pip install "tfsasm[ray]")."""
    ray_address: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT")] = None
    """The Ray cluster. By default that of RAY_ADDRESS, or the one that this machine is part of; if
    there is none, Ray starts here for this run."""
    cpus_per_worker: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """With Ray, the CPUs of a worker and the threads of its PyTorch."""
    gpus_per_worker: Annotated[float, tyro.conf.arg(metavar="N")] = 0.0
    """With Ray, the GPUs of a worker; 0.25 for four workers on each."""

    def count(self) -> int:
        """The processes for what is done on this machine."""
        return self.workers or 1


def make_engine(options: EngineOptions, files: Iterable[Path | None] = ()) -> Engine:
    """The engine of the options; `files` that are there reach all nodes of a cluster.

    Raises `InputError` for numbers that make no sense.
    """
    if options.workers is not None and options.workers < 1:
        raise InputError(f"workers is {options.workers}; give 1 or more")
    if options.engine == "processes":
        from tfsasm.experiments.pool import Processes

        for name in ("ray_address", "cpus_per_worker", "gpus_per_worker"):
            if getattr(options, name) != getattr(EngineOptions, name):
                raise InputError(f"--{name.replace('_', '-')} is for --engine ray")
        return Processes(options.count())
    if options.cpus_per_worker < 1 or options.gpus_per_worker < 0:
        raise InputError("a worker has 1 CPU or more, and no less than 0 GPUs")
    from tfsasm.experiments.on_ray import Ray

    return Ray(
        options.ray_address, options.workers, options.cpus_per_worker, options.gpus_per_worker,
        tuple(file for file in files if file is not None and file.is_file()),
    )  # fmt: skip
