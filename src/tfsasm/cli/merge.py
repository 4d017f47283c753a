"""The options of commands over whole data sets and their results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tfsasm.files import write_text
from tfsasm.tracking.postprocess import MergeConfig, _targets, merge_text


@dataclass(frozen=True)
class Merge:
    """Join broken tracks after the fact. OFFLINE: it looks at the future of each track.

    A track is continued by the only one that begins within --max-gap frames after its end, if no
    other ended in that time. Scores of merged results are not those of an online tracker.

    Example: tfsasm merge --results results --output merged
    """

    results: Path
    """Result file, or folder of NAME.txt files."""
    output: Path
    """File or folder to write, as the input is one or the other."""
    min_gap: int = 20
    """Only gaps of more frames are bridged."""
    max_gap: int = 100
    """Only gaps of fewer frames are bridged."""
    block_from: int = 0
    """Gap in frames from which another start or end forbids a join, up to --max-gap. The released
    0 lets one forbid that could not be joined itself; --min-gap + 1 does not."""
    overwrite: bool = False
    """Replace output files that exist."""


def run_merging(job: Merge, console: Console) -> None:
    """Merge one file or all of a folder; everything is read before anything is written."""
    config = MergeConfig(job.min_gap, job.max_gap, job.block_from)
    targets = _targets(job)
    merged = {source: merge_text(source, config) for source in targets}
    for source, target in targets.items():
        text, before, after = merged[source]
        write_text(target, text)
        console.print(f"{source.stem}: {before} identities, {after} after merging", soft_wrap=True,
                      highlight=False)
    console.print(f"wrote {job.output}; merging looks at the future: this is an offline result",
                  soft_wrap=True)


def run(job: Merge, console: Console, errors: Console) -> int:
    """`tfsasm merge`."""
    run_merging(job, console)
    return 0
