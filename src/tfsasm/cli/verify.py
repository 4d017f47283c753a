"""`tfsasm verify`: whether a checkpoint is whole and does the same in every variant."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from tfsasm.cli import FAILED, OK
from tfsasm.cli.options import Dataset, OptionalFolder, at_least
from tfsasm.cli.progress import print_lines
from tfsasm.errors import InputError
from tfsasm.files import check_outputs, sha256, write_json
from tfsasm.processes import check_threads

_DEFAULT = "exact,plain,fast-fp32,fast-bf16,onnx,openvino"


@dataclass(frozen=True)
class Options:
    """Check a checkpoint, and track a short video in every variant that this machine can run.

    Names, shapes and aliases of all tensors are checked. No checksum of a published file is known
    to compare with: SHA-256 is printed for you. Ends with code 1 where identities differ,
    or boxes but for half precision, or where nothing is tracked at all.

    Example: tfsasm verify --weights motrv2_dancetrack.pth
    """

    weights: str = "tiny"
    """The network: `tiny` (in the package), a .safetensors file or a published .pth file."""
    root: OptionalFolder = None
    """Folder of a data set: the first frames of its first sequence instead of a rendered video."""
    dataset: Annotated[Dataset, tyro.conf.arg(metavar="NAME")] = "dancetrack"
    """Its layout, as in `tfsasm evaluate`."""
    detections: Path | None = None
    """Its stored detections, as in `tfsasm evaluate`; by default det/det.txt of the sequence."""
    frames: int = 6
    """Frames of the video."""
    variants: Annotated[str, tyro.conf.arg(metavar="NAME,NAME")] = _DEFAULT
    """Which, the first one being what the others are compared with: exact, plain, fast-PRECISION,
    onnx, openvino."""
    json: Path | None = None
    """Write what was found here."""
    threads: int | None = None
    """Threads; by default what PyTorch chooses."""
    overwrite: bool = False
    """Replace the JSON file."""


def run(options: Options, console: Console, errors: Console) -> int:
    """Load, say what it is, run it in each variant, and print one table."""
    import torch

    from tfsasm.experiments.verify import advice, describe, recorded, rendered, verify
    from tfsasm.tracking.load import embedded

    check_outputs([options.json], overwrite=options.overwrite)
    at_least(options, 1, "frames")
    check_threads(options.threads, "--threads")
    if options.threads:
        torch.set_num_threads(options.threads)
    path = embedded("tiny") if options.weights == "tiny" else Path(options.weights)
    about, network = describe(path)
    digest = sha256(path)
    if options.detections and not options.root:
        raise InputError("--detections are of the sequence in --root, which is not given")
    print_lines(console, f"{options.weights}: {about}", f"SHA-256 {digest}")
    video = (
        recorded(options.dataset, options.root, options.detections, options.frames,
                 proposals=network.model.kind != "motr")
        if options.root else rendered(options.frames)
    )  # fmt: skip
    with console.status("") as status:
        found = list(verify(path, video, options.variants.split(","), status.update))
    table = Table("variant", "seconds a frame", "boxes", "identities", "boxes apart", "verdict")
    for one in found:
        values = ("", "", "", "") if one.absent else (
            f"{one.seconds:.3f}", str(one.boxes), "the same" if one.identities else "differ",
            f"{one.distance:.2g} px",
        )
        table.add_row(one.variant, *values, one.verdict)
    console.print(table)
    print_lines(console, *advice(found))
    if options.json:
        write_json(options.json, {
            "weights": options.weights, "sha256": digest, "network": about,
            "variants": [asdict(one) | {"verdict": one.verdict} for one in found],
        })  # fmt: skip
        print_lines(console, f"wrote {options.json}")
    return OK if all(one.good for one in found) else FAILED
