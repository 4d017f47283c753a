"""Freed memory stays with the process: also when much of it lies free at once."""

import ctypes
import subprocess
import sys

import pytest

from tfsasm.runtime.allocator import give_freed_memory_back, keep_freed_memory, share_heaps

FAULTS = """
import resource, sys
import numpy as np
from tfsasm.runtime.allocator import keep_freed_memory
if not keep_freed_memory():
    sys.exit()
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [np.empty(int(sys.argv[1]), np.uint8) for _ in range(13)]
    for block in blocks:
        block[:: 1 << 12] = 1
    while blocks:
        del block, blocks[-1]
        block = None
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(size):
    """Of three times the same 13 blocks of so many bytes, allocated and freed."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, str(size)], check=True, capture_output=True, text=True
    )
    return [int(line) for line in done.stdout.split()]


def test_glibc_is_asked_never_to_give_memory_back(monkeypatch):
    """Not above the largest int either, which is what a large threshold would mean."""
    class Library:
        calls = []

        def mallopt(self, *how):
            self.calls.append(how)
            return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    monkeypatch.setattr(sys, "platform", "linux")
    assert keep_freed_memory()
    assert (-1, -1) in Library.calls  # M_TRIM_THRESHOLD


@pytest.mark.parametrize("size", [
    pytest.param(1 << 20, id="a little"),
    pytest.param(200 << 20, id="more than two gigabytes", marks=pytest.mark.slow),
])  # fmt: skip
def test_the_second_time_brings_in_no_pages(size):
    seen = faults(size)
    if not seen:
        pytest.skip("the C library is not glibc")
    assert max(seen[1:]) < seen[0] / 10


HELD = """
import ctypes, sys
from tfsasm.runtime.allocator import give_freed_memory_back

def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

blocks = [bytearray(100_000) for _ in range(1000)]  # below what has pages of its own
del blocks[:-1]
before = held()
print(give_freed_memory_back(), before - held())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for its memory")
def test_what_is_free_below_something_that_is_not_goes_back():
    done = subprocess.run(
        [sys.executable, "-c", HELD], check=True, capture_output=True, text=True
    )
    gave, size = done.stdout.split()
    if gave == "False":
        pytest.skip("the C library is not glibc")
    assert int(size) > 50e6


def test_other_systems_have_nothing_to_give_back(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not give_freed_memory_back()
    assert not share_heaps()


HEAPS = """
import ctypes, threading
from tfsasm.runtime.allocator import share_heaps
done = share_heaps()
malloc, end = ctypes.CDLL(None).malloc, threading.Barrier(9)
threads = [threading.Thread(target=lambda: (malloc(100), end.wait())) for _ in range(8)]
for thread in threads:
    thread.start()
end.wait()
library = ctypes.CDLL(None)
print(done, flush=True)
library.malloc_info(0, ctypes.c_void_p.in_dll(library, "stdout"))
library.fflush(None)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks the allocator of Linux")
def test_threads_share_two_heaps():
    done = subprocess.run(
        [sys.executable, "-c", HEAPS], check=True, capture_output=True, text=True
    )
    if not done.stdout.startswith("True"):
        pytest.skip("the C library is not glibc")
    assert 1 <= done.stdout.count("<heap nr=") <= 2
