"""Reading what a stream holds of one subject, without a consumer."""

from collections.abc import AsyncGenerator

from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError


async def next_message(jetstream: JetStreamContext, stream: str, subject: str, *, after: int) -> RawStreamMsg | None:
    """Return the first message of a subject with a stream sequence above `after`, None when there is none.

    Any replica of the stream may answer. Raises nats.errors.Error when the broker does not.
    """
    try:
        return await jetstream.get_msg(stream, seq=after + 1, subject=subject, next=True, direct=True)
    except NotFoundError:
        return None


async def messages_of(
    jetstream: JetStreamContext, stream: str, subject: str, *, after: int = 0
) -> AsyncGenerator[RawStreamMsg]:
    """Yield the messages of a subject with a stream sequence above `after`, in order, as long as there are any.

    Raises nats.errors.Error when the broker does not answer.
    """
    while message := await next_message(jetstream, stream, subject, after=after):
        yield message
        after = message.seq or after + 1
