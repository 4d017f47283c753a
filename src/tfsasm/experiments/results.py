"""A folder of result files made under one set of settings, which a run that was killed can resume;
and the scores of several such folders.

A file under its name is a finished sequence; nothing else keeps count. The record beside them holds
the settings by which they were made, so that no folder ever mixes two.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from tfsasm.detection.huggingface import PREFIX
from tfsasm.errors import InputError, first_few
from tfsasm.evaluation.result_files import RECORD, SCORES, Files, result_file
from tfsasm.evaluation.score import Scored, score_files
from tfsasm.experiments.pool import Event, Processes, run_sequences
from tfsasm.files import (
    check_folder,
    checked,
    field,
    parsed,
    remove_abandoned,
    safe_name,
    sha256,
    shown,
    write_json,
)
from tfsasm.video.images import is_hidden

_OF_A_MODEL = (".json", ".safetensors", ".bin")  # what transformers reads


def claim_all(
    folders: Mapping[str, Path], settings: Mapping[str, Mapping[str, Any]],
    names: Collection[str], *, overwrite: bool = False, by_sequence: Collection[str] = (),
) -> dict[str, tuple[str, ...]]:
    """Claim a folder per tracker, each by its settings.

    Returns for each of `names` that has a result missing the trackers whose result that is. See
    `claim`.
    """
    done = {
        label: claim(
            folder, settings[label], names, overwrite=overwrite, by_sequence=by_sequence
        )
        for label, folder in folders.items()
    }  # fmt: skip
    missing = {
        name: tuple(label for label in folders if name not in done[label]) for name in names
    }
    return {name: labels for name, labels in missing.items() if labels}


def claim(
    folder: Path, settings: Mapping[str, Any], names: Collection[str], *, overwrite: bool = False,
    by_sequence: Collection[str] = (),
) -> set[str]:
    """Make `folder` the place of results by `settings`, and return which of `names` are there.

    `settings` is anything JSON can hold. Those `by_sequence` have a value for each of `names`,
    which counts where that one is there; others keep theirs. What a killed run left half done is
    removed. With `overwrite` the results and scores of an earlier run go too. Raises `InputError`
    when there are results by other settings, or a folder that is not one of results.
    """
    check_folder(folder)
    wanted = json.loads(json.dumps(settings))
    before = _read(folder)
    if before is None and not all(is_hidden(path.name) for path in folder.iterdir()):
        raise InputError(f"{folder} holds other files; give a new or an empty folder")
    known = set(before["sequences"]) if before else set()
    was = before["settings"] if before else {}
    old = {name for name in known if result_file(folder, name).is_file()}
    both = [_only(these, by_sequence, old & set(names)) for these in (was, wanted)]
    if overwrite:
        for path in (*(result_file(folder, name) for name in old), folder / SCORES):
            path.unlink(missing_ok=True)
        old = set()
    elif old and (changes := list(_differences(*both))):
        raise InputError(
            f"{folder} has results by other settings: {first_few(changes, 5, '; ')}. Give those, "
            "or another --output, or --overwrite to start over"
        )
    remove_abandoned(folder)
    kept = _only(was, by_sequence, old - set(names))
    merged = {name: {**kept.get(name, {}), **wanted[name]} for name in by_sequence}
    record = {"settings": wanted | merged, "sequences": sorted(known | set(names))}
    write_json(folder / RECORD, record)
    return {name for name in names if result_file(folder, name).is_file()}


def model_settings(name: str, weights: Path | None) -> tuple[str, Any]:
    """The name of a model and the digest of its file.

    For a folder, a digest for each file that it is read from, so that the same model elsewhere is
    the same. Raises `InputError` for files that cannot be read.
    """
    folder = Path(name.removeprefix(PREFIX))
    if not name.startswith(PREFIX) or not folder.is_dir():
        return name, None if weights is None else digest(weights)
    files = sorted(path for path in folder.iterdir() if path.suffix in _OF_A_MODEL)
    return f"{PREFIX}FOLDER", {path.name: digest(path) for path in files}


def detections_setting(given: Path | None, found: Mapping[str, Path]) -> str | dict[str, str]:
    """How stored detections are recorded: a file by its content, others by those of each sequence.

    `found` are the files of the sequences.
    """
    if given and given.is_file():
        return digest(given)
    return {name: digest(path) for name, path in found.items()}


def digest(path: Path) -> str:
    """A file by its content. Raises `InputError` for one that cannot be read."""
    return f"sha256:{sha256(path)}"


def score_all(
    files: Mapping[str, Mapping[str, Files]], dataset: str, problems: Mapping[str, str],
    workers: int, on_event: Callable[[Event], object] = lambda event: None, *,
    classes: Sequence[int] = (),
) -> dict[str, Scored]:
    """Score many trackers on the same sequences: those of which each has a valid result.

    `files` has those of each sequence by tracker. `problems` names sequences that are known to be
    unfit, with the reason. `on_event` is called as by `run_sequences`, with the trackers as names.
    `classes` count, as for `score_files`. Raises `InputError` when nothing is left, and
    `KeyboardInterrupt`.
    """
    score = partial(
        score_files, dataset=dataset, classes=classes, allow_missing=True, problems=problems
    )
    fit = {
        label: {name: one for name, one in group.items() if name not in problems}
        for label, group in files.items()
    }
    counts = {label: len(group) for label, group in files.items()}
    make = partial(partial, _score, score, fit)  # what scores one by its label
    run = run_sequences(list(files), make, counts, Processes(workers), on_event)
    if run.interrupted:
        raise KeyboardInterrupt
    for label, why in run.failures.items():
        raise InputError(f"{label}: {why}")
    scored = {label: run.outcomes[label] for label in files}
    left_out = {name: why for one in scored.values() for name, why in one.left_out.items()}
    if any(one.left_out.keys() != left_out.keys() for one in scored.values()):
        return score_all(files, dataset, left_out, workers, on_event, classes=classes)
    return scored


def _score(
    score: Callable[[Mapping[str, Files]], Scored], fit: Mapping[str, Mapping[str, Files]],
    label: str,
) -> Generator[int, None, Scored]:
    yield 0
    return score(fit[label])


def _read(folder: Path) -> dict[str, Any] | None:
    path = folder / RECORD
    if not path.exists():
        return None
    with suppress(OSError, ValueError):
        record: dict[str, Any] = parsed(path.read_text(encoding="utf-8"))
        field(record, "settings", dict)
        for name in field(record, "sequences", list):
            safe_name(checked(name, "sequences", str), "the sequence")
        return record
    raise InputError(f"{path} cannot be read; give another --output, or remove this folder")


def _only(
    settings: Mapping[str, Any], by_sequence: Collection[str], names: Collection[str]
) -> dict[str, Any]:
    """`settings`, those `by_sequence` of `names` alone."""

    def chosen(value: Any) -> dict[str, Any]:
        given = value.items() if isinstance(value, dict) else ()
        return {name: one for name, one in given if name in names}

    return {key: chosen(value) if key in by_sequence else value for key, value in settings.items()}


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Settings that were not what they are, in words."""
    before, now = dict(_flat(old)), dict(_flat(new))
    for name in dict.fromkeys((*now, *before)):
        if before.get(name) != now.get(name):
            was, value = before.get(name, "nothing"), now.get(name, "nothing")
            yield f"{name} was {_said(was)}, not {_said(value)}"


def _said(value: Any) -> str:
    return value if isinstance(value, str) else shown(value)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings by dotted name."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
