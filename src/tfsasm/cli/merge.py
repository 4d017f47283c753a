"""`tfsasm merge`: broken tracks joined and gaps filled, after the fact."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tfsasm.cli.progress import print_lines
from tfsasm.errors import InputError
from tfsasm.files import check_distinct, check_folder, check_output, write_text


@dataclass(frozen=True, kw_only=True)
class Options:
    """Join broken tracks and fill gaps after the fact. OFFLINE: it uses future frames.

    A track is continued by the only one that begins within --max-gap frames after its end, if no
    other ended in that time; or, with --corrections, as it was done by hand in the page. Scores of
    merged results are not those of an online tracker.

    Example: tfsasm merge --results results --output merged
    """

    results: Path
    """Result file, or folder of NAME.txt files."""
    output: Path
    """File or folder to write, as the input is one or the other."""
    min_gap: int = 20
    """Only gaps of more frames are bridged."""
    max_gap: int = 100
    """Only gaps of fewer frames are bridged; 0 joins nothing."""
    block_from: int = 0
    """Gap in frames from which another start or end forbids a join, up to --max-gap. The released
    0 lets one forbid that could not be joined itself; --min-gap + 1 does not."""
    interpolate: int = 0
    """Then, where a track is away for fewer frames, add boxes on the straight line, sorted by
    frame; 20 is ByteTrack's."""
    corrections: Path | None = None
    """Apply what the page has saved as NAME.corrections.json to one result file, instead."""
    overwrite: bool = False
    """Replace output files that exist."""


def run(options: Options, console: Console, errors: Console) -> None:
    """Merge one file or all of a folder; everything is read before anything is written.

    Raises `InputError` for what cannot be read or written.
    """
    from tfsasm.tracking import postprocess

    targets = _targets(options)
    if options.interpolate < 0:
        raise InputError(f"--interpolate is {options.interpolate}; give frames, or 0 for none")
    if options.corrections is None:
        config = postprocess.MergeConfig(options.min_gap, options.max_gap, options.block_from)
        merged = {source: postprocess.merge_text(source, config) for source in targets}
        how = "merging uses future frames"
    elif options.results.is_dir():
        raise InputError("--corrections are of one video; give its file as --results")
    else:
        corrections = postprocess.read_corrections(options.corrections)
        merged = {source: postprocess.corrected_text(source, corrections) for source in targets}
        how = "corrected by hand"
    for source, target in targets.items():
        text, before, after = merged[source]
        line = f"{source.stem}: {before} identities, {after} after merging"
        if options.interpolate:
            text, added = postprocess.with_gaps_filled(text, options.interpolate)
            line += f", {added} boxes added"
        write_text(target, text)
        print_lines(console, line)
    print_lines(console, f"wrote {options.output}; {how}: this is an offline result")


def _targets(options: Options) -> dict[Path, Path]:
    """Input file -> output file. Raises `InputError` for what cannot be read or written."""
    from tfsasm.evaluation.result_files import find_results

    results, output = options.results, options.output
    check_distinct([output], [results, options.corrections])
    if not results.is_dir():
        return {results: check_output(output, overwrite=options.overwrite)}
    sources, ambiguous = find_results(results, ".txt")
    for name, problem in ambiguous.items():
        raise InputError(f"{name}: {problem}")
    if output.is_file():
        raise InputError(f"{output} is a file; give a folder, as the input is one")
    check_folder(output)
    return {
        source: check_output(output / source.name, overwrite=options.overwrite)
        for source in sources.values()
    }
