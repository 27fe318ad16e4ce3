"""`rag trace`: what the services did for one request, or which requests there were."""

from typing import Annotated

import typer

from services.cli.options import DEFAULT_URL, Json, Url

MAX_LISTED = 10_000
SLOW_MS = 1_000.0


def trace(
    trace_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Show this one; every reply names its own in X-Trace-Id.")
    ] = None,
    slow: Annotated[bool, typer.Option("--slow", help="List only those that took a second and more.")] = False,
    min_ms: Annotated[
        float | None, typer.Option("--min-ms", min=0, metavar="N", help="List only those that took so long.")
    ] = None,
    errors: Annotated[bool, typer.Option("--errors", help="List only those in which something failed.")] = False,
    service: Annotated[
        str | None, typer.Option("--service", metavar="NAME", help="List only those it took part in.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=MAX_LISTED, metavar="N", help="List at most so many.")
    ] = 20,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Show a trace as a waterfall, or list the newest ones."""
    # Imports the HTTP client and rich, which takes half a second that `rag --help` shall not.
    from services.cli.terminal import print_json
    from services.cli.trace_views import list_traces, print_trace, print_traces, read_trace

    if trace_id is not None:
        (print_json if as_json else print_trace)(read_trace(url, trace_id))
        return
    least = min_ms if min_ms is not None else (SLOW_MS if slow else None)
    wanted = {"service": service, "min_ms": least, "error": "true" if errors else None}
    (print_json if as_json else print_traces)(list_traces(url, wanted, limit))
