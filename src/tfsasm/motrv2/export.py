"""The network as three graphs that run without PyTorch: encode, decode, interact.

What is unusual here: only what has weights is exported. The memory and the births and deaths stand
between decoding and interaction, and `tfsasm.runtime` does them in NumPy. All sizes are free: that
of the image, and the numbers of queries and tracks.
"""

import copy
import importlib.util
import logging
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import Dim

from tfsasm.errors import InputError
from tfsasm.files import check_folder, partial_folder
from tfsasm.motrv2.backbone import fold_batch_norms
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.deformable_attention import level_by_level, sample_by
from tfsasm.motrv2.fast.model import FastMOTRv2
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.network import class_scores, normalise
from tfsasm.motrv2.transformer import Features, Queries
from tfsasm.runtime.exported import (
    GRAPHS,
    MANIFEST,
    SUFFIXES,
    Manifest,
    level_names,
    names_of,
    write_manifest,
)

Format = Literal["onnx", "openvino"]

OPSET = 18
"""Old enough for most runtimes; GridSample came with 16."""

_ENDS = (".onnx", ".xml", ".bin")


class Encode(nn.Module):
    """RGB uint8 `[H, W, 3]`, resized, to one map `[1, h, w, C]` per level."""

    def __init__(self, model: MOTRv2) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Normalise, encode, and cut the tokens into maps, whose shapes say what they are."""
        features = self.model.encode(normalise(image.permute(2, 0, 1)[None]))
        levels = features.tokens.split([h * w for h, w in features.shapes], dim=1)
        return tuple(
            level.unflatten(1, shape) for level, shape in zip(levels, features.shapes, strict=True)
        )


class Decode(nn.Module):
    """Queries and the maps of `Encode` to what `step` needs of all predictions."""

    def __init__(self, model: MOTRv2) -> None:
        super().__init__()
        self.model = model

    def forward(self, content: Tensor, boxes: Tensor, levels: list[Tensor]) -> tuple[Tensor, ...]:
        """`class_scores`, boxes of the last and the first layer `[Q, 4]`, embeddings `[Q, C]`."""
        tokens = torch.cat([level.flatten(1, 2) for level in levels], dim=1)
        shapes = [(level.shape[1], level.shape[2]) for level in levels]
        answers = self.model.decode(Features(tokens, shapes), Queries(content, boxes))
        last = answers[-1]
        first_boxes = answers[0].boxes.clone()  # of a single layer, given out twice
        return class_scores(last.logits), last.boxes, first_boxes, last.embeddings


Graph = tuple[nn.Module, tuple[Any, ...], tuple[Any, ...]]
"""A part of the network, with inputs to follow it by and the sizes of them that are free."""


def graphs(model: MOTRv2) -> dict[str, Graph]:
    """The three parts of a network, by their names in an export."""
    width, levels = model.config.width, model.config.levels
    stored = model.learned_content.shape[1]  # of a query, which in MOTR has two vectors
    sides = [(12 + 3 * level, 13 + 4 * level) for level in range(levels)]  # no two alike
    maps = [torch.zeros(1, h, w, width) for h, w in sides]
    free_maps = [
        {1: Dim(f"{name}_height", min=2), 2: Dim(f"{name}_width", min=2)}
        for name in level_names(levels)
    ]
    image_sides = {0: Dim("height", min=65), 1: Dim("width", min=65)}
    # The exporter asks for the lower bounds. The graphs do not know them, and tests go below.
    queries, tracks = ({0: Dim(name, min=2)} for name in ("queries", "tracks"))
    content, boxes = torch.zeros(7, stored), torch.full((7, 4), 0.5)
    return {
        "encode": (Encode(model), (torch.zeros(97, 131, 3, dtype=torch.uint8),), (image_sides,)),
        "decode": (Decode(model), (content, boxes, maps), (queries, queries, free_maps)),
        "interact": (model.interaction, (content, boxes, torch.zeros(7, width)), (tracks,) * 3),
    }


def export(
    model: MOTRv2, network: NetworkConfig, folder: Path, kind: Format, *, overwrite: bool = False
) -> list[Path]:
    """Write the graphs of a network and the JSON beside them into `folder`; returns the files.

    They appear when all are done, and are checked by `onnx.checker`. The scale of images in the
    JSON is that of `network`. Raises `InputError` when packages are missing, or when the folder is
    not empty: with `overwrite` an earlier export in it is replaced, and nothing else.
    """
    check_packages(kind)
    if isinstance(model, FastMOTRv2):
        raise InputError("this network is for running only; load it with exact=True to export it")
    check_target(folder, overwrite=overwrite)
    model = copy.deepcopy(model).eval()
    model.backbone = fold_batch_norms(model.backbone)
    sample_by(level_by_level, model)
    with partial_folder(folder, "export") as made:
        for name, graph in graphs(model).items():
            _write(graph, made / name, kind, *names_of(name, model.config.levels))
        write_manifest(made, _manifest(model, network), {
            "made_by": "tfsasm", "opset": OPSET, "precision": "float32", "network": asdict(network),
        })  # fmt: skip
        # The record of an earlier export goes first, so that no half of it is ever used.
        for name in (MANIFEST, *(graph + end for graph in GRAPHS for end in _ENDS)):
            (folder / name).unlink(missing_ok=True)
        return [path.rename(folder / path.name) for path in sorted(made.iterdir())]


PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino"}
"""What runs each format."""


def check_packages(kind: Format) -> None:
    """Raises `InputError` that says how to install what an export needs."""
    wanted = ["onnx", "onnxscript"] + (["openvino"] if kind == "openvino" else [])
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        extras = "onnx,openvino" if kind == "openvino" else "onnx"
        raise InputError(
            f'an export to {kind} needs {" and ".join(missing)}: pip install "tfsasm[{extras}]"'
        )


def check_target(folder: Path, *, overwrite: bool) -> None:
    """Make `folder`. Raises `InputError` unless it is empty, or an export to be replaced."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give the name of a folder")
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / MANIFEST).is_file():
            raise InputError(f"{folder} holds other files; give a new or an empty folder")
        if not overwrite:
            raise InputError(f"{folder} holds an export; give another folder or --overwrite")
    check_folder(folder)


def _manifest(model: MOTRv2, network: NetworkConfig) -> Manifest:
    nothing = torch.zeros(1, model.learned_content.shape[1])  # a MOTR has no queries of detections
    proposal = getattr(model, "proposal_content", nothing)
    return Manifest(
        short_side=network.short_side,
        max_side=network.max_side,
        levels=model.config.levels,
        parameters=sum(p.numel() for p in model.parameters()),
        learned_content=model.learned_content.detach().numpy(),
        learned_boxes=model.learned_boxes.detach().numpy(),
        proposal_content=proposal.detach().numpy(),
        kind=model.config.kind,
        queries_per_track=model.config.queries_per_track,
    )


def _write(graph: Graph, stem: Path, kind: Format, inputs: list[str], outputs: list[str]) -> None:
    import onnx

    path = stem.with_suffix(SUFFIXES["onnx"])
    logging.getLogger("onnxscript").setLevel(logging.ERROR)  # it tells of every node it leaves
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, about itself
        module, given, free = graph
        followed = torch.export.export(module, given, dynamic_shapes=free, strict=False)
        torch.onnx.export(
            followed, (), path, input_names=inputs, output_names=outputs, opset_version=OPSET,
            dynamo=True, external_data=False, verbose=False,
        )  # fmt: skip
    onnx.checker.check_model(path, full_check=True)
    if kind == "openvino":
        import openvino

        # By default the weights would be rounded to float16.
        openvino.save_model(
            openvino.convert_model(path), stem.with_suffix(SUFFIXES[kind]), compress_to_fp16=False
        )
        path.unlink()
