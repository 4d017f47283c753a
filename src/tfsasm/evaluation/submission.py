"""Results as a zip that the evaluation server of a benchmark takes.

Everything is checked before the zip appears, since servers allow few tries: every sequence is there
and no other, lines have the ten columns, numbers make sense, no id is twice in a frame. The same
results give the same bytes.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tfsasm.datasets.bdd100k import CATEGORIES, video_frames
from tfsasm.datasets.mot_folders import video_name
from tfsasm.datasets.sequences import sequences
from tfsasm.errors import InputError, first_few
from tfsasm.evaluation.bdd100k import result_labels
from tfsasm.evaluation.protocols import trajectories
from tfsasm.evaluation.result_files import bdd100k_suffix, find_results
from tfsasm.evaluation.servers import DETECTORS, SERVERS
from tfsasm.evaluation.trajectories import Trajectories, check, last_frame, rows_by_frame
from tfsasm.files import atomic_path, read_text, safe_path
from tfsasm.motchallenge import numbered_lines, read_tracks
from tfsasm.tables import Doubles

_NAMED = 5  # names or problems that a message has before it only counts

_TEN_COLUMNS = (*[""] * 6, "1", "-1", "-1", "-1")  # what a line has where a file lacks it


@dataclass(frozen=True)
class Entry:
    """A sequence that belongs in the zip: its file, and its frames when they are known."""

    name: str
    result: Path
    length: int | None


def sequence_lengths(dataset: str, root: Path) -> dict[str, int]:
    """Frames of the sequences in the folder of a split, for MOT17 by video."""
    return {video_name(sequence.name): sequence.length for sequence in sequences(dataset, root)}


def choose(dataset: str, results: Path, lengths: Mapping[str, int]) -> list[Entry]:
    """The sequences that the server wants, each with its result, in order of name.

    `lengths` are those of the sequences that are there. Where the server's own list is not
    published they stand for it, or else whatever has results does. Raises `InputError` for
    sequences that are missing, not wanted, or have two results.
    """
    server = SERVERS[dataset]
    found, problems = _results(dataset, results)
    wanted: dict[str, int | None] = {**(server.wanted or lengths or dict.fromkeys(found))}
    if any(name in found for name in server.optional):
        wanted.update(server.optional)
    faults = [f"{name}: {why}" for name, why in sorted(problems.items())]
    if absent := sorted(wanted.keys() - {*found, *problems}):
        faults.append(f"no result for {first_few(absent, _NAMED)}")
    if surplus := sorted(found.keys() - wanted.keys()):
        faults.append(f"not wanted: {first_few(surplus, _NAMED)}")
    if faults:
        raise InputError(f"{results} is not what the server takes: {'; '.join(faults)}")
    known = {name: lengths.get(video_name(name), wanted[name]) for name in wanted}
    return [Entry(name, found[name], known[name]) for name in sorted(wanted)]


def members(entries: Iterable[Entry], dataset: str) -> Iterator[tuple[str, str]]:
    """What goes into the zip, one by one. Raises `InputError` at the end for all that is unfit."""
    render = scalabel_text if dataset == "bdd100k" else mot_text
    suffix = "json" if dataset == "bdd100k" else "txt"
    problems: list[str] = []
    for entry in entries:
        try:
            yield f"{SERVERS[dataset].folder}{entry.name}.{suffix}", render(entry)
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError(f"not fit for the server: {first_few(problems, _NAMED, '; ')}")


def write_zip(path: Path, members: Iterable[tuple[str, str]]) -> None:
    """Write a zip whose bytes depend on its contents alone.

    It appears when `members` have ended without an error.
    """
    with atomic_path(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for name, text in members:
            # Dated 1980, the first day that a zip knows.
            entry = zipfile.ZipInfo(safe_path(name, "the file in the zip"))
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, text, zipfile.ZIP_DEFLATED, 9)


def mot_text(entry: Entry) -> str:
    """A result file with ten columns in each line, its numbers as written.

    Raises `InputError` for lines, frames, ids and boxes that make no sense.
    """
    table = read_tracks(entry.result)
    _check(trajectories(table), entry)
    if (table.label > 1).any():
        frame = table.frame[table.label > 1][0]
        raise InputError(f"{entry.result} has another class than a pedestrian in frame {frame}")
    lines = []
    for _, line in numbered_lines(read_text(entry.result)):
        fields = [field.strip() for field in line.split(",")]
        lines.append(",".join([*fields, *_TEN_COLUMNS[len(fields) :]]) + "\n")
    return "".join(lines)


def scalabel_text(entry: Entry) -> str:
    """The frames of a BDD100K video as Scalabel JSON, also those without a label.

    Raises `InputError` as `mot_text` does, for a class that is not tracked, and when the number
    of frames is unknown.
    """
    labels = result_labels(entry.result, entry.name)
    _check(labels.boxes, entry)
    if odd := sorted({*labels.classes.tolist()} - {*CATEGORIES}):
        raise InputError(f"{entry.result} has {odd[0]!r}, which is none of {', '.join(CATEGORIES)}")
    rows = rows_by_frame(labels.boxes.frames)
    frames = [
        {
            "name": f"{entry.name}-{number:07d}.jpg", "videoName": entry.name,
            "frameIndex": number - 1,
            "labels": [
                {
                    "id": str(labels.boxes.ids[row]), "category": str(labels.classes[row]),
                    "box2d": _box2d(labels.boxes.ltwh[row]),
                }
                for row in rows.get(number, ())
            ],
        }
        for number in range(1, _frames(entry) + 1)
    ]  # fmt: skip
    return json.dumps(frames, separators=(",", ":")) + "\n"


def _box2d(ltwh: Doubles) -> dict[str, float]:
    left, top, width, height = ltwh.round(4).tolist()
    return {"x1": left, "y1": top, "x2": round(left + width, 4), "y2": round(top + height, 4)}


def _frames(entry: Entry) -> int:
    if entry.length:
        return entry.length
    if entry.result.suffix != ".json":
        raise InputError(
            f"the number of frames of {entry.name} is unknown; give --root, the folder that holds "
            "the split's images"
        )
    frames = video_frames(entry.result, entry.name)
    last = max((frame.index for frame in frames), default=-1)
    if last + 1 != len(frames):
        raise InputError(
            f"{entry.result} has {len(frames)} frames up to frameIndex {last}; servers want all of "
            "them, also without labels, or give --root"
        )
    return len(frames)


def _check(boxes: Trajectories, entry: Entry) -> None:
    check(boxes, entry.length or last_frame(boxes), str(entry.result))
    if (boxes.ids < 0).any():
        bad = boxes[boxes.ids < 0]
        raise InputError(f"{entry.result} has id {bad.ids[0]} in frame {bad.frames[0]}; ids are 0 "
                         "or more")  # fmt: skip


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
