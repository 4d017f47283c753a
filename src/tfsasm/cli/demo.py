"""`tfsasm demo`: real people by the default command, or a synthetic dance with scores."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tfsasm.cli import OK
from tfsasm.cli.progress import print_lines, progress
from tfsasm.errors import InputError
from tfsasm.files import check_folder, write_json

if TYPE_CHECKING:
    import supervision as sv

    from tfsasm.evaluation.metrics import Scores

RUNS = {"memory off": {"memory.capacity": "0"}, "memory on": {}}
"""What the runs change of the default method."""

CLIP = "people.mp4"
"""The clip in the package (NOTICE)."""

CONTENT = {"clip", "memory-off", "memory-on", "demo.mp4", "summary.json", CLIP}
"""What a demo leaves in its folder, beside the results that are called after `CLIP`."""

SCALE = 1.5
"""Of the drawn frames, so that boxes and labels are legible."""


@dataclass(frozen=True)
class Options:
    """Track a short clip of real people, as `tfsasm track` does; or a synthetic dance, with scores.

    Example: tfsasm demo
    """

    output: Path = Path("tfsasm-demo")
    """Folder for the clip and the results; replaced if it exists."""
    synthetic: bool = False
    """A synthetic dance by the query tracker, with and without the memory: scores, side by side."""
    seed: int = 11
    """Another seed, another dance."""
    frames: int = 160
    """Length of the dance."""
    weights: str = "tiny"
    """Its network: `tiny` (in the package), a .safetensors file or a published .pth file."""


def run(options: Options, console: Console, errors: Console) -> int:
    """Track the clip, or the dance. Raises `InputError` for a folder that is not a demo's."""
    output = empty_folder(options.output)
    if options.synthetic:
        return _dance(options, output, console, errors)
    from tfsasm.cli import track

    clip = output / CLIP
    shutil.copyfile(str(files("tfsasm") / "clips" / CLIP), clip)
    return track.run(track.Options(source=(str(clip),)), console, errors)


def _dance(options: Options, output: Path, console: Console, errors: Console) -> int:
    """Render, track twice, score, draw."""
    from tfsasm.datasets.synthetic.config import SceneConfig
    from tfsasm.datasets.synthetic.sequences import write_sequences
    from tfsasm.evaluation.result_files import Files, result_file
    from tfsasm.evaluation.score import score_files
    from tfsasm.evaluation.tables import scores_table

    scene = SceneConfig(
        width=512, height=384, frames=options.frames, kinds=("dance",), people=(5, 7)
    )
    (clip,) = write_sequences(output / "clip", 1, options.seed, scene)
    folders = {name: output / name.replace(" ", "-") for name in RUNS}
    with progress(errors) as bar:
        task = bar.add_task("tracking", total=2 * options.frames)
        tracks = {
            name: _track(clip, options.weights, RUNS[name], folder, lambda: bar.advance(task))
            for name, folder in folders.items()
        }
    truth = clip / "gt" / "gt.txt"
    files = {name: Files(truth, result_file(folder, clip.name), options.frames)
             for name, folder in folders.items()}  # fmt: skip
    scores = {name: score_files({clip.name: one}).report.combined for name, one in files.items()}
    _draw(clip, tracks, scores, output / "demo.mp4")
    summary = {
        "clip": {"seed": options.seed, "frames": options.frames},
        "runs": {name: of_run.to_json() for name, of_run in scores.items()},
    }
    write_json(output / "summary.json", summary)
    console.print(scores_table(scores, label="run"))
    print_lines(console, f"side by side: {output / 'demo.mp4'}",
                f"MOT files, clip and scores: {output}")  # fmt: skip
    return OK


def empty_folder(output: Path) -> Path:
    """An empty folder. An earlier demo is replaced; for anything else raises `InputError`."""
    if output.is_dir() and any(output.iterdir()):
        stem = Path(CLIP).stem
        names = {path.name for path in output.iterdir()}
        if others := sorted(n for n in names - CONTENT if not n.startswith(f"{stem}.")):
            raise InputError(f"{output} holds other files ({others[0]}); give another --output")
        shutil.rmtree(output)
    return check_folder(output)


def _track(
    clip: Path, weights: str, changes: Mapping[str, str], results: Path, advance: Callable[[], None]
) -> list[sv.Detections]:
    """The tracks of each frame, enlarged to be drawn; as they are in a MOT file in `results`."""
    from tfsasm.settings import with_settings
    from tfsasm.tracking.config import default
    from tfsasm.tracking.load import load
    from tfsasm.tracking.results import MotFile
    from tfsasm.tracking.run import track_video

    tracker = load(weights, with_settings(default(), changes))
    enlarged = []
    with MotFile(results / f"{clip.name}.txt") as file:
        for frame, tracks in track_video(tracker, clip / "img1", clip / "det" / "det.txt"):
            file.write(frame, tracks)
            enlarged.append(replace(tracks, xyxy=tracks.xyxy * SCALE))
            advance()
    return enlarged


def _draw(
    clip: Path, tracks: Mapping[str, list[sv.Detections]], scores: Mapping[str, Scores], path: Path
) -> None:
    """Both runs side by side, enlarged, their scores above."""
    import cv2

    from tfsasm.video.annotate import Annotator, side_by_side
    from tfsasm.video.source import open_video
    from tfsasm.video.writer import VideoWriter

    annotators = {name: Annotator() for name in tracks}
    off, on = (
        f"{name}: HOTA {of_run.HOTA:.1f}, IDF1 {of_run.IDF1:.1f}, {of_run.IDSW} switches"
        for name, of_run in scores.items()
    )
    with open_video(clip / "img1") as source, VideoWriter(path, source.rate or 20) as video:
        for index, frame in enumerate(source):
            large = cv2.resize(frame.image, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_CUBIC)
            left, right = (annotators[name].annotate(large, tracks[name][index]) for name in RUNS)
            video.write(side_by_side(left, right, (off, on)), frame.time)
