"""Sessions of ONNX Runtime and OpenVINO: for exported networks, YOLOX and re-identification."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfsasm.errors import InputError
from tfsasm.limits import file_stand_in

Graph = Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]]
"""Arrays by the names of the inputs to those of the outputs, in order."""

Opener = Callable[[Path, list[str], list[str]], Graph]
"""Opens a file that must have these inputs and outputs."""

AGAIN = "make it again with tfsasm export"

_CUDA, _PROCESSOR = "CUDAExecutionProvider", ("CPUExecutionProvider",)

log = logging.getLogger(__name__)


def import_onnxruntime(user: str) -> Any:
    """ONNX Runtime, which is an extra. Raises `InputError` saying how to install it for `user`."""
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f"{user} needs onnxruntime: pip install onnxruntime") from error
    return onnxruntime


def onnx_session(
    path: Path, *, user: str, mend: str, threads: int = 1,
    providers: Sequence[Any] = _PROCESSOR, outputs: Sequence[str] = (),
) -> Any:
    """An `onnxruntime.InferenceSession` with `threads` threads that do not spin while idle.

    `user` is what needs it and `mend` what helps when the file is damaged, both in words. The
    activations `outputs`, by name, are outputs beside the file's own. Raises `InputError` when ONNX
    Runtime or a provider is missing, or the file cannot be read.
    """
    onnxruntime = import_onnxruntime(user)
    if not path.is_file():
        raise InputError(f"{path} does not exist; {user} needs that file")
    if what := file_stand_in(path):
        raise InputError(f"{path} is {what}")
    known = onnxruntime.get_available_providers()
    if absent := [name for name in providers if isinstance(name, str) and name not in known]:
        raise InputError(f"onnxruntime has no {', '.join(absent)} here; it has {', '.join(known)}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle threads would spin on the cores that the tracker and the video are waiting for.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        graph = path.read_bytes() + _as_outputs(outputs) if outputs else path
        return onnxruntime.InferenceSession(graph, options, providers=list(providers))
    except Exception as error:  # onnxruntime's errors share no base of their own
        raise _unreadable(path, error, mend) from error


def _as_outputs(names: Sequence[str]) -> bytes:
    """What makes these activations outputs of the ONNX model behind whose bytes it stands.

    Protocol buffers that stand behind one another are merged, and their lists joined: this is a
    model (the graph is field 7) of nothing but outputs (field 12) of a name (field 1). Names are
    so short that each length is one byte.
    """

    def message(field: int, body: bytes) -> bytes:
        return bytes([field << 3 | 2, len(body)]) + body

    return b"".join(message(7, message(12, message(1, name.encode()))) for name in names)


def providers_on(device: str, user: str, otherwise: str) -> list[Any]:
    """Where ONNX Runtime computes what others compute on `device`, in order of preference.

    On an NVIDIA GPU (cuda, cuda:1 ..., or auto) if this onnxruntime can, else on the processor,
    with a warning if the GPU was asked for: what `user` does slowly, and the mend in `otherwise`.
    Raises `InputError` without onnxruntime, and for what is no device of PyTorch's (`gpu`, `0`).
    """
    known = import_onnxruntime(user).get_available_providers()
    name, _, number = device.partition(":")
    if name not in ("auto", "cpu", "cuda", "mps", "xpu") or not (number or "0").isdigit():
        raise InputError(f"no device {device!r} for {user}; give cpu, cuda, cuda:1 ..., or auto")
    if name == "cuda" and _CUDA not in known:
        log.warning("%s runs on the processor, for this onnxruntime has no %s: %s", user, _CUDA,
                    otherwise)  # fmt: skip
    if name in ("cuda", "auto") and _CUDA in known:
        return [(_CUDA, {"device_id": number or "0"}), *_PROCESSOR]
    return list(_PROCESSOR)


def onnx_opener(threads: int, device: str) -> Opener:
    """Opens ONNX files of exported networks with ONNX Runtime, `threads` of it for each.

    `device` is auto or cpu, or cuda, cuda:1, tensorrt ... where this onnxruntime has a provider of
    that name. Raises `InputError` when onnxruntime or the device is missing.
    """
    user = "the runtime onnx"
    providers = _providers(device, import_onnxruntime(user).get_available_providers())

    def open_graph(path: Path, inputs: list[str], outputs: list[str]) -> Graph:
        session = onnx_session(
            path, user=user, mend=AGAIN, threads=threads, providers=providers
        )
        _check_names(path, "inputs", inputs, [one.name for one in session.get_inputs()])
        _check_names(path, "outputs", outputs, [one.name for one in session.get_outputs()])
        return lambda arrays: session.run(outputs, arrays)

    return open_graph


def _providers(device: str, known: Sequence[str]) -> list[Any]:
    name, _, number = device.partition(":")
    if name in ("auto", "cpu") and not number:
        return list(_PROCESSOR)
    wanted = f"{name}executionprovider".lower()
    found = next((provider for provider in known if provider.lower() == wanted), None)
    if found is None or not (number or "0").isdigit():
        raise InputError(
            f"no device {device!r} in this onnxruntime, which has {', '.join(known)}; give cpu"
        )
    return [(found, {"device_id": int(number or 0)}), *_PROCESSOR]


def openvino_opener(threads: int, device: str) -> Opener:
    """Opens OpenVINO and ONNX files with OpenVINO, in float32.

    `device` is auto or cpu, or another that OpenVINO finds. Raises `InputError` when OpenVINO or
    the device is missing.
    """
    try:
        import openvino
    except ImportError as error:
        raise InputError(
            'the runtime openvino needs OpenVINO: pip install "tfsasm[openvino]"'
        ) from error
    core = openvino.Core()
    place = "CPU" if device == "auto" else device.upper()
    if place not in core.available_devices:
        known = ", ".join(name.lower() for name in core.available_devices)
        raise InputError(f"no device {device!r} in this OpenVINO, which has {known}")
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # by default bfloat16 where the processor has it
    }
    if place == "CPU":
        settings |= {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}

    def compiled(model: Any) -> Any:
        return core.compile_model(model, place, settings).create_infer_request()

    def open_graph(path: Path, inputs: list[str], outputs: list[str]) -> Graph:
        try:
            model = core.read_model(path)
            _check_names(path, "inputs", inputs, [port.any_name for port in model.inputs])
            _check_names(path, "outputs", outputs, [port.any_name for port in model.outputs])
            any_size = compiled(model)
        except InputError:
            raise
        except Exception as error:
            raise _unreadable(path, error, AGAIN) from error
        sized: dict[tuple[int, ...], Any] = {}

        def run(arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
            request = any_size
            if inputs == ["image"]:  # a third quicker for one known size: that of the first image
                shape = arrays["image"].shape
                if not sized:
                    model.reshape(list(shape))
                    sized[shape] = compiled(model)
                request = sized.get(shape, any_size)
            results = request.infer(dict(arrays), share_inputs=True)
            return [results[name] for name in outputs]

        return run

    return open_graph


OPENERS = {"onnx": onnx_opener, "openvino": openvino_opener}


def _unreadable(path: Path, error: Exception, mend: str) -> InputError:
    return InputError(f"{path} cannot be opened: {last_line(error)}; {mend}")


def last_line(error: Exception) -> str:
    """What an error of a runtime says in the end, where it says it plainly."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


def _check_names(path: Path, what: str, wanted: list[str], found: list[str]) -> None:
    if sorted(found) != sorted(wanted):
        raise InputError(
            f"{path} has the {what} {', '.join(found)}, not {', '.join(wanted)}: it is not of this "
            f"export; {AGAIN}"
        )
