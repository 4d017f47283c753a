"""A run as one file: network, recipe and data, which `--config` takes again."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from tfsasm.errors import InputError, WeightsError
from tfsasm.files import checked, read_json, write_json
from tfsasm.motrv2.config import NETWORKS, NetworkConfig
from tfsasm.settings import with_settings
from tfsasm.training.data import Blocks, SyntheticBlocks
from tfsasm.training.mix import Mix
from tfsasm.training.recipes import TrainConfig, sampling_of
from tfsasm.training.sources import load_data, parse_data

CONFIG = "config.json"
"""Name of the file in the folder of a run."""


@dataclass(frozen=True)
class Run:
    """All that decides what a run does."""

    network: NetworkConfig
    training: TrainConfig
    data: tuple[str, ...] = ()
    """As `--data` has it; synthetic clips alone where there is none."""
    validate: str = ""
    """The same, of what it is scored on; synthetic sequences where there is none."""
    init: str = ""
    """The checkpoint that it starts from, `tiny` or a file, where there is one."""
    backbone_weights: str = ""
    """The same for the backbone alone."""


def named_network(name: str) -> NetworkConfig:
    """`tiny`, `full`, `motr`, or the configuration in a JSON file. Raises `InputError`."""
    if name in NETWORKS:
        return NETWORKS[name]()
    if not Path(name).is_file():
        known = ", ".join(NETWORKS)
        raise InputError(f"no network {name!r}: give {known}, or a JSON file with its sizes")
    try:
        return NetworkConfig.from_json(Path(name).read_bytes())
    except WeightsError as error:
        raise InputError(f"{name}: {error}") from error


def save_run(run: Run, output: Path) -> None:
    """Write `config.json` into the folder of a run."""
    write_json(output / CONFIG, asdict(run))


def check_data(run: Run, output: Path) -> None:
    """Raises `InputError` where a run that is to go on in `output` was of other data."""
    if (output / "last.pt").exists() and (output / CONFIG).exists():
        before = read_run(output / CONFIG).data
        if before != run.data:
            had = " ".join(before) or "synthetic clips"
            raise InputError(f"the run in {output} is of other data: {had}; give another --output")


def read_run(path: Path) -> Run:
    """What `save_run` wrote; settings that are not there have their defaults.

    Raises `InputError` for a file of another kind, a name that does not exist, a bad value.
    """
    values = read_json(path)
    known = {entry.name for entry in fields(Run)}
    if not isinstance(values, dict) or not values.keys() <= known or "network" not in values:
        raise InputError(f"{path} describes no run: wanted an object with {', '.join(known)}")
    try:
        network = NetworkConfig.from_json(json.dumps(values["network"]))
        training = checked(values.get("training", {}), "training", dict)
        config = with_settings(TrainConfig(), dict(_texts(training)))
        data = tuple(map(str, checked(values.get("data", []), "data", list)))
    except (ValueError, WeightsError) as error:
        raise InputError(f"{path}: {error}") from error
    texts = {name: str(values.get(name, "")) for name in ("validate", "init", "backbone_weights")}
    return Run(network, config, data, **texts)


def _texts(values: Any, prefix: str = "") -> Mapping[str, str]:
    """Settings by dotted name, as `--set` takes them."""
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _texts(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = _text(value, ",")
    return found


def _text(value: Any, between: str) -> str:
    if isinstance(value, list):
        return between.join(_text(part, "x") for part in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def clips_of(run: Run) -> tuple[Blocks, int | None, tuple[str, ...]]:
    """The clips of a run, how many an epoch has, and what is to be said of the data.

    Without `data` they are synthetic and endless. Raises `InputError` for data that cannot be used.
    """
    config, synthetic = run.training, sampling_of(run.training, run.network)
    if not run.data:
        return SyntheticBlocks(config.seed, synthetic), None, ()
    specs = [parse_data(text) for text in run.data]  # all, before the first is read
    sizes = run.network.model
    data = tuple(
        load_data(spec, synthetic.frames, sizes.classes, proposals=sizes.kind == "motrv2")
        for spec in specs
    )
    mix = Mix(config.seed, data, synthetic.frames, config.augment, synthetic)
    return mix, mix.epoch, tuple(note for one in data for note in one.notes)


def with_epochs(run: Run, epochs: float, clips: int) -> Run:
    """The run with as many steps as so many epochs of `clips` need."""
    steps = max(1, round(epochs * clips / run.training.batch))
    return replace(run, training=replace(run.training, steps=steps))
