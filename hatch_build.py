"""Compile the C++ kernels when the package is built; hatchling calls this.

`python hatch_build.py` compiles them in place, for a source tree that is used by its path. Without
a compiler, or when it fails, the package is pure Python and PyTorch's own operations serve.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run as a script
    BuildHookInterface = object

SOURCE = Path("src/tfsasm/motrv2/fast/kernels.cpp")
ENCODER = SOURCE.with_name("encoder.cpp")
LIBRARY = SOURCE.with_name("libkernels.so")

FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fPIC",
         "-fvisibility=hidden", "-Wno-psabi")  # fmt: skip

AVX2 = ("-mavx2", "-mfma")
AVX512 = (*AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl",
          "-mprefer-vector-width=512")  # fmt: skip
AMX = (*AVX512, "-mavx512bf16", "-mamx-tile", "-mamx-int8", "-mamx-bf16")

TIMEOUT = 300.0  # seconds for a compiler


def compile_kernels(root: Path, compiler: str | None = None) -> str:
    """Compile the kernels of the source tree `root` in place, for all levels of instructions.

    `compiler` is a command, by default that of the environment variable `CXX`, or the first of c++,
    g++ and clang++. Returns why it could not be done, or an empty string. A library of before does
    not stay when it cannot.
    """
    (root / LIBRARY).unlink(missing_ok=True)
    command = shlex.split(compiler or os.environ.get("CXX", "")) or _found()
    if not command:
        return "no C++ compiler found; install one, such as g++, or name it in CXX"
    if os.name != "posix":
        return "they are written for GCC and Clang on Linux and macOS"
    try:
        _compile([*command, *FLAGS], root)
    except subprocess.CalledProcessError as error:
        return f"{shlex.join(command)} failed: {error.stderr.strip()[-2000:]}"
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return ""


def _found() -> list[str]:
    paths = (shutil.which(name) for name in ("c++", "g++", "clang++"))
    return next(([path] for path in paths if path), [])


def _compile(command: list[str], root: Path) -> None:
    """One object per level, and all of them linked. Raises when a step fails.

    A compiler that is too old for AMX leaves out that level.
    """
    levels: dict[str, tuple[str, ...]] = {"base": ("-DCOMMON",)}
    if platform.machine().lower() in ("x86_64", "amd64"):
        levels |= {"avx2": AVX2, "avx512": AVX512}
        if sys.platform == "linux":
            levels |= {"amx": AMX}
    threads = _threads(command)
    with tempfile.TemporaryDirectory(dir=(root / LIBRARY).parent) as folder:
        objects = {level: Path(folder) / f"{level}.o" for level in levels}
        running = {
            level: subprocess.Popen(
                [*command, threads, *flags, f"-DLEVEL={level}", "-c",
                 str(root / (ENCODER if level == "amx" else SOURCE)), "-o", str(objects[level])],
                stderr=subprocess.PIPE, text=True,
            ) for level, flags in levels.items()
        }  # fmt: skip
        for level, process in running.items():
            _, problems = process.communicate(timeout=TIMEOUT)
            if process.returncode and level == "amx":
                del objects[level]
            elif process.returncode:
                raise subprocess.CalledProcessError(process.returncode, command, stderr=problems)
        # Without OpenMP's own library: its functions are found in that of PyTorch.
        missing = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
        linked = Path(folder) / LIBRARY.name
        made = map(str, objects.values())
        _run([command[0], "-shared", *missing, *made, "-lm", "-o", str(linked)])
        linked.replace(root / LIBRARY)  # whole or not at all


def _threads(command: list[str]) -> str:
    """The option for OpenMP: of vectors alone where its threads cannot be PyTorch's.

    PyTorch brings GNU's OpenMP on Linux, which Clang's code does not find its functions in.
    """
    macros = _run([*command, "-fopenmp", "-dM", "-E", "-x", "c++", os.devnull], check=False)
    ours = "__clang__" not in macros or sys.platform == "darwin"
    return "-fopenmp" if "_OPENMP" in macros and ours else "-fopenmp-simd"


def _run(command: list[str], check: bool = True) -> str:
    return subprocess.run(
        command, check=check, capture_output=True, text=True, timeout=TIMEOUT
    ).stdout  # fmt: skip


def platform_tag() -> str:
    """The platform of a wheel with the library, such as linux_x86_64."""
    name = sysconfig.get_platform().replace("universal2", platform.machine())
    return name.replace("-", "_").replace(".", "_")


class KernelsHook(BuildHookInterface):  # type: ignore[misc]
    """Compiles the kernels for a wheel, and for an editable installation in place."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before a build; the library is part of a wheel for this platform."""
        if self.target_name != "wheel":
            return
        problem = compile_kernels(Path(self.root))
        if problem:
            self.app.display_warning(f"without compiled kernels, slower on CPUs: {problem}")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform_tag()}"
        build_data["artifacts"].append(str(LIBRARY))


if __name__ == "__main__":
    sys.exit(compile_kernels(Path(__file__).resolve().parent) or None)
