"""Targets assigned to queries, and MOTRv2's losses (SPEC 9.4-9.7).

Pure functions over one frame. A query that carries a ground-truth identity keeps that target in
every later frame; the others are assigned to the remaining targets (Hungarian assignment).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tfsasm.boxes import cxcywh_to_xyxy, giou_matrix, giou_pairs, iou_pairs
from tfsasm.motrv2.transformer import Prediction
from tfsasm.tables import Table
from tfsasm.tracking.config import NO_ID

NO_TARGET = -1


@dataclass(frozen=True)
class Targets(Table):
    """Ground truth of one frame."""

    boxes: Tensor
    """`[G, 4]` normalised cxcywh."""
    ids: Tensor
    """`[G]` int64, unique within a frame, the same person through a clip."""
    labels: Tensor = None  # type: ignore[assignment]
    """`[G]` int64, the class from 0; all 0 where none are given."""

    def __post_init__(self) -> None:
        if self.labels is None:
            object.__setattr__(self, "labels", torch.zeros_like(self.ids))


@dataclass(frozen=True)
class LossConfig:
    """Weights and focal parameters of the published recipe (SPEC 9.5, 9.6)."""

    class_weight: float = 2.0
    box_weight: float = 5.0
    giou_weight: float = 2.0
    focal_alpha: float = 0.25
    """Share of the positive side in the focal loss; 0.75 of the negative side by default."""
    focal_gamma: float = 2.0


@dataclass(frozen=True)
class Matches(Table):
    """The target of each of N queries after a frame."""

    ids: Tensor
    """Ground-truth identity or `NO_ID`, `[N]` int64."""
    target: Tensor
    """Row of `Targets` or `NO_TARGET`, `[N]` int64."""
    iou: Tensor
    """Overlap with the target; of a query without one, the value from before (QUIRK-35)."""


@torch.no_grad()
def match_frame(
    ids: Tensor, iou: Tensor, prediction: Prediction, targets: Targets, config: LossConfig
) -> Matches:
    """Assign every target to a query (SPEC 9.5).

    `ids` `[N]` and `iou` `[N]` are what the queries carry, `prediction` that of the last layer.
    """
    target, new = assign(ids, prediction, targets, config)
    ids = ids.clone()
    ids[new] = targets.ids[target[new]]

    paired = target != NO_TARGET
    overlap = iou_pairs(
        cxcywh_to_xyxy(prediction.boxes[paired]), cxcywh_to_xyxy(targets.boxes[target[paired]])
    )
    iou = iou.clone()
    iou[paired] = overlap
    return Matches(ids, target, iou)


@torch.no_grad()
def assign(
    ids: Tensor, prediction: Prediction, targets: Targets, config: LossConfig
) -> tuple[Tensor, Tensor]:
    """The row of `targets`, or `NO_TARGET`, of queries that carry `ids`; both are `[N]`.

    A query inherits the target of its identity. Those without identity share the targets that are
    left, by the cheapest assignment; the rows of the queries that get one are returned too.
    """
    same = (ids[:, None] == targets.ids) & (ids != NO_ID)[:, None]
    target = torch.full_like(ids, NO_TARGET)
    rows, columns = same.nonzero(as_tuple=True)
    target[rows] = columns
    free, left = (ids == NO_ID).nonzero()[:, 0], (~same.any(0)).nonzero()[:, 0]
    costs = matching_cost(prediction[free], targets[left], config)
    # After a diverged step costs are NaN, which SciPy refuses; `train_step` refuses the loss.
    # Here, since processes that make clips import this module and match nothing.
    from scipy.optimize import linear_sum_assignment

    pairs = linear_sum_assignment(costs.nan_to_num().cpu().numpy())
    new, theirs = (torch.as_tensor(side) for side in pairs)
    target[free[new]] = left[theirs]
    return target, free[new]


def matching_cost(prediction: Prediction, targets: Targets, config: LossConfig) -> Tensor:
    """Cost `[Q, G]` of assigning each target to each query (SPEC 9.5 item 3).

    The focal part always uses alpha 0.25: it ranks queries and is no part of the loss.
    """
    p = prediction.logits.sigmoid()[:, targets.labels]  # of the class of each target
    positive = 0.25 * (1 - p) ** 2 * -(p + 1e-8).log()
    negative = 0.75 * p**2 * -(1 - p + 1e-8).log()
    distance = torch.cdist(prediction.boxes, targets.boxes, p=1)
    giou = giou_matrix(cxcywh_to_xyxy(prediction.boxes), cxcywh_to_xyxy(targets.boxes))
    return (
        config.box_weight * distance
        + config.class_weight * (positive - negative)
        - config.giou_weight * giou
    )


def frame_loss(
    predictions: Sequence[Prediction], before: Tensor, matches: Matches, targets: Targets,
    config: LossConfig, *, denoised: Sequence[Prediction] = (),
) -> dict[str, Tensor]:
    """All unweighted losses of one frame, as sums (SPEC 9.6).

    `predictions` are of the N normal queries, one per layer; `before` `[N]` the identities they
    carried into the frame; `denoised` those of the G denoising queries, row k about target k.
    Names: `ce`, `bbox`, `giou` of the last layer, `aux{l}_...` of the others, `ps{k}_bbox` and
    `ps{k}_giou` of the denoising ones (0 is the last layer).
    """
    losses = _pair_losses(predictions[-1], matches.target, targets, config)
    for layer, prediction in enumerate(predictions[:-1]):
        target, _ = assign(before, prediction, targets, config)
        own = _pair_losses(prediction, target, targets, config)
        losses |= {f"aux{layer}_{name}": value for name, value in own.items()}
    for index, prediction in enumerate([*denoised[-1:], *denoised[:-1]]):
        own = _box_losses(prediction.boxes, targets.boxes)
        losses |= {f"ps{index}_{name}": value for name, value in own.items()}
    return losses


def _pair_losses(
    prediction: Prediction, target: Tensor, targets: Targets, config: LossConfig
) -> dict[str, Tensor]:
    paired = target != NO_TARGET
    wanted = torch.zeros_like(prediction.logits)
    wanted[paired.nonzero()[:, 0], targets.labels[target[paired]]] = 1
    ce = focal_loss(prediction.logits, wanted, config)
    return {"ce": ce} | _box_losses(prediction.boxes[paired], targets.boxes[target[paired]])


def _box_losses(boxes: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    giou = giou_pairs(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(wanted))
    return {"bbox": (boxes - wanted).abs().sum(), "giou": (1 - giou).sum()}


def focal_loss(logits: Tensor, wanted: Tensor, config: LossConfig) -> Tensor:
    """Summed sigmoid focal loss (arXiv 1708.02002) of `logits` and 0/1 `wanted` of one shape."""
    p = logits.sigmoid()
    ce = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    missing = 1 - (p * wanted + (1 - p) * (1 - wanted))
    alpha = config.focal_alpha * wanted + (1 - config.focal_alpha) * (1 - wanted)
    return (alpha * missing**config.focal_gamma * ce).sum()


def total_loss(
    frames: Sequence[dict[str, Tensor]], targets: float, config: LossConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum over a clip divided by its number of `targets`, and each normalised part.

    Parts are named `frame_{f}_loss_{...}` as in the published logs.
    """
    weights = {"ce": config.class_weight, "bbox": config.box_weight, "giou": config.giou_weight}
    parts, weighted = {}, []
    for index, losses in enumerate(frames):
        for name, value in losses.items():
            stage, separator, kind = name.rpartition("_")
            part = value / max(targets, 1)
            parts[f"frame_{index}_{stage}{separator}loss_{kind}"] = part
            weighted.append(weights[kind] * part)
    return torch.stack(weighted).sum(), parts
