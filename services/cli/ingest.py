"""`rag ingest`: load files, folders and corpora, and wait until they can be found."""

from pathlib import Path
from typing import Annotated

import typer

from services.cli.options import DEFAULT_URL, Json, Url, parse_metadata


def ingest(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", exists=True, help="Files and folders; .jsonl holds documents.")
    ],
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", metavar="NAME", help="Put all into it.")
    ] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Add to all; may be repeated.")
    ] = None,
    id_prefix: Annotated[str, typer.Option(metavar="TEXT", help="Put in front of the ids of files.")] = "",
    as_files: Annotated[bool, typer.Option("--as-files", help="Take .jsonl files as they are.")] = False,
    batch: Annotated[int, typer.Option(min=1, max=100, metavar="N", help="Documents in one request.")] = 50,
    concurrency: Annotated[int, typer.Option(min=1, max=32, metavar="N", help="Requests at the same time.")] = 4,
    wait_s: Annotated[float, typer.Option(min=0, max=60, metavar="SECONDS", help="Time a request may wait.")] = 10.0,
    timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="Give up when nothing has moved for so long.")
    ] = 300.0,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="End as soon as all are accepted.")] = False,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Load files and folders, and follow them until indexed.

    The id of a file is its path below the path that was given, so that loading it again updates it. Each line of a
    .jsonl or .jsonl.gz file is a document: {"id", "title", "text", "uri", "metadata", "collection"}.
    """
    # Imports the HTTP client and the contracts, which takes half a second that `rag --help` shall not.
    from services.cli.ingestion import run_ingestion
    from services.cli.sources import SourceOptions
    from services.cli.uploading import UploadOptions

    source = SourceOptions(collection, parse_metadata(metadata or []), id_prefix, as_files)
    upload = UploadOptions(concurrency, None if no_wait else wait_s, stall_seconds=timeout)
    raise typer.Exit(run_ingestion(paths, url, source, upload, batch_documents=batch, as_json=as_json))
