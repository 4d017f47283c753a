"""What MkDocs builds besides the pages of this folder: commands, settings, notebooks, source files.

All of it is made from the code, so it cannot disagree with it. MkDocs calls the functions `on_...`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter

from tfsasm.cli import main
from tfsasm.detection.deformable_detr import DetrSettings
from tfsasm.detection.huggingface import HuggingFaceSettings
from tfsasm.detection.yolox import YoloxSettings
from tfsasm.tracking.appearance.tracker import AppearanceConfig
from tfsasm.tracking.config import PRESETS

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "tfsasm"
COMMANDS = "reference/commands"
WIDTH = "120"  # columns: more than that, and tyro sets boxes side by side


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The commands get their places in the navigation, and so do documents that have none."""
    (reference,) = (part["Reference"] for part in config.nav or [] if "Reference" in part)
    (commands,) = (item["Commands"] for item in reference if "Commands" in item)
    commands += [f"{COMMANDS}/{name}.md" for name in main.COMMANDS]
    listed = str(config.nav)
    reference += sorted(
        path.name for path in Path(config.docs_dir).glob("*.md") if f"'{path.name}'" not in listed
    )
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made."""
    pages = {
        f"{COMMANDS}/index.md": _commands(),
        **{f"{COMMANDS}/{name}.md": _command(name) for name in main.COMMANDS},
        "reference/settings.md": _settings(),
        "changelog.md": _changes(),
        **{f"source/{path}.md": _source(path) for path in _cited(files)},
    }
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    for notebook in sorted(Path(config.docs_dir).glob("notebooks/*.ipynb")):
        _add_notebook(files, config, notebook)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links out of the folder lead to the page of that source file, or are mere text."""

    def moved(link: re.Match[str]) -> str:
        place = posixpath.normpath(posixpath.join(posixpath.dirname(page.file.src_uri), link[2]))
        if not place.startswith("../"):
            return link[0]
        target = place.replace("../src/tfsasm/", "source/") + ".md"
        if target not in files.src_uris:
            return link[1]
        up = posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or ".")
        return f"[{link[1]}]({up})"

    return re.sub(r"\[([^]]+)\]\((\.\./[^)#]+)(?:#[^)]*)?\)", moved, markdown)


def _cited(files: Files) -> list[str]:
    """The files of the package to which documents link, relative to it."""
    link = re.compile(r"\]\((?:\.\./)+src/tfsasm/([^)#]+)")
    texts = [file.content_string for file in files if file.src_uri.endswith(".md")]
    return sorted({name for text in texts for name in link.findall(text)})


def _changes() -> str:
    """The changelog, with its links as from this folder."""
    text = re.sub(r"\]\((?!docs/|https?:)", "](../", _text(ROOT / "CHANGELOG.md"))
    return text.replace("](docs/", "](")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _source(name: str) -> str:
    path = SOURCE / name
    language = "cpp" if path.suffix == ".cpp" else "python"
    fence = f"````{language}\n{_text(path)}````\n"
    return f"---\nsearch:\n  exclude: true\nhide: [toc]\n---\n# {name}\n\n{fence}"


def _add_notebook(files: Files, config: MkDocsConfig, path: Path) -> None:
    """The page of a notebook, with its pictures; the notebook stays there to be downloaded."""
    name = f"notebooks/{path.stem}"
    text, resources = MarkdownExporter().from_filename(str(path))
    for picture, content in resources["outputs"].items():
        text = text.replace(f"({picture})", f"({path.stem}_{picture})")
        files.append(File.generated(config, f"{name}_{picture}", content=content))
    title, rest = text.replace(".ipynb)", ".md)").lstrip().split("\n", 1)
    note = f"\n[Download this notebook]({path.name}){{ .md-button }}\n"
    files.append(File.generated(config, f"{name}.md", content=f"{title}\n{note}{rest}"))


# Commands


def _help(*words: str) -> list[str]:
    """The lines that `tfsasm WORDS --help` prints in a terminal of `WIDTH`."""
    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")  # it draws boxes where it can
    with (
        patch.dict(os.environ, COLUMNS=WIDTH), contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):  # fmt: skip
        main.parse([*words, "--help"])
    printed.seek(0)
    return printed.read().splitlines()


def _commands() -> str:
    texts = {name: _before_boxes(_help(name))[1].partition("\n\n")[0] for name in main.COMMANDS}
    rows = "\n".join(f"| [`tfsasm {name}`]({name}.md) | {text} |" for name, text in texts.items())
    head = "# Commands\n\nMade from the commands' own `--help`.\n\n"
    return f"{head}| command | what it does |\n|---|---|\n{rows}\n"


def _command(name: str) -> str:
    """The page of a command, and of the commands that it has in turn."""
    return f"# tfsasm {name}\n\n" + _described(_help(name), (name,))


def _described(lines: Sequence[str], words: tuple[str, ...]) -> str:
    usage, text, example = _before_boxes(lines)
    parts = [text, f"```text\n{usage}\n```", f"```text title=\"Example\"\n{example}\n```"]
    for title, entries in _boxes(lines):
        if title == "subcommands":
            for inner in (flag.split()[1] for flag, _ in entries if flag.startswith("•")):
                longer = (*words, inner)
                parts += [f"## {' '.join(longer)}", _described(_help(*longer), longer)]
            continue
        rows = [_row(flag, text) for flag, text in entries if not flag.startswith("-h,")]
        if rows:
            heading = f"{'#' * (len(words) + 1)} {title.capitalize()}"
            table = "\n".join(["| | |", "|---|---|", *rows])
            parts.append(f"{heading}\n\n<div class=\"options\" markdown>\n\n{table}\n\n</div>")
    return "\n\n".join(parts) + "\n"


def _before_boxes(lines: Sequence[str]) -> tuple[str, str, str]:
    """Usage, description and example of a command's help."""
    until = next(i for i, line in enumerate(lines) if line.startswith("╭"))
    text = "\n".join(lines[:until])
    usage, _, rest = text.partition("\n\n")
    description, _, example = rest.partition("Example: ")
    return usage.removeprefix("usage: "), description.strip(), " ".join(example.split())


def _boxes(lines: Sequence[str]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The titles of the boxes in a help text, and what is in each: flags and their meaning."""
    entries: list[tuple[str, str]] = []
    title = ""
    for line in lines:
        inside = line.strip("│").rstrip()
        if line.startswith("╭"):
            title, entries = line.strip("╭─╮ "), []
        elif line.startswith("╰"):
            yield title, entries
        elif set(inside.strip()) == {"─"}:  # what is above it describes the box
            entries = []
        elif inside.startswith("  ") and entries and not inside.lstrip().startswith("•"):
            flag, text = entries[-1]
            entries[-1] = flag, f"{text} {inside.strip()}".strip()
        elif inside.strip():
            flag, _, text = re.sub(r" {2,}", "\0", inside.strip(), count=1).partition("\0")
            entries.append((flag, text))


def _row(flag: str, text: str) -> str:
    """A line of a table: the option and what it takes; what it means, without empty defaults."""
    name, _, takes = flag.partition(" ")
    choices = takes.strip("{}").split(",") if takes.startswith("{") else []
    takes = " ".join(f"`{choice}`" for choice in choices) or takes
    text = re.sub(r" ?\(default: (None|False|''|)\)", "", text)
    text = re.sub(r"\(default: ([^)]*)\)", r"*Default* `\1`.", text)
    text = text.replace("(required)", "*Required.*")
    return f"| `{name}`{'<br>' * bool(takes)}{_cell(takes)} | {_cell(text)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# Settings


def _settings() -> str:
    """All settings of both trackers and the detector, with what is said where they are declared."""
    package = griffe.load("tfsasm", search_paths=[str(ROOT / "src")])
    presets = {name: preset.make() for name, preset in PRESETS.items()}
    parts = [
        "# Settings",
        "Every constant of a method has a name, which `--set NAME=VALUE` changes; the last part "
        "of a name is enough where it is the only one, `capacity` for `memory.capacity`. In "
        "Python they are fields of frozen dataclasses: `dataclasses.replace(config, "
        "report_score=0.6)`. The tables are made from these.",
        "## Appearance tracker",
        "`tfsasm track --set match.max_lost_frames=90`, "
        "`AppearanceTracker(config=AppearanceConfig(...))`.",
        *_tables(package, {"default": AppearanceConfig()}),
        "## Query tracker",
        "`tfsasm track --tracker query --preset paper --set memory.capacity=20`, "
        "`tfsasm.load(\"tiny\", config)`. Each preset is a function, `tfsasm.released()`.",
        *_tables(package, presets),
        "## Detectors",
        "`tfsasm track --detector-set nms_iou=0.6`.",
        "### YOLOX", *_tables(package, {"default": YoloxSettings()}),
        "### Deformable DETR", *_tables(package, {"default": DetrSettings()}),
        "### Hugging Face", *_tables(package, {"default": HuggingFaceSettings()}),
    ]
    return "\n\n".join(parts) + "\n"


def _tables(package: Any, configs: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """A table of the settings, a column for each of `configs`; then of the dataclasses in them."""
    first = next(iter(configs.values()))
    home = package[_place(type(first))]
    head = f"| setting | {' | '.join(configs)} | meaning |"
    lines, inner = [head, "|---" * (len(configs) + 2)], list[str]()
    for field in dataclasses.fields(first):
        values = {name: getattr(config, field.name) for name, config in configs.items()}
        if dataclasses.is_dataclass(getattr(first, field.name)):
            name = f"{prefix}{field.name}"
            about = package[_place(type(getattr(first, field.name)))]
            inner += [f"### {name}", about.docstring.value, *_tables(package, values, f"{name}.")]
            continue
        docstring = home.all_members[field.name].docstring  # also of a base class
        text = _cell(" ".join(docstring.value.split())) if docstring else ""
        shown = " | ".join(f"`{_value(value)}`" for value in values.values())
        lines.append(f"| `{prefix}{field.name}` | {shown} | {text} |")
    if len(lines) > 2:
        yield '<div class="settings" markdown>\n\n' + "\n".join(lines) + "\n\n</div>"
    yield from inner


def _place(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("tfsasm.")


def _value(value: Any) -> str:
    """As it is given to `--set`."""
    return str(value).lower() if isinstance(value, bool | None) else str(value)
