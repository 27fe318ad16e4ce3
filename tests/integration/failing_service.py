"""A service of the platform that meets a fault of ours, with somebody's words in it, whenever collections are read.

    python -m tests.integration.failing_service gateway|persistence

The gateway's other routes and everything else are as they are.
"""

import importlib
import sys
from typing import Any, Final

from sqlalchemy import Connection, text

WORDS: Final = "words-of-the-planted-document"


async def fail_in_gateway(_reads: object, tenant: str) -> None:
    """Take the place of `Reads.collections`."""
    question = f"{WORDS} asked by {tenant}"
    raise KeyError(question)


def fail_in_sql(connection: Connection, query: Any) -> None:
    """Take the place of `reads.collections`: the statement is wrong, its parameter somebody's."""
    found = f"{WORDS} {query.tenant}"
    connection.execute(text("SELECT :words"), {"words": found})
    raise ValueError(f"cannot read {found}")


def main(service: str) -> None:
    """Run the service with its fault."""
    if service == "gateway":
        importlib.import_module("services.gateway.reads").Reads.collections = fail_in_gateway
    else:
        importlib.import_module("services.persistence.reads").collections = fail_in_sql  # type: ignore[attr-defined]
    importlib.import_module(f"services.{service}.app").main()


if __name__ == "__main__":
    main(sys.argv[1])
