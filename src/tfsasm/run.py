"""What the commands do: open, track or train, write, and say what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import supervision as sv
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tfsasm import jobs
from tfsasm.chosen import Chosen, choose_for_video
from tfsasm.config import preset
from tfsasm.detect import ProposalSource, default_settings, detector, open_detections, yolox
from tfsasm.errors import InputError, TruncatedInput
from tfsasm.files import check_output
from tfsasm.outputs import JsonFile, MotFile, rows
from tfsasm.pipeline import Behind
from tfsasm.render import Annotator, VideoWriter
from tfsasm.video import Frame, Source, open_source

OK, TRUNCATED, INTERRUPTED = 0, 3, 130
_DRAWN_LATE = 4  # frames that wait at most to be drawn and encoded


@dataclass
class Summary:
    """What a run saw."""

    frames: int = 0
    identities: set[int] = field(default_factory=set)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    code: int = OK

    def lines(self, job: jobs.Track) -> Iterator[str]:
        """What to print at the end."""
        rate = self.frames / self.seconds if self.seconds else 0.0
        people = len(self.identities)
        yield f"{self.frames} frames, {people} identities, {rate:.1f} frames per second"
        for name in ("output", "mot_output", "json_output"):
            if getattr(job, name) and (self.frames or name != "output"):  # no frames, no video
                yield f"wrote {getattr(job, name)}"
        yield from self.notes


def track(job: jobs.Track, console: Console, errors: Console) -> int:
    """`tfsasm track`: one source through the tracker, results as they come."""
    _check_outputs(job)
    with ExitStack() as stack:
        source = stack.enter_context(open_source(
            job.source, start=job.start, end=job.end, stride=job.stride,
            order=preset(job.preset).order,
        ))  # fmt: skip
        proposals = proposals_of(job)
        chosen = choose_for_video(job)
        write = _open_outputs(job, source, chosen, stack)
        bar = stack.enter_context(progress_bar(errors, source.count, quiet=job.quiet))
        summary = _follow(chosen.follow(source, proposals), write, bar)
    summary.notes += proposals.report()
    for line in summary.lines(job):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    return summary.code


def _follow(
    tracked: Iterator[tuple[Frame, sv.Detections]],
    write: Callable[[Frame, sv.Detections], None], bar: Callable[[str], None],
) -> Summary:
    """Track to the end, to the damage or to Ctrl-C; what was done until then counts."""
    summary, began = Summary(), time.monotonic()
    try:
        for frame, tracks in tracked:
            write(frame, tracks)
            summary.frames += 1
            summary.identities.update(row.id for row in rows(tracks))
            rate = summary.frames / (time.monotonic() - began)
            bar(f"{rate:5.1f} fps {len(tracks):3} tracks")
    except TruncatedInput as cut:
        summary.code = TRUNCATED
        summary.notes.append(f"cut short: {cut}")
    except KeyboardInterrupt:
        summary.code = INTERRUPTED
        summary.notes.append("stopped; the files hold what was done so far")
    summary.seconds = time.monotonic() - began
    return summary


def _check_outputs(job: jobs.Track) -> None:
    """Refuse before any work what could not be done after it."""
    if job.threads is not None and job.threads < 1:
        raise InputError(f"--threads {job.threads} is not at least 1")
    if job.batch_encode < 1:
        raise InputError(f"--batch-encode {job.batch_encode} is not at least 1")
    outputs = [path for path in (job.output, job.mot_output, job.json_output) if path]
    if not outputs:
        raise InputError("nothing to write: give --output, --mot-output or --json-output")
    places = [path.resolve() for path in outputs]
    if len(set(places)) < len(places):
        raise InputError("two outputs have the same name; give each its own")
    inputs = (job.source, job.weights, job.detections, job.detector_weights)
    for given in (str(given) for given in inputs if given is not None):
        if Path(given).exists() and Path(given).resolve() in places:
            raise InputError(f"{given} is an input; write the output elsewhere")
    if job.output:
        VideoWriter(job.output, None, overwrite=job.overwrite)  # only looks: no frame, no file
    for path in (job.mot_output, job.json_output):
        if path:
            check_output(path, overwrite=job.overwrite)


def proposals_of(job: jobs.Track) -> ProposalSource:
    """Stored detections or a live detector, whichever was asked for."""
    if (job.detections is None) == (job.detector is None):
        raise InputError(
            "say where the boxes come from: --detections FILE or --detector yolox-nano"
        )
    if job.detections is not None:
        return open_detections(
            job.detections, source_name=str(Path(job.source).resolve()),
            skip_bad=job.skip_bad_detections,
        )  # fmt: skip
    name = str(job.detector)
    changes = job.detector_set
    if name in yolox.NAMES:  # it works beside the tracker, and leaves it a core
        changes = (f"threads={job.threads or max(1, torch.get_num_threads() // 2)}", *changes)
    # The devices of another runtime have names of their own.
    device = job.device if job.runtime == "torch" or job.device == "cpu" else "auto"
    settings = default_settings(
        name, score_threshold=job.detector_score, device=device, changes=changes
    )
    return detector(name, job.detector_weights, settings)


def _open_outputs(
    job: jobs.Track, source: Source, chosen: Chosen, stack: ExitStack
) -> Callable[[Frame, sv.Detections], None]:
    """One function that writes a frame to every output that was asked for."""
    sinks: list[Callable[[Frame, sv.Detections], None]] = []
    if job.mot_output:
        file = MotFile(
            job.mot_output, first_id=chosen.first_id, scores=chosen.scores,
            overwrite=job.overwrite,
        )  # fmt: skip
        sinks.append(stack.enter_context(file).write)
    if job.json_output:
        about = {"source": job.source, "fps": source.fps, **chosen.about}
        sinks.append(
            stack.enter_context(JsonFile(job.json_output, about, overwrite=job.overwrite)).write
        )
    if job.output:
        movie = stack.enter_context(
            VideoWriter(job.output, source.rate, overwrite=job.overwrite)
        )
        annotator = Annotator()

        def draw(frame: Frame, tracks: sv.Detections) -> None:
            movie.write(annotator.annotate(frame.image, tracks), frame.time)

        sinks.append(stack.enter_context(Behind(draw, _DRAWN_LATE)))

    def write(frame: Frame, tracks: sv.Detections) -> None:
        for sink in sinks:
            sink(frame, tracks)

    return write


@contextmanager
def progress_bar(
    errors: Console, total: int | None, *, quiet: bool = False
) -> Iterator[Callable[[str], None]]:
    """A function to call once per frame with a word on how it goes."""
    columns = (
        TextColumn("tracking"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[how]}"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=errors, disable=quiet) as bar:
        task = bar.add_task("", total=total, how="")
        yield lambda how: bar.update(task, advance=1, how=how)


def convert(job: jobs.Convert, console: Console, errors: Console) -> int:
    """`tfsasm convert`: load strictly, save."""
    from tfsasm.model.weights import load_model, save_model

    check_output(job.output, overwrite=job.overwrite)
    model, config = load_model(job.input)
    save_model(job.output, model, config, half=job.half)
    count = sum(p.numel() for p in model.parameters())
    console.print(f"wrote {job.output}: {count:,} parameters, {config.model.backbone}",
                  soft_wrap=True)
    return OK


def export(job: jobs.Export, console: Console, errors: Console) -> int:
    """`tfsasm export`: see `tfsasm.export`."""
    from tfsasm.export import run_export

    run_export(job, console)
    return OK


def synth(job: jobs.Synth, console: Console, errors: Console) -> int:
    """`tfsasm synth`: render sequences with a progress bar."""
    from tfsasm.data.synthetic import SceneConfig, write_sequences

    scene = SceneConfig(width=job.width, height=job.height, frames=job.frames)
    with Progress(console=errors) as bar:
        task = bar.add_task("sequences", total=job.sequences)
        folders = write_sequences(
            job.output, job.sequences, job.seed, scene, overwrite=job.overwrite,
            progress=lambda done, _: bar.update(task, completed=done),
        )  # fmt: skip
    console.print(f"wrote {len(folders)} sequences of {job.frames} frames in {job.output}",
                  soft_wrap=True)
    return OK


def score_results(job: jobs.Score, console: Console, errors: Console) -> int:
    """`tfsasm score`: see `tfsasm.scoring`."""
    from tfsasm.scoring import run_scoring

    run_scoring(job, console, errors)
    return OK


def evaluate(job: jobs.Evaluate, console: Console, errors: Console) -> int:
    """`tfsasm evaluate`: see `tfsasm.evaluation`."""
    from tfsasm.evaluation import run_evaluation

    return run_evaluation(job, console, errors)


def compare(job: jobs.Compare, console: Console, errors: Console) -> int:
    """`tfsasm compare`: see `tfsasm.compare`."""
    from tfsasm.compare import run_comparison

    return run_comparison(job, console, errors)


def ablate(job: jobs.Ablate, console: Console, errors: Console) -> int:
    """`tfsasm ablate`: see `tfsasm.ablate`."""
    from tfsasm.ablate import run_ablation

    return run_ablation(job, console, errors)


def bench(job: jobs.Bench, console: Console, errors: Console) -> int:
    """`tfsasm bench`: see `tfsasm.benching`."""
    from tfsasm.benching import run_bench

    run_bench(job, console)
    return OK


def datasets(job: jobs.Datasets, console: Console, errors: Console) -> int:
    """`tfsasm datasets check`: see `tfsasm.data.check`."""
    from tfsasm.data.check import run_check

    return run_check(job, console, errors)


def show(job: jobs.Show, console: Console, errors: Console) -> int:
    """`tfsasm show`: see `tfsasm.show`."""
    from tfsasm.show import run_show

    run_show(job, console, errors)
    return OK


def submit(job: jobs.Submit, console: Console, errors: Console) -> int:
    """`tfsasm submit`: see `tfsasm.submit`."""
    from tfsasm.submit import run_submission

    run_submission(job, console)
    return OK


def detect(job: jobs.Detect, console: Console, errors: Console) -> int:
    """`tfsasm detect`: see `tfsasm.detecting`."""
    from tfsasm.detecting import run_detection

    return run_detection(job, console, errors)


def detections(job: jobs.Detections, console: Console, errors: Console) -> int:
    """`tfsasm detections`: see `tfsasm.detect.tools`."""
    from tfsasm.detect.tools import run_detections

    run_detections(job, console)
    return OK


def merge(job: jobs.Merge, console: Console, errors: Console) -> int:
    """`tfsasm merge`: see `tfsasm.merge`."""
    from tfsasm.merge import run_merging

    run_merging(job, console)
    return OK


def train(job: jobs.Train, console: Console, errors: Console) -> int:
    """`tfsasm train`: to the last step, from the last checkpoint if there is one."""
    from tfsasm.training import run_training

    return run_training(job, console)


def demo(job: jobs.Demo, console: Console, errors: Console) -> int:
    """`tfsasm demo`: see `tfsasm.demo`."""
    from tfsasm.demo import demo

    demo(job, console, errors)
    return OK


COMMANDS: dict[type, Callable[[Any, Console, Console], int]] = {
    jobs.Track: track,
    jobs.Convert: convert,
    jobs.Export: export,
    jobs.Synth: synth,
    jobs.Score: score_results,
    jobs.Evaluate: evaluate,
    jobs.Compare: compare,
    jobs.Ablate: ablate,
    jobs.Bench: bench,
    jobs.Datasets: datasets,
    jobs.Show: show,
    jobs.Submit: submit,
    jobs.Merge: merge,
    jobs.Train: train,
    jobs.Demo: demo,
    jobs.Detect: detect,
    jobs.Detections: detections,
}
