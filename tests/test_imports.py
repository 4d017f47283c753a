"""The rooms of the package: what each may import, whatever the place in a file where it does so."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import tfsasm

ROOT_FILES = "errors limits processes files settings tables boxes motchallenge pytorch"
ROOMS = {  # a room may import those that are named behind it, and itself
    **dict.fromkeys(ROOT_FILES.split(), ROOT_FILES),
    "video": ROOT_FILES,
    "runtime": ROOT_FILES,
    "datasets": f"{ROOT_FILES} video",
    "detection": f"{ROOT_FILES} video runtime datasets motrv2",
    "motrv2": f"{ROOT_FILES} runtime",
    "evaluation": f"{ROOT_FILES} datasets",
    "tracking": f"{ROOT_FILES} video runtime detection motrv2",
    "training": f"{ROOT_FILES} motrv2 datasets evaluation tracking detection video runtime",
    "experiments": f"{ROOT_FILES} video runtime datasets detection motrv2 evaluation tracking",
    "cli": f"{ROOT_FILES} video runtime datasets detection motrv2 evaluation tracking training "
    "experiments __init__",
    "__init__": f"{ROOT_FILES} tracking detection video evaluation",
    "__main__": "cli",
}
ALONE = {  # within a room, the only files that may import a thing
    ("detection", "datasets"): {"run.py"},
    ("detection", "motrv2"): {"deformable_detr.py"},
    ("detection", "torch"): {"yolox_torch.py", "huggingface.py", "deformable_detr.py"},
    ("tracking", "motrv2"): {"load.py"},
    ("tracking", "torch"): {"load.py", "embedders.py"},
    ("training", "detection"): {"validation.py", "sources.py"},
    ("training", "video"): {"sources.py", "mix.py"},
    **{(room, "torch"): set() for room in (
        "errors", "limits", "processes", "files", "settings", "tables", "boxes", "motchallenge",
        "video", "runtime", "datasets", "evaluation")},
}  # fmt: skip
NEVER = {  # files that must not import these modules
    "tracking/appearance": {"tracking.query", "tracking.association", "motrv2"},
    "training": {"tracking.memory"},
}

ROOT = Path(tfsasm.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


def room(path):
    """The folder, or the file, directly below the package that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@cache
def imported(path):
    """Full names of everything that a file imports but for type checkers."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    typing = [node for node in nodes if isinstance(node, ast.If)
              and getattr(node.test, "id", "") == "TYPE_CHECKING"]  # fmt: skip
    skipped = {id(inner) for node in typing for part in node.body for inner in ast.walk(part)}
    found = []
    for node in nodes:
        if isinstance(node, ast.Import) and id(node) not in skipped:
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and id(node) not in skipped:
            assert not node.level, f"{path.name}:{node.lineno}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def own(names):
    """The modules of the package among `names`, without the package's name."""
    return {name.removeprefix("tfsasm.") for name in names if name.startswith("tfsasm.")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_what_it_may(path):
    here, names = room(path), set(imported(path))
    packages = {name.partition(".")[0] for name in names} - {"tfsasm"}
    modules = own(names)
    rooms = {name.partition(".")[0] for name in modules} - {"__version__"}
    assert rooms - {here} <= set(ROOMS[here].split()), f"{here} imports {rooms}"
    for (place, what), files in ALONE.items():
        if here == place and path.name not in files:
            assert what not in rooms | packages, f"{path.name} imports {what}"
    for place, what in NEVER.items():
        if path.is_relative_to(ROOT / place):
            assert not [name for name in modules if name.startswith(tuple(what))]


def test_there_are_ten_rooms_and_few_loose_files():
    loose = [path for path in FILES if path.parent == ROOT and not path.name.startswith("__")]
    rooms = [path for path in ROOT.iterdir() if (path / "__init__.py").is_file()]
    assert len(loose) <= 9
    assert len(rooms) == 10


def test_no_module_imports_itself_through_others():
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in FILES}
    graph = {}
    for path in FILES:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        parts = own(imported(path))
        graph[name] = {
            found for part in parts
            for found in (part, part.rpartition(".")[0]) if found in names and found != name
        }  # fmt: skip
    done = set()
    while ready := [name for name in graph if name not in done and graph[name] <= done]:
        done.update(ready)
    assert not set(graph) - done, f"in or behind a cycle: {sorted(set(graph) - done)}"


def private_names(path):
    """What a test names of ours that begins with an underscore."""
    text, ours = path.read_text(encoding="utf-8"), set()
    if not re.search(r"[\s.\"']_[A-Za-z]", text):  # to parse all takes a second
        return
    nodes = list(ast.walk(ast.parse(text)))
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("tfsasm"):
            yield from (alias.name for alias in node.names)
            ours.update(alias.asname or alias.name for alias in node.names)
    for node in nodes:
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") in ours:
            yield node.attr
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "setattr":
            yield from (part for one in node.args[:2] if isinstance(one, ast.Constant)
                        for part in str(one.value).split("."))  # fmt: skip


def test_no_test_reaches_into_a_private_name():
    found = [(path.name, name) for path in Path(__file__).parent.rglob("*.py")
             for name in private_names(path)
             if name.startswith("_") and not name.startswith("__")]  # fmt: skip
    assert not found
