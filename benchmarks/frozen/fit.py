"""Learn the weights of `nano` from what `features` wrote.

    python -m benchmarks.frozen.fit keys FOLDER nano.safetensors
    python -m benchmarks.frozen.fit rule FOLDER nano.safetensors --minutes 10
    python -m benchmarks.frozen.fit score FOLDER nano.safetensors

Keys are linear discriminants: directions of the features in which people of one video differ most,
against how one person's features vary over it. The rule is searched one number at a time, from what
the file holds, for HOTA of the first sequences as `motrv2` tracks them. `score` is for others.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import tyro
from safetensors.numpy import save_file
from scipy.linalg import eigh

from tfsasm.boxes import cxcywh_to_xyxy, iou_matrix
from tfsasm.detection.proposals import Proposals
from tfsasm.evaluation.metrics import Scores, score
from tfsasm.evaluation.trajectories import Trajectories
from tfsasm.settings import pairs, with_settings
from tfsasm.tables import unit
from tfsasm.tracking.config import preset
from tfsasm.tracking.nano import NanoNetwork, Rule, read_weights
from tfsasm.tracking.query import QueryTracker

SEARCHED, WIDTH, EVERY, SAME = 14, 64, 4, 0.6
SHRINKAGE = 0.5  # of what varies within people, towards the same in all directions
SIZE = 640, 480  # pixels, whatever the video had; no score depends on it
STEPS = Rule(bar=1, overlap=2, distance=0.7, stretch=1, given=1, like=2, usual=0.1, twin=5, sure=3,
             least=0.06, explained=8, near=0.06, slow=0.1, fresh=0.04)  # fmt: skip


class Shown(NamedTuple):
    """A frame."""

    truth: np.ndarray
    found: np.ndarray
    features: np.ndarray


class StoredNetwork(NanoNetwork):
    """The network on stored features in the place of maps."""

    def __init__(self, look: np.ndarray, bias: np.ndarray, rule: Rule) -> None:
        super().__init__(look, bias, rule, encoder=None)

    def keys(self, features: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        return unit(features @ self.look.T + self.bias, 1e-6)


def frames(path: Path) -> Iterator[Shown]:
    """Those of a sequence, in order."""
    data = np.load(path)
    ends = data["counts"].cumsum(0)[:-1]
    columns = (("truth", 0), ("found", 1), ("features", 1))
    yield from map(Shown, *(np.split(data[name], ends[:, k]) for name, k in columns))


def people(path: Path) -> list[np.ndarray]:
    """Features `[N, D]` of each person of a sequence in some of its frames."""
    by_identity: dict[int, list[np.ndarray]] = {}
    for truth, found, features in list(frames(path))[::EVERY]:
        if not len(truth) or not len(found):
            continue
        iou = iou_matrix(*(cxcywh_to_xyxy(boxes[:, :4]) for boxes in (truth, found)), 1e-9)
        best = iou.argmax(1)
        for person in np.flatnonzero(iou.max(1) > SAME):
            if iou[:, best[person]].argmax() == person:
                seen = by_identity.setdefault(int(truth[person, 4]), [])
                seen.append(features[best[person]].astype(np.float32))
    return [np.stack(seen) for seen in by_identity.values()]


def keys(folder: Path, output: Path) -> None:
    """Write the projection, and the rule as it is declared."""
    within, between, means = [], [], []
    for path in sorted(folder.glob("*.npz")):
        found = people(path)
        means += found
        some = [seen for seen in found if len(seen) >= 4]
        within += [seen - seen.mean(0) for seen in some]
        centres = np.array([seen.mean(0) for seen in some])
        if len(some) > 1:
            between.append(centres - centres.mean(0))
    mean = np.concatenate(means).mean(0)
    inner, outer = (x.T @ x / len(x) for x in map(np.concatenate, (within, between)))
    inner += SHRINKAGE * np.trace(inner) / len(inner) * np.eye(len(inner), dtype=np.float32)
    values, vectors = eigh(outer, inner, subset_by_index=(len(inner) - WIDTH, len(inner) - 1))
    look = (vectors * np.sqrt(values / (1 + values))).T[::-1]
    write(output, look, -look @ mean, Rule())


def write(path: Path, look: np.ndarray, bias: np.ndarray, rule: Rule) -> None:
    """The file of a network."""
    numbers = {name: np.array(value, np.float32) for name, value in asdict(rule).items()}
    half = {"look": look, "bias": bias}
    halves = {k: np.ascontiguousarray(v, dtype=np.float16) for k, v in half.items()}
    save_file(halves | numbers, path)


def scored(network: NanoNetwork, paths: list[Path], method: str) -> Scores:
    """All sequences together; the `method` is written `preset,NAME=VALUE,...`."""
    name, *changes = method.split(",")
    config = with_settings(preset(name).make(), pairs(changes))
    image, corners = np.zeros((*SIZE[::-1], 3), np.uint8), np.tile(SIZE, 2)
    truths, results = {}, {}
    for path in paths:
        tracker, truth, rows = QueryTracker(network, config), [], []
        for shown in frames(path):
            truth.append((shown.truth[:, 4].astype(int),
                          cxcywh_to_xyxy(shown.truth[:, :4]) * corners))  # fmt: skip
            found = Proposals(shown.found[:, :4].copy(), shown.found[:, 4].copy())
            tracks = tracker.update(found, image, shown.features.astype(np.float32))
            rows.append((tracks.tracker_id, tracks.xyxy))
        truths[path.stem] = Trajectories.from_frames(iter(truth))
        results[path.stem] = Trajectories.from_frames(iter(rows))
    return score(truths, results).combined


def rule(folder: Path, output: Path, minutes: float = 10, method: str = "motrv2") -> None:
    """Search the rule of a file, and write each better one."""
    look, bias, best = read_weights(output)
    paths = sorted(folder.glob("*.npz"))[:SEARCHED]
    steps, names = asdict(STEPS), [field.name for field in fields(Rule)]
    highest = scored(StoredNetwork(look, bias, best), paths, method).HOTA
    end = time.time() + 60 * minutes
    while time.time() < end:
        for name in names:
            for step in (steps[name], -steps[name]):
                new = replace(best, **{name: getattr(best, name) + step})
                value = scored(StoredNetwork(look, bias, new), paths, method).HOTA
                if value > highest + 0.02:
                    best, highest, steps[name] = new, value, step
                    write(output, look, bias, best)
                    print(f"{value:.2f} {name} {getattr(best, name):g}", flush=True)
                    break
            else:
                steps[name] /= 2


def main(
    what: Annotated[str, tyro.conf.Positional], folder: Annotated[Path, tyro.conf.Positional],
    weights: Annotated[Path, tyro.conf.Positional], minutes: float = 10,
    methods: tuple[str, ...] = ("motrv2", "released", "paper", "default"),
) -> None:
    """Learn `keys` or the `rule`, or `score` sequences."""
    if what == "keys":
        keys(folder, weights)
    elif what == "rule":
        rule(folder, weights, minutes)
    else:
        network = StoredNetwork(*read_weights(weights))
        for method in methods:
            s = scored(network, sorted(folder.glob("*.npz")), method)
            print(f"{method:12} HOTA {s.HOTA:.1f} DetA {s.DetA:.1f} AssA {s.AssA:.1f} "
                  f"IDF1 {s.IDF1:.1f} IDSW {s.IDSW}", flush=True)  # fmt: skip


if __name__ == "__main__":
    tyro.cli(main)
