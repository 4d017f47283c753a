"""Object detectors of Hugging Face `transformers` (RT-DETR, D-FINE, DETR, YOLOS ...) as they are.

The model's own image processor prepares the image and reads the outputs, so each is run as its
authors mean it. Weights must be whole: the library would fill what a file lacks with noise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfsasm.detection.live import Detected, LiveDetector, LiveSettings, kept
from tfsasm.errors import InputError, WeightsError
from tfsasm.tables import Image

if TYPE_CHECKING:
    import torch


PREFIX = "hf:"
"""What the name of such a detector begins with: `hf:OWNER/NAME`, `hf:./folder`."""


@dataclass(frozen=True)
class HuggingFaceSettings(LiveSettings):
    """Which boxes of a Hugging Face model are kept."""

    labels: tuple[str, ...] = ("person",)
    """Wanted classes by the model's own labels, in any case."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.labels:
            raise InputError("labels must name at least one class, such as person")


class HuggingFaceDetector(LiveDetector):
    """A model as a source of proposals, by its name on the hub or its folder.

    Raises `InputError` when transformers is missing, for a model that cannot be had or is no object
    detector, and for labels it doesn't have; `WeightsError` for weights that are damaged or not
    whole.
    """

    def __init__(self, name: Path | str, settings: HuggingFaceSettings | None = None) -> None:
        from tfsasm.pytorch import find_device

        self.settings = settings or HuggingFaceSettings()
        self._name = str(name).removeprefix(PREFIX)
        self._device = find_device(self.settings.device)
        self._processor, model = load_whole(
            self._name, "AutoModelForObjectDetection", "object detector"
        )
        if not hasattr(self._processor, "post_process_object_detection"):
            kind = type(self._processor).__name__
            raise InputError(f"{self._name} has a {kind}, which cannot read boxes")
        self._classes = _classes(model.config.id2label, self.settings.labels, self._name)
        self.class_names = {n: str(model.config.id2label[n]) for n in self._classes.tolist()}
        self.model = model.float().eval().requires_grad_(False).to(self._device)

    def __repr__(self) -> str:
        return f"HuggingFaceDetector({self._name!r}, {', '.join(self.class_names.values())})"

    def find(self, image: Image) -> Detected:
        """See `LiveDetector.find`."""
        import torch

        height, width = image.shape[:2]
        rgb = np.ascontiguousarray(image[:, :, ::-1])
        inputs = self._processor(images=rgb, return_tensors="pt", input_data_format="channels_last")
        with torch.inference_mode():
            outputs = self.model(**inputs.to(self._device))
            (found,) = self._processor.post_process_object_detection(
                outputs, threshold=self.settings.score_threshold, target_sizes=[(height, width)]
            )
            wanted = torch.isin(found["labels"].cpu(), self._classes)
            scores = found["scores"].cpu()[wanted].numpy().astype(np.float32)
            xyxy = found["boxes"].cpu()[wanted].numpy().astype(np.float32)
            classes = found["labels"].cpu()[wanted].numpy().astype(np.int64)
        detected = Detected(xyxy, scores, classes).rows(np.argsort(-scores, kind="stable"))
        return kept(detected, self.settings, image)


def load_whole(name: str, kind: str, what: str) -> tuple[Any, Any]:
    """Image processor and model, whole, or an error that says why not.

    `name` is a folder or a name on the hub, `kind` the class of transformers that loads it, `what`
    is what the model should be, in words.
    """
    try:
        import transformers
    except ImportError as error:
        raise InputError(
            'Hugging Face models need transformers: pip install "tfsasm[hf]", or bring detections '
            "as a file"
        ) from error
    source = _source(name)
    try:
        with _quiet(transformers.utils.logging):
            processor = transformers.AutoImageProcessor.from_pretrained(source)
            model, about = getattr(transformers, kind).from_pretrained(
                source, output_loading_info=True
            )
    except ImportError as error:  # some models need another package, such as timm
        raise InputError(f"the model {name} needs more: {_first_line(error)}") from error
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{name} cannot be used as an {what}: {_first_line(error)}. Give "
            f"hf:OWNER/NAME of an {what} model, or hf:./FOLDER with its config.json, "
            "preprocessor_config.json and model.safetensors"
        ) from error
    except Exception as error:  # of safetensors and torch, which share no base
        raise WeightsError(f"the weights of {name} cannot be loaded: {error}") from error
    lacking = sorted(map(str, [*about["missing_keys"], *about["mismatched_keys"]]))
    if lacking:
        listing = "\n  ".join(lacking)
        raise WeightsError(
            f"the weights of {name} do not make a whole {what}; {len(lacking)} tensor(s) are "
            f"missing or of another shape:\n  {listing}"
        )
    return processor, model


def _source(name: str) -> str:
    """The folder or the name on the hub; what looks like a path must be there."""
    if name and Path(name).is_dir():
        return name
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name):
        raise InputError(f"there is no folder {name or '(nothing)'}; give hf:OWNER/NAME or "
                         "hf:./FOLDER")
    return name


def _classes(names: dict[int, str], wanted: tuple[str, ...], model: str) -> torch.Tensor:
    """Numbers of the wanted labels."""
    import torch

    by_label: dict[str, list[int]] = {}
    for number, label in names.items():
        by_label.setdefault(str(label).casefold(), []).append(int(number))
    if unknown := [label for label in wanted if label.casefold() not in by_label]:
        known = ", ".join(sorted({str(label) for label in names.values()}))
        raise InputError(
            f"{model} has no class {', '.join(unknown)}; set labels to some of: {known}"
        )
    return torch.tensor([n for label in wanted for n in by_label[label.casefold()]])


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """Without progress bars and warnings of transformers: what matters is said by us."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
