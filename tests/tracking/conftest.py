"""Fixtures of the page: one browser and one result for all tests of a process."""

from __future__ import annotations

import pytest

from helpers.browser import chromium, opener
from helpers.pages import ready, write_results


@pytest.fixture(scope="session")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture
def look(browser):
    with opener(browser) as open_page:
        yield open_page


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """A folder with a video and what was made of it."""
    folder = tmp_path_factory.mktemp("results")
    write_results(folder)
    return folder


@pytest.fixture
def opened(look, results):
    """The page from disk, ready."""
    return ready(look((results / "v.report.html").as_uri()))
