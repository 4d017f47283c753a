"""The MOTRv2 network (arXiv 2211.09791; SPEC 3 to 6): four calls, no identities, no targets.

`encode` an image once; make `queries` of a frame's proposals; `decode` them together with the
tracks carried from before; `refresh` the content of the tracks that live on.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass, field, fields

from tfsasm.errors import WeightsError


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the network. The defaults are the published one (SPEC 1)."""

    backbone: str = "resnet50"
    """`resnet50` or `mobilenetv2`."""
    width: int = 256
    heads: int = 8
    feedforward: int = 1024
    encoder_layers: int = 6
    decoder_layers: int = 6
    levels: int = 4
    """Feature levels: strides 8, 16, 32 and, when 4, one more of stride 64."""
    points: int = 4
    """Sampling points per head and level."""
    learned_queries: int = 10
    classes: int = 1
    box_turns: float = 1.0
    """Full turns of the fastest wave of the box encoding over the image. More of them tell
    neighbouring boxes apart better; published: 1."""
    place_values: bool = False
    """Self-attention passes on where a query is, not only what it is; published: no."""


@dataclass(frozen=True)
class NetworkConfig:
    """Everything but the numbers: sizes of the network and the scale its images come in."""

    model: ModelConfig = field(default_factory=ModelConfig)
    short_side: int = 800
    """Pixels of the image's shorter side after resizing."""
    max_side: int = 1536
    """Most pixels of its longer side."""

    @classmethod
    def from_json(cls, text: str | bytes) -> NetworkConfig:
        """Read what `to_json` wrote. Raises `WeightsError` on unknown or ill-typed settings."""
        try:
            values = dict(json.loads(text))
            config = cls(model=ModelConfig(**values.pop("model")), **values)
            _check_types(config.model)
            _check_types(config)
            return config
        except (ValueError, TypeError, KeyError) as error:
            raise WeightsError(f"not a network configuration: {error}") from error

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))


def _check_types(config: ModelConfig | NetworkConfig) -> None:
    """JSON's values are of the kind of the default ones; a whole number serves as a float."""
    for entry in fields(config):
        if entry.default is MISSING:
            continue
        kind, value = type(entry.default), getattr(config, entry.name)
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise TypeError(f"{entry.name} is {value!r}, not of type {kind.__name__}")


def full() -> NetworkConfig:
    """The published network: ResNet-50, 6 + 6 layers, width 256, images of 800 to 1536 pixels."""
    return NetworkConfig()


def tiny() -> NetworkConfig:
    """The small network that ships in the package: MobileNetV2, 1 + 3 layers, width 128."""
    sizes = ModelConfig(
        backbone="mobilenetv2", width=128, feedforward=512, encoder_layers=1, decoder_layers=3,
        levels=3, box_turns=16.0, place_values=True,
    )  # fmt: skip
    return NetworkConfig(sizes, short_side=288, max_side=512)
