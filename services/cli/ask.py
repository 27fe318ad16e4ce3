"""`rag ask`: an answer with its sources."""

from typing import Annotated

import typer

from services.cli.options import DEFAULT_URL, Collection, Filter, Json, Url, parse_filter


def ask(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What to answer.")],
    collection: Collection = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", "-k", min=1, max=100, metavar="N", help="Passages to consider.")
    ] = None,
    filter_json: Filter = None,
    conversation: Annotated[
        str | None,
        typer.Option("--conversation", metavar="ID", help="Go on with a conversation; `new` begins one."),
    ] = None,
    agent: Annotated[
        bool, typer.Option("--agent", help="Have a language model look into the documents with tools.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the steps too.")] = False,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Answer a question from the documents, and cite them."""
    # Imports the HTTP client and rich, which takes half a second that `rag --help` shall not.
    from services.cli.answers import print_answer_as_it_comes
    from services.cli.asking import ask_gateway, stream_answer
    from services.cli.terminal import print_json

    body = {
        "question": question,
        "collection": collection,
        "top_k": top_k,
        "filter": parse_filter(filter_json),
        "conversation_id": conversation,
        "mode": "agent" if agent else None,
    }
    if as_json:
        print_json(ask_gateway(url, "/v1/query", body))
    else:
        stream_answer(url, body, lambda events: print_answer_as_it_comes(events, verbose=verbose))
