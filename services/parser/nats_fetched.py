"""Documents that are fetched from their `uri`: each revision once, however often its message is delivered.

What was fetched is kept in the object store until the message is acknowledged. Fetched again it might be another text,
of which a half would then stand behind the other half of the first.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Final

from nats.errors import Error as NatsError
from nats.js.api import ObjectMeta
from nats.js.errors import NotFoundError
from nats.js.object_store import ObjectStore

from services.parser.httpx_fetching import Fetched, Fetcher
from shared.errors import Rejected, Unavailable

FETCHED_PREFIX: Final = "fetched/"


class FetchedDocuments:
    """Fetches; without a fetcher a document must bring its content."""

    def __init__(
        self, uploads: Callable[[], Awaitable[ObjectStore]], fetcher: Fetcher | None, *, timeout_seconds: float
    ) -> None:
        self._uploads = uploads
        self._fetcher = fetcher
        self._timeout_seconds = timeout_seconds

    async def fetch(self, uri: str, revision: int) -> Fetched:
        """Return what is at `uri`; Rejected `fetch_off` while nothing is fetched, else what `Fetcher.fetch` raises."""
        if self._fetcher is None:
            raise Rejected(
                "exactly one of text, content, object must be given, found none of them: "
                "nothing is fetched from its uri here (RAG_FETCH_URLS=off)",
                code="fetch_off",
                field="uri",
            )
        name = object_of(revision)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                kept = await self._kept(name)
            if kept is None:
                kept = await self._fetcher.fetch(uri)
                async with asyncio.timeout(self._timeout_seconds):
                    await self._keep(name, kept)
        except (NatsError, TimeoutError) as error:
            raise Unavailable(f"what was fetched could not be kept: {type(error).__name__}") from error
        return kept

    async def _kept(self, name: str) -> Fetched | None:
        try:
            found = await (await self._uploads()).get(name)
        except NotFoundError:
            return None
        says = json.loads(found.info.description or "{}")
        return Fetched(found.data or b"", says.get("media_type"), says.get("filename"))

    async def _keep(self, name: str, fetched: Fetched) -> None:
        says = json.dumps({"media_type": fetched.media_type, "filename": fetched.filename})
        await (await self._uploads()).put(name, fetched.content, ObjectMeta(name=name, description=says))


def object_of(revision: int) -> str:
    """Return the name under which what was fetched for a revision is kept."""
    return f"{FETCHED_PREFIX}{revision}"
