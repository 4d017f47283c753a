"""Checkpoints: ours as safetensors, the published ones by name and shape, never unpickled freely.

A model's state travels with its `NetworkConfig` (sizes and input scale), so that a file is
enough to rebuild it. Published files (`{'model': state_dict, 'args': Namespace, ...}`) use MOTR's
parameter names; `PUBLISHED` is the whole translation.
"""

import json
import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from tfsasm.errors import WeightsError, first_few
from tfsasm.files import atomic_path, shown
from tfsasm.limits import file_stand_in
from tfsasm.motrv2.config import ModelConfig, NetworkConfig
from tfsasm.pytorch import (
    Undrawn,
    check_tensors,
    differences,
    read_state_dict,
    refuse,
    tensors_path,
    without_prefixes,
)

log = logging.getLogger(__name__)

PUBLISHED = (  # ours, published
    ("backbone.", "backbone.0.body."),
    ("projections.", "input_proj."),
    ("level_embed", "transformer.level_embed"),
    ("encoder.", "transformer.encoder."),
    ("decoder.layers.", "transformer.decoder.layers."),
    ("decoder.box_heads.", "bbox_embed."),
    ("decoder.class_heads.", "class_embed."),
    ("learned_boxes", "position.weight"),
    ("learned_content", "query_embed.weight"),
    ("proposal_content", "yolox_embed.weight"),
    ("denoising_content", "refine_embed.weight"),
    ("interaction.", "track_embed."),
    ("layers.", "transformer.decoder.layers."),  # from here on of Deformable DETR and MOTR
    ("box_heads.", "bbox_embed."),
    ("class_heads.", "class_embed."),
    ("learned", "query_embed.weight"),
    ("reference.", "transformer.reference_points."),
    ("guess.", "transformer.enc_output."),
    ("guess_norm.", "transformer.enc_output_norm."),
    ("place.", "transformer.pos_trans."),
    ("place_norm.", "transformer.pos_trans_norm."),
)

BOX_HEADS, BOX_HEADS_ALIAS = "bbox_embed.", "transformer.decoder.bbox_embed."
"""A published file has each box head twice."""

DENOISING = "refine_embed.weight"
"""There only in networks that were built with denoising queries (QUIRK-8)."""

UNUSED = r"\.decoder\.layers\.\d+\.(update_attn|norm4)\.|^track_embed\.norm3\."
"""Tensors of MOTR that some files of MOTRv2 hold and its code never calls (SPEC 11.1)."""

State = dict[str, Tensor]

Network = TypeVar("Network", bound=nn.Module)


def published_name(ours: str) -> str:
    """Our parameter name to the published one."""
    for prefix, published in PUBLISHED:
        if ours.startswith(prefix):
            return published + ours[len(prefix) :]
    raise KeyError(ours)


def twin(published: str) -> str:
    """The other published name of a box head's tensor; of any other tensor the same name."""
    if published.startswith(BOX_HEADS_ALIAS):
        return BOX_HEADS + published.removeprefix(BOX_HEADS_ALIAS)
    if published.startswith(BOX_HEADS):
        return BOX_HEADS_ALIAS + published.removeprefix(BOX_HEADS)
    return published


def to_published(state: Mapping[str, Tensor]) -> State:
    """Our state dict under published names, the aliases of the box heads included."""
    renamed = {published_name(name): tensor for name, tensor in state.items()}
    return renamed | {
        twin(name): tensor for name, tensor in renamed.items() if name.startswith(BOX_HEADS)
    }


def from_published(published: Mapping[str, Tensor], model: nn.Module, origin: str) -> State:
    """Published state dict to ours, strictly where it counts.

    Raises one `WeightsError` that lists every missing, surplus and misshapen name and every alias
    of a box head that disagrees with its twin. What the original loads without harm is taken too,
    with a warning: `UNUSED` names are left out, a box head may be there once, and the content of
    denoising queries, which only training asks for, may lack. A `num_batches_tracked` is dropped
    (SPEC 3.1).
    """
    published = {k: v for k, v in published.items() if not k.endswith("num_batches_tracked")}
    expected = to_published(model.state_dict())
    ignored = [k for k in published if k not in expected and re.search(UNUSED, k)]
    lacking = [k for k in (DENOISING,) if k not in published]
    once = {twin(k): v for k, v in published.items() if twin(k) not in published}
    published = {k: v for k, v in published.items() if k not in ignored} | once
    published |= {name: torch.randn(expected[name].shape) for name in lacking}
    problems = differences(expected, published)
    for alias in sorted(name for name in published if name.startswith(BOX_HEADS_ALIAS)):
        head = twin(alias)
        if head in published and not torch.equal(published[alias], published[head]):
            problems.append(f"differs from its twin {head}: {alias}")
    refuse(problems, f"{origin} does not fit the network")
    notes = [
        f"ignored, since it is never used: {first_few(ignored)}" if ignored else "",
        f"once instead of twice: {len(once)} tensors of box heads" if once else "",
        f"lacks {', '.join(lacking)}, which tracking does not use" if lacking else "",
    ]
    if any(notes):
        taken = f"{len(expected) - len(lacking)} of {len(expected)} tensors were taken"
        log.warning("%s: %s; %s", origin, taken, "; ".join(filter(None, notes)))
    return {name: published[published_name(name)] for name in model.state_dict()}


def read_checkpoint(
    path: Path | str, *, numbers: bool = True
) -> tuple[State, NetworkConfig | None]:
    """State dict and, when the file or a JSON beside it has one, the network's configuration.

    Without `numbers` its tensors have shapes alone, to know by them what it is: that is quick.
    `.safetensors` holds our names; anything else is read as a PyTorch file, tensors and an
    `argparse.Namespace` only. Raises `WeightsError` for files that are missing, truncated, of
    another kind, or that would run code.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"no checkpoint at {path}")
    beside = path.with_suffix(".json")
    config = _config(beside.read_bytes(), beside) if beside.is_file() else None
    if path.suffix == ".safetensors":
        state, inside = _read_safetensors(path, numbers)
        return state, inside or config
    return read_state_dict(path, numbers=numbers), config


def _config(text: str | bytes, origin: Path) -> NetworkConfig:
    try:
        return NetworkConfig.from_json(text)
    except WeightsError as error:
        raise WeightsError(f"{origin}: {error}") from error


def _read_safetensors(path: Path, numbers: bool) -> tuple[State, NetworkConfig | None]:
    if what := file_stand_in(path):
        raise WeightsError(f"{path} is {what}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = file.keys()
            shapes = {name: file.get_slice(name).get_shape() for name in names}
        state = load_file(path) if numbers else {
            name: torch.empty(shape, device="meta") for name, shape in shapes.items()
        }  # fmt: skip
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a whole safetensors file: {error}") from error
    config = metadata.get("config")
    if numbers:
        check_tensors(state, path)
    state = without_prefixes(state, path, logging.WARNING if numbers else logging.DEBUG)
    return state, None if config is None else _config(config, path)


def check_size(sizes: ModelConfig, state: Mapping[str, Tensor], origin: Path | str) -> None:
    """Raises `WeightsError` for sizes of a network for which its file is far too small.

    They are the word of the file, and a line of it could ask for all memory there is.
    """
    held = sum(tensor.numel() for tensor in state.values())
    if sizes.least > held:
        raise WeightsError(
            f"{origin} does not fit the network, which by its sizes has {sizes.least:,} numbers or "
            f"more: the file has {held:,}"
        )


def built(make: Callable[[], Network], sizes: ModelConfig, origin: Path | str) -> Network:
    """What `make` makes, a network of these sizes, to be filled from a file.

    Raises `WeightsError` where there is none: a width that no norm can group, levels of no stride.
    """
    try:
        with Undrawn():
            return make()
    except WeightsError:
        raise
    except (ValueError, TypeError, KeyError, AssertionError, RuntimeError) as error:
        listed = ", ".join(f"{name} {shown(value)}" for name, value in vars(sizes).items())
        unknown = f"no backbone {sizes.backbone}" if isinstance(error, KeyError) else error
        raise WeightsError(f"{origin}: no network can be made of {listed}: {unknown}") from error


def _write_safetensors(path: Path, state: State, notes: Mapping[str, str]) -> None:
    """The library writes notes in any order; sorted, the same contents are the same bytes."""
    content = memoryview(save(state))
    end = 8 + int.from_bytes(content[:8], "little")
    header = {"__metadata__": dict(sorted(notes.items())), **json.loads(bytes(content[8:end]))}
    text = json.dumps(header, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // 8) * 8)  # tensors begin at a multiple of eight bytes
    with path.open("wb") as file:
        for part in (len(text).to_bytes(8, "little"), text, content[end:]):
            file.write(part)


def save_model(
    path: Path | str, model: nn.Module, config: NetworkConfig, *, half: bool = False,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write a checkpoint atomically; the suffix says which kind.

    `.safetensors`: our names, configuration inside. `.pth` or `.pt`: published names under
    `'model'`, aliases included, configuration in a JSON beside it. `half` stores float16.
    """
    path = Path(path)
    dtype = torch.float16 if half else torch.float32
    state = {k: v.detach().to("cpu", dtype).contiguous() for k, v in model.state_dict().items()}
    if path.suffix == ".safetensors":
        with atomic_path(path) as partial:  # its own `save_file` makes files for their owner alone
            _write_safetensors(partial, state, {"config": config.to_json(), **(notes or {})})
    elif path.suffix in (".pth", ".pt"):
        with tensors_path(path) as partial:
            torch.save({"model": to_published(state)}, partial)
        with atomic_path(path.with_suffix(".json")) as partial:
            partial.write_text(config.to_json() + "\n")
    else:
        raise WeightsError(f"{path}: write .safetensors or .pth, not {path.suffix or 'no suffix'}")
