"""`tfsasm submit`: results as a zip that the evaluation server of a benchmark takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from tfsasm.cli.options import OptionalFolder
from tfsasm.cli.progress import print_lines
from tfsasm.errors import InputError
from tfsasm.files import check_output


@dataclass(frozen=True, kw_only=True)
class Options:
    """Check results and pack them as the evaluation server of a benchmark takes them.

    Example: tfsasm submit --dataset dancetrack --results results --output tracker.zip
    """

    dataset: Literal["dancetrack", "mot17", "mot20", "sportsmot", "bdd100k"]
    """The benchmark."""
    results: Path
    """Folder of NAME.txt files; for BDD100K NAME.json, or text with the class in column 8."""
    output: Path
    """The .zip file."""
    root: OptionalFolder = None
    """Folder of the split that was tracked, for the lengths of its sequences, and for BDD100K for
    their names."""
    overwrite: bool = False
    """Replace the zip if it exists."""


def run(options: Options, console: Console, errors: Console) -> None:
    """Check all results, then write the zip."""
    from tfsasm.evaluation.submission import choose, members, sequence_lengths, write_zip

    if options.output.suffix.lower() != ".zip":
        raise InputError(f"{options.output} does not end in .zip; servers take nothing else")
    check_output(options.output, overwrite=options.overwrite)
    lengths = sequence_lengths(options.dataset, options.root) if options.root else {}
    entries = choose(options.dataset, options.results, lengths)
    write_zip(options.output, members(entries, options.dataset))
    print_lines(console, f"wrote {options.output} with {len(entries)} files")
    if unknown := sum(entry.length is None for entry in entries):
        console.print(
            f"the length of {unknown} sequences is not known, so frames after the end were not "
            "looked for; --root DIR, the folder of the split, has it", highlight=False,
        )  # fmt: skip
