"""Opening pages of the console in a browser, strictly."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from playwright.sync_api import Browser, ConsoleMessage, Page

VIEWPORT: Final = {"width": 1280, "height": 800}
PHONE: Final = {"width": 390, "height": 844}
PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


def chromium() -> str | None:
    """Return the path of a Chromium that is installed."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@contextmanager
def opened_page(browser: Browser, url: str, *, expected: Sequence[str] = (), **options: Any) -> Iterator[Page]:
    """Open a page; AssertionError at the end for every error in its console that holds none of the expected words.

    A browser writes a line of its own for each answer of 4xx and 5xx: tests of those expect it.
    """
    context = browser.new_context(base_url=url, **options)
    errors: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type == "error" and not any(words in message.text for words in expected):
            errors.append(f"{message.text} ({message.location.get('url', '')})")

    page = context.new_page()
    page.on("console", heard)
    page.on("pageerror", lambda error: errors.append(f"uncaught: {error}"))
    try:
        yield page
    finally:
        context.close()
    assert not errors, "the console of the browser shows errors:\n" + "\n".join(errors)
