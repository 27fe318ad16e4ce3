"""Keys over HTTP with an admin key, or on the machine of the data folder, where persistence's own tool is started."""

import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import orjson

from services.cli.asking import ask_gateway, delete_at_gateway, read_pages
from services.cli.client import Problem
from services.cli.data_folder import DataFolder
from services.cli.errors import CommandError, UsageProblem
from services.cli.local import caller_environment
from services.cli.settings import LauncherSettings, load
from services.cli.terminal import one_line, out, show
from shared.api_keys import KEY_MARK, expiry, new_key

PATH: Final = "/v1/admin/keys"
DEFAULT_TENANT: Final = "default"
TOOL: Final = "services.persistence.key_tool"
TOOL_SECONDS: Final = 120.0
PAGE_KEYS: Final = 500
_SCOPES: Final = frozenset({"ingest", "query", "admin"})
_FIRST_KEY: Final = "; the first key is made on the machine itself with `rag keys create --data DIR`"


@dataclass(frozen=True, slots=True)
class NewKeyWish:
    """What the command line says of a key to be made."""

    tenant: str | None
    scopes: str
    expires: str
    name: str | None

    @property
    def scope_names(self) -> list[str]:
        """Return the scopes; UsageProblem for one that does not exist."""
        names = sorted({name.strip() for name in self.scopes.split(",") if name.strip()})
        if not names or not _SCOPES.issuperset(names):
            raise UsageProblem(f"--scopes takes ingest, query and admin, comma separated; found {self.scopes!r}")
        return names


def make_key(wish: NewKeyWish, url: str, data: Path | None) -> dict[str, Any]:
    """Return a new key with its `key`, which is kept nowhere."""
    try:
        expires_at = expiry(wish.expires, datetime.now(UTC))
    except ValueError as error:
        raise UsageProblem(f"--expires {error}") from None
    if data is None:
        body = {"tenant": wish.tenant, "scopes": wish.scope_names, "expires": wish.expires, "name": wish.name}
        return _explained(lambda: ask_gateway(url, PATH, body))
    made = new_key(_pepper(data))
    request = {
        "do": "create",
        "id": made.id,
        "prefix": made.prefix,
        "digest": made.digest,
        "tenant": wish.tenant or DEFAULT_TENANT,
        "scopes": wish.scope_names,
        "name": wish.name,
        "expires_at": expires_at,
    }
    return {"key": made.text, **_on_machine(data, request)}


def read_keys(url: str, data: Path | None, limit: int) -> dict[str, Any]:
    """Return the newest keys, up to so many."""
    if data is None:
        return _explained(lambda: read_pages(url, PATH, {}, limit))
    found: list[Any] = []
    cursor: str | None = None
    while True:
        request = {"do": "list", "limit": min(PAGE_KEYS, limit - len(found)), "cursor": cursor}
        page = _on_machine(data, request)
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None or len(found) >= limit:
            return {"items": found, "next_cursor": cursor}


def revoke(url: str, data: Path | None, key: str) -> dict[str, Any]:
    """Have a key refused; return its id and since when."""
    # Whoever pastes a whole key means its id; the rest must not travel.
    key_id = key.removeprefix(KEY_MARK).partition("_")[0]
    if data is None:
        return _explained(lambda: delete_at_gateway(url, f"{PATH}/{quote(key_id, safe='')}"))
    gone = _on_machine(data, {"do": "revoke", "id": key_id})
    return {"id": gone["id"], "revoked_at": gone["revoked_at"]}


def print_new_key(made: dict[str, Any]) -> None:
    """Print a key for a person."""
    ends = f"until {made['expires_at']}" if made["expires_at"] else "without end"
    show(f"{one_line(made['key'])}", soft_wrap=True)
    show(f"Opens tenant {one_line(made['tenant'])} for {', '.join(made['scopes'])}, {ends}. It is not shown again.")


def print_keys(page: dict[str, Any]) -> None:
    """Print a list for a person."""
    if not page["items"]:
        show("There are no keys; make one with `rag keys create`.")
        return
    from rich.table import Table

    table = Table("prefix", "tenant", "scopes", "state", "name", box=None, header_style="bold")
    for key in page["items"]:
        row = (key["prefix"], key["tenant"], ",".join(key["scopes"]), _state(key), key.get("name") or "")
        table.add_row(*(one_line(cell) for cell in row))
    out().print(table)


def _state(key: dict[str, Any]) -> str:
    if key.get("revoked_at"):
        return f"revoked {key['revoked_at'][:19]}"
    if not key.get("expires_at"):
        return "never expires"
    over = datetime.fromisoformat(key["expires_at"]) <= datetime.now(UTC)
    return f"{'expired' if over else 'until'} {key['expires_at'][:19]}"


def _explained(ask: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = ask()
    except Problem as error:
        if error.status == 401:
            raise CommandError(f"{error}{_FIRST_KEY}") from None
        raise
    return found


def _pepper(data: Path) -> str:
    """Return the secret of the gateways, as they find it: from the settings, else from the data folder."""
    given = load(LauncherSettings).key_pepper
    if given:
        return given
    folder = DataFolder(data.absolute())
    folder.create()
    return folder.pepper()


def _on_machine(data: Path, request: dict[str, Any]) -> dict[str, Any]:
    environment = {**caller_environment(), "RAG_DATA_DIR": str(data.absolute())}
    done = subprocess.run(
        [sys.executable, "-m", TOOL],
        input=orjson.dumps(request),
        capture_output=True,
        timeout=TOOL_SECONDS,
        env=environment,
        check=False,
    )
    try:
        reply: dict[str, Any] = orjson.loads(done.stdout)
    except ValueError:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"it ended with code {done.returncode}"]
        raise CommandError(f"the keys cannot be worked on: {one_line(lines[-1], 500)}") from None
    if done.returncode:
        raise CommandError(f"{reply['message']} [{reply['code']}]")
    return reply
