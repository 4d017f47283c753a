"""`make` installs what its target needs, and no more."""

import os
import shutil
import subprocess

import pytest

from helpers.documents import ROOT

NEEDED = ("Makefile", "pyproject.toml", "constraints.txt", "hatch_build.py",
          *(f"src/tfsasm/motrv2/fast/{name}"
            for name in ("kernels.cpp", "encoder.cpp", "attention.h", "vectors.h")))  # fmt: skip

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def make(tmp_path):
    """What `make` would run in a fresh checkout: `make("demo")`."""
    for name in NEEDED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)

    def run(*words, installed=None):
        if installed:
            (tmp_path / ".venv").mkdir()
            (tmp_path / ".venv" / installed).touch()
        # The suite runs below a `make`, whose flags are not meant for this one.
        own = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
        done = subprocess.run(
            ["make", "-n", *words], cwd=tmp_path, capture_output=True, text=True, env=own
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_demo_needs_no_development_tools(make):
    text = make("demo")
    assert '-e "."' in text
    assert "[dev]" not in text


def test_the_demo_takes_an_environment_that_has_them(make):
    text = make("demo", installed="installed-dev")
    assert "pip install" not in text
    assert text.strip().endswith("tfsasm demo")


@pytest.mark.parametrize(("target", "extra"), [("test", "[dev]"), ("docs", "[docs]")])
def test_other_targets_bring_their_extra(make, target, extra):
    assert f'-e ".{extra}"' in make(target)


def test_pytorch_for_cpus_comes_first_and_when_it_is_asked_for(make):
    text = make("demo", "CPU=1")
    assert text.index("whl/cpu $(grep '^torch'") < text.index('-e "."')
    assert "whl/cpu" not in make("demo")
