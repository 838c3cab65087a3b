"""Pages in a real browser: the Chromium of the system, headless, which reaches nothing beyond this machine."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page, Route

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
HERE: Final = frozenset({"127.0.0.1", "localhost", "::1", None})
SCREENSHOTS: Final = "SCREENSHOTS"
"""Names a folder: where it is set, tests leave their pictures there. Not `OTEL_`: tests run without those."""

COLOURS: Final = 128
"""Of a picture that is kept: no eye finds the rest, and it takes half of the room."""

PATIENCE: Final = 60_000.0
"""Milliseconds that a page is waited for; two busy cores take their time."""


@dataclass
class Visit:
    """A page that is open, and what went wrong in it.

    Args:
        page: Of Playwright.
        errors: What the page wrote to its console as errors, or threw.
        beyond: URLs beyond this machine that it asked for, and did not get.
    """

    page: Page
    errors: list[str] = field(default_factory=list)
    beyond: list[str] = field(default_factory=list)

    def keep(self, name: str, **options: Any) -> None:
        """Take a picture where the environment names a folder for it; options as for Playwright's screenshot."""
        folder = os.environ.get(SCREENSHOTS)
        if folder:
            path = Path(folder) / f"{name}.png"
            self.page.screenshot(path=path, **options)
            with Image.open(path) as taken:
                taken.convert("RGB").quantize(COLOURS).save(path, optimize=True)

    def pass_on(self, route: Route) -> None:
        """Let a request through, or not where it would leave this machine."""
        address = urlsplit(route.request.url)
        if address.scheme in {"http", "https", "ws", "wss"} and address.hostname not in HERE:
            self.beyond.append(route.request.url)
            route.abort()
        else:
            route.continue_()


@contextmanager
def visiting(
    *, width: int = 1280, height: int = 900, colours: Literal["light", "dark"] = "light", **options: Any
) -> Iterator[Visit]:
    """Start a browser and open an empty page.

    Playwright runs an event loop in this thread for as long as the block lasts, so Prefect's synchronous client works
    before and after it, not within.

    Args:
        width: Of the page, in pixels.
        height: Of the page, in pixels.
        colours: What the reader prefers.
        options: Of the browser's context, such as `http_credentials`.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable())
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=colours, **options)
        context.set_default_timeout(PATIENCE)
        visit = Visit(context.new_page())
        context.route("**/*", visit.pass_on)
        visit.page.on("console", lambda said: visit.errors.append(said.text) if said.type == "error" else None)
        visit.page.on("pageerror", lambda error: visit.errors.append(str(error)))
        yield visit
        browser.close()


def executable() -> str:
    """The system's browser; a test that needs one fails with what to install."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.fail(
            "This test looks at pages in Chromium, which is not on PATH. Install it: apt-get install chromium. Without"
            " it, -m 'not browser' leaves these tests out.",
            pytrace=False,
        )
    return found
