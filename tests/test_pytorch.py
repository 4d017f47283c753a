"""Devices by name, and PyTorch files that are read without running what is in them."""

from __future__ import annotations

import argparse
import subprocess
import sys

import numpy as np
import pytest
import torch
from torchvision.ops import roi_align

from helpers.scenes import RunsCode
from tfsasm.errors import InputError, WeightsError
from tfsasm.pytorch import (
    beside,
    download,
    find_device,
    read_checkpoint_file,
    read_state_dict,
    side_queue,
    uploads_beside,
    whole_float32,
    without_compiler,
)


def test_a_device_is_found_by_its_name():
    assert find_device("cpu") == torch.device("cpu")
    assert find_device("auto").type in ("cpu", "cuda")


@pytest.mark.parametrize("name", ["cuda:9", "gpu", "cuda:x", ""])
def test_a_device_that_is_not_there_is_refused_in_one_line(name):
    with pytest.raises(InputError, match="give cpu, or auto for what there is") as caught:
        find_device(name)
    assert repr(name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("device", "inside"), [("cuda", False), ("cpu", True)])
def test_convolutions_of_float32_are_whole_on_a_gpu(device, inside):
    assert torch.backends.cudnn.allow_tf32  # PyTorch's own default
    with whole_float32(torch.device(device)):
        assert torch.backends.cudnn.allow_tf32 is inside
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_frames_go_to_a_device_and_back(device):
    """On a CPU without a queue and without a copy."""
    place = torch.device(device)
    queue = side_queue(place)
    assert (queue is None) == (device == "cpu")
    frames = [np.arange(24, dtype=np.uint8).reshape(2, 4, 3)[::-1], np.full((1, 2, 3), 7, np.uint8)]
    tensors = uploads_beside(frames, place, queue)
    assert {tensor.device.type for tensor in tensors} == {device}
    with beside(queue):
        for tensor, frame in zip(tensors, frames, strict=True):
            np.testing.assert_array_equal(download(tensor), frame)


@pytest.mark.cuda
def test_a_copy_to_a_gpu_does_not_wait_for_what_is_computed_there():
    place = torch.device("cuda")
    queue, done = side_queue(place), torch.cuda.Event()
    frame, x = np.full((1080, 1920, 3), 7, np.uint8), torch.rand(8192, 8192, device=place)
    uploads_beside([frame], place, queue)  # buffers are made
    torch.cuda.synchronize()
    for _ in range(100):
        x = x @ x
    done.record()
    [tensor] = uploads_beside([frame], place, queue)
    queue.synchronize()
    assert not done.query()
    assert bool((tensor == 7).all())  # asked for behind the products


def test_tensors_and_plain_values_are_read(tmp_path):
    state = {"model": {"a": torch.arange(3)}, "args": argparse.Namespace(lr=0.1), "epoch": 4}
    torch.save(state, tmp_path / "file.pth")
    loaded = read_checkpoint_file(tmp_path / "file.pth")
    assert loaded["args"].lr == 0.1
    assert loaded["epoch"] == 4
    assert list(read_state_dict(tmp_path / "file.pth")) == ["a"]


def test_a_bare_state_dict_is_one_too(tmp_path):
    torch.save({"a": torch.arange(3)}, tmp_path / "file.pth")
    assert torch.equal(read_state_dict(tmp_path / "file.pth")["a"], torch.arange(3))


def test_code_is_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": RunsCode("never")}, tmp_path / "file.pth")
    with pytest.raises(WeightsError, match="could run code when loaded; refused"):
        read_checkpoint_file(tmp_path / "file.pth")
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(("content", "message"), [
    pytest.param(None, "no checkpoint at", id="missing"),
    pytest.param(b"", "is truncated or not a PyTorch checkpoint", id="empty"),
    pytest.param(b"hello" * 99, "not a PyTorch checkpoint", id="text"),
    pytest.param(b"broken\n", "not a PyTorch checkpoint", id="text that begins as a pickle"),
    pytest.param(b"\x80\x02G\x00.", "not a PyTorch checkpoint", id="a pickle cut in a number"),
    pytest.param(b"PK\x03\x04" * 99, "is truncated or not a PyTorch checkpoint", id="half a zip"),
])  # fmt: skip
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, content, message):
    path = tmp_path / "file.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught:
        read_checkpoint_file(path)
    assert str(path) in str(caught.value)
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize(("content", "message"), [
    pytest.param([1], "holds no state dict", id="a list"),
    pytest.param({"model": {}}, "holds no state dict", id="nothing"),
    pytest.param({"epoch": 3}, "'epoch' names no tensor", id="other values"),
])  # fmt: skip
def test_a_file_without_a_state_dict_is_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(WeightsError, match=message):
        read_state_dict(tmp_path / "file.pth")


@pytest.mark.slow
def test_a_network_is_made_without_what_compiles_networks():
    """PyTorch's compiler and Triton take a second or two of every start."""
    code = """
import sys
from tfsasm.motrv2.config import tiny
from tfsasm.motrv2.model import MOTRv2
MOTRv2(tiny().model)
print([name for name in sys.modules if name.startswith(("torch._dynamo", "triton"))])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_torchvision_still_has_what_it_needs_of_the_compiler():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("torch._dynamo", "torch._dynamo.utils"):
            patch.delitem(sys.modules, name, raising=False)
        with without_compiler():
            from torch._dynamo.utils import is_compile_supported
        assert "torch._dynamo" not in sys.modules
    from torch._dynamo.utils import is_compile_supported as theirs

    assert is_compile_supported is not theirs
    assert is_compile_supported("cpu") == theirs("cpu")
    assert roi_align(torch.ones(1, 1, 8, 8), [torch.tensor([[0.0, 0.0, 8.0, 8.0]])], 2).mean() == 1


def test_what_compiles_networks_is_left_alone_where_it_is_loaded(monkeypatch):
    loaded = object()
    monkeypatch.setitem(sys.modules, "torch._dynamo", loaded)
    with without_compiler():
        assert sys.modules["torch._dynamo"] is loaded
    assert sys.modules["torch._dynamo"] is loaded


def test_a_dictionary_that_holds_itself_is_refused(tmp_path):
    endless = {}
    endless["model"] = endless
    torch.save(endless, tmp_path / "file.pth")
    with pytest.raises(WeightsError, match="names no tensor"):
        read_state_dict(tmp_path / "file.pth")


@pytest.mark.parametrize("tensor", [
    pytest.param(lambda: torch.eye(3).to_sparse(), id="sparse"),
    pytest.param(lambda: torch.quantize_per_tensor(torch.ones(3), 1, 0, torch.qint8), id="coded"),
    pytest.param(lambda: torch.nested.as_nested_tensor([torch.ones(2)]), id="ragged"),
    pytest.param(lambda: torch.ones(3, device="meta"), id="without numbers"),
    pytest.param(lambda: torch.ones(3, dtype=torch.complex64), id="complex"),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*prototype", "ignore:.*deprecated")
def test_tensors_of_other_kinds_are_refused(tmp_path, tensor):
    torch.save({"model": {"a": tensor()}}, tmp_path / "file.pth")
    with pytest.raises(WeightsError, match="a is no plain table of numbers"):
        read_state_dict(tmp_path / "file.pth")


def test_a_view_that_repeats_a_number_takes_no_memory(tmp_path):
    torch.save({"model": {"a": torch.zeros(1).expand(10**12)}}, tmp_path / "file.pth")
    with pytest.raises(InputError, match="times its size when unpacked"):
        read_state_dict(tmp_path / "file.pth")
