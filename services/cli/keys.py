"""`rag keys`: who may call the platform."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from services.cli.options import DEFAULT_URL, Json, Url

MAX_LISTED: Final = 10_000

Data = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Work on the data folder itself, running or not: how the first key is made."),
]
Id = Annotated[str, typer.Argument(metavar="ID", help="Its id or prefix in the list.")]


def create_key(
    tenant: Annotated[
        str | None, typer.Option(metavar="NAME", help="Tenant whose documents it opens [default, or that of --key].")
    ] = None,
    scopes: Annotated[
        str, typer.Option(metavar="SCOPES", help="What it may do, comma separated: ingest, query, admin.")
    ] = "ingest,query",
    expires: Annotated[str, typer.Option(metavar="TIME", help="How long it opens: 90d, 12h, 30m, or never.")] = "90d",
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="What it is for.")] = None,
    data: Data = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Make a key and print it, this once."""
    # Imports the HTTP client and the settings, which takes half a second that `rag --help` shall not.
    from services.cli.key_making import NewKeyWish, make_key, print_new_key
    from services.cli.terminal import print_json

    made = make_key(NewKeyWish(tenant, scopes, expires, name), url, data)
    (print_json if as_json else print_new_key)(made)


def list_keys(
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=MAX_LISTED, metavar="N", help="At most so many.")
    ] = 50,
    data: Data = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """List keys by how they begin, newest first."""
    from services.cli.key_making import print_keys, read_keys
    from services.cli.terminal import print_json

    page = read_keys(url, data, limit)
    (print_json if as_json else print_keys)(page)


def revoke_key(key_id: Id, data: Data = None, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Have a key refused from now on, by every gateway within a second."""
    from services.cli.key_making import revoke
    from services.cli.terminal import one_line, print_json, show

    gone = revoke(url, data, key_id)
    if as_json:
        print_json(gone)
    else:
        show(f"Revoked {one_line(gone['id'])}.")


KEY_COMMANDS: Final[dict[str, Callable[..., Any]]] = {"create": create_key, "list": list_keys, "revoke": revoke_key}
