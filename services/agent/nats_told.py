"""What was told of a question, read from the stream of answers."""

from nats.aio.client import Client
from nats.errors import Error as NatsError

from contracts import subjects
from contracts.codec import decode
from contracts.queries import AnswerEvent
from services.agent.events import Told
from shared.errors import Unavailable
from shared.messaging.stored import messages_of

ANSWERS = "ANSWERS"


class StoredAnswers:
    """Reads the events of a question from the broker."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def __call__(self, query_id: str) -> Told:
        """Return the events that are stored, in order; Unavailable when the broker does not answer."""
        events: list[AnswerEvent] = []
        last = 0
        try:
            async for message in messages_of(self._client.jetstream(), ANSWERS, subjects.answers(query_id)):
                events.append(decode(AnswerEvent, message.data or b""))
                last = message.seq or 0
        except (NatsError, TimeoutError) as error:
            raise Unavailable(f"the broker does not answer: {type(error).__name__}") from error
        return Told(tuple(events), last)
