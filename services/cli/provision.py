"""`rag provision`: apply the declared streams and consumers to a broker, or tell where it differs."""

from typing import Annotated

import typer

from services.cli.options import Json


def provision(
    nats_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Address of the broker (or RAG_NATS_URL).")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit with 1 when something differs.")] = False,
    renew_ingest: Annotated[
        bool,
        typer.Option("--renew-ingest", help="Replace INGEST by a new one with revisions above all before."),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --renew-ingest: also when messages in the old INGEST are lost by it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Create or update what a broker must have.

    Every declared stream, consumer and bucket; nothing is deleted unless --renew-ingest says so.
    User and password come from RAG_NATS_USER and RAG_NATS_PASSWORD (or RAG_NATS_PASSWORD_FILE).
    """
    # Imports the broker's client and the topology, which takes half a second that `rag --help` shall not.
    from services.cli.topology import apply_topology, check_topology, put_new_ingest

    if renew_ingest:
        raise typer.Exit(put_new_ingest(nats_url, force=force, as_json=as_json))
    raise typer.Exit((check_topology if check else apply_topology)(nats_url, as_json=as_json))
