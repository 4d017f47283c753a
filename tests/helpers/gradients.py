"""Loss, gradients and one optimiser step of a clip of three frames, as a few numbers per tensor.

`python tests/helpers/gradients.py` writes `tests/golden/regression_gradients.npz` anew. Those are
numbers of this package alone, in float64 without any fast path: they tell that training has
changed, not that it is right. What the released code gave is in the other files there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.fakes import thin_resnet
from helpers.golden_data import FOLDER, ruled_state
from helpers.scenes import drawn_clip
from tfsasm.motrv2.config import ModelConfig, NetworkConfig, full
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.weights import from_published, to_published
from tfsasm.pytorch import Undrawn
from tfsasm.training.checkpoints import TrainState
from tfsasm.training.clip import Clip, FrameDetections, clip_loss
from tfsasm.training.data import normalised, to_clip
from tfsasm.training.losses import Targets
from tfsasm.training.recipes import TrainConfig
from tfsasm.training.trainer import noise, start

FILE = FOLDER / "regression_gradients.npz"

SIZES = {
    "small": ModelConfig(
        width=64, heads=4, feedforward=64, encoder_layers=1, decoder_layers=2, points=2,
        learned_queries=3,
    ),
    "full": full().model,
}  # fmt: skip
"""A thin ResNet with a small transformer, and the published network."""

CONFIG = TrainConfig(precision="fp32", workers=0, lengths=((0.0, 3),))
"""The published recipe, on three frames."""


def ruled_model(size: str) -> MOTRv2:
    """With weights by the rule of the golden vectors; the small one's backbone is thin."""
    sizes = SIZES[size]
    with Undrawn(), thin_resnet() if size == "small" else nullcontext():
        model = MOTRv2(sizes)
    state = ruled_state({k: tuple(v.shape) for k, v in to_published(model.state_dict()).items()})
    model.load_state_dict(from_published(state, model, "weights by rule"))
    return model


def new_run(model: MOTRv2, sizes: ModelConfig) -> TrainState:
    """A run at step 0 that takes the model over."""
    return start(model, NetworkConfig(sizes, short_side=64, max_side=64), CONFIG)


def clip(size: str) -> Clip:
    """Two people and their detections, such that rounding decides no assignment.

    These weights make scores so sure that float32 often cannot tell which of two is surer.
    """
    return to_clip(drawn_clip({"small": 9, "full": 1}[size]))


def step(run: TrainState, raw: Clip) -> tuple[float, dict[str, Tensor], dict[str, Tensor]]:
    """Loss, gradients and the change of each tensor by one step in float64, written out plainly."""
    raw = normalised(raw, 3)
    given = Clip(
        raw.images.double(),
        [Targets(one.boxes.double(), one.ids) for one in raw.targets],
        [FrameDetections(one.boxes.double(), one.scores.double()) for one in raw.detections],
    )
    trained = {name: p for name, p in run.model.named_parameters() if p.requires_grad}
    loss, _ = clip_loss(run.model, given, CONFIG.clip, noise(CONFIG.seed, 0))
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in trained.items() if p.grad is not None}
    before = {name: p.detach().clone() for name, p in trained.items()}
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), CONFIG.clip_norm)
    run.optimizer.step()
    return loss.item(), gradients, {name: p.detach() - before[name] for name, p in trained.items()}


def digest(tensors: Iterable[Tensor]) -> np.ndarray:
    """Length and one projection of each tensor, `[N, 2]`: a swap or a sign shows in the latter."""
    flat = [tensor.double().flatten() for tensor in tensors]
    wave = torch.arange(1, max(map(len, flat)) + 1, dtype=torch.float64).cos()
    return np.array([[one.norm().item(), (one @ wave[: len(one)]).item()] for one in flat])


def main() -> None:
    """Write the file."""
    found = {}
    for name, sizes in SIZES.items():
        run = new_run(ruled_model(name).double(), sizes)
        loss, gradients, change = step(run, clip(name))
        found |= {
            f"{name}/loss": np.array(loss), f"{name}/names": np.array(sorted(gradients)),
            f"{name}/gradients": digest(gradients[key] for key in sorted(gradients)),
            f"{name}/change": digest(change[key] for key in sorted(gradients)),
        }  # fmt: skip
    np.savez_compressed(FILE, **found)


if __name__ == "__main__":
    main()
