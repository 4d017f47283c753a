"""Results as a zip that the evaluation server of a benchmark takes.

Everything is checked before the zip appears, since servers allow few tries: every sequence is there
and no other, lines have the ten columns, numbers make sense, no id is twice in a frame. The same
results give the same bytes.

Where this is known from:

- DanceTrack (Codabench competition 14885): its README, "archive tracker folder, instead of txt
  files ... the folder name must be tracker". Without it the server says `Tracker file not found:
  res/tracker/dancetrack0003.txt` (issue 30 of its repository).
- MOT17 and MOT20: motchallenge.net/instructions, a .txt per sequence "in the archive's root
  folder", 10 values per line. MOT17 wants each video under the names of all three public detectors.
  Training sequences may come along; once they had to.
- SportsMOT: competition.md of its repository, "put directly in the root folder of your zip";
  anything but the 150 test sequences is refused ("not one-to-one matches").
- BDD100K: doc/source/evaluate.rst of bdd100k/bdd100k, a zip of a Scalabel JSON per video.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tfsasm.datasets.bdd100k import CATEGORIES, video_frames
from tfsasm.datasets.mot_folders import video_name
from tfsasm.datasets.sequences import sequences
from tfsasm.errors import InputError, first_few
from tfsasm.evaluation.bdd100k import result_labels
from tfsasm.evaluation.protocols import trajectories
from tfsasm.evaluation.result_files import bdd100k_suffix, find_results
from tfsasm.evaluation.trajectories import Trajectories, check, last_frame, rows_by_frame
from tfsasm.files import atomic_path, read_text, safe_path
from tfsasm.motchallenge import numbered_lines, read_tracks, with_commas
from tfsasm.tables import Doubles

_NAMED = 5  # names or problems that a message has before it only counts

_TEN_COLUMNS = (*[""] * 6, "1", "-1", "-1", "-1")  # what a line has where a file lacks it


DETECTORS = ("DPM", "FRCNN", "SDP")
"""MOT17 has each video three times, with the public detections of each."""


@dataclass(frozen=True)
class Server:
    """Sequences by name, with their number of frames where it is published."""

    wanted: Mapping[str, int | None]
    """The test split; empty where only the data set itself has it."""
    optional: Mapping[str, int | None] = field(default_factory=dict)
    """What may come along, all or nothing."""
    folder: str = ""
    """Where the files are inside the zip."""


_DANCETRACK = """
0003 0009 0011 0013 0017 0021 0022 0028 0031 0036 0038 0040 0042 0046 0048 0050 0054 0056 0059 0060
0064 0067 0070 0071 0076 0078 0084 0085 0088 0089 0091 0092 0093 0095 0100
"""

_MOT17_TEST = {"01": 450, "03": 1500, "06": 1194, "07": 500, "08": 625, "12": 900, "14": 750}

_MOT17_TRAIN = {"02": 600, "04": 1050, "05": 837, "09": 525, "10": 654, "11": 900, "13": 750}

_MOT20_TEST = {"04": 2080, "06": 1008, "07": 585, "08": 806}

_MOT20_TRAIN = {"01": 429, "02": 2782, "03": 2405, "05": 3315}

_SPORTSMOT = {  # video: its clips
    "-9kabh1K8UA": "008 009 010",
    "-hhDbvY5aAM": "001 002 005 006 007 008 009 011 012 600 602",
    "1UDUODIBSsc": "001 004 015 037 055 056 063 067 090 103 111 113 601 602 603 606 609 615",
    "2BhBRkkAqbQ": "002",
    "2ChiYdg5bxI": "039 044 046 058 067 072 086 115 120 128 135 136 600 601 602",
    "2Dnx8BpgUEs": "003 005 006 007",
    "2Dw9QNH5KtU": "001 003 004 007 008 012 014 018",
    "42VrMbd68Zg": "003 004 011 012",
    "6OLC1-bhioc": "001 003 005 007 008 009 011 012 013 014",
    "6oTxfzKdG6Q": "004 015",
    "7FTsO8S3h88": "001 004 005 006 007 008",
    "82WN8C8qJmI": "002 003 004 005 014",
    "8rG1vjmJHr4": "004 005 006 007 008 010",
    "9p0i81kAEwE": "002 003 006 007 008 009 010 013 014 015 018 019",
    "A4OJhlI6hgc": "001 002 003 005 601",
    "BdD9xu0E2H4": "003 004 006 010 011 013",
    "DjtFlW2eHFI": "614 616",
    "aAb0psypDj4": "003 006 008 009",
    "aVfJwdQxCsU": "001 007 015",
    "bQNDRprvpus": "001 003 005 007 008",
    "bhWjlAEICp8": "003 004 006 008 009 010 014 018",
    "czYZnO9QxYQ": "002 005 008 012 013 014 016 020",
    "foGDoBblREI": "002 008",
    "iF9bKPWdZlc": "001 003",
}

SERVERS = {
    "dancetrack": Server({f"dancetrack{name}": None for name in _DANCETRACK.split()},
                         folder="tracker/"),
    "mot17": Server({f"MOT17-{name}-{detector}": length
                     for name, length in _MOT17_TEST.items() for detector in DETECTORS},
                    {f"MOT17-{name}-{detector}": length
                     for name, length in _MOT17_TRAIN.items() for detector in DETECTORS}),
    "mot20": Server({f"MOT20-{name}": length for name, length in _MOT20_TEST.items()},
                    {f"MOT20-{name}": length for name, length in _MOT20_TRAIN.items()}),
    "sportsmot": Server({f"v_{video}_c{clip}": None
                         for video, clips in _SPORTSMOT.items() for clip in clips.split()}),
    "bdd100k": Server({}),
}  # fmt: skip


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
        fields = [field.strip() for field in with_commas(line).split(",")]
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
