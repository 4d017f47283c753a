"""Ctrl-C and SIGTERM while packages load: one line, the shell's code, nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tfsasm

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(tfsasm.__file__).parents[1])}


def started(folder):
    """A command that has work for many seconds, at the moment that it answers signals."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tfsasm", "demo", "--output", folder / "demo"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=folder,
        # A suite that runs in the background has SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    while not caught(process.pid) >> (signal.SIGTERM - 1) & 1:
        assert process.poll() is None
        time.sleep(0.002)
    return process


def caught(process):
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("SigCgt:")[1].split()[0], 16)


def ended_by(number, after, folder):
    process = started(folder)
    time.sleep(after)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    lines = [line for line in (out + err).splitlines() if line and "%" not in line]
    return process.returncode, lines


def check(number, code, after, folder):
    returncode, lines = ended_by(number, after, folder)
    assert returncode == code, lines
    assert "stopped" in lines[-1], lines
    assert "Traceback" not in "\n".join(lines)
    assert not list(folder.rglob(".*partial*"))


SIGNALS = [
    pytest.param(signal.SIGINT, 130, id="Ctrl-C"), pytest.param(signal.SIGTERM, 143, id="SIGTERM"),
]


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_at_the_first_moment_ends_in_one_line(number, code, tmp_path):
    assert ended_by(number, 0, tmp_path) == (code, ["stopped"])


@pytest.mark.slow
@pytest.mark.parametrize("after", [tenth / 10 for tenth in range(1, 11)])
@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_in_the_first_second_ends_in_one_line(number, code, after, tmp_path):
    check(number, code, after, tmp_path)


def test_a_signal_that_is_ignored_stays_so(tmp_path):
    """`nohup`, and scripts that start a command with `&`."""
    code = (
        "import signal, sys\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "sys.argv = ['tfsasm', '--version']\nfrom tfsasm import __main__\n"
        "try:\n    __main__.main()\nexcept SystemExit:\n    pass\n"
        "sys.exit(signal.getsignal(signal.SIGINT) is not signal.SIG_IGN)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
