"""Pages in a real browser: Chromium without a window, driven by Playwright."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SIZE = {"width": 1300, "height": 850}


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; where there is none, or nothing that drives it, the test is skipped."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("there is no Chromium on this machine")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opener(browser: Any) -> Iterator[Callable[..., Any]]:
    """What opens an address in a profile of its own; an error in a page fails the test."""
    with ExitStack() as stack:

        def open_page(address: str = "about:blank", **settings: Any) -> Any:
            context = stack.enter_context(browser.new_context(viewport=SIZE, **settings))
            page = stack.enter_context(without_errors(context.new_page()))
            page.set_default_timeout(60_000)
            page.goto(address)
            return page

        yield open_page


@contextmanager
def without_errors(page: Any) -> Iterator[Any]:
    """The page; an error in it, until the block ends, fails the test."""
    problems: list[str] = []

    def note(error: Any) -> None:
        problems.append(str(error))

    page.on("pageerror", note)
    yield page
    page.remove_listener("pageerror", note)
    assert not problems


def until(page: Any, expression: str) -> None:
    """Wait until an expression is true in the page, whose rules forbid that it waits itself."""
    end = time.monotonic() + 60
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"not within 60 s: {expression}"
        page.wait_for_timeout(20)
