"""The frame of the console: it loads, its views can be reached, nothing in it is refused by its own policy."""

import pytest
from playwright.sync_api import Page, expect

from tests.platform_process import RunningPlatform


@pytest.mark.parametrize("view", ["Ask", "Documents", "Pipeline", "Traces"])
def test_every_view_is_reached_from_the_rail(page: Page, platform: RunningPlatform, view: str) -> None:
    page.goto("/")
    page.get_by_role("navigation", name="Views").get_by_role("link", name=view).click()

    expect(page.get_by_role("heading", level=1)).to_have_text(view)
    expect(page).to_have_title(f"{view} · RAG console")
