"""Recipes: the settings of a training run, and those that belong to a network."""

import math
from dataclasses import dataclass, field, replace

from tfsasm.errors import InputError
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.settings import at_least_one
from tfsasm.training.clip import ClipConfig
from tfsasm.training.data import SamplingConfig
from tfsasm.training.losses import LossConfig
from tfsasm.training.mix import AugmentConfig, augment_of
from tfsasm.training.reports import LoggerName


@dataclass(frozen=True)
class TrainConfig:
    """The optimisation. Defaults are the published recipe's (SPEC 9.9), `tiny` has its own."""

    clip: ClipConfig = field(default_factory=ClipConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Of clips of real data."""
    steps: int = 100_000
    batch: int = 1
    """Clips per step, shared by the processes; what one process gets are added up."""
    lr: float = 2e-4
    backbone_lr: float = 2e-5
    """0 freezes the backbone."""
    freeze: tuple[str, ...] = ()
    """Parts that keep their weights: backbone, projections, encoder, decoder.class_heads, ..."""
    offsets_scale: float = 0.1
    """Learning rate of the sampling offsets, as a share of `lr`."""
    weight_decay: float = 1e-4
    clip_norm: float = 0.1
    warmup: int = 0
    """Steps over which the rate rises from 0."""
    decay_from: float = 0.8
    """Share of the run after which the rate falls: to a tenth at once, or to zero as a cosine."""
    cosine: bool = False
    neutral_box_heads: bool = False
    """Start with box heads that leave the reference box as it is. The published start makes boxes
    much smaller at first, which suits a COCO checkpoint that overwrites it, and costs thousands of
    steps from scratch, where detections already have the right size."""
    average: float = 0.0
    """Weight of the past in the running average of the weights; 0 keeps the last step's."""
    lengths: tuple[tuple[float, int], ...] = ((0.0, 5),)
    """Clip lengths: from this share of the run on, that many frames."""
    precision: str = "auto"
    """`fp32`, `bf16` or `fp16` (autocast, the latter with a gradient scaler), or `auto`: bf16 where
    the device computes it natively."""
    seed: int = 0
    workers: int = 1
    checkpoint_minutes: float = 3.0
    validate_minutes: float = 20.0
    log_every: int = 10
    loggers: tuple[LoggerName, ...] = ("tensorboard",)


def check_recipe(config: TrainConfig) -> None:
    """Raises `InputError` for settings that no run can have, before it is begun."""
    clip, augment = config.clip, config.augment
    at_least_one(config, "steps", "batch", "log_every")
    at_least_one(augment, "max_interval", "max_side")
    shares = ((config, "average"), (config, "decay_from"), (augment, "flip"), (augment, "crop"),
              (clip, "track_drop"), (clip, "false_tracks"), (clip.loss, "focal_alpha"))  # fmt: skip
    for owner, name in shares:
        if not 0 <= getattr(owner, name) <= 1:
            raise InputError(f"{name} is {getattr(owner, name)}; give a share from 0 to 1")
    for name in ("lr", "backbone_lr", "weight_decay", "offsets_scale", "clip_norm"):
        if not math.isfinite(getattr(config, name)):
            raise InputError(f"{name} is {getattr(config, name)}; give a number")
    if config.clip_norm == 0:
        raise InputError("clip_norm is 0, with which nothing is learned; a large one clips nothing")
    begins = [share for share, _ in config.lengths]
    if begins[:1] != [0] or begins != sorted(set(begins)) or begins[-1] >= 1:
        raise InputError("lengths begin at 0 and rise to less than 1, as 0x2,0.5x5 does")
    if min(frames for _, frames in config.lengths) < 1:
        raise InputError("lengths are of 1 frame or more, as in 0x2,0.5x5")
    for name in ("sizes", "before_crop", "crop_sides"):
        if min(getattr(augment, name), default=0) < 1:
            raise InputError(f"{name} needs pixels, each from 1 up, such as 608,640")
    if augment.crop_sides[0] > augment.crop_sides[1]:
        raise InputError("crop_sides are the least and the most pixels, such as 800x1200")
    if config.seed >= 1 << 63:
        raise InputError(f"seed is {config.seed}; give one below 2 to the 63rd")


def recipe_tiny(cycle: int = 1) -> TrainConfig:
    """How the shipped `tiny` was trained (docs/results.md), from scratch but for its backbone.

    Its second cycle continues from the weights of the first, on longer clips.
    """
    clip = ClipConfig(
        refresh_matched=True, track_drop=0.05, false_tracks=0.1,
        denoising=0.3,  # at the published 0.05 there is nothing to gain from the image
        loss=LossConfig(focal_alpha=0.5),
    )  # fmt: skip
    if cycle == 2:
        return TrainConfig(
            clip=clip, steps=4_200, lr=6e-4, backbone_lr=0.0, offsets_scale=0.5, warmup=200,
            decay_from=0.2, cosine=True, average=0.998, lengths=((0.0, 4), (0.4, 5), (0.8, 6)),
        )  # fmt: skip
    return TrainConfig(
        clip=clip, steps=3_000, lr=8e-4, backbone_lr=0.0, offsets_scale=0.5, warmup=300,
        decay_from=0.45, cosine=True, neutral_box_heads=True, average=0.998,
        lengths=((0.0, 2), (0.3, 3), (0.5, 4), (0.8, 5)),
    )  # fmt: skip


def recipe_full() -> TrainConfig:
    """The published recipe (SPEC 9): 8 clips a step, on as many devices as there are.

    The released code configures `track_drop` and `false_tracks` and never applies them (QUIRK-34);
    the paper has them, and so does this recipe.
    """
    clip = ClipConfig(track_drop=0.1, false_tracks=0.3, checkpointing=True)
    return TrainConfig(clip=clip, batch=8)


def recipe_motr(data: str = "dancetrack") -> TrainConfig:
    """MOTR as its paper trains it on a data set (arXiv 2105.03247, 4.2), by its kind.

    The paper's are clips that grow, when the rate falls, 8 devices of one clip, AdamW and its rate,
    what is dropped and inserted (its best, tables 6c and 6d), and the IoU that keeps a track (3.5).
    What it does not say is MOTRv2's: the backbone's rate, weight decay, clipping, losses' weights.
    """
    clip = ClipConfig(
        selection="motr", denoising=0.0, track_drop=0.1, false_tracks=0.3, checkpointing=True,
        refresh_score=0.0,  # all tracks are updated
    )  # fmt: skip
    config = TrainConfig(
        clip=clip, batch=8, decay_from=0.5, lengths=((0.0, 2), (0.25, 3), (0.45, 4), (0.75, 5))
    )
    if data == "bdd100k":
        return replace(config, decay_from=0.8, lengths=((0.0, 2), (0.3, 3), (0.6, 4)))
    return config


def published_epochs(network: NetworkConfig, data: str) -> int:
    """Epochs of the published recipe of a network for data of a kind (SPEC 9.9, `recipe_motr`)."""
    if network.model.kind != "motr":
        return 5
    return 200 if data in ("mot15", "mot16", "mot17", "mot20") else 20


def recipe_finetune() -> TrainConfig:
    """How a trained `tiny` gets used to other videos in some minutes, its backbone as it is."""
    return replace(
        recipe_tiny(2), steps=300, lr=2e-4, warmup=20, lengths=((0.0, 3), (0.4, 4), (0.8, 5))
    )


def is_published(network: NetworkConfig) -> bool:
    """Whether a network is trained by a published recipe: a MOTR, or else a ResNet-50."""
    return network.model.kind == "motr" or network.model.backbone == "resnet50"


def recipe(
    network: NetworkConfig, cycle: int = 1, *, from_checkpoint: bool = False, data: str = ""
) -> TrainConfig:
    """The recipe that goes with a network: a published one (`is_published`), or that of `tiny`.

    `data` is the kind of what it is trained on, nothing for synthetic clips alone. A `tiny` that
    goes on from a checkpoint with data of its own is fine-tuned. Raises `InputError` for a second
    cycle of another network than `tiny`, or from scratch.
    """
    published = is_published(network)
    if cycle == 2 and (published or not from_checkpoint):
        raise InputError("the second cycle is that of `tiny` and continues from --init FILE")
    if published:
        config = recipe_motr(data) if network.model.kind == "motr" else recipe_full()
    elif from_checkpoint and data and cycle == 1:
        config = recipe_finetune()
    else:  # trained box heads stay as they are
        config = replace(
            recipe_tiny(cycle), neutral_box_heads=cycle == 1 and not from_checkpoint
        )
    return replace(config, augment=augment_of(network))


def sampling_of(config: TrainConfig, network: NetworkConfig) -> SamplingConfig:
    """Synthetic clips that are long enough for the whole run, in the network's own size."""
    short = network.short_side
    sizes = tuple((round(short * w / h), short) for w, h in SamplingConfig().sizes)
    return SamplingConfig(
        frames=max(frames for _, frames in config.lengths), blank=0.1, sizes=sizes
    )
