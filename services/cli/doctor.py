"""`rag doctor`: what is wrong, and what to do about it."""

from pathlib import Path
from typing import Annotated

import typer

from services.cli.options import DEFAULT_URL, Json, Url


def doctor(
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Data folder of `rag up` (or RAG_DATA_DIR).")] = None,
    reconcile: Annotated[
        bool, typer.Option("--reconcile", help="Compare database and index, point by point, and repair what differs.")
    ] = False,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Check what is installed and what runs; say what to do.

    Python, models, data folder, gateway, every service and part, the broker's topology, and that database and index
    agree.
    """
    # Imports the HTTP client, the broker's client and rich, which takes a second that `rag --help` shall not.
    from services.cli.examination import examine
    from services.cli.reconciling import reconcile_all

    if reconcile:
        raise typer.Exit(reconcile_all(url, as_json=as_json))

    raise typer.Exit(examine(url, data, as_json=as_json))
