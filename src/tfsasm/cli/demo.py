"""`tfsasm demo`: real people by the default command, or a synthetic dance with scores."""

import shutil
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from rich.console import Console

from tfsasm.cli import OK
from tfsasm.cli.options import at_least
from tfsasm.cli.progress import print_lines, progress
from tfsasm.errors import InputError
from tfsasm.files import check_folder, write_json

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
    at_least(options, 1, "frames")
    at_least(options, 0, "seed")
    if options.synthetic:
        return _dance(options, console, errors)
    from tfsasm.cli import track

    clip = empty_folder(options.output) / CLIP
    shutil.copyfile(str(files("tfsasm") / "clips" / CLIP), clip)
    return track.run(track.Options(source=(str(clip),)), console, errors)


def _dance(options: Options, console: Console, errors: Console) -> int:
    """Render, track twice, score, draw both runs side by side, enlarged, their scores above."""
    import cv2

    from tfsasm.datasets.synthetic.config import SceneConfig
    from tfsasm.datasets.synthetic.sequences import write_sequences
    from tfsasm.evaluation.result_files import Files, result_file
    from tfsasm.evaluation.score import score_files
    from tfsasm.evaluation.tables import scores_table
    from tfsasm.settings import with_settings
    from tfsasm.tracking.config import default
    from tfsasm.tracking.load import load
    from tfsasm.tracking.results import MotFile
    from tfsasm.tracking.run import track_video
    from tfsasm.video.annotate import Annotator, side_by_side
    from tfsasm.video.source import open_video
    from tfsasm.video.writer import VideoWriter

    scene = SceneConfig(
        width=512, height=384, frames=options.frames, kinds=("dance",), people=(5, 7)
    )
    trackers = {
        name: load(options.weights, with_settings(default(), changes))
        for name, changes in RUNS.items()
    }  # before an earlier demo goes
    output = empty_folder(options.output)
    (clip,) = write_sequences(output / "clip", 1, options.seed, scene)
    tracked, scores = [], {}
    with progress(errors) as bar:
        task = bar.add_task("tracking", total=2 * options.frames)
        for name, tracker in trackers.items():
            path, enlarged = result_file(output / name.replace(" ", "-"), clip.name), []
            with MotFile(path) as file:
                for frame, tracks in track_video(tracker, clip / "img1", clip / "det" / "det.txt"):
                    file.write(frame, tracks)
                    enlarged.append(replace(tracks, xyxy=tracks.xyxy * SCALE))
                    bar.advance(task)
            tracked.append(enlarged)
            result = Files(clip / "gt" / "gt.txt", path, options.frames)
            scores[name] = score_files({clip.name: result}).report.combined
    off, on = (
        f"{name}: HOTA {of_run.HOTA:.1f}, IDF1 {of_run.IDF1:.1f}, {of_run.IDSW} switches"
        for name, of_run in scores.items()
    )
    left, right = Annotator(), Annotator()
    with (
        open_video(clip / "img1") as source,
        VideoWriter(output / "demo.mp4", source.rate or 20) as video,
    ):
        for frame, without, with_memory in zip(source, *tracked, strict=True):
            large = cv2.resize(frame.image, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_CUBIC)
            both = left.annotate(large, without), right.annotate(large, with_memory)
            video.write(side_by_side(*both, (off, on)), frame.time)
    write_json(output / "summary.json", {
        "clip": {"seed": options.seed, "frames": options.frames},
        "runs": {name: of_run.to_json() for name, of_run in scores.items()},
    })  # fmt: skip
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
