"""The options of commands over whole data sets and their results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from tfsasm.jobs.kinds import Dataset, OptionalFile, OptionalName
from tfsasm.jobs.shared import Crew, DataSet, Embedding, Following, Network, Tracked

COMPARED = "tfsasm,motrv2,bytetrack,ocsort,sort,botsort,cbiou"


@dataclass(frozen=True)
class Score:
    """Score result files with the official TrackEval, by the rules of their benchmark.

    Example: tfsasm score --gt clips --results results --json scores.json
    """

    gt: Path
    """Folder of sequences, each with gt/gt.txt; for BDD100K of one JSON per video."""
    results: Path
    """Folder of NAME.txt or data/NAME.txt files; for BDD100K NAME.json."""
    dataset: Annotated[Dataset | None, tyro.conf.arg(metavar="NAME")] = None
    """Whose rules: dancetrack, mot15, mot16, mot17, mot20, sportsmot, bdd100k or mot (nothing is
    forgiven). By default it is seen from the names, and said."""
    json: OptionalFile = None
    """Write the scores here as well."""
    csv: OptionalFile = None
    """Write them as a table: a line per sequence, and one for all combined."""
    plot: OptionalFile = None
    """Draw HOTA and its parts over the overlap threshold: .png, .pdf or .svg."""
    allow_missing: bool = False
    """Leave out sequences that cannot be scored, say why, and score the rest."""
    overwrite: bool = False
    """Replace output files that exist."""


@dataclass(frozen=True, kw_only=True)
class Evaluate(Following, Tracked):
    """Track a data set, several sequences at a time, and score the results.

    A run that was stopped or killed goes on when it is given again: what is finished is kept. Ends
    with code 1 when a sequence failed; the others are tracked and scored all the same. Without
    pictures only the appearance tracker runs, by motion alone.

    Example: tfsasm evaluate --root clips --output results --workers 2
    """


@dataclass(frozen=True, kw_only=True)
class Compare(Crew, Network, Embedding, DataSet):
    """Run trackers on the same frames and the same boxes, and score them by the same rules.

    The classic ones come from the package `trackers`. Without pictures only those run, and
    `appearance` by motion alone.

    Example: tfsasm compare --root clips --trackers tfsasm,motrv2,sort,ocsort --json comparison.json
    """

    trackers: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME,NAME")] = (COMPARED,)
    """Which: appearance, motion (the same without looks), tfsasm (the default preset), another
    preset (default, released, paper, motrv2), or sort, bytetrack, ocsort, botsort, cbiou. Each may
    have settings: appearance:kind=ema, default:capacity=0 or ocsort:lost_track_buffer=60. The first
    is what the others are compared with."""
    no_images: bool = False
    """Show nobody any pictures, also where there are some."""
    second_half: bool = False
    """The sequences are second halves, as ByteTrack's tools cut MOT17, and the detections those of
    whole videos: frame k is frame n//2+1+k of n."""
    min_score: float = 0.1
    """Boxes below this score are not handed over."""
    json: OptionalFile = None
    """Write scores, speed, parameters and gains here."""
    csv: OptionalFile = None
    """Write the scores as a table: a line per tracker and sequence."""
    plot: OptionalFile = None
    """Draw HOTA over milliseconds per frame: .png, .pdf or .svg."""
    output: OptionalFile = None
    """Folder for the result files, as TRACKER/NAME.txt."""
    workers: int = 1
    """Processes; each tracks a sequence at a time. More than the machine has cores distort the
    speed."""
    overwrite: bool = False
    """Replace output files that exist."""


@dataclass(frozen=True, kw_only=True)
class Ablate(Tracked):
    """Track a data set under every combination of some settings, and say which is best.

    The network sees each frame once, for all combinations. A run that was stopped or killed goes
    on when it is given again, and so does one with more values in its grid.

    Example: tfsasm ablate --root clips --grid capacity=0,5,10 min_travel=0,0.1 --output ablation
    """

    output: Path
    """Folder for a folder of result files per combination, and the tables and pictures of all:
    ablation.json, .csv and .png."""
    grid: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE,VALUE")]
    """Settings of the method and their values; a short name will do where it is the only one:
    capacity=0,5,10 for memory.capacity."""
    min_score: float = 0.0
    """Boxes below this score are not handed over."""
    metric: Literal["HOTA", "DetA", "AssA", "MOTA", "IDF1"] = "HOTA"
    """What the best combination is the best in."""
    against: OptionalName = None
    """The combination that the others are compared with, such as capacity=0; by default the first
    of the grid."""


@dataclass(frozen=True)
class Datasets:
    """Look at a data set: what is there, what is missing, what contradicts itself.

    Ends with code 1 when there is a problem; what may be meant is only noted.

    Example: tfsasm datasets check --root clips --json findings.json
    """

    action: tyro.conf.Positional[Literal["check"]]
    """What to do: check."""
    root: Path
    """Folder of the data set, of one of its splits, or of several data sets."""
    dataset: Annotated[Dataset | Literal["crowdhuman"] | None, tyro.conf.arg(metavar="NAME")] = None
    """dancetrack, mot15, mot16, mot17, mot20, sportsmot, mot (any MOT folders), bdd100k or
    crowdhuman; by default whatever is there."""
    split: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Its subfolder, such as train, val or test; by default all."""
    json: OptionalFile = None
    """Write all findings here as well."""
    overwrite: bool = False
    """Replace the JSON if it exists."""
    quiet: bool = False
    """No progress bar and no notes."""


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


@dataclass(frozen=True)
class Submit:
    """Check results and pack them as the evaluation server of a benchmark takes them.

    Example: tfsasm submit --dataset dancetrack --results results --output tracker.zip
    """

    dataset: Literal["dancetrack", "mot17", "mot20", "sportsmot", "bdd100k"]
    """Whose server."""
    results: Path
    """Folder of NAME.txt files; for BDD100K NAME.json, or text with the class in column 8."""
    output: Path
    """The .zip file."""
    root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the split that was tracked: tells the lengths of its sequences, and for BDD100K
    which there are."""
    overwrite: bool = False
    """Replace the zip if it exists."""
