"""Asking questions in the console, of documents that a test has brought."""

import json
import threading
import uuid
from typing import Any

import httpx
from playwright.sync_api import Locator, Page, expect

from tests.scripted_llm import Reply

BUILT = "The lighthouse of Lindby was built by Greta Holm."
OPENED = "The harbour of Lindby opened in 1887."
HANDBOOK = f"""# Handbook

## History

{BUILT} Work began in 1881.

{OPENED} Before that, boats were drawn up on the beach.

## Maintenance

The lamp is checked every Monday. The lens is cleaned with rain water.
"""


def bring(api: httpx.Client, text: str = HANDBOOK, **fields: Any) -> dict[str, Any]:
    """Index a document in a collection of its own and return its fields."""
    name = f"ask-{uuid.uuid4().hex[:12]}"
    document = {"id": name, "collection": name, "title": "Handbook of Lindby", "text": text}
    document |= {"media_type": "text/markdown", **fields}
    reply = api.post("/v1/documents", params={"wait_s": 60}, json={"documents": [document]})
    assert reply.status_code == 202, reply.text
    assert reply.json()["documents"][0]["status"] == "indexed", reply.text
    return document


def sign_in(page: Page, key: str) -> None:
    """Have the page hold a key before it asks for one."""
    page.add_init_script(f"sessionStorage.setItem('rag.key', {json.dumps(key)})")


def new_talk(page: Page, collection: str | None = None, mode: str = "Answer") -> None:
    """Show an empty conversation, about one collection."""
    page.goto("/#/ask")
    expect(page.get_by_text("What would you like to know?")).to_be_visible()
    if collection is not None:
        page.get_by_label("Collection").select_option(collection)
    page.get_by_role("group", name="Mode").get_by_text(mode, exact=True).click()


def ask(page: Page, question: str) -> Locator:
    """Ask a question and return where it is answered."""
    field = page.get_by_role("textbox", name="Question")
    field.fill(question)
    field.press("Enter")
    turn = page.get_by_role("article", name=question).last
    expect(turn).to_be_visible()
    return turn


def ended(turn: Locator) -> Locator:
    """Wait for the end of an answer."""
    expect(turn.get_by_role("button", name="Good answer")).to_be_visible()
    return turn


def held(text: str, after: int, **fields: Any) -> tuple[Reply, threading.Event]:
    """Return a reply that stops after so many words until the event is set."""
    event = threading.Event()
    return Reply(text=text, hold=event, hold_after=after, **fields), event
