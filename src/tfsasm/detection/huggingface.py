"""Object detectors of Hugging Face `transformers` (RT-DETR, D-FINE, DETR, YOLOS ...) as they are.

The model's own image processor prepares the image and reads the outputs, so each is run as its
authors mean it. Weights must be whole: the library would fill what a file lacks with noise.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfsasm.detection.live import Detected, LiveDetector, LiveSettings
from tfsasm.errors import InputError, WeightsError
from tfsasm.tables import Image

PREFIX = "hf:"
"""What the name of such a detector begins with: `hf:OWNER/NAME`, `hf:./folder`."""

_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


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

    settings: HuggingFaceSettings

    def __init__(self, name: Path | str, settings: HuggingFaceSettings | None = None) -> None:
        from tfsasm.pytorch import find_device

        self.settings, self.notes = settings or HuggingFaceSettings(), []
        self.weights = name = str(name).removeprefix(PREFIX)
        self._device = find_device(self.settings.device)
        self._processor, model = load_whole(name, "AutoModelForObjectDetection", "object detector")
        if not hasattr(self._processor, "post_process_object_detection"):
            kind = type(self._processor).__name__
            raise InputError(f"{name} has a {kind}, which cannot read boxes")
        labels = {int(number): str(label) for number, label in model.config.id2label.items()}
        self.classes = _classes(labels, self.settings.labels, name)
        self.class_names = {number: labels[number] for number in self.classes}
        self.model = model.float().eval().requires_grad_(False).to(self._device)

    def candidates(self, image: Image) -> Detected:
        """See `LiveDetector.candidates`."""
        import torch

        height, width = image.shape[:2]
        rgb = np.ascontiguousarray(image[:, :, ::-1])
        inputs = self._processor(images=rgb, return_tensors="pt", input_data_format="channels_last")
        with torch.inference_mode():
            outputs = self.model(**inputs.to(self._device))
            (found,) = self._processor.post_process_object_detection(
                outputs, threshold=self.settings.score_threshold, target_sizes=[(height, width)]
            )
        detected = Detected(
            found["boxes"].cpu().numpy().astype(np.float32),
            found["scores"].cpu().numpy().astype(np.float32),
            found["labels"].cpu().numpy().astype(np.int64),
        )
        detected = detected[np.isin(detected.classes, self.classes)]
        return detected[np.argsort(-detected.scores, kind="stable")]


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
    if not (name and Path(name).is_dir()) and not _HUB_NAME.fullmatch(name):
        raise InputError(f"there is no folder {name or '(nothing)'}; give hf:OWNER/NAME or "
                         "hf:./FOLDER")
    try:
        with _quiet(transformers.utils.logging):
            processor = transformers.AutoImageProcessor.from_pretrained(name)
            model, about = getattr(transformers, kind).from_pretrained(
                name, output_loading_info=True
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


def _classes(names: dict[int, str], wanted: tuple[str, ...], model: str) -> tuple[int, ...]:
    """Numbers of the wanted labels."""
    folded = {number: label.casefold() for number, label in names.items()}
    if unknown := [label for label in wanted if label.casefold() not in folded.values()]:
        known = ", ".join(sorted(set(names.values())))
        raise InputError(
            f"{model} has no class {', '.join(unknown)}; set labels to some of: {known}"
        )
    return tuple(n for label in wanted for n, name in folded.items() if name == label.casefold())


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
