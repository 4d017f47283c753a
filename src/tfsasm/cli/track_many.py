"""Several videos of `tfsasm track`, by processes or a Ray cluster, and on after a kill.

What is finished goes into a journal beside the results at once. Files that a killed or stopped run
left of other videos are written again. Results may go to an address of fsspec (s3://BUCKET/FOLDER,
gs://..., memory://...), where each appears when it is whole.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console

from tfsasm.cli import FAILED, INTERRUPTED, OK
from tfsasm.cli.options import EngineOptions, make_engine
from tfsasm.cli.progress import event_progress, print_lines
from tfsasm.cli.track_one import JOURNAL, Tracked, address_of, check, load_job, places, steps
from tfsasm.detection.detectors import Detector
from tfsasm.detection.run import Journal
from tfsasm.errors import InputError, TfsasmError
from tfsasm.experiments.pool import Advanced, Engine, Event, Finished, Streams, Work, run_sequences
from tfsasm.files import check_folder, sha256
from tfsasm.tracking.query import QueryTracker
from tfsasm.tracking.streams import Together
from tfsasm.video.addresses import public_address

if TYPE_CHECKING:
    from tfsasm.cli.track import Kind, Options

    Videos = Mapping[str, tuple[str, Mapping[Kind, Path]]]
    """By the name that is shown, the address of a video and the files of its results."""

_NO_MATTER = {"source", "overwrite", "quiet", *EngineOptions.__dataclass_fields__}
"""Options that do not decide what is in the files."""


def track_many(
    options: Options, sources: Sequence[str], console: Console, errors: Console,
    detector: Detector | None,
) -> int:
    """Track what is not done yet. Returns the exit code.

    Raises `InputError` for the journal of another run, unless it may be overwritten.
    """
    with ExitStack() as stack:
        here = options
        if address_of(options.output):  # each result goes there when it is whole
            named = options.mot_output or options.json_output
            if options.show or named or "images" in options.save:
                raise InputError("an address as --output takes the files of --save alone, without "
                                 "images or --show")  # fmt: skip
            here = replace(options, output=Path(stack.enter_context(TemporaryDirectory())))
        kept = [places(here, source) for source in sources]
        beside = next((path.parent for files in kept for path in files.values()), Path())
        weights = Path(options.weights) if options.weights else None
        engine = make_engine(options, (weights, options.detector_weights, options.embedder_weights))
        if options.streams > 1:
            engine = Streams(options.streams)
        writing = replace(options, overwrite=True)  # what a lost worker has left, too
        begun = (beside / JOURNAL).exists()  # then what is there is of that run, or refused
        check(writing if begun else options, sources, kept)
        names = [public_address(source) for source in sources]
        videos = dict(zip(names, zip(sources, kept, strict=True), strict=True))
        make = partial(_make_work, writing, weights, videos, detector)
        return _track_all(options, videos, make, engine, beside, console, errors)


def _track_all(
    options: Options, videos: Videos, make: Callable[[], Work], engine: Engine,
    beside: Path, console: Console, errors: Console,
) -> int:
    """`make` gives what tracks a video by its name; the journal is in the folder `beside`."""
    with _journal(options, videos, beside) as journal:
        todo = {
            name: _size(source) for name, (source, _) in videos.items()
            if name not in journal.finished
        }
        if done := len(videos) - len(todo):
            print_lines(console, f"{done} of {len(videos)} videos are done already")
        began, frames = 0.0, dict[str, int]()

        def note(event: Event) -> None:
            nonlocal began
            show(event)
            began = began or time.perf_counter()
            if isinstance(event, Advanced):
                frames[event.name] = event.done
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
    tracked: dict[str, Tracked] = {
        name: run.outcomes[name] for name in todo if name in run.outcomes
    }
    for name, one in tracked.items():
        print_lines(console, f"{name}: {one.lines[0]}", *one.lines[1:])
    if len(tracked) > 1:
        count = sum(frames.values())
        rate = count / (time.perf_counter() - began)
        print_lines(console, f"{count} frames together, {rate:.1f} frames per second")
    print_lines(console, *(f"failed: {name}: {why}" for name, why in run.failures.items()))
    print_lines(console, *dict.fromkeys(line for one in tracked.values() for line in one.report))
    if run.interrupted:
        print_lines(console, f"stopped; {journal.path} holds what is done, and the same command "
                             "goes on")  # fmt: skip
        return INTERRUPTED
    if run.failures:
        print_lines(console, f"{len(run.failures)} of {len(videos)} videos failed; "
                             f"{journal.path} holds what is done: the same command tries the "
                             "others again, and without it they are given up")  # fmt: skip
        return FAILED
    return next((one.code for one in tracked.values() if one.code), OK)


def _make_work(
    options: Options, weights: Path | None, videos: Videos, detector: Detector | None
) -> Work:
    """What tracks one of the videos; `weights` are those of the options, wherever they are."""
    here = replace(options, weights=str(weights or ""))
    loaded = load_job(here, [source for source, _ in videos.values()], detector)
    about = loaded.about | {"weights": options.weights} if weights else loaded.about
    together = Together(cast("QueryTracker", loaded.tracker)) if options.streams > 1 else None
    job = replace(loaded, options=options, about=about, together=together)
    address = address_of(options.output)

    def track(name: str) -> Generator[int, None, Tracked]:
        source, files = videos[name]
        own = replace(job, tracker=together.tracker()) if together else job
        with ExitStack() as stack:
            if address:
                folder = stack.enter_context(TemporaryDirectory())
                files = {kind: Path(folder, path.name) for kind, path in files.items()}
            for step in stack.enter_context(closing(steps(own, source, files))):
                if not isinstance(step, Tracked):
                    yield step.frames
                    continue
                lines = step.lines
                if address and step.code != INTERRUPTED:
                    upload(files.values(), address)
                    lines = tuple(line.replace(folder, public_address(address)) for line in lines)
                return replace(step, lines=lines, report=tuple(own.detector.report()))
        raise RuntimeError(f"{name} has no end")

    return track


@contextmanager
def _journal(
    options: Options, videos: Videos, beside: Path
) -> Iterator[Journal | RemoteJournal]:
    """What is done already, and whose files are there."""
    about = {name: value for name, value in asdict(options).items() if name not in _NO_MATTER}
    for name in ("weights", "detector_weights", "embedder_weights"):
        if about[name] and (file := Path(about[name])).is_file():
            about[name] = sha256(file)
    about["videos"] = [str(Path(name).absolute()) if Path(name).exists() else name
                       for name in videos]  # fmt: skip
    address = address_of(options.output)
    if address:
        about["output"] = public_address(address)
    about = json.loads(json.dumps(about, default=str))
    if address:
        results = {
            name: [path.name for path in files.values()] for name, (_, files) in videos.items()
        }
        yield RemoteJournal(address, about, results, overwrite=options.overwrite)
        return
    path = check_folder(beside) / JOURNAL
    with Journal(path, about, overwrite=options.overwrite) as journal:
        for name, (_, files) in videos.items():
            if name in journal.finished and not all(file.exists() for file in files.values()):
                del journal.finished[name]
        yield journal


def _size(source: str) -> int:
    """Something that grows with the length of a video, for the longest to be the first.

    It is not opened: what crashes a decoder must not crash this process.
    """
    path = Path(source)
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    return path.stat().st_size if path.is_file() else 0


# Results at an address


def upload(files: Iterable[Path], address: str) -> None:
    """Copy files to the folder at an address, each of which appears there when it is whole.

    Raises `InputError` when that is not possible.
    """
    system, folder = _opened(address)
    with _writing(address):
        system.makedirs(folder, exist_ok=True)
        for file in files:
            partial = f"{folder}/.{file.name}.partial"
            system.put_file(str(file), partial)
            system.mv(partial, f"{folder}/{file.name}")


class RemoteJournal:
    """The run at an address that `about` describes: an earlier one's, or a new one.

    A file there is whole, so what is there is done, once track.partial says that it is of this run.
    `results` are the files of each video. Raises `InputError` for files that are of no run or
    another one, unless they may be overwritten.
    """

    def __init__(
        self, address: str, about: Mapping[str, Any], results: Mapping[str, Sequence[str]], *,
        overwrite: bool,
    ) -> None:
        self.path = f"{public_address(address)}/{JOURNAL}"
        self._system, folder = _opened(address)
        self._place = f"{folder}/{JOURNAL}"
        with _writing(address):
            files = {file for names in results.values() for file in names}
            there = {file for file in files if self._system.exists(f"{folder}/{file}")}
            if not self._is_of(about, overwrite=overwrite):
                for place in (f"{folder}/{file}" for file in sorted(there)):
                    if not overwrite:
                        raise InputError(f"{place} exists; give another --output or --overwrite")
                    self._system.rm_file(place)
                there = set()
                self._system.makedirs(folder, exist_ok=True)
                self._system.pipe_file(self._place, json.dumps(about).encode())
        self.finished = {name: list[str]() for name, own in results.items() if there >= {*own}}

    def _is_of(self, about: Mapping[str, Any], *, overwrite: bool) -> bool:
        """Whether the run that was begun here is this one."""
        if not self._system.exists(self._place):
            return False
        with suppress(ValueError):
            if json.loads(self._system.cat_file(self._place)) == about:
                return True
        if overwrite:
            return False
        raise InputError(f"{self.path} is of another run; give its options to continue it, or "
                         "--overwrite to start over")  # fmt: skip

    def finish(self, video: str, notes: list[str]) -> None:
        """Its files are there."""
        self.finished[video] = notes

    def remove(self) -> None:
        """When all is done; results stay."""
        with _writing(self.path):
            self._system.rm_file(self._place)


def _opened(address: str) -> tuple[Any, str]:
    """The file system of an address, and the place there."""
    try:
        from fsspec.core import url_to_fs

        system, folder = url_to_fs(address)
    except (ImportError, ValueError, OSError) as error:
        raise InputError(
            f"cannot write to {public_address(address)}: {error}; pip install "
            '"tfsasm[remote]" knows s3:// and gs://'
        ) from error
    return system, str(folder).rstrip("/")


@contextmanager
def _writing(address: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write to {public_address(address)}: {error}") from error
