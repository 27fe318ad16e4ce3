"""The bytes of a document, from the message itself or from the object store."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError
from nats.js.object_store import ObjectStore

from contracts.documents import IngestMessage
from services.parser.httpx_fetching import Fetcher
from services.parser.nats_fetched import FETCHED_PREFIX, FetchedDocuments, object_of
from services.parser.settings import ParserSettings
from shared.errors import Rejected, Unavailable
from shared.service import Service


class ObjectMissing(Rejected):
    """The object store holds no such object; a message that was worked off before finds it so too."""

    code = "object_missing"


@dataclass(frozen=True, slots=True)
class Payload:
    """Content with what its producer says of it; `object_name` is set when it came through the object store."""

    content: bytes
    media_type: str | None
    object_name: str | None = None
    filename: str | None = None


class Payloads:
    """Fetches payloads, never more than `max_bytes` of one."""

    def __init__(
        self,
        uploads: Callable[[], Awaitable[ObjectStore]],
        fetched: FetchedDocuments,
        *,
        max_bytes: int,
        timeout_seconds: float,
    ) -> None:
        self._uploads = uploads
        self._fetched = fetched
        self._timeout_seconds = timeout_seconds
        self._max_bytes = max_bytes

    async def fetch(self, message: IngestMessage, revision: int) -> Payload:
        """Return the content; ObjectMissing, Rejected when too large, Unavailable when the store does not answer.

        Of a document that is fetched also what `FetchedDocuments.fetch` raises.
        """
        if message.is_fetched:
            fetched = await self._fetched.fetch(message.uri or "", revision)
            media_type = message.media_type or fetched.media_type
            return Payload(fetched.content, media_type, object_of(revision), message.filename or fetched.filename)
        if message.text is not None:
            return Payload(self._bounded(message.text.encode()), message.media_type or "text/plain; charset=utf-8")
        if message.content is not None:
            return Payload(self._bounded(base64.b64decode(message.content)), message.media_type)
        name = message.object or ""
        if name.startswith(FETCHED_PREFIX):
            # These names can be guessed, and what is under them may be another tenant's.
            raise Rejected(f"the object names that begin with {FETCHED_PREFIX!r} are not for producers", field="object")
        return Payload(self._bounded(await self._read(name)), message.media_type, name)

    async def remove(self, name: str) -> None:
        """Remove a payload that is no longer needed; one that is gone already is fine."""
        try:
            await (await self._uploads()).delete(name)
        except NotFoundError:
            return

    async def _read(self, name: str) -> bytes:
        try:
            uploads = await self._uploads()
            info = await uploads.get_info(name)
            if (info.size or 0) > self._max_bytes:
                raise self._too_large(info.size or 0)
            # A store that lost some of an object's pieces would otherwise be waited for without end.
            async with asyncio.timeout(self._timeout_seconds):
                return (await uploads.get(name)).data or b""
        except NotFoundError:
            raise ObjectMissing(f"object {name!r} is not in the store", field="object") from None
        except (NatsError, TimeoutError) as error:
            raise Unavailable(f"object {name!r} could not be read: {type(error).__name__}") from error

    def _bounded(self, content: bytes) -> bytes:
        if len(content) > self._max_bytes:
            raise self._too_large(len(content))
        return content

    def _too_large(self, size: int) -> Rejected:
        return Rejected(f"document of {size} bytes is over the limit of {self._max_bytes} bytes", code="too_large")


def build_payloads(service: Service, settings: ParserSettings) -> Payloads:
    """Return what fetches payloads; from the internet only where the settings say so."""
    max_bytes, timeout_seconds = settings.parser_max_document_bytes, settings.parser_fetch_seconds
    fetcher = Fetcher(
        max_bytes=max_bytes,
        timeout_seconds=settings.parser_fetch_url_seconds,
        max_redirects=settings.parser_fetch_redirects,
    )
    fetched = FetchedDocuments(
        service.uploads, fetcher if settings.fetch_urls == "on" else None, timeout_seconds=timeout_seconds
    )
    return Payloads(service.uploads, fetched, max_bytes=max_bytes, timeout_seconds=timeout_seconds)
