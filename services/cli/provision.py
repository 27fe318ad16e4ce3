"""`rag provision`: what a broker must have, streams and users, or where it differs."""

from pathlib import Path
from typing import Annotated

import typer

from services.cli.options import Json


def provision(
    nats_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Address of the broker (or RAG_NATS_URL).")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit with 1 when something differs.")] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Stay, and declare everything again after a restart of the broker.")
    ] = False,
    renew_ingest: Annotated[
        bool,
        typer.Option("--renew-ingest", help="Replace INGEST by a new one with revisions above all before."),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --renew-ingest: also when messages in the old INGEST are lost by it.")
    ] = False,
    producer: Annotated[
        list[str] | None,
        typer.Option(metavar="TENANT", help="Make a user that publishes this tenant's documents and nothing else."),
    ] = None,
    tool: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Make a user that serves this tool of the agent.")
    ] = None,
    revoke: Annotated[bool, typer.Option("--revoke", help="Take the producer or tool away again.")] = False,
    users_file: Annotated[
        bool, typer.Option("--users-file", help="Print users.conf for a broker of your own, with these users in it.")
    ] = False,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Data folder of the `rag up` that gets the user.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Create or update what a broker must have.

    Every declared stream, consumer and bucket; nothing is deleted unless --renew-ingest says so.
    User and password come from RAG_NATS_USER and RAG_NATS_PASSWORD (or RAG_NATS_PASSWORD_FILE).
    With --producer or --tool, a user of the broker that `rag up` runs on this machine.
    """
    # Imports the broker's client and the topology, which takes half a second that `rag --help` shall not.
    from services.cli.topology import apply_topology, check_topology, keep_topology, put_new_ingest

    if producer or tool or users_file:
        raise typer.Exit(_users(data, producer or [], tool or [], revoke=revoke, as_file=users_file, as_json=as_json))
    if renew_ingest:
        raise typer.Exit(put_new_ingest(nats_url, force=force, as_json=as_json))
    if keep:
        raise typer.Exit(keep_topology(nats_url, as_json=as_json))
    raise typer.Exit((check_topology if check else apply_topology)(nats_url, as_json=as_json))


def _users(
    data: Path | None, producers: list[str], tools: list[str], *, revoke: bool, as_file: bool, as_json: bool
) -> int:
    from services.cli.broker_users import add_user, print_users_file, revoke_user, user_named
    from services.cli.errors import UsageProblem

    if as_file:
        return print_users_file(producers, tools)
    if len(producers) + len(tools) > 1:
        raise UsageProblem("name one user at a time; with --users-file there may be several")
    user = user_named(next(iter(producers), None), next(iter(tools), None))
    return (revoke_user if revoke else add_user)(data, user, as_json=as_json)
