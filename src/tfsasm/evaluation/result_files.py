"""Which result belongs to which ground truth, and what stands alone."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tfsasm.datasets.bdd100k import find_videos, read_scalabel
from tfsasm.datasets.mot_folders import sequence_folders, video_name
from tfsasm.errors import InputError
from tfsasm.motchallenge import read_seqinfo

BDD100K = "bdd100k"

RECORD = "evaluation.json"

SCORES = "scores.json"


class Files(NamedTuple):
    """What a sequence is scored from."""

    truth: Path
    result: Path
    length: int | None
    """Frames; None when known from the boxes alone."""


def pair_files(
    root: Path, results: Path, dataset: str
) -> tuple[dict[str, Files], dict[str, str]]:
    """Files of the sequences that both sides have, and what is wrong with each of the others.

    `root` holds `NAME/gt/gt.txt` (splits may be between), for BDD100K label files. Raises
    `InputError` when a side has nothing at all, or the same name twice.
    """
    return (_pair_bdd100k if dataset == BDD100K else _pair_mot)(root, results)


def _pair_mot(root: Path, place: Path) -> tuple[dict[str, Files], dict[str, str]]:
    """The three copies of a MOT17 video have the same truth: a result under any of their names, or
    without the detector's, is one of that video.
    """
    folders: dict[str, Path] = {}
    for folder in sequence_folders("mot", root):
        if other := folders.get(folder.name):
            raise InputError(f"{other} and {folder} have the same name; give one split")
        folders[folder.name] = folder
    truths = {name: folder for name, folder in folders.items() if (folder / "gt/gt.txt").is_file()}
    videos = {video_name(name): folder for name, folder in truths.items()}
    results, problems = find_results(place, ".txt")
    with_result = {video_name(name) for name in (*results, *problems)}
    files = {}
    for name, result in results.items():
        there = truths.get(name) or videos.get(video_name(name))
        copies = [other for other in results if video_name(other) == name != other]
        if there is None:
            no_truth = f"{folders[name]} has no gt/gt.txt" if name in folders else ""
            problems[name] = f"no ground truth ({no_truth or 'no folder of that name'})"
        elif copies:
            problems[name] = f"{name}.txt and {copies[0]}.txt are results of the same video"
        else:
            info = there / "seqinfo.ini"
            try:
                length = read_seqinfo(info, "seqLength").length if info.is_file() else None
                files[name] = Files(there / "gt" / "gt.txt", result, length)
            except InputError as error:
                problems[name] = str(error)
    missing = [name for name in truths if video_name(name) not in with_result]
    return files, problems | {name: f"no result {name}.txt" for name in missing}


def _pair_bdd100k(root: Path, place: Path) -> tuple[dict[str, Files], dict[str, str]]:
    """Results are JSON or text per video, or one JSON of all."""
    truths = {one.name: (one.labels, one.length) for one in find_videos(root) if one.labels}
    problems: dict[str, str] = {}
    if place.is_file():
        results = dict.fromkeys(read_scalabel(place), place)
    else:
        results, problems = find_results(place, bdd100k_suffix(place))
    problems |= {name: f"no result {name}.json" for name in truths.keys() - {*results, *problems}}
    problems |= dict.fromkeys(results.keys() - truths.keys(), "no labels of that video")
    paired = {name: (*truths[name], result) for name, result in results.items() if name in truths}
    return {
        name: Files(truth, result, length) for name, (truth, length, result) in paired.items()
    }, problems


def find_results(folder: Path, suffix: str) -> tuple[dict[str, Path], dict[str, str]]:
    """Result files by sequence, and the sequences that have two.

    They are `NAME.txt` or, as TrackEval has them, `data/NAME.txt`; its summaries are no results,
    nor are the records in a folder of `tfsasm evaluate`.
    """
    if folder.is_file():
        raise InputError(f"{folder} is a file; give the folder of NAME{suffix} files")
    found: dict[str, Path] = {}
    twice: dict[str, str] = {}
    for path in _files(folder, suffix):
        if path.stem in found:
            twice[path.stem] = f"it has two results, {found[path.stem]} and {path}; keep one"
        found[path.stem] = path
    if not found:
        raise InputError(f"no result files NAME{suffix} in {folder}")
    return {name: path for name, path in found.items() if name not in twice}, twice


def bdd100k_suffix(folder: Path) -> str:
    """What the results in a folder are: Scalabel JSON if there is any, else MOT text."""
    return ".json" if _files(folder, ".json") else ".txt"


def _files(folder: Path, suffix: str) -> list[Path]:
    paths = sorted([*folder.glob(f"*{suffix}"), *folder.glob(f"data/*{suffix}")])
    return [
        path for path in paths
        if not path.name.startswith(".") and not path.stem.endswith("_summary")
        and path.name not in (RECORD, SCORES)
    ]  # fmt: skip


def result_file(folder: Path, name: str) -> Path:
    """Where the result of a sequence is, or will be."""
    return folder / f"{name}.txt"
