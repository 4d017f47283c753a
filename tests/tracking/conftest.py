"""Fixtures of the page: one browser and one result for all tests of a process."""

from __future__ import annotations

import pytest

from helpers.browser import SIZE, chromium, opener, without_errors
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


@pytest.fixture(scope="session")
def tab(browser):
    """One for all tests of the page from disk; a profile for each takes three times as long."""
    with opener(browser) as open_page:
        yield open_page()


@pytest.fixture
def opened(tab, results):
    """The page from disk, ready, as at the first visit."""
    with without_errors(tab):
        tab.set_viewport_size(SIZE)
        tab.goto("about:blank")
        tab.goto((results / "v.report.html").as_uri())
        yield ready(tab)
        tab.evaluate("localStorage.clear()")
