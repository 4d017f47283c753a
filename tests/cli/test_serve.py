"""`tfsasm serve`: what is refused before anything listens, and how it ends."""

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

import tfsasm as package
from tfsasm.cli import serve

INSTALLED = all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn"))


@pytest.fixture
def installed(monkeypatch):
    """As if the extra were there; what is refused is refused before it is needed."""
    monkeypatch.setattr(serve, "find_spec", lambda name: name)
    monkeypatch.delenv("TFSASM_TOKEN", raising=False)


def test_without_the_extra_it_says_how_to_get_it(tfsasm, monkeypatch):
    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    outcome = tfsasm("serve")
    assert outcome.code == 2
    assert 'needs fastapi, uvicorn, prometheus_client: pip install "tfsasm[serve]"' in outcome.err


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "camera.example"])
def test_a_host_that_others_reach_needs_a_token(tfsasm, installed, host):
    outcome = tfsasm("serve", "--host", host)
    assert (outcome.code, f"--host {host} is open to others" in outcome.err) == (2, True)


@pytest.mark.parametrize("token", ["short", "x" * 15, "ä" * 16, "x" * 15 + "\x1b"])
def test_a_token_is_long_enough_and_can_be_sent(tfsasm, installed, monkeypatch, token):
    monkeypatch.setenv("TFSASM_TOKEN", token)
    outcome = tfsasm("serve", "--host", "0.0.0.0")
    assert (outcome.code, "16 or more ASCII characters" in outcome.err) == (2, True)
    assert token not in outcome.err


def test_a_token_may_be_in_a_file(tfsasm, installed, tmp_path):
    (tmp_path / "token").write_text("short\n")
    outcome = tfsasm("serve", "--token-file", tmp_path / "token")
    assert (outcome.code, "16 or more" in outcome.err) == (2, True)


@pytest.mark.parametrize(("option", "value"), [
    ("max-streams", 0), ("max-pixels", -1), ("max-fps", 0), ("max-fps", "nan"), ("remembered", 0),
    ("workers", 0),
])
def test_limits_that_make_no_sense_are_refused(installed, option, value):
    options = serve.Options(**{option.replace("-", "_"): type(value)(value)
                               if value != "nan" else float("nan")})  # fmt: skip
    with pytest.raises(package.InputError, match=f"--{option} .* is not"):
        serve.make_hub(options)


@pytest.mark.serve
@pytest.mark.skipif(not INSTALLED, reason="needs the extra serve")
@pytest.mark.parametrize(("number", "code"), [
    (signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
])
def test_it_listens_until_a_signal(number, code):
    command = [sys.executable, "-m", "tfsasm", "serve", "--port", "0", "--workers", "1"]
    environment = os.environ | {"PYTHONPATH": str(Path(package.__file__).parents[1])}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    address = re.match(r"listening on (http://127\.0\.0\.1:\d+),", process.stdout.readline())[1]
    with urllib.request.urlopen(f"{address}/health", timeout=60) as answer:
        assert b'"healthy":true' in answer.read()
    body = json.dumps({"address": "http://127.0.0.1:1/x", "name": "x"}).encode()
    urllib.request.urlopen(urllib.request.Request(
        f"{address}/streams", body, {"Content-Type": "application/json"}
    )).close()  # fmt: skip
    listening = urllib.request.urlopen(f"{address}/streams/x/events", timeout=60)
    assert listening.readline() == b": quiet\n"
    process.send_signal(number)
    assert b"event: end" in listening.read()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, "stopped\n")


@pytest.mark.serve
@pytest.mark.skipif(not INSTALLED, reason="needs the extra serve")
def test_a_port_that_is_taken_is_one_clear_error(tfsasm):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        outcome = tfsasm("serve", "--port", taken.getsockname()[1])
    assert outcome.code == 2
    assert "give another --port" in outcome.err
