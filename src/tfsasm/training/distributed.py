"""One run on several devices: `torchrun` starts the processes, DistributedDataParallel joins them.

At 42 million parameters a replica per device fits everywhere, so parameters are not sharded.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import NamedTuple, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tfsasm.errors import InputError, TfsasmError
from tfsasm.motrv2.model import MOTRv2
from tfsasm.training.clip import Clip, ClipConfig, clip_loss

_PATIENCE = timedelta(hours=6)  # the others wait while the first process validates


class Team(NamedTuple):
    """Which of how many processes this one is."""

    rank: int = 0
    size: int = 1


def team() -> Team:
    """This process in the run that it has joined; alone if it has not."""
    return Team(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else Team()


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Join the other processes that `torchrun` started, if it did. Yields this one's device.

    NCCL connects GPUs, gloo everything else; `auto` gives each process of a machine its own GPU.
    Raises `TfsasmError` inside where another process ended, which has said why.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    gpus = torch.cuda.is_available() and device in ("auto", "cuda")
    if gpus:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if gpus else "gloo", timeout=_PATIENCE)
    try:
        yield device
    except RuntimeError as error:
        if not other_ended(error):
            raise
        what = "another process of this run ended; what it said stands by itself"
        raise TfsasmError(what) from error
    finally:
        dist.destroy_process_group()


def other_ended(error: RuntimeError) -> bool:
    """Whether an error of a run of several processes says that another one is gone."""
    text = str(error)
    gone = "closed by peer" in text or "NCCL" in text or "gloo" in text.lower()
    return gone and team().size > 1


def left_alone() -> Callable[[], bool]:
    """What says whether `torchrun`, which started this process, was killed since.

    It starts its processes so that they outlive it, and nobody else would end them.
    """
    parent = os.getppid()
    return lambda: team().size > 1 and os.getppid() != parent


def clips_each(batch: int) -> int:
    """Clips that each process takes of a step's `batch`. Raises `InputError` for a rest."""
    size = team().size
    if batch % size:
        raise InputError(
            f"a step of {batch} clips cannot be shared by {size} processes; start as many as "
            f"divide it, or give --batch {size * -(-batch // size)}"
        )
    return batch // size


class ClipLoss(nn.Module):
    """`clip_loss` as the forward of a module, where DistributedDataParallel takes hold."""

    def __init__(self, model: MOTRv2, config: ClipConfig) -> None:
        super().__init__()
        self.model, self.config = model, config

    def forward(
        self, clip: Clip, targets: float, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `clip_loss`."""
        return clip_loss(self.model, clip, self.config, generator, targets)


def engine(model: MOTRv2, config: ClipConfig) -> nn.Module:
    """What a step calls: `ClipLoss`, whose gradients are means over the processes."""
    loss = ClipLoss(model, config)
    if team().size == 1:
        return loss
    with warnings.catch_warnings():  # PyTorch 2.14 has another name for the first setting
        warnings.simplefilter("ignore", FutureWarning)
        # A clip without people leaves parts unused, such as the query interaction.
        return DistributedDataParallel(loss, broadcast_buffers=False, find_unused_parameters=True)


def unsynchronised(loss: nn.Module, wanted: bool) -> AbstractContextManager[None]:
    """Within it gradients add up in this process alone, as for all but a step's last clip."""
    if wanted and isinstance(loss, DistributedDataParallel):
        return cast(AbstractContextManager[None], loss.no_sync())
    return nullcontext()


def mean(values: Mapping[str, float]) -> dict[str, float]:
    """The mean of each value over the processes."""
    size = team().size
    if size == 1:
        return dict(values)
    together = torch.tensor(list(values.values()), dtype=torch.float64)
    if dist.get_backend() == "nccl":
        together = together.cuda()
    dist.all_reduce(together)
    return dict(zip(values, (together / size).tolist(), strict=True))
