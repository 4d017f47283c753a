"""The site: its navigation leads to pages, it builds without warnings and fetches nothing."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys

import pytest
import yaml

import tfsasm
from helpers.documents import ROOT, documents
from tfsasm.cli import main

MADE = ("changelog.md", "reference/settings.md", "reference/commands/", "notebooks/")
"""Pages that docs/hooks.py makes."""


def pages(nav):
    """The pages of a navigation, however deep."""
    if isinstance(nav, str):
        return {nav}
    return set().union(*map(pages, nav.values() if isinstance(nav, dict) else nav))


def test_the_navigation_has_every_page_of_a_task_and_nothing_that_is_not_there():
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    docs = ROOT / "docs"
    written = {path.relative_to(docs).as_posix() for path in documents() if docs in path.parents}
    listed = {page for page in pages(config["nav"]) if not page.startswith(MADE)}
    assert listed <= written
    assert all("/" not in page for page in written - listed)  # docs/hooks.py gives those a place


def test_every_public_name_has_its_place_in_the_reference():
    text = (ROOT / "docs/reference/api.md").read_text(encoding="utf-8")
    described = {name.rpartition(".")[2] for name in re.findall(r"^::: ([\w.]+)$", text, re.M)}
    assert not set(tfsasm.__all__) - described - {"__version__"}


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob(".github/workflows/*.yml")), ids=lambda path: path.name
)
def test_a_workflow_has_jobs_and_pins_its_actions_by_major_version(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    actions = [step["uses"] for step in steps if "uses" in step]
    assert actions
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", action) for action in actions)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return folder


@pytest.mark.docs
def test_the_site_fetches_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        fetched = re.findall(r"<(?:script|img|iframe)[^>]+src=\"?([^\" >]+)", text)
        fetched += re.findall(r"<link[^>]+href=\"?([^\" >]+)[^>]+rel=\"?stylesheet", text)
        fetched += re.findall(r"<link[^>]+rel=\"?stylesheet[^>]+href=\"?([^\" >]+)", text)
        assert not [place for place in fetched if place.startswith(("http", "//"))], page


@pytest.mark.docs
@pytest.mark.parametrize("command", main.COMMANDS)
def test_the_page_of_a_command_has_all_of_its_options(site, command):
    page = (site / f"reference/commands/{command}.html").read_text(encoding="utf-8")
    options = [
        field.name.replace("_", "-") for field in dataclasses.fields(main.options_of(command))
        if not any(word in str(field.type) for word in ("Positional", "DetectionTool"))
    ]  # fmt: skip
    assert not [option for option in options if f"<code>--{option}</code>" not in page]
    assert not re.search("[╭╰│─]", page)  # a box of --help that was not understood


@pytest.mark.docs
@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("docs/notebooks/*.ipynb")), ids=lambda path: path.stem
)
def test_a_notebook_runs(path, tmp_path):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
