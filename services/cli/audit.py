"""`rag audit`: who did what."""

from enum import StrEnum
from typing import Annotated, Final

import typer

from services.cli.options import DEFAULT_URL, Json, Url, parse_moment

MAX_LISTED: Final = 10_000


class Action(StrEnum):
    """What may have been done."""

    KEY_USED = "key_used"
    AUTH_FAILED = "auth_failed"
    KEY_CREATED = "key_created"
    KEY_REVOKED = "key_revoked"
    DELETED = "deleted"
    REPLAYED = "replayed"
    DISCARDED = "discarded"
    ADMIN_CALLED = "admin_called"


def audit(
    action: Annotated[Action | None, typer.Option(help="Only this.")] = None,
    actor: Annotated[
        str | None, typer.Option(metavar="ID", help="Only what this key did, by its id or prefix in `rag keys list`.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only from then on: 2026-11-01T10:00Z, or 2h ago as 2h.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Only from before then.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=MAX_LISTED, metavar="N", help="At most so many.")
    ] = 50,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """List who did what in the tenant of the key, newest first."""
    # Imports the HTTP client and rich, which takes half a second that `rag --help` shall not.
    from services.cli.audit_views import print_audit, read_audit
    from services.cli.terminal import print_json

    wanted = {
        "action": action.value if action else None,
        "actor": actor,
        "since": parse_moment("--since", since),
        "until": parse_moment("--until", until),
    }
    page = read_audit(url, wanted, limit)
    (print_json if as_json else print_audit)(page)
