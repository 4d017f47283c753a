"""What systems say about processes."""

import os
import subprocess
import sys

import pytest

from tfsasm.processes import foreign_load, peak_memory, peak_of


@pytest.mark.skipif(not hasattr(os, "getloadavg"), reason="Windows counts no load")
@pytest.mark.parametrize(("average", "threads", "others"), [(3.0, 2, 1.0), (1.5, 2, 0.0)])
def test_what_is_above_the_own_threads_is_the_load_of_others(monkeypatch, average, threads, others):
    monkeypatch.setattr(os, "getloadavg", lambda: (average, 9.0, 9.0))
    assert foreign_load(threads) == others


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such counts")
def test_the_peak_of_a_process_of_its_own_is_that_of_its_work():
    """Of memory that was given back, too: the bytes are gone when it is asked for."""
    held = bytearray(2**28)  # by this process, whose size that of others does not begin with
    assert len(held) < peak_memory()
    assert 2**27 < peak_of(bytearray, 2**27) < 2**27 + 2**26


def test_a_process_that_dies_is_an_error():
    with pytest.raises(RuntimeError, match="the process that measures memory died"):
        peak_of(os._exit, 3)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such counts")
def test_pages_that_are_written_to_are_counted():
    """In a process that has nothing yet: another one may have pages to use again."""
    code = "before = page_faults(); held = b'x' * 2**26; assert page_faults() > before"
    code = f"from tfsasm.processes import page_faults; {code}"
    subprocess.run([sys.executable, "-c", code], check=True)
