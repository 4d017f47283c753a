"""Several videos of `tfsasm track`, by processes or a Ray cluster, and on after a kill.

What is finished goes into a journal beside the results at once. Files that a killed or stopped run
left of other videos are written again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tfsasm.cli import FAILED, INTERRUPTED, OK
from tfsasm.cli.options import EngineOptions
from tfsasm.cli.progress import event_progress, print_lines
from tfsasm.cli.remote import RemoteJournal, address_of
from tfsasm.cli.saving import Kind
from tfsasm.errors import InputError, TfsasmError
from tfsasm.experiments.pool import Advanced, Engine, Event, Finished, Work, run_sequences
from tfsasm.files import check_folder, sha256
from tfsasm.video.addresses import public_address

if TYPE_CHECKING:
    from tfsasm.cli.track import Options
    from tfsasm.cli.track_one import Tracked
    from tfsasm.detection.run import Journal

Videos = Mapping[str, tuple[str, Mapping[Kind, Path]]]
"""By the name that is shown, the address of a video and the files of its results."""

_NO_MATTER = {"source", "overwrite", "quiet", *EngineOptions.__dataclass_fields__}
"""Options that do not decide what is in the files."""


def journal_of(kept: Sequence[Mapping[Kind, Path]]) -> Path:
    """Where a run notes what is finished: beside the results of the first video."""
    return next(iter(kept[0].values())).parent / "track.partial"


def check_streams(options: Options) -> None:
    """Raises `InputError` for less than one of --streams, and for what several do not go with."""
    if options.streams < 1:
        raise InputError(f"--streams {options.streams} is not at least 1")
    if options.streams == 1:
        return
    if options.runtime != "torch":
        raise InputError(
            "--streams encode frames together, and an export encodes one at a time; give --workers "
            "for several processes, or --runtime torch"
        )
    others = {
        "--workers": (options.workers or 1) > 1, "--engine ray": options.engine == "ray",
        "--batch-encode": options.batch_encode > 1, "--show": options.show,
        "--dry-run": options.dry_run,
    }  # fmt: skip
    if given := [name for name, is_given in others.items() if is_given]:
        raise InputError(f"--streams and {given[0]} do not go together; leave one of them out")


@dataclass
class _Together:
    """How far all videos are, since the first was opened."""

    began: float | None = None
    frames: dict[str, int] = field(default_factory=dict)

    def note(self, event: Event) -> None:
        self.began = self.began or time.perf_counter()
        if isinstance(event, Advanced):
            self.frames[event.name] = event.done

    def line(self) -> str:
        count, spent = sum(self.frames.values()), time.perf_counter() - (self.began or 0.0)
        return f"{count} frames together, {count / spent:.1f} frames per second"


def track_many(
    options: Options, videos: Videos, make: Callable[[], Work], engine: Engine, console: Console,
    errors: Console,
) -> int:
    """Track what is not done yet. Returns the exit code.

    `make` gives what tracks one by its name. Raises `InputError` for the journal of another run,
    unless it may be overwritten.
    """
    with _journal(options, videos) as journal:
        todo = {
            name: _size(source) for name, (source, _) in videos.items()
            if name not in journal.finished
        }
        if done := len(videos) - len(todo):
            print_lines(console, f"{done} of {len(videos)} videos are done already")

        together = _Together()

        def note(event: Event) -> None:
            show(event)
            together.note(event)
            if isinstance(event, Finished):
                if event.value.code == INTERRUPTED:  # it is the only process, and ends in order
                    raise KeyboardInterrupt
                journal.finish(event.name, list(event.value.lines))

        try:
            with event_progress(errors, dict.fromkeys(todo), "videos", quiet=options.quiet) as show:
                run = run_sequences(list(todo), make, todo, engine, note)
        except TfsasmError:  # nothing could begin
            if not journal.finished:
                journal.remove()
            raise
    if not run.interrupted and not run.failures:
        journal.remove()
    tracked: list[tuple[str, Tracked]] = [
        (name, run.outcomes[name]) for name in todo if name in run.outcomes
    ]
    for name, one in tracked:
        print_lines(console, f"{name}: {one.lines[0]}", *one.lines[1:])
    if len(tracked) > 1:
        print_lines(console, together.line())
    print_lines(console, *(f"failed: {name}: {why}" for name, why in run.failures.items()))
    print_lines(console, *dict.fromkeys(line for _, one in tracked for line in one.report))
    if run.interrupted:
        print_lines(console, f"stopped; {journal.path} holds what is done, and the same command "
                             "goes on")  # fmt: skip
        return INTERRUPTED
    if run.failures:
        print_lines(console, f"{len(run.failures)} of {len(videos)} videos failed; "
                             f"{journal.path} holds what is done: the same command tries the "
                             "others again, and without it they are given up")  # fmt: skip
        return FAILED
    return next((one.code for _, one in tracked if one.code), OK)


def _journal(options: Options, videos: Videos) -> Journal | RemoteJournal:
    """What is done already, and whose files are there."""
    from tfsasm.detection.run import Journal

    about = _about(options, videos)
    if address := address_of(options.output):
        results = {
            name: [path.name for path in files.values()] for name, (_, files) in videos.items()
        }
        return RemoteJournal(address, about, results, overwrite=options.overwrite)
    path = journal_of([files for _, files in videos.values()])
    check_folder(path.parent)
    journal = Journal(path, about, overwrite=options.overwrite)
    for name, (_, files) in videos.items():
        if name in journal.finished and not all(file.exists() for file in files.values()):
            del journal.finished[name]
    return journal


def _about(options: Options, videos: Videos) -> dict[str, Any]:
    """What decides the results: the options, files of networks by their content, and the videos."""
    said = {name: value for name, value in asdict(options).items() if name not in _NO_MATTER}
    for name in ("weights", "detector_weights", "embedder_weights"):
        if said[name] and (file := Path(said[name])).is_file():
            said[name] = sha256(file)
    if address := address_of(options.output):
        said["output"] = public_address(address)
    given = {"videos": [str(Path(name).absolute()) if Path(name).exists() else name
                        for name in videos]}  # fmt: skip
    found: dict[str, Any] = json.loads(json.dumps(said | given, default=str))
    return found


def _size(source: str) -> int:
    """Something that grows with the length of a video, for the longest to be the first.

    It is not opened: what crashes a decoder must not crash this process.
    """
    path = Path(source)
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    return path.stat().st_size if path.is_file() else 0
