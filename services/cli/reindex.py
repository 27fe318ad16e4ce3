"""`rag reindex`: another embedding model, without a gap."""

from typing import Annotated

import typer

from services.cli.options import DEFAULT_URL, Json, Url


def reindex(
    timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="Give up when no step has succeeded for so long.")
    ] = 120.0,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Embed every stored chunk with the next model, then switch.

    The next model is named by RAG_NEXT_EMBEDDING_MODEL (and _DIMENSION, _URL, _API_KEY) for embedder, parser and
    retriever. Searches use the present model until everything is there. May be broken off and run again.
    """
    # Imports the HTTP client and rich, which takes half a second that `rag --help` shall not.
    from services.cli.reindexing import run_reindexing

    run_reindexing(url, stall_seconds=timeout, as_json=as_json)
