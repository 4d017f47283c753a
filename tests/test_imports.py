"""Imports point one way: a module knows what is below it, never what is above."""

import ast
import re
from pathlib import Path

import pytest

import tfsasm

ORDER = [  # lowest first; within a level, modules do not know one another
    {"errors", "rows", "boxes", "jobs", "allocator", "servers", "pipeline", "settings",
     "truncation"},
    {"files", "pixels", "devices", "config", "source"},
    {"proposals", "runtime", "images"},
    {"memory", "lifecycle", "motion", "mot", "video", "render"},
    {"outputs", "support"},
    {"model", "detect"},
    {"intake"},
    {"tracker", "loss", "appearance"},
    {"clip"},
    {"data"},
    {"baselines"},
    {"api", "options", "workers", "result_folder", "grid"},
    {"exported", "runs", "methods", "entrants"},
    {"chosen"},
    {"tracking"},
    {"side_by_side"},
    {"__init__"},
    {"evaluate"},
    {"train"},
    {
        "training", "scoring", "merge", "submit", "show", "detecting", "export",
    },
    {"bench"},
    {"demo", "evaluation", "compare", "benching"},
    {"ablate"},
    {"run"},
    {"cli"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}
NEVER = {  # lower, and yet none of their business
    "memory": {"errors", "boxes", "files", "proposals"},
    "lifecycle": {"errors", "files", "proposals"},
    "model": {"memory", "lifecycle", "motion", "mot", "source", "images", "video", "render"},
    "loss": {"memory", "mot", "video"},
    "clip": {"memory", "tracker"},
    "appearance": {"model", "lifecycle", "support", "motion"},
    "support": {"memory", "mot", "video"},
    "tracker": {"mot", "video", "render", "files", "outputs", "detect"},
}
ONLY_TORCH = {"rows", "boxes", "memory", "lifecycle", "motion"}

ROOT = Path(tfsasm.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


def part(path):
    """The module, or the folder, directly below the package that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path):
    """Full names of everything that a file imports, wherever in the file it does so."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise AssertionError(f"{path.name}:{node.lineno}: relative import")
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(names):
    """Parts of the package among `names`; a name that is no module is the package's own."""
    for name in names:
        package, _, rest = name.partition(".")
        if package == "tfsasm":
            head = rest.partition(".")[0]
            there = (ROOT / f"{head}.py").is_file() or (ROOT / head).is_dir()
            yield head if head and there else "__init__"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path):
    here = part(path)
    if here not in LEVEL:
        pytest.fail(f"{here} has no place in ORDER")
    others = set(own(imported(path))) - {here}
    above = {name for name in others if LEVEL.get(name, -1) >= LEVEL[here]}
    assert not above, f"{here} imports {above}, which are not below it"
    assert not others & NEVER.get(here, set())


@pytest.mark.parametrize("name", sorted(ONLY_TORCH))
def test_the_heart_needs_torch_and_nothing_else(name):
    standard = {"__future__", "dataclasses", "typing", "collections"}
    packages = {full.partition(".")[0] for full in imported(ROOT / f"{name}.py")}
    assert packages - standard <= {"torch", "tfsasm"}


def test_the_table_can_see(tmp_path):
    """Both ways of importing, at any depth, are found."""
    file = tmp_path / "x.py"
    file.write_text(
        "import os, tfsasm.cli\nfrom tfsasm import memory, load\n"
        "def f():\n    from tfsasm.model.weights import full\n"
    )
    assert sorted(own(imported(file))) == ["__init__", "cli", "memory", "model"]
    file.write_text("from . import memory\n")
    with pytest.raises(AssertionError, match=re.escape("x.py:1: relative import")):
        list(imported(file))
