"""The options of commands over whole data sets and their results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from tfsasm.errors import InputError
from tfsasm.evaluation.submission import _lengths, choose, members, write_zip
from tfsasm.files import check_output


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


def run_submission(job: Submit, console: Console) -> None:
    """Check all results, then write the zip."""
    if job.output.suffix.lower() != ".zip":
        raise InputError(f"{job.output} does not end in .zip; servers take nothing else")
    check_output(job.output, overwrite=job.overwrite)
    chosen = choose(job.dataset, job.results, _lengths(job.dataset, job.root))
    write_zip(job.output, members(chosen, job.dataset))
    console.print(f"wrote {job.output} with {len(chosen)} files", soft_wrap=True, highlight=False)
    if unknown := sum(one.length is None for one in chosen):
        console.print(
            f"the length of {unknown} sequences is not known, so frames after the end were not "
            "looked for; --root DIR, the folder of the split, tells it", highlight=False,
        )  # fmt: skip


def run(job: Submit, console: Console, errors: Console) -> int:
    """`tfsasm submit`."""
    run_submission(job, console)
    return 0
