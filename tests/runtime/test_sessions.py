"""Where ONNX Runtime computes."""

from types import SimpleNamespace

import pytest

from tfsasm.errors import InputError
from tfsasm.runtime import sessions
from tfsasm.runtime.sessions import onnx_session, providers_on

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@pytest.fixture(params=["a build for GPUs", "a build without"])
def cuda(request, monkeypatch):
    """Whether onnxruntime has CUDA."""
    has = request.param == "a build for GPUs"
    known = ["TensorrtExecutionProvider", CUDA, CPU] if has else ["AzureExecutionProvider", CPU]
    library = SimpleNamespace(get_available_providers=lambda: known)
    monkeypatch.setattr(sessions, "import_onnxruntime", lambda user: library)
    return has


@pytest.mark.parametrize(("device", "number"), [
    ("auto", "0"), ("cuda", "0"), ("cuda:1", "1"), ("cpu", None), ("mps", None),
])  # fmt: skip
def test_a_detector_is_where_the_network_is_if_onnxruntime_can(cuda, caplog, device, number):
    found = providers_on(device, "YOLOX", "pip install onnxruntime-gpu")
    on_gpu = cuda and number is not None
    assert found == ([(CUDA, {"device_id": number}), CPU] if on_gpu else [CPU])
    warned = "YOLOX runs on the processor, for this onnxruntime has no CUDA" in caplog.text
    assert warned == (device.startswith("cuda") and not cuda)


@pytest.mark.parametrize("device", ["0", "gpu", "cuda:x"])
def test_what_is_no_device_is_not_taken_for_the_processor(cuda, device):
    with pytest.raises(InputError, match=f"no device '{device}' for YOLOX; give cpu, cuda, cuda:1"):
        providers_on(device, "YOLOX", "")


def test_a_provider_that_is_asked_for_and_missing_is_named(tmp_path):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "a.onnx"
    path.write_bytes(b"x")
    with pytest.raises(InputError, match=r"onnxruntime has no NoProvider here; it has .*CPU"):
        onnx_session(path, user="a test", mend="", providers=["NoProvider"])
