"""`rag documents`: which documents there are, or what is known of one."""

from enum import StrEnum
from typing import Annotated

import typer

from services.cli.options import DEFAULT_URL, Collection, Json, Url

MAX_LISTED = 10_000


class Status(StrEnum):
    """Where a document is on its way."""

    ACCEPTED = "accepted"
    PROCESSING = "processing"
    INDEXED = "indexed"
    FAILED = "failed"
    DELETED = "deleted"


def documents(
    document_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="Show this one.")] = None,
    collection: Collection = None,
    status: Annotated[Status | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=MAX_LISTED, metavar="N", help="At most so many.")
    ] = 50,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """List documents, or show one with its state and its error."""
    # Imports the HTTP client and rich, which takes half a second that `rag --help` shall not.
    from services.cli.asking import read_gateway
    from services.cli.client import document_path
    from services.cli.document_views import list_documents, print_document, print_documents
    from services.cli.terminal import print_json

    if document_id is not None:
        view = read_gateway(url, document_path(document_id))
    else:
        view = list_documents(url, collection, status.value if status else None, limit)
    if as_json:
        print_json(view)
    elif document_id is not None:
        print_document(view)
    else:
        print_documents(view)
