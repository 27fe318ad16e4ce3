"""Conversations in a terminal."""

from datetime import datetime
from typing import Any

from rich.table import Table

from services.cli.terminal import one_line, printable, show


def print_conversations(page: dict[str, Any]) -> None:
    """Print a page of conversations as a table."""
    if not page["items"]:
        show("No conversations.")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("id", "turns", "last used", "first question"):
        table.add_column(name, overflow="fold", justify="right" if name == "turns" else "left")
    for one in page["items"]:
        table.add_row(one_line(one["id"]), str(one["turn_count"]), _time(one["updated_at"]), one_line(one["title"], 80))
    show(table)
    if page["next_cursor"] is not None:
        show("There are more; --limit shows them.")


def print_conversation(conversation: dict[str, Any]) -> None:
    """Print the turns of a conversation."""
    for number, turn in enumerate(conversation["turns"]):
        show(f"{chr(10) if number else ''}{_time(turn['asked_at'])}  {printable(turn['question'])}", soft_wrap=True)
        if turn.get("stand_alone"):
            show(f"  read as: {one_line(turn['stand_alone'], 1_000)}", soft_wrap=True)
        show(f"  {printable(turn['answer'])}", soft_wrap=True)


def _time(value: str) -> str:
    try:
        return datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return one_line(value)
