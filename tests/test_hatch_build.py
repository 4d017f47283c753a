"""Building the package: C++ kernels where a compiler works, pure Python where none does."""

import ctypes
import importlib.util
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "hatch_build.py"

pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="needs the source tree")


@pytest.fixture
def build():
    spec = importlib.util.spec_from_file_location("hatch_build", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sources(build):
    """Everything that is in C++."""
    folder = (ROOT / build.SOURCE).parent
    return [*folder.glob("*.cpp"), *folder.glob("*.h")]


@pytest.fixture
def tree(build, tmp_path):
    """A source tree of the kernels alone, with a library of before."""
    (tmp_path / build.SOURCE).parent.mkdir(parents=True)
    for path in sources(build):
        shutil.copy(path, tmp_path / build.SOURCE.parent)
    (tmp_path / build.LIBRARY).touch()
    return tmp_path


@pytest.mark.parametrize(("compiler", "problem"), [
    pytest.param("/nonexistent", "/nonexistent", id="it is not there"),
    pytest.param("false", "false", id="it fails"),
    pytest.param("true", "libkernels.so", id="it makes nothing"),
])
def test_a_compiler_that_fails_leaves_no_library(build, tree, compiler, problem, monkeypatch):
    monkeypatch.setenv("CXX", compiler)
    assert problem in build.compile_kernels(tree)
    left = {path.name for path in (tree / build.SOURCE).parent.iterdir()}
    assert left == {path.name for path in sources(build)}


def test_without_any_compiler_the_message_names_the_mend(build, tree, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    assert "g++" in build.compile_kernels(tree)


def test_what_the_compiler_refuses_is_shown(build, tree):
    if shutil.which("c++") is None:
        pytest.skip("needs c++")
    (tree / build.SOURCE).write_text("this is no C++")
    assert "error" in build.compile_kernels(tree, "c++")


def test_a_compiler_without_amx_leaves_out_that_level_alone(build, tree):
    if shutil.which("c++") is None:
        pytest.skip("needs c++")
    shows = '__attribute__((visibility("default")))'
    (tree / build.SOURCE).write_text(
        f'#ifdef COMMON\nextern "C" {shows} int interface() {{ return 0; }}\n#endif\n'
    )
    (tree / build.ENCODER).write_text("this is no C++")
    assert build.compile_kernels(tree) == ""
    library = ctypes.CDLL(str(tree / build.LIBRARY))
    assert hasattr(library, "interface")
    assert not hasattr(library, "has_amx")


def test_a_wheel_is_named_for_one_platform(build):
    assert build.platform_tag().replace("_", "").isalnum()
