"""Work on named things by the processes of a Ray cluster, as `pool.Processes` are on this machine.

Every worker is an actor that loads its networks once and is given one name after another. Files
that all of them read, such as weights, go into the object store: each node gets them once. An
actor, or a node, that is lost costs what it was working on, which is begun again.
"""

from __future__ import annotations

import io
import os
import pickle
import platform
import re
import signal
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tfsasm import __version__
from tfsasm.errors import InputError
from tfsasm.experiments.pool import (
    ATTEMPTS,
    GRACE,
    Advanced,
    Event,
    Events,
    Work,
    begun,
    events_of,
    lost,
)
from tfsasm.files import atomic_path, cache_folder, sha256

_SHOWN_EVERY = 0.5  # seconds between two reports of a worker's progress, at least

_REPORTS = 100  # of all workers in a second, at most: each is an object for the driver to fetch

_PATIENCE = 20.0  # seconds in which a cluster should answer


@dataclass(frozen=True)
class Ray:
    """Workers on a Ray cluster: that at `address`, or one that ends with the work."""

    address: str | None = None
    """`auto` or HOST:PORT; None: that of `RAY_ADDRESS` or of this machine, else one of its own."""
    workers: int | None = None
    """None: as many as the cluster has room for now."""
    cpus: int = 1
    """CPUs, and threads of PyTorch, of a worker."""
    gpus: float = 0.0
    """GPUs of a worker, or the share of one."""
    files: tuple[Path, ...] = ()
    """Which reach all nodes by the object store; all others lie where every node sees them."""

    def __call__(self, names: Sequence[str], make: Callable[[], Work]) -> Events:
        """See `Engine`. Raises `InputError` where there is no Ray, no cluster, or no room on it."""
        if not names:
            return
        with _connected(self.address) as ray:
            count = self.workers or _room(ray, self.cpus, self.gpus)
            digests = {path: sha256(path) for path in self.files}
            store = {
                digest: (path.suffix, ray.put(np.fromfile(path, dtype=np.uint8)))
                for path, digest in digests.items()
            }  # fmt: skip
            actor = ray.remote(_Worker).options(
                num_cpus=self.cpus, num_gpus=self.gpus, scheduling_strategy="SPREAD"
            )
            packed = ray.put(_packed(make, digests))
            every = max(_SHOWN_EVERY, count / _REPORTS)
            environment = {"OMP_NUM_THREADS": str(self.cpus)}  # which PyTorch reads when loaded
            if not self.gpus:
                environment["CUDA_VISIBLE_DEVICES"] = ""
            start = partial(actor.remote, packed, store, environment, every, __version__)
            yield from _work_on(ray, deque(names), start, count)


def _work_on(ray: Any, names: deque[str], start: Callable[[], Any], count: int) -> Events:
    """Give the names to at most `count` workers, to each another as soon as it is free."""
    deaths, stillborn = Counter[str](), 0
    starting: dict[Any, Any] = {}  # workers by what becomes ready with them
    busy: dict[Any, tuple[Any, str]] = {}  # workers and names by the stream of their events
    try:
        while names or busy:
            while len(starting) + len(busy) < count and len(starting) < len(names):
                worker = start()
                starting[worker.__ray_ready__.remote()] = worker
            [ready], _ = ray.wait([*starting, *busy], num_returns=1)
            worker, name = busy.pop(ready) if ready in busy else (starting.pop(ready), "")
            event: Event | None = None
            try:
                if name:
                    event = ray.get(next(ready))
                else:
                    ray.get(ready)
            except ray.exceptions.RayError as error:
                if name:
                    why = f"its process or node ended ({type(error).__name__})"
                    event = lost(name, deaths, names, why)
                elif (stillborn := stillborn + 1) == ATTEMPTS:
                    raise InputError(f"no worker can start on the Ray cluster: {error}") from error
            else:
                stillborn = 0
                if isinstance(event, Advanced):
                    busy[ready] = worker, name
                elif names:
                    name = names.popleft()
                    busy[worker.run.options(num_returns="streaming").remote(name)] = worker, name
                else:
                    ray.kill(worker)
            if event:
                yield event
    finally:
        _end(ray, busy)
        for worker in [*starting.values(), *(worker for worker, _ in busy.values())]:
            ray.kill(worker)


def _end(ray: Any, streams: Iterable[Any]) -> None:
    """Stop the work of these streams, and wait until what was half done is removed."""
    for stream in streams:
        ray.cancel(stream)
    until = time.monotonic() + GRACE
    for stream in streams:
        with suppress(ray.exceptions.RayError, StopIteration):
            while ray.wait([stream], timeout=max(0, until - time.monotonic()))[0]:
                ray.get(next(stream))


class _Worker:
    """A process of the cluster: what it loads, it loads once."""

    def __init__(
        self, packed: bytes, store: Mapping[str, tuple[str, Any]], environment: Mapping[str, str],
        every: float, version: str,
    ) -> None:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(1))  # the driver has ended; see pool.py
        os.environ.update(environment)
        self._every = every  # seconds between two reports
        self._work = begun(partial(_unpacked, packed, store, version))

    def run(self, name: str) -> Iterator[Event]:
        """What happens while it works on `name`, as objects of the cluster."""
        import ray

        context, shown = ray.get_runtime_context(), -self._every
        with closing(events_of(name, self._work)) as events:
            for event in events:
                if context.is_canceled():
                    return
                now = time.monotonic()
                if not isinstance(event, Advanced) or now - shown >= self._every:
                    shown = now
                    yield event


def _packed(make: Callable[[], Work], digests: Mapping[Path, str]) -> bytes:
    """`make` as bytes, in which the files of `digests` are named by these."""
    from ray.cloudpickle import CloudPickler

    class Packer(CloudPickler):
        def persistent_id(self, thing: object) -> str | None:
            return digests.get(thing) if isinstance(thing, Path) else None

    file = io.BytesIO()
    Packer(file).dump(make)
    return file.getvalue()


def _unpacked(packed: bytes, store: Mapping[str, tuple[str, Any]], version: str) -> Work:
    """What the packed `make` makes, with the files as this node has them. Raises `InputError`."""
    if version != __version__:
        raise InputError(
            f"{platform.node()} has tfsasm {__version__}, and the run was begun by {version}; "
            "install the same on all nodes"
        )

    class Unpacker(pickle.Unpickler):
        def persistent_load(self, digest: str) -> Path:
            return _local(digest, *store[digest])

    make: Callable[[], Work] = Unpacker(io.BytesIO(packed)).load()
    return make()


def _local(digest: str, suffix: str, content: Any) -> Path:
    """A file of the object store, in the cache of this node."""
    import ray

    path = cache_folder() / "shared" / f"{digest}{suffix}"
    if not path.is_file() or sha256(path) != digest:
        with atomic_path(path) as partial_file:
            ray.get(content).tofile(partial_file)
    return path


def _room(ray: Any, cpus: int, gpus: float) -> int:
    """How many workers the nodes have room for. Raises `InputError` for none."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    wanted = {"CPU": cpus, "GPU": gpus}
    room = sum(
        min(int(node.get(kind, 0) / need) for kind, need in wanted.items() if need)
        for node in nodes
    )
    if not room:
        raise InputError(
            f"no node of the Ray cluster has the {cpus} CPUs and {gpus:g} GPUs of a worker; choose "
            "fewer by --cpus-per-worker and --gpus-per-worker"
        )
    return room


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Ray, connected until the block ends, unless it was before. Raises `InputError`."""
    try:
        import ray
    except ImportError as error:
        raise InputError(
            'the engine ray needs the package Ray: pip install "tfsasm[ray]"'
        ) from error
    if ray.is_initialized():
        yield ray
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    usual = signal.getsignal(signal.SIGTERM)
    try:
        if found := re.fullmatch(r"\[?([^/\]]+)\]?:(\d+)", address or ""):
            # Where nobody listens, Ray itself would try for many minutes.
            socket.create_connection((found[1], int(found[2])), _PATIENCE).close()
        ray.init(address=address, logging_level="ERROR", log_to_driver=False)
    except (OSError, ValueError, RuntimeError) as error:
        why = str(error).split("\n")[0]
        raise InputError(f"no Ray cluster at {address or 'RAY_ADDRESS'}: {why}") from error
    try:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, usual)  # Ray's own would leave files half written
        yield ray
    finally:
        ray.shutdown()
