"""Keys on the machine of the database, whether or not the platform runs: `rag keys … --data` starts this.

Reads one request as JSON from standard input, `{"do": "create"|"list"|"revoke", …}` with the fields of KeyCreate,
KeyListQuery or KeyRevoke, and writes the reply as JSON. Code 2 for a wrong deployment, 1 for what was refused, each
with `{"code", "message"}` on standard output.
"""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from pydantic import ValidationError
from sqlalchemy import Connection

from contracts.codec import first_problem
from contracts.keys import KeyCreate, KeyListQuery, KeyRevoke
from contracts.messages import Message
from services.persistence import api_keys
from services.persistence.database import is_outage, open_database, unavailable
from services.persistence.migrating import migrate
from services.persistence.settings import PersistenceSettings
from shared.errors import InvalidMessage, Misconfigured, PlatformError
from shared.settings import EXIT_MISCONFIGURED, load

EXIT_REFUSED: Final = 1


def answer(request: dict[str, Any], settings: PersistenceSettings) -> Message:
    """Return the reply to a request, once it is committed; PlatformError says why it was refused."""
    unit = _unit_of(request)
    database = open_database(settings)
    try:
        migrate(database.writes, patience_seconds=settings.persistence_connect_seconds)
        with database.writes.begin() as connection:
            return unit(connection)
    except Exception as error:
        if is_outage(error):
            raise unavailable(error) from error
        raise
    finally:
        database.close()


def _unit_of(request: dict[str, Any]) -> Callable[[Connection], Message]:
    do, at = request.pop("do", None), datetime.now(UTC)
    try:
        if do == "create":
            create = KeyCreate.model_validate(request)
            return lambda connection: api_keys.create(connection, create, at)[0]
        if do == "revoke":
            revoke = KeyRevoke.model_validate(request)
            return lambda connection: api_keys.revoke(connection, revoke, at)[0]
        query = KeyListQuery.model_validate(request)
    except ValidationError as error:
        raise InvalidMessage(str(first_problem(error))) from None
    return lambda connection: api_keys.page(connection, query)


def main() -> int:
    """Answer the one request on standard input."""
    settings = load(PersistenceSettings)
    try:
        reply = answer(orjson.loads(sys.stdin.buffer.read()), settings)
    except PlatformError as error:
        sys.stdout.buffer.write(orjson.dumps({"code": error.error_code, "message": error.message}))
        return EXIT_MISCONFIGURED if isinstance(error, Misconfigured) else EXIT_REFUSED
    sys.stdout.buffer.write(reply.model_dump_json().encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
