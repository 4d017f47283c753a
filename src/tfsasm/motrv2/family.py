"""MOTRv2 and those it shares its network with: which of them a file or a configuration is."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from torch import Tensor

from tfsasm.errors import WeightsError
from tfsasm.files import shown
from tfsasm.motrv2.comot import from_comot, is_comot
from tfsasm.motrv2.config import ModelConfig, NetworkConfig, full
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.motr import MOTR, is_motr, make_motr
from tfsasm.motrv2.weights import BOX_HEADS, check_size, from_published, read_checkpoint
from tfsasm.pytorch import differences, refuse

log = logging.getLogger(__name__)


def build(sizes: ModelConfig) -> MOTRv2:
    """A network with initial values. A MOTR has the calls of a MOTRv2, and is typed as one.

    Raises `WeightsError` for a kind that there is not.
    """
    if sizes.kind not in ("motrv2", "motr"):
        raise WeightsError(f"no network of kind {sizes.kind!r}; there are motrv2 and motr")
    return cast(MOTRv2, MOTR(sizes)) if sizes.kind == "motr" else MOTRv2(sizes)


def load_model(path: Path | str) -> tuple[MOTRv2, NetworkConfig]:
    """The network of a checkpoint, ready to track, and its configuration.

    A file without configuration is taken for the published network, of as many classes as its class
    heads have. Loading is strict.
    """
    return make_model(*read_checkpoint(path), path)


def make_model(
    state: Mapping[str, Tensor], config: NetworkConfig | None, path: Path | str
) -> tuple[MOTRv2, NetworkConfig]:
    """As `load_model`, of what `read_checkpoint` read from `path`."""
    if is_motr(state):
        network, config = make_motr(state, path, config)
        return cast(MOTRv2, network), config
    origin = str(path)
    if config is None:
        beside = Path(path).with_suffix(".json")
        origin = f"{path}, taken as published (another one needs its configuration in {beside}),"
    else:
        if config.model.kind == "motrv2":
            _check_classes(state, config, path)
        check_size(config.model, state, path)
    if is_comot(state):
        state, config = from_comot(state, config, path)
    elif config is None:
        config = _published_config(state, path)
    model = _built(config.model, path)
    if any(name.startswith(BOX_HEADS) for name in state):
        state = from_published(state, model, origin)
    refuse(differences(model.state_dict(), state), f"{origin} does not fit the network")
    model.load_state_dict({k: v.float() for k, v in state.items()}, strict=True)
    return model.eval().requires_grad_(False), config


def _built(sizes: ModelConfig, origin: Path | str) -> MOTRv2:
    try:
        return build(sizes)
    except WeightsError:
        raise
    except (ValueError, TypeError, KeyError, AssertionError, RuntimeError) as error:
        listed = ", ".join(f"{name} {shown(value)}" for name, value in vars(sizes).items())
        unknown = f"no backbone {sizes.backbone}" if isinstance(error, KeyError) else error
        raise WeightsError(f"{origin}: no network can be made of {listed}: {unknown}") from error


def _published_config(state: Mapping[str, Tensor], path: Path | str) -> NetworkConfig:
    """The published network with what the tensors say: numbers of classes and learned queries."""
    config, sizes = full(), full().model
    if classes := _classes(state):
        sizes = replace(sizes, classes=classes)
    if (boxes := state.get("position.weight")) is not None and boxes.numel():
        sizes = replace(sizes, learned_queries=len(boxes))
    if sizes.classes != config.model.classes:
        log.warning("%s: its class heads are of %d classes, and so is the network", path, classes)
    if sizes.learned_queries != config.model.learned_queries:
        log.warning("%s: it has %d learned queries, and so has the network", path,
                    sizes.learned_queries)  # fmt: skip
    return replace(config, model=sizes)


def _check_classes(state: Mapping[str, Tensor], config: NetworkConfig, path: Path | str) -> None:
    classes = _classes(state)
    if classes not in (None, config.model.classes):
        raise WeightsError(
            f"{path} has class heads of {classes} classes, and its configuration is one of "
            f'{config.model.classes}; set "classes": {classes} in {Path(path).with_suffix(".json")}'
        )


def _classes(state: Mapping[str, Tensor]) -> int | None:
    """How many classes the first class head has."""
    heads = (state.get(name) for name in ("class_embed.0.bias", "decoder.class_heads.0.bias"))
    return next((len(head) for head in heads if head is not None and head.ndim == 1), None)


def kind_of(state: Mapping[str, Tensor], config: NetworkConfig | None) -> str:
    """`motrv2`, `motr` or `comot`, by the names of a file's tensors and what it says of itself."""
    if is_motr(state) or (config is not None and config.model.kind == "motr"):
        return "motr"
    sets = is_comot(state) or (config is not None and config.model.queries_per_track > 1)
    return "comot" if sets else "motrv2"
