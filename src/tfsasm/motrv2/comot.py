"""CO-MOT (arXiv 2305.12724): MOTRv2's network whose queries are sets of three, without detections.

What is unusual here: its file is brought to MOTRv2's names, each set as three learned queries, and
nothing else is needed. Written from the paper and from what is known of a checkpoint's names and
shapes (docs/family.md), not from its code: where they leave a choice it is ours, and none was
compared with it.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from tfsasm.errors import WeightsError
from tfsasm.motrv2.config import NetworkConfig, full

log = logging.getLogger(__name__)

SET = 3
"""Queries that follow one object together: a learned one and two that begin beside it."""

_OFFSET = re.compile(r"^[^.]*offset[^.]*(\.weight)?$")  # no part of the attention, as sampling is

_PROJECTION = re.compile(r"(.*self_attn\.)(?:.*[._])?in_proj[._](?:.*[._])?(weight|bias)")

_UNASKED = ("yolox_embed.weight", "refine_embed.weight")  # of detections, and of training


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
    if config is None and (head := state.get("class_embed.0.bias")) is not None:
        sizes = replace(sizes, classes=len(head))
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
