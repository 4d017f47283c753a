"""`tfsasm submit`: results as a zip that the evaluation server of a benchmark takes.

Everything is checked before the zip appears, since servers allow few tries: every sequence is there
and no other, lines have the ten columns, numbers make sense, no id is twice in a frame. The same
results give the same bytes.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfsasm.datasets.bdd100k import CATEGORIES, video_frames
from tfsasm.datasets.mot_folders import video_name
from tfsasm.datasets.sequences import sequences
from tfsasm.errors import InputError
from tfsasm.evaluation.bdd100k import result_labels
from tfsasm.evaluation.classes import Labels
from tfsasm.evaluation.protocols import trajectories
from tfsasm.evaluation.result_files import bdd100k_suffix, find_results
from tfsasm.evaluation.servers import DETECTORS, SERVERS
from tfsasm.evaluation.trajectories import Trajectories, check, last_frame, rows_by_frame
from tfsasm.files import atomic_path
from tfsasm.motchallenge import numbered_lines, read_text, read_tracks

_TOLD = 5  # names or problems that a message tells before it only counts

_REST = ("1", "-1", "-1", "-1")  # the last four of ten columns, where a file lacks them

Member = tuple[str, str]
"""Path inside the zip, and text."""


@dataclass(frozen=True)
class Wanted:
    """A sequence that belongs in the zip: its file, and its frames when they are known."""

    name: str
    result: Path
    length: int | None


def choose(dataset: str, results: Path, lengths: Mapping[str, int]) -> list[Wanted]:
    """The sequences that the server wants, each with its result, in order of name.

    `lengths` are those of the sequences that are there. Where the server's own list is not common
    knowledge they are that list, or else whatever has results is. Raises `InputError` for
    sequences that are missing, not wanted, or have two results.
    """
    server = SERVERS[dataset]
    found, problems = _results(dataset, results)
    wanted: dict[str, int | None] = {**(server.wanted or lengths or dict.fromkeys(found))}
    if any(name in found for name in server.optional):
        wanted.update(server.optional)
    told = [f"{name}: {why}" for name, why in sorted(problems.items())]
    if absent := sorted(wanted.keys() - {*found, *problems}):
        told.append(f"no result for {_some(absent)}")
    if surplus := sorted(found.keys() - wanted.keys()):
        told.append(f"not wanted: {_some(surplus)}")
    if told:
        raise InputError(f"{results} is not what the server takes: {'; '.join(told)}")
    known = {name: lengths.get(video_name(name), wanted[name]) for name in wanted}
    return [Wanted(name, found[name], known[name]) for name in sorted(wanted)]


def members(chosen: Iterable[Wanted], dataset: str) -> Iterator[Member]:
    """What goes into the zip, one by one. Raises `InputError` at the end for all that is unfit."""
    render = scalabel_text if dataset == "bdd100k" else mot_text
    suffix = "json" if dataset == "bdd100k" else "txt"
    problems: list[str] = []
    for one in chosen:
        try:
            yield f"{SERVERS[dataset].folder}{one.name}.{suffix}", render(one)
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError(f"not fit for the server: {_some(problems, '; ')}")


def write_zip(path: Path, members: Iterable[Member]) -> None:
    """Write a zip whose bytes depend on its contents alone.

    It appears when `members` have ended without an error.
    """
    with atomic_path(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for name, text in members:
            entry = zipfile.ZipInfo(name)  # dated 1980, the first day that a zip knows
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, text, zipfile.ZIP_DEFLATED, 9)


def mot_text(one: Wanted) -> str:
    """A result file with ten columns in each line, its numbers as written.

    Raises `InputError` for lines, frames, ids and boxes that make no sense.
    """
    table = read_tracks(one.result)
    _check(trajectories(table), one)
    if (table.label > 1).any():
        frame = table.frame[table.label > 1][0]
        raise InputError(f"{one.result} has another class than a pedestrian in frame {frame}")
    lines = numbered_lines(read_text(one.result))
    return "".join(f"{_ten_columns(line)}\n" for _, line in lines)


def scalabel_text(one: Wanted) -> str:
    """The frames of a BDD100K video as Scalabel JSON, also those without a label.

    Raises `InputError` as `mot_text` does, for a class that is not tracked, and when nothing tells
    how many frames there are.
    """
    labels = result_labels(one.result, one.name)
    _check(labels.boxes, one)
    if odd := sorted({*labels.classes.tolist()} - {*CATEGORIES}):
        raise InputError(f"{one.result} has {odd[0]!r}, which is none of {', '.join(CATEGORIES)}")
    rows = rows_by_frame(labels.boxes.frames)
    frames = [
        {
            "name": f"{one.name}-{number:07d}.jpg", "videoName": one.name,
            "frameIndex": number - 1,
            "labels": [_label(labels, row) for row in rows.get(number, ())],
        }
        for number in range(1, _frames(one) + 1)
    ]  # fmt: skip
    return json.dumps(frames, separators=(",", ":")) + "\n"


def _label(labels: Labels, row: int) -> dict[str, Any]:
    left, top, width, height = labels.boxes.ltwh[row].round(4).tolist()
    box = {"x1": left, "y1": top, "x2": round(left + width, 4), "y2": round(top + height, 4)}
    return {
        "id": str(labels.boxes.ids[row]), "category": str(labels.classes[row]), "box2d": box,
    }  # fmt: skip


def _frames(one: Wanted) -> int:
    if one.length:
        return one.length
    if one.result.suffix != ".json":
        raise InputError(f"nothing tells how many frames {one.name} has; give --root, the folder "
                         "that holds the split's images")  # fmt: skip
    frames = video_frames(one.result, one.name)
    last = max((frame.index for frame in frames), default=-1)
    if last + 1 != len(frames):
        raise InputError(f"{one.result} has {len(frames)} frames up to frameIndex {last}; servers "
                         "want all of them, also without labels, or give --root")  # fmt: skip
    return len(frames)


def _check(boxes: Trajectories, one: Wanted) -> None:
    check(boxes, one.length or last_frame(boxes), str(one.result))
    if (boxes.ids < 0).any():
        bad = boxes[boxes.ids < 0]
        raise InputError(f"{one.result} has id {bad.ids[0]} in frame {bad.frames[0]}; ids are 0 "
                         "or more")  # fmt: skip


def _ten_columns(line: str) -> str:
    fields = [field.strip() for field in line.split(",")]
    return ",".join([*fields, *_REST[len(fields) - 10 :]] if len(fields) < 10 else fields)


def _results(dataset: str, folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Result files by sequence, and what is wrong with some."""
    suffix = bdd100k_suffix(folder) if dataset == "bdd100k" else ".txt"
    found, twice = find_results(folder, suffix)
    return _under_three_names(found, twice) if dataset == "mot17" else (found, twice)


def _under_three_names(
    found: Mapping[str, Path], twice: Mapping[str, str]
) -> tuple[dict[str, Path], dict[str, str]]:
    """MOT17: one result of a video goes under all names; of three each keeps its own."""
    videos: dict[str, dict[str, Path]] = {}
    for name, path in found.items():
        videos.setdefault(video_name(name), {})[name] = path
    results: dict[str, Path] = {}
    problems = {**twice}
    for video, paths in videos.items():
        names = [f"{video}-{detector}" for detector in DETECTORS]
        if len(paths) == 1:
            results |= dict.fromkeys(names, *paths.values())
        elif sorted(paths) == names:
            results |= paths
        else:
            problems |= dict.fromkeys(names, f"there is {' and '.join(sorted(paths))}; give one "
                                      "result or three")  # fmt: skip
    return results, problems


def _some(what: Sequence[str], between: str = ", ") -> str:
    more = f"{between}and {len(what) - _TOLD} more" if len(what) > _TOLD else ""
    return between.join(what[:_TOLD]) + more


def _lengths(dataset: str, root: Path | None) -> dict[str, int]:
    """Frames of the sequences in a folder, for MOT17 by video."""
    if root is None:
        return {}
    return {video_name(one.name): one.length for one in sequences(dataset, root)}
