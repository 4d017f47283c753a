"""Sizes of the network and the scale of its images, and both as JSON."""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any

from tfsasm.errors import WeightsError
from tfsasm.files import checked, parsed, shown

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}

_NONE_NEEDED = {"encoder_layers", "learned_queries", "box_turns"}

_LARGEST = 100_000  # of any size; a larger one would ask for all memory before it failed


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the network. The defaults are the published one (SPEC 1)."""

    kind: str = "motrv2"
    """`motrv2`, or `motr`: its predecessor, whose queries keep a position that is learned."""
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
    queries_per_track: int = 1
    """So many learned queries follow one object together, those of a set one behind the other, and
    there are no queries of detections: 3 in CO-MOT; published MOTRv2: 1."""
    classes: int = 1
    box_turns: float = 1.0
    """Full turns of the fastest wave of the box encoding over the image. More of them tell
    neighbouring boxes apart better; published: 1."""
    track_attention: bool = False
    """Of MOTR alone: tracks attend to one another before all queries do; published: yes."""
    place_values: bool = False
    """Self-attention passes on where a query is, not only what it is; published: no."""

    @property
    def least(self) -> int:
        """How many numbers a network of these sizes has at least: its largest matrices."""
        attention = self.width + self.heads * self.levels * self.points
        layer = 2 * self.width * (attention + self.feedforward)
        rows = self.levels + self.learned_queries + self.classes
        return (self.encoder_layers + self.decoder_layers) * layer + rows * self.width


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
            values = parsed(text if isinstance(text, str) else text.decode("utf-8-sig"))
            values = dict(checked(values, "it", dict))
            model = checked(values.pop("model", None), "model", dict)
            sizes = ModelConfig(**_checked(ModelConfig, model))
            return cls(model=sizes, **_checked(cls, values))
        except ValueError as error:
            reason = str(error)
            if isinstance(error, UnicodeDecodeError):
                reason = f"byte {error.start} is not UTF-8"
            raise WeightsError(f"not a network configuration: {reason}") from error

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))


def _checked(config: type[ModelConfig | NetworkConfig], values: dict[str, Any]) -> dict[str, Any]:
    """Values of the kind of the default ones; a whole number serves as a float."""
    defaults: dict[str, Any] = {
        entry.name: entry.default for entry in fields(config) if entry.default is not MISSING
    }
    if unknown := [name for name in values if name not in defaults]:
        raise ValueError(f"no setting {unknown[0]}")
    for name, value in values.items():
        kind = type(defaults[name])
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise ValueError(f"{name} is {shown(value)}, not {_KINDS[kind]}")
        least = 0 if name in _NONE_NEEDED else 1
        if kind in (int, float) and not least <= value <= _LARGEST:
            raise ValueError(f"{name} is {shown(value)}, not from {least} to {_LARGEST:,}")
    return values


def full() -> NetworkConfig:
    """The published network: ResNet-50, 6 + 6 layers, width 256, images of 800 to 1536 pixels."""
    return NetworkConfig()


def motr() -> NetworkConfig:
    """The published MOTR: as `full`, with 300 learned queries and attention among tracks."""
    return NetworkConfig(ModelConfig(kind="motr", learned_queries=300, track_attention=True))


def tiny() -> NetworkConfig:
    """The small network that ships in the package: MobileNetV2, 1 + 3 layers, width 128."""
    sizes = ModelConfig(
        backbone="mobilenetv2", width=128, feedforward=512, encoder_layers=1, decoder_layers=3,
        levels=3, box_turns=16.0, place_values=True,
    )  # fmt: skip
    return NetworkConfig(sizes, short_side=288, max_side=512)


NETWORKS = {"tiny": tiny, "full": full, "motr": motr}
"""Networks by name."""
