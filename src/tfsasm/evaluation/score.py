"""From files to scores, by the rules of a benchmark.

A sequence that cannot be scored is reported with its reason. By default that ends the work before
any scoring; a caller may ask for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tfsasm.boxes import look_normalised, ltwh_to_xyxy
from tfsasm.datasets.mot_folders import sequence_folders
from tfsasm.errors import InputError, first_few
from tfsasm.evaluation.bdd100k import has_bdd100k_layout, load_labels, score_classes
from tfsasm.evaluation.metrics import Report, score
from tfsasm.evaluation.protocols import (
    PROTOCOLS,
    Protocol,
    apply_protocol,
    counted,
    guess_dataset,
    trajectories,
    uncounted,
)
from tfsasm.evaluation.result_files import BDD100K, Files, pair_files
from tfsasm.evaluation.trajectories import Trajectories, check, last_frame
from tfsasm.motchallenge import read_tracks


@dataclass(frozen=True)
class Scored:
    """Scores, by which rules, and what was left out."""

    report: Report
    dataset: str
    notes: tuple[str, ...] = ()
    """What was guessed, and what is unusual."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Sequence -> why it was not scored."""


def score_folders(
    gt: Path | str,
    results: Path | str,
    dataset: str | None = None,
    *,
    classes: Sequence[int] = (),
    allow_missing: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Scored:
    """Score a folder of results against a folder of ground truth by the rules of `dataset`.

    `gt` holds `NAME/gt/gt.txt` (splits may be between), `results` holds `NAME.txt`, or TrackEval's
    `data/NAME.txt`. Without `dataset` it is guessed from the names, or else `mot`, with a note
    on that. `classes` are those of the eighth column that count, instead of pedestrians alone; only
    for `mot`, since benchmarks have rules of their own. Sequences that one side lacks, or that are
    unfit to be scored, raise one `InputError` for all; with `allow_missing` they are left out, as
    long as there are others.
    """
    root, place, notes = Path(gt), Path(results), []
    if dataset is None:
        dataset, note = _guess(root)
        notes.append(note)
    files, problems = pair_files(root, place, dataset)
    scored = score_files(
        files, dataset, classes=classes, allow_missing=allow_missing, problems=problems,
        progress=progress,
    )
    return replace(scored, notes=(*notes, *scored.notes))


def score_files(
    files: Mapping[str, Files],
    dataset: str = "mot",
    *,
    classes: Sequence[int] = (),
    allow_missing: bool = False,
    problems: Mapping[str, str] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Scored:
    """Score the sequences of a data set by its rules, each from its own files.

    `problems` names sequences that are known to be unfit, with the reason. Raises `InputError` as
    `score_folders` does, and for a data set without rules.
    """
    check_classes(dataset, classes)
    rule = PROTOCOLS.get(dataset)  # BDD100K has none
    if rule is not None:
        rule = replace(rule, counted=tuple(classes))
    left_out = dict(problems or {})
    fit: dict[str, tuple[Any, Any]] = {}
    notes: list[str] = []
    for name, group in files.items():
        try:
            fit[name] = _load(name, group, rule, notes) if rule else load_labels(*group, name)
        except InputError as error:
            left_out[name] = str(error)
    if left_out and not (allow_missing and fit):
        listing = [f"{name}: {why}" for name, why in sorted(left_out.items())]
        count = "1 sequence" if len(left_out) == 1 else f"{len(left_out)} sequences"
        mend = "; mend it, or score the rest with --allow-missing" if fit else ""
        raise InputError(f"{count} cannot be scored: {first_few(listing, between='; ')}{mend}")
    report = (score if rule else score_classes)(
        {name: truth for name, (truth, _) in fit.items()},
        {name: tracks for name, (_, tracks) in fit.items()},
        {name: length for name in fit if (length := files[name].length)},
        progress=progress,
    )
    sides = ("no box of the ground truth counts", "the result has no box")
    notes += [
        f"{name}: {what}"
        for name, pair in fit.items() for what, boxes in zip(sides, pair, strict=True)
        if not len(boxes)
    ]  # fmt: skip
    notes += [note for name, pair in fit.items() for note in _units(name, *pair)]
    return Scored(report, dataset, tuple(notes), left_out)


def _units(name: str, *pair: Any) -> list[str]:
    """What is to be said of ground truth and result whose boxes are not of one unit."""
    boxes = [ltwh_to_xyxy(getattr(side, "boxes", side).ltwh) for side in pair]
    normalised = [look_normalised(xyxy) for xyxy in boxes]
    if not all(map(len, boxes)) or len(set(normalised)) == 1:
        return []
    one, other = ("ground truth", "result")[:: 1 if normalised[0] else -1]
    return [
        f"{name}: all boxes of the {one} lie within 0 to 1, so they look normalised, and those of "
        f"the {other} do not; wanted are pixels"
    ]


def _guess(root: Path) -> tuple[str, str]:
    """The data set by its layout or the names of its sequences, and a note on that."""
    if has_bdd100k_layout(root):
        return BDD100K, f"scored as {BDD100K}, since the ground truth is label files"
    guess = guess_dataset(folder.name for folder in sequence_folders("mot", root))
    if guess:
        note = f"scored as {guess}, by the names of the sequences; --dataset applies other rules"
        return guess, note
    return "mot", (
        "scored as plain MOT files: no box is exempt; --dataset NAME applies a benchmark's rules"
    )


def check_classes(dataset: str, classes: Sequence[int]) -> None:
    """Raises `InputError` for a data set without rules, or with rules on which classes count."""
    if dataset not in (*PROTOCOLS, BDD100K):
        known = ", ".join((*PROTOCOLS, BDD100K))
        raise InputError(f"no rules for {dataset!r}; there are those of {known}")
    if classes and dataset == BDD100K:
        raise InputError("BDD100K scores each of its classes; leave --classes out")
    if classes and PROTOCOLS[dataset].classes != "maybe":
        raise InputError(
            f"the rules of {dataset} say which classes count; --classes is for --dataset mot"
        )


def _load(
    name: str, files: Files, rule: Protocol, notes: list[str]
) -> tuple[Trajectories, Trajectories]:
    """What is scored of a sequence by a rule, which may add to `notes`. Raises `InputError`."""
    truth, result = (read_tracks(path, lax=True) for path in (files.truth, files.result))
    notes += [f"{name}: {what}" for what in uncounted(truth, result, rule)]
    rows, tracks = trajectories(truth), trajectories(result)
    end = files.length or last_frame(rows, tracks)
    # All rows must make sense where all take part, else those that count.
    check(rows if rule.exempt else rows[counted(truth, rule)], end, str(files.truth))
    check(tracks, end, str(files.result))
    return apply_protocol(rule, truth, result, name)


def to_json(scored: Scored) -> dict[str, Any]:
    """The report with the rules it was made by and the sequences it lacks."""
    about = {"dataset": scored.dataset, "left_out": scored.left_out}
    return {**scored.report.to_json(), **about}


def lines(scored: Scored) -> list[str]:
    """Notes and sequences left out, to print below the table."""
    count, missing = len(scored.report.sequences), len(scored.left_out)
    texts = [*scored.notes]
    if missing:
        texts.append(f"combined is of {count} of {count + missing} sequences; left out:")
        texts += [f"  {name}: {why}" for name, why in sorted(scored.left_out.items())]
    return texts
