"""What a frame needs, and what this machine could do."""

from __future__ import annotations

import multiprocessing
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.transformer import Queries
from tfsasm.processes import peak_memory
from tfsasm.runtime.preprocess import resized_shape


def gflop(network: NetworkConfig, height: int, width: int, queries: int) -> dict[str, float]:
    """Billions of floating-point operations of a frame in convolutions and matrix products.

    A multiplication and an addition are two. Sampling and everything by elements is left out.
    """
    sides = resized_shape(height, width, network.short_side, network.max_side)
    with torch.device("meta"), torch.no_grad():
        model = MOTRv2(network.model)
        image = torch.empty(1, 3, *sides)
        content = Queries(torch.empty(queries, network.model.width), torch.empty(queries, 4))
        backbone = _flops(lambda: model.backbone(image))
        encoder = _flops(lambda: model.encode(image)) - backbone
        features = model.encode(image)
        decoder = _flops(lambda: model.decode(features, content))
    counts = {"backbone": backbone, "encoder": encoder, "decoder": decoder}
    return {name: count / 1e9 for name, count in counts.items()}


def _flops(work: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def peak_mb(work: Callable[..., None], *given: Any) -> float:
    """Largest resident memory in MB of a process of its own that does nothing but this work."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(send, work, *given))
    process.start()
    send.close()
    try:
        return float(receive.recv())
    except EOFError as error:
        raise RuntimeError("the process that measures memory died") from error
    finally:
        process.join()


def _measured(send: Any, work: Callable[..., None], *given: Any) -> None:
    from tfsasm.runtime.allocator import keep_freed_memory

    keep_freed_memory()  # as the command line does
    work(*given)
    send.send(peak_memory() / 1e6)


def processor() -> str:
    """The name of the processor, as far as it is known."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
