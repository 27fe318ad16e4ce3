"""Questions whose answers the broker still holds, which persistence may not know yet."""

from collections.abc import Mapping

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from contracts import subjects
from contracts.codec import DecodeError, decode
from contracts.conversations import AskedQuery
from contracts.queries import AnswerEvent
from shared.errors import Unavailable
from shared.telemetry import trace_id_in


class LatelyAsked:
    """Looks for a question in the stream of answers."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def find(self, tenant: str, query_id: str) -> AskedQuery | None:
        """Return a question of a tenant that ended lately, None without one; Unavailable when the broker is away."""
        try:
            last = await self._client.jetstream().get_last_msg("ANSWERS", subjects.answers(query_id), direct=True)
        except NotFoundError:
            return None
        except (NatsError, TimeoutError) as error:
            raise Unavailable(f"the broker does not answer: {type(error).__name__}") from error
        headers: Mapping[str, str] = last.headers or {}
        if headers.get(subjects.HEADER_TENANT) != tenant:
            return None
        try:
            event = decode(AnswerEvent, last.data or b"")
        except DecodeError:
            return None
        if not event.terminal:
            return None
        trace_id = trace_id_in(headers.get(subjects.HEADER_TRACEPARENT))
        return AskedQuery(query_id=query_id, trace_id=trace_id, conversation_id=event.data.get("conversation_id"))
