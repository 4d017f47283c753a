"""Train on the sequences that `features` wrote: python -m benchmarks.frozen.train DATA OUT MINUTES.

A clip is driven by the truth, as in MOTR: a track keeps its identity, proposals of people whom no
track follows are births, everything else is nobody. Batches are padded.
"""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment

from benchmarks.frozen.network import DIMENSIONS, WIDTH, Frozen, agreed, moved, moves
from tfsasm.boxes import cxcywh_to_xyxy, iou_matrix

MOST, SLOTS, BATCH, TOLERANCE = 24, 14, 8, 20


@dataclass(frozen=True)
class Row:
    """A frame: proposals with features and the identity of each (0: nobody); truth by identity."""

    found: np.ndarray
    features: np.ndarray
    ids: np.ndarray
    truth: np.ndarray
    people: np.ndarray


def load(path: Path) -> list[Row]:
    """A sequence, its proposals assigned to people at an IoU of a half."""
    data, rows, g, p = np.load(path), [], 0, 0
    truths, founds, features = data["truth"], data["found"], data["features"]
    for people, boxes in data["counts"]:
        truth, found = truths[g : g + people], founds[p : p + boxes][:MOST]
        ids = np.zeros(len(found), np.int64)
        if len(truth) and len(found):
            iou = iou_matrix(cxcywh_to_xyxy(truth[:, :4]), cxcywh_to_xyxy(found[:, :4]), 1e-9)
            for i, j in zip(*linear_sum_assignment(-(iou + 0.1 * found[:, 4])), strict=True):
                if iou[i, j] >= 0.5:
                    ids[j] = int(truth[i, 4])
        kept = features[p : p + boxes][:MOST]
        rows.append(Row(found, kept, ids, truth[:, :4].astype(np.float32), truth[:, 4].astype(int)))
        g, p = g + people, p + boxes
    return rows


def clip(rows: list[Row], frames: int, rng: np.random.Generator) -> list[Row]:
    """Some frames at one step; mirrored, reversed, boxes dropped and shaken."""
    step = int(rng.integers(1, min(4, (len(rows) - 1) // (frames - 1)) + 1))
    start = int(rng.integers(len(rows) - (frames - 1) * step))
    chosen = rows[start : start + frames * step : step][:: 1 if rng.random() < 0.5 else -1]
    mirrored, drop = rng.random() < 0.5, rng.choice([0.0, 0.05, 0.2])
    shake, missed = rng.choice([0.0, 0.03]), {}
    result = []
    for row in chosen:
        found, truth = row.found.copy(), row.truth.copy()
        if mirrored:
            found[:, 0], truth[:, 0] = 1 - found[:, 0], 1 - truth[:, 0]
        noise = rng.normal(0, shake, (len(found), 4)).astype(np.float32)
        found[:, :2] += noise[:, :2] * found[:, 2:4]
        found[:, 2:4] *= np.exp(noise[:, 2:])
        for person in row.people:  # now and then somebody is not found for a while
            left = missed.get(person, 0) - 1
            missed[person] = left if left > 0 or rng.random() > 0.02 else int(rng.integers(2, 12))
        hidden = np.array([missed.get(i, 0) > 0 for i in row.ids], bool)
        keep = (rng.random(len(found)) >= drop) & ~hidden
        result.append(Row(found[keep], row.features[keep], row.ids[keep], truth, row.people))
    return result


def stacked(rows: list[Row]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features, boxes with scores, and identities (-1: padding) of a batch of frames."""
    most = max(1, *(len(row.found) for row in rows))
    features = np.zeros((len(rows), most, DIMENSIONS), np.float32)
    found, ids = np.zeros((len(rows), most, 5), np.float32), np.full((len(rows), most), -1)
    for b, row in enumerate(rows):
        n = len(row.found)
        features[b, :n], found[b, :n], ids[b, :n] = row.features, row.found, row.ids
    return torch.from_numpy(features), torch.from_numpy(found), torch.from_numpy(ids)


class Slots:
    """Tracks of a batch in fixed slots; identity 0: nobody, -1: free."""

    def __init__(self, batch: int) -> None:
        self.ids = np.full((batch, SLOTS), -1)
        self.missed = np.zeros((batch, SLOTS), int)
        self.states, self.boxes = torch.zeros(batch, SLOTS, WIDTH), torch.zeros(batch, SLOTS, 4)


def advance(
    model: Frozen, slots: Slots, batch: list[Row], rng: np.random.Generator
) -> dict[str, torch.Tensor]:
    """Losses of one frame of each clip; the slots are brought to the next one."""
    features, found, ids = stacked(batch)
    b, count = ids.shape
    jitter = torch.from_numpy(rng.normal(0, 0.04, (b, SLOTS, 4)).astype(np.float32))
    references = moved(slots.boxes, jitter)
    free = torch.from_numpy(slots.ids == -1)
    missing = torch.cat([ids == -1, free], 1)
    answer = model(features, found, slots.states, references, missing.float())

    own = torch.from_numpy(slots.ids)
    same = (own[:, :, None] == ids[:, None]) & (own > 0)[:, :, None]
    target = torch.where(same.any(2), same.int().argmax(2), count)
    tracked = same.any(1)
    wanted = torch.where(tracked, same.int().argmax(1), torch.where(ids > 0, SLOTS, SLOTS + 1))
    losses = {
        "row": F.cross_entropy(answer.row[~free], target[~free], reduction="sum"),
        "column": F.cross_entropy(
            answer.column.transpose(1, 2)[ids >= 0], wanted[ids >= 0], reduction="sum"
        ),
    }
    matched = target < count
    losses["like"] = F.cross_entropy(answer.likeness[matched], target[matched], reduction="sum")
    losses["move"] = moved_loss(answer.expected, slots, batch)

    with torch.no_grad():
        chosen = target.clamp(max=count - 1)
        follow = matched.clone()
        value, index = agreed(answer).max(2)
        stray = ~free & ~matched & (value > 0.5)  # it believes itself found: let it learn of it
        chosen, follow = torch.where(stray, index, chosen), follow | stray
        birth = answer.column.softmax(1)[:, SLOTS]
    at = chosen[..., None]
    near, far = answer.tokens[:, :count], answer.tokens[:, count:]
    box = found[..., :4].gather(1, at.expand(-1, -1, 4))
    e = model.embedding(far, near.gather(1, at.expand(-1, -1, WIDTH)), moves(references, box),
                        found[..., 4].gather(1, chosen))  # fmt: skip
    carried = model.carry(e.flatten(0, 1), slots.states.flatten(0, 1)).view_as(slots.states)
    states = torch.where(follow[..., None], carried, slots.states)
    boxes = torch.where(follow[..., None], box, slots.boxes)
    fresh = model.embedding(near, near, near.new_zeros(b, count, 4), found[..., 4])
    fresh = model.carry(fresh.flatten(0, 1), near.new_zeros(b * count, WIDTH)).view_as(near)

    slots.missed = np.where(follow.numpy(), 0, slots.missed + 1)
    ended = (slots.missed > np.where(slots.ids > 0, TOLERANCE, 3)) | (rng.random(own.shape) < 0.01)
    slots.ids[ended] = -1
    born = (wanted == SLOTS) | ((ids == 0) & (birth > 0.5))
    born |= (ids == 0) & torch.from_numpy(rng.random(ids.shape) < 0.01)
    source = np.full((b, SLOTS), -1)
    for k in range(b):
        rows = np.flatnonzero(born[k].numpy())
        places = np.flatnonzero(slots.ids[k] == -1)[: len(rows)]
        source[k, places] = rows[: len(places)]
        slots.ids[k, places] = ids[k].numpy()[rows[: len(places)]]
        slots.missed[k, places] = 0
    new, at = torch.from_numpy(source >= 0)[..., None], torch.from_numpy(source.clip(0))[..., None]
    slots.states = torch.where(new, fresh.gather(1, at.expand(-1, -1, WIDTH)), states)
    slots.boxes = torch.where(new, found[..., :4].gather(1, at.expand(-1, -1, 4)), boxes)
    hits = (answer.row.argmax(2) == target) & matched
    return losses | {"n": (~free).sum() + (ids >= 0).sum(), "hits": hits.sum(),
                     "matched": matched.sum()}  # fmt: skip


def moved_loss(expected: torch.Tensor, slots: Slots, batch: list[Row]) -> torch.Tensor:
    """How far from the people tracks were expected, in their sizes."""
    places, truth = [], []
    for b, row in enumerate(batch):
        at = {person: k for k, person in enumerate(row.people)}
        for slot in np.flatnonzero((slots.ids[b] > 0) & (slots.missed[b] < 5)):
            if slots.ids[b, slot] in at:
                places.append((b, slot))
                truth.append(row.truth[at[slots.ids[b, slot]]])
    if not places:
        return expected.sum() * 0
    b, slot = np.array(places).T
    wrong = moves(expected[b, slot], torch.from_numpy(np.stack(truth)))
    return F.smooth_l1_loss(wrong, torch.zeros_like(wrong), beta=0.1, reduction="sum")


def main(data: str, out: str, minutes: float, seed: int = 0) -> None:
    """Train by the clock: the rate falls as a cosine to the end of it."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    model = Frozen()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-3)
    average = {k: v.detach().clone() for k, v in model.named_parameters()}
    sequences: dict[str, list[Row]] = {}
    step, spent, began, saved = 0, 0.0, time.time(), 0.0
    if (folder / "last.pt").exists():
        last = torch.load(folder / "last.pt")
        model.load_state_dict(last["model"])
        optimizer.load_state_dict(last["optimizer"])
        step, spent, average = last["step"], last["spent"], last["average"]
    means: dict[str, float] = {}
    while (share := (spent + time.time() - began) / 60 / minutes) < 1:
        if step % 50 == 0 or not sequences:
            for path in sorted(Path(data).glob("*.npz")):
                if path.stem not in sequences and len(sequences) < 500:
                    sequences[path.stem] = load(path)
        rng = np.random.default_rng([seed, step])
        frames = 8 if share < 0.3 else 16 if share < 0.6 else 24
        names = rng.choice(sorted(sequences), BATCH)
        clips = [clip(sequences[name], frames, rng) for name in names]
        slots, total = Slots(BATCH), dict[str, torch.Tensor]()
        for batch in zip(*clips, strict=True):
            for name, value in advance(model, slots, list(batch), rng).items():
                total[name] = total.get(name, 0) + value
        loss = (total["row"] + total["column"] + 0.5 * total["like"] + 0.5 * total["move"])
        loss = loss / total["n"]
        for group in optimizer.param_groups:
            late = max(0.0, share - 0.5) / 0.5
            group["lr"] = 1e-3 * min(1, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * late))
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        decay = min(0.998, step / (step + 10))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                average[name].lerp_(parameter, 1 - decay)
        n = float(total["n"])
        line = {"loss": loss.item(), "norm": float(norm),
                "right": float(total["hits"]) / max(1, float(total["matched"])),
                **{k: total[k].item() / n for k in ("row", "column", "like", "move")}}  # fmt: skip
        means = {k: 0.95 * means.get(k, v) + 0.05 * v for k, v in line.items()}
        if step % 50 == 0:
            text = {k: round(v, 4) for k, v in means.items()}
            print(json.dumps({"step": step, "frames": frames, "share": round(share, 3),
                              "sequences": len(sequences)} | text), flush=True)  # fmt: skip
        if time.time() - saved > 60:
            saved = time.time()
            save(folder, model, optimizer, average, step, spent + time.time() - began)
    save(folder, model, optimizer, average, step, spent + time.time() - began)


def save(folder: Path, model: Frozen, optimizer: torch.optim.Optimizer,
         average: dict[str, torch.Tensor], step: int, spent: float) -> None:  # fmt: skip
    """All that going on needs, and the averaged weights."""
    for name, what in (
        ("last.pt", {"model": model.state_dict(), "optimizer": optimizer.state_dict(),
                     "average": average, "step": step, "spent": spent}),
        ("average.pt", average),
    ):  # fmt: skip
        torch.save(what, folder / f"{name}.part")
        (folder / f"{name}.part").rename(folder / name)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), *map(int, sys.argv[4:]))
