"""Conversations and feedback through the real processes, from the command line and over HTTP."""

import json
import sqlite3
from typing import Any

import httpx

from tests.e2e.test_documents_to_answers import upsert
from tests.platform_process import RunningPlatform, rag, wait_until

SECRET = "Zwingelberg"
COLLECTION = "talks"
DOCUMENTS = (
    {
        "id": "mill",
        "title": f"Mill of {SECRET}",
        "text": f"The mill of {SECRET} was built in 1783. Its wheel is five metres wide. The Rehn family owns it.",
    },
    {
        "id": "bridge",
        "title": "Bridge of Hallen",
        "text": "The bridge of Hallen was built in 1911. Its arch is ninety metres wide. The county owns it.",
    },
)


def told(platform: RunningPlatform, *arguments: str) -> Any:
    done = rag(*arguments, "--json", url=platform.url)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def holding(platform: RunningPlatform, word: str) -> list[str]:
    """Return the tables with a row that holds a word; those of documents are left out."""
    database = sqlite3.connect(f"file:{platform.data}/rag.db?mode=ro", uri=True)
    try:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return [
            table
            for table in tables
            if table != "documents" and any(word in str(row) for row in database.execute(f'SELECT * FROM "{table}"'))
        ]
    finally:
        database.close()


def test_a_conversation_is_led_listed_read_rated_and_deleted(platform: RunningPlatform, api: httpx.Client) -> None:
    upsert(api, *({"collection": COLLECTION, **document} for document in DOCUMENTS))
    of = ("--collection", COLLECTION)
    first = told(platform, "ask", f"When was the mill of {SECRET} built?", "--conversation", "new", *of)
    talk_id = first["conversation_id"]
    second = told(platform, "ask", "How wide is its wheel?", "--conversation", talk_id, *of)
    third = told(platform, "ask", "Who owns it?", "--conversation", talk_id, *of)
    assert [reply["citations"][0]["document_id"] for reply in (first, second, third)] == ["mill"] * 3
    assert second["citations"][0]["quote"] == "Its wheel is five metres wide."
    assert second["steps"][0]["question"] == f"When was the mill of {SECRET} built? How wide is its wheel?"

    assert talk_id in [one["id"] for one in told(platform, "conversations", "list")["items"]]
    shown = told(platform, "conversations", "show", talk_id)
    assert [turn["query_id"] for turn in shown["turns"]] == [reply["id"] for reply in (first, second, third)]
    assert [turn["trace_id"] for turn in shown["turns"]] == [reply["trace_id"] for reply in (first, second, third)]
    plain = rag("conversations", "show", talk_id, url=platform.url).stdout
    assert "Who owns it?" in plain
    assert "The Rehn family owns it." in plain

    rated = api.post("/v1/feedback", json={"query_id": third["id"], "rating": "up", "comment": f"{SECRET}!"})
    assert rated.status_code == 202
    kept = {"conversation_turns", "conversations", "feedback"}
    wait_until(lambda: set(holding(platform, SECRET)) == kept, "the feedback is recorded")

    assert told(platform, "conversations", "delete", talk_id) == {"id": talk_id, "turn_count": 3, "status": "deleted"}
    assert holding(platform, SECRET) == []
    gone = rag("conversations", "show", talk_id, url=platform.url)
    assert gone.returncode == 1
    assert "[conversation_not_found" in gone.stderr
    again = rag("ask", "Who owns it?", "--conversation", talk_id, url=platform.url)
    assert again.returncode == 1
    assert "[conversation_deleted" in again.stderr
