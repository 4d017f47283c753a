"""MOTRv2 and those it shares its network with: which of them a file or a configuration is."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from torch import Tensor

from tfsasm.errors import WeightsError
from tfsasm.motrv2.comot import is_comot
from tfsasm.motrv2.config import ModelConfig, NetworkConfig
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.motr import MOTR, is_motr, make_motr
from tfsasm.motrv2.weights import check_size, make_model, read_checkpoint
from tfsasm.pytorch import differences, refuse


def build(sizes: ModelConfig) -> MOTRv2:
    """A network with initial values. A MOTR has the calls of a MOTRv2, and is typed as one.

    Raises `WeightsError` for a kind that there is not.
    """
    if sizes.kind not in ("motrv2", "motr"):
        raise WeightsError(f"no network of kind {sizes.kind!r}; there are motrv2 and motr")
    return cast(MOTRv2, MOTR(sizes)) if sizes.kind == "motr" else MOTRv2(sizes)


def make_any(
    state: Mapping[str, Tensor], config: NetworkConfig | None, path: Path | str
) -> tuple[MOTRv2, NetworkConfig]:
    """The network of what `read_checkpoint` read from `path`, ready to track; strictly.

    Raises `WeightsError`.
    """
    if is_motr(state):
        network, config = make_motr(state, path, config)
        return cast(MOTRv2, network), config
    if config is None or config.model.kind == "motrv2":
        return make_model(dict(state), config, path)
    check_size(config.model, state, path)
    model = build(config.model)
    refuse(differences(model.state_dict(), state), f"{path} does not fit the network")
    model.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return model.eval().requires_grad_(False), config


def load_any(path: Path | str) -> tuple[MOTRv2, NetworkConfig]:
    """As `make_any`, of a file."""
    return make_any(*read_checkpoint(path), path)


def kind_of(state: Mapping[str, Tensor], config: NetworkConfig | None) -> str:
    """`motrv2`, `motr` or `comot`, by the names of a file's tensors and what it says of itself."""
    if is_motr(state) or (config is not None and config.model.kind == "motr"):
        return "motr"
    sets = is_comot(state) or (config is not None and config.model.queries_per_track > 1)
    return "comot" if sets else "motrv2"
