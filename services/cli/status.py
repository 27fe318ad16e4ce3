"""`rag status`: which services run, what waits in which stage, what the collections hold."""

from typing import Annotated

import typer

from services.cli.options import DEFAULT_URL, Json, Url


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again and again until Ctrl-C.")] = False,
    interval: Annotated[float, typer.Option(min=0.5, max=3600, metavar="SECONDS", help="Pause of --watch.")] = 2.0,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Show services, stages and their backlog, collections, use."""
    # Imports the HTTP client and rich, which takes half a second that `rag --help` shall not.
    from services.cli.overview import show_status, watch_status

    if watch:
        watch_status(url, interval_seconds=interval, as_json=as_json)
    else:
        show_status(url, as_json=as_json)
