"""What a frame needs, and how fast this machine could do it.

What is unusual here: the rates are measured, with PyTorch's own fastest convolutions and matrix
products at the shapes of the layers, on images so small that they stay in the cache. A layer needs
at least as long as its multiplications take at that rate, and as its inputs, weights and answers
take to pass through memory once. Sampling needs at least as long as reading what it gathers takes
in the cache. All else could be done on the way, and counts as nothing.
"""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tfsasm.experiments.speed.stages import spent_ms
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.deformable_attention import DeformableAttention
from tfsasm.motrv2.fast.layers import PackedConv, PackedLinear
from tfsasm.motrv2.fast.precision import KINDS
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.transformer import Queries
from tfsasm.pytorch import Undrawn
from tfsasm.runtime.preprocess import resized_shape

INT8 = "int8"
"""Bytes; a product is measured with answers of bytes too, as the backbone's are."""

_BYTES = {"fp32": 4, "bf16": 2, INT8: 1}

_HEIGHT, _WIDTH, _TRIES = 32, 64, 6  # of the small images, and how often each is timed

_PARTS = {
    "backbone": "backbone", "projections": "encoder", "encoder": "encoder", "decoder": "decoder"
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """What the rate of a layer depends on; a linear layer is a convolution of side 0."""

    channels: int
    """Of the input, per group."""
    answers: int
    side: int = 0
    stride: int = 1
    groups: int = 1

    @property
    def flop(self) -> int:
        """Floating-point operations for one pixel or token."""
        return 2 * self.channels * self.answers * max(1, self.side) ** 2


@dataclass(frozen=True)
class Layer:
    """A layer of a frame."""

    part: str
    """Stage of the frame that it belongs to."""
    numbers: int
    """That pass through memory, or through the cache when it samples."""
    rows: int = 0
    """Pixels or tokens that it answers."""
    shape: Shape | None = None
    """None for sampling."""


@dataclass(frozen=True)
class Bandwidth:
    """GB per second of copies, what is read and what is written together."""

    memory: float
    cache: float


@dataclass(frozen=True)
class Limit:
    """The least that a part of a frame can take."""

    ms: float
    gflop_per_s: float
    """Rate of its matrix products, of all kinds of layers together."""


def needs(
    network: NetworkConfig, height: int, width: int, queries: int
) -> tuple[dict[str, float], list[Layer]]:
    """Billions of floating-point operations of a frame by part, and its layers.

    Operations are those of convolutions and matrix products; a multiplication and an addition are
    two, and sampling and everything by elements is left out. Layers are all convolutions, linear
    layers and samplings; attention of queries is left out.
    """
    layers: list[Layer] = []
    sides = resized_shape(height, width, network.short_side, network.max_side)
    with Undrawn(), torch.device("meta"), torch.no_grad():
        model = MOTRv2(network.model)
        image = torch.empty(1, 3, *sides)
        content = Queries(torch.empty(queries, network.model.width), torch.empty(queries, 4))
        backbone, _ = _flop(model.backbone, image)
        for name, module in model.named_modules():
            part = _PARTS.get(name.partition(".")[0])
            if part and isinstance(module, (nn.Conv2d, nn.Linear, DeformableAttention)):
                module.register_forward_hook(partial(_note, layers, part))
        encoder, features = _flop(model.encode, image)
        decoder, _ = _flop(model.decode, features, content)
    flop = {"backbone": backbone, "encoder": encoder - backbone, "decoder": decoder}
    return {name: count / 1e9 for name, count in flop.items()}, layers


def _flop(work: Callable[..., Any], *given: Any) -> tuple[int, Any]:
    with FlopCounterMode(display=False) as counter:
        answer = work(*given)
    return counter.get_total_flops(), answer


def _note(layers: list[Layer], part: str, module: nn.Module, given: Any, answer: Tensor) -> None:
    if isinstance(module, DeformableAttention):
        samples = answer.shape[1] * module.levels * module.points * 4
        layers.append(Layer(part, samples * answer.shape[2]))
        return
    if isinstance(module, nn.Conv2d):
        (side, _), (stride, _) = module.kernel_size, module.stride
        channels = module.in_channels // module.groups
        shape = Shape(channels, module.out_channels, side, stride, module.groups)
        rows = answer.shape[-2] * answer.shape[-1]
    else:
        assert isinstance(module, nn.Linear)
        shape = Shape(module.in_features, module.out_features)
        rows = answer.numel() // module.out_features
    weights = shape.flop // 2
    layers.append(Layer(part, given[0].numel() + weights + answer.numel(), rows, shape))


def limits(layers: Iterable[Layer], kind: str, bandwidth: Bandwidth) -> dict[str, Limit]:
    """The limit of each part in fp32, bf16 or int8 (whose samples stay bf16)."""
    rate = cache(partial(matrix_rate, kind=kind))
    ms, busy, flop = (defaultdict[str, float](float) for _ in range(3))
    for layer in layers:
        if layer.shape is None:
            spent = layer.numbers * max(_BYTES[kind], 2) / 1e6 / bandwidth.cache
        else:
            spent = layer.numbers * _BYTES[kind] / 1e6 / bandwidth.memory
        if layer.shape is not None and layer.shape.groups == 1:
            work = layer.rows * layer.shape.flop / 1e6
            alone = work / rate(layer.shape)
            spent = max(spent, alone)
            busy[layer.part] += alone
            flop[layer.part] += work
        ms[layer.part] += spent
    return {part: Limit(spent, flop[part] / busy[part]) for part, spent in ms.items()}


def kinds() -> tuple[str, ...]:
    """The kinds that this PyTorch has matrix products for."""
    return (*_BYTES,) if hasattr(torch.ops.onednn, "qlinear_pointwise") else ("fp32", "bf16")


@torch.inference_mode()
def matrix_rate(shape: Shape, kind: str) -> float:
    """Best rate of this layer, on data in the cache, in GFLOP per second."""
    make = _in_int8 if kind == INT8 else partial(_packed, dtype=KINDS[kind])
    return _HEIGHT * _WIDTH * shape.flop / min(spent_ms(make(shape), _TRIES)) / 1e6


def _packed(shape: Shape, dtype: torch.dtype) -> Callable[[], Any]:
    if not shape.side:
        weight = torch.randn(shape.answers, shape.channels)
        linear = PackedLinear(weight, torch.zeros(shape.answers), dtype)
        rows = torch.randn(_HEIGHT * _WIDTH, shape.channels).to(dtype)
        return lambda: linear(rows)
    conv = nn.Conv2d(shape.channels, shape.answers, shape.side, shape.stride, shape.side // 2)
    packed = PackedConv(conv, conv.weight.detach(), torch.zeros(shape.answers), dtype, "none")
    image = torch.randn(1, shape.channels, _HEIGHT * shape.stride, _WIDTH * shape.stride).to(dtype)
    image = image.to(memory_format=torch.channels_last)
    return lambda: packed(image)


def _in_int8(shape: Shape) -> Callable[[], Any]:
    """As a matrix product of bytes, whose answers are bytes."""
    inner = shape.flop // 2 // shape.answers
    rows = torch.randint(0, 255, (_HEIGHT * _WIDTH, inner), dtype=torch.uint8)
    weight = torch.randint(-127, 127, (shape.answers, inner), dtype=torch.int8)
    weight = torch.ops.onednn.qlinear_prepack(weight, list(rows.shape))
    scales = torch.full((shape.answers,), 0.01)
    zeros, bias = torch.zeros(shape.answers, dtype=torch.int64), torch.zeros(shape.answers)
    return lambda: torch.ops.onednn.qlinear_pointwise(
        rows, 0.01, 0, weight, scales, zeros, bias, 1.0, 0, torch.uint8, "none", [], ""
    )


def bandwidth() -> Bandwidth:
    """Of copies of tensors of 32 MB by all threads, and of 512 kB, which stay in a core's cache, by
    one times their number: to begin together would take longer than the copy.
    """

    def rate(size: int) -> float:
        source = torch.ones(size // 4)
        copy = torch.empty_like(source)
        return 2 * size / min(spent_ms(lambda: copy.copy_(source), _TRIES)) / 1e6

    memory, threads = rate(32 << 20), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return Bandwidth(memory, threads * rate(512 << 10))
    finally:
        torch.set_num_threads(threads)


def processor() -> str:
    """The name of the processor, as far as it is known."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
