"""`rag conversations`: what was asked and answered."""

from collections.abc import Callable
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from services.cli.options import DEFAULT_URL, Json, Url

PATH: Final = "/v1/conversations"
MAX_LISTED: Final = 10_000
TURNS_A_PAGE: Final = 100

Id = Annotated[str, typer.Argument(metavar="ID", help="Its id in the list.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=MAX_LISTED, metavar="N", help="At most so many.")]


def list_conversations(limit: Limit = 50, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """List conversations, the one that was used last first."""
    # Imports the HTTP client and rich, which takes half a second that `rag --help` shall not.
    from services.cli.asking import read_pages
    from services.cli.conversation_views import print_conversations
    from services.cli.terminal import print_json

    page = read_pages(url, PATH, {}, limit)
    (print_json if as_json else print_conversations)(page)


def show_conversation(conversation_id: Id, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Show one with its questions and answers, oldest first."""
    from services.cli.asking import read_pages
    from services.cli.conversation_views import print_conversation
    from services.cli.terminal import print_json

    path = f"{PATH}/{quote(conversation_id, safe='')}"
    found = read_pages(url, path, {}, MAX_LISTED, items="turns", page_size=TURNS_A_PAGE)
    (print_json if as_json else print_conversation)(found)


def delete_conversation(conversation_id: Id, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Delete one for good, with its turns and the feedback to them."""
    from services.cli.asking import delete_at_gateway
    from services.cli.terminal import one_line, print_json, show

    gone = delete_at_gateway(url, f"{PATH}/{quote(conversation_id, safe='')}")
    if as_json:
        print_json(gone)
    else:
        show(f"Deleted {one_line(gone['id'])} with {gone['turn_count']} turns.")


CONVERSATION_COMMANDS: Final[dict[str, Callable[..., Any]]] = {
    "list": list_conversations,
    "show": show_conversation,
    "delete": delete_conversation,
}
