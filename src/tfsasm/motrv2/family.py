"""MOTRv2 and those it shares its network with: which of them a file or a configuration is.

CO-MOT (arXiv 2305.12724) is MOTRv2's network whose queries are sets of three, without detections.
Its file is brought to MOTRv2's names, each set as three learned queries; nothing else is needed.
Written from the paper and from what is known of a checkpoint's names and shapes (docs/family.md),
not from its code: where they leave a choice it is ours, and none was compared with it.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import torch.nn.functional as F
from torch import Tensor

from tfsasm.errors import WeightsError
from tfsasm.motrv2.config import ModelConfig, NetworkConfig, full
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.motr import MOTR, is_motr, make_motr
from tfsasm.motrv2.weights import BOX_HEADS, built, check_size, from_published, read_checkpoint
from tfsasm.pytorch import differences, refuse

log = logging.getLogger(__name__)

SET = 3
"""Queries that follow one object together: a learned one and two that begin beside it."""

_OFFSET = re.compile(r"^[^.]*offset[^.]*(\.weight)?$")  # no part of the attention, as sampling is

_PROJECTION = re.compile(r"(.*self_attn\.)(?:.*[._])?in_proj[._](?:.*[._])?(weight|bias)")

_UNASKED = ("yolox_embed.weight", "refine_embed.weight")  # of detections, and of training


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
        classes, told = _classes(state), config.model.classes
        if config.model.kind == "motrv2" and classes not in (None, told):
            raise WeightsError(
                f"{path} has class heads of {classes} classes, and its configuration is one of "
                f'{told}; set "classes": {classes} in {Path(path).with_suffix(".json")}'
            )
        check_size(config.model, state, path)
    if is_comot(state):
        state, config = from_comot(state, config, path)
    elif config is None:
        config = _published_config(state, path)
    model = built(partial(build, config.model), config.model, path)
    if any(name.startswith(BOX_HEADS) for name in state):
        state = from_published(state, model, origin)
    refuse(differences(model.state_dict(), state), f"{origin} does not fit the network")
    model.load_state_dict({k: v.float() for k, v in state.items()}, strict=True)
    return model.eval().requires_grad_(False), config


def _published_config(state: Mapping[str, Tensor], path: Path | str) -> NetworkConfig:
    """The published network with what the tensors say: numbers of classes and learned queries."""
    config, sizes = full(), full().model
    if classes := _classes(state):
        sizes = replace(sizes, classes=classes)
    if (boxes := state.get("position.weight")) is not None and boxes.ndim and len(boxes):
        sizes = replace(sizes, learned_queries=len(boxes))
    if sizes.classes != config.model.classes:
        log.warning("%s: its class heads are of %d classes, and so is the network", path, classes)
    if sizes.learned_queries != config.model.learned_queries:
        log.warning("%s: it has %d learned queries, and so has the network", path,
                    sizes.learned_queries)  # fmt: skip
    return replace(config, model=sizes)


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


def is_comot(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has the names of CO-MOT: offsets beside the learned queries."""
    return "position.weight" in state and any(map(_OFFSET.match, state))


def from_comot(
    state: Mapping[str, Tensor], config: NetworkConfig | None, path: Path | str
) -> tuple[dict[str, Tensor], NetworkConfig]:
    """The tensors of a CO-MOT under MOTRv2's names, and the configuration that says it is one.

    A set is its learned query, `position` and `query_embed`, and the same moved by offsets: two
    rows for each set, or for all, of those that stand beside it; or three, the first of itself.
    What tracking does not ask for may lack. Raises `WeightsError` for offsets that are not so.
    """
    offsets = {name: tensor for name, tensor in state.items() if _OFFSET.match(name)}
    renamed = {_PROJECTION.sub(r"\1in_proj_\2", name): tensor for name, tensor in state.items()
               if name not in offsets}  # fmt: skip
    for name in ("position.weight", "query_embed.weight"):
        if name not in state or state[name].ndim != 2:
            raise WeightsError(f"{path} is a CO-MOT without a table {name}")
        renamed[name] = _expanded(state[name], offsets, f"{path}: of a CO-MOT, {name}")
    content = renamed["query_embed.weight"]
    for name in _UNASKED:
        renamed.setdefault(name, content.new_zeros(1, content.shape[1]))
    rows, given = len(renamed["position.weight"]), config or full()
    sizes = replace(given.model, learned_queries=rows, queries_per_track=SET)
    if config is None and (classes := _classes(state)):
        sizes = replace(sizes, classes=classes)
    log.warning("%s: a CO-MOT of %d sets of %d queries; it takes no detections", path, rows // SET,
                SET)  # fmt: skip
    return renamed, replace(given, model=sizes)


def _expanded(learned: Tensor, offsets: Mapping[str, Tensor], what: str) -> Tensor:
    """Learned rows `[N, C]` as those of their sets `[3N, C]`."""
    sets, width = learned.shape
    fitting = [one for one in offsets.values() if one.ndim in (2, 3) and one.shape[-1] == width]
    shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in offsets.items())
    if len(fitting) != 1:
        raise WeightsError(f"{what} needs one table of offsets of width {width}, not {shapes}")
    rows = fitting[0].reshape(-1, width)
    if len(rows) not in (known := [SET - 1, SET, (SET - 1) * sets, SET * sets]):
        wanted = f"{', '.join(map(str, known[:-1]))} or {known[-1]}"
        raise WeightsError(f"{what} of {sets} sets needs offsets of {wanted} rows, not {shapes}")
    each = rows.reshape(-1, SET if len(rows) in (SET, SET * sets) else SET - 1, width)
    if each.shape[1] < SET:  # those that stand beside the learned one
        each = F.pad(each, (0, 0, 1, 0))
    return (learned[:, None] + each).reshape(-1, width)
