"""`rag search`: the passages that fit a query."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from services.cli.options import DEFAULT_URL, Collection, Filter, Json, Url, parse_filter


class Mode(StrEnum):
    """How to search."""

    HYBRID = "hybrid"
    DENSE = "dense"
    SPARSE = "sparse"


def search(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What to look for.")],
    collection: Collection = None,
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, max=100, metavar="N", help="Hits to show.")] = 10,
    mode: Annotated[Mode | None, typer.Option(help="By meaning (dense), by words (sparse) or both [hybrid].")] = None,
    rerank: Annotated[bool, typer.Option("--rerank", help="Read the first hits again with the query.")] = False,
    filter_json: Filter = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Show the passages that fit a query, best first."""
    # Imports the HTTP client and rich, which takes half a second that `rag --help` shall not.
    from services.cli.asking import ask_gateway
    from services.cli.hits import print_hits
    from services.cli.terminal import print_json

    body: dict[str, Any] = {"query": query, "collection": collection, "top_k": top_k, "mode": mode and mode.value}
    body |= {"rerank": rerank or None, "filter": parse_filter(filter_json)}
    reply = ask_gateway(url, "/v1/search", body)
    if as_json:
        print_json(reply)
    else:
        print_hits(query, reply)
