"""Large payloads in the JetStream Object Store."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import BinaryIO, cast

from nats.errors import Error as NatsError
from nats.js.errors import APIError
from nats.js.object_store import ObjectStore

from shared.errors import Overloaded, Unavailable
from shared.messaging.publishing import FULL_STREAM_ERRORS


class Uploads:
    """Puts payloads into the bucket that the parser reads them from."""

    def __init__(self, open_bucket: Callable[[], Awaitable[ObjectStore]], *, timeout_seconds: float) -> None:
        self._open_bucket = open_bucket
        self._timeout_seconds = timeout_seconds

    async def put(self, name: str, content: BinaryIO) -> None:
        """Store the content in pieces; Overloaded when the bucket is full, Unavailable when it does not answer."""
        content.seek(0)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                bucket = await self._open_bucket()
                # The client reads any binary file, but only asks for io.BufferedIOBase.
                await bucket.put(name, cast(bytes, content))
        except APIError as error:
            if error.err_code in FULL_STREAM_ERRORS:
                raise Overloaded("the store of large documents is full") from None
            raise Unavailable(f"the store of large documents refused a document: {error}") from error
        except (NatsError, TimeoutError) as error:
            raise Unavailable("the store of large documents does not answer") from error

    async def discard(self, name: str) -> None:
        """Remove a payload that nothing will refer to; what cannot be removed now is removed by its age."""
        with suppress(NatsError, TimeoutError):
            bucket = await self._open_bucket()
            await bucket.delete(name)
