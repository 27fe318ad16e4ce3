"""Reading what a stream holds of one subject, without a consumer."""

from collections.abc import AsyncGenerator

from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError


async def messages_of(
    jetstream: JetStreamContext, stream: str, subject: str, *, after: int = 0
) -> AsyncGenerator[RawStreamMsg]:
    """Yield the messages of a subject with a stream sequence above `after`, in order, as long as there are any.

    Any replica of the stream may answer. Raises nats.errors.Error when the broker does not.
    """
    while True:
        try:
            message = await jetstream.get_msg(stream, seq=after + 1, subject=subject, next=True, direct=True)
        except NotFoundError:
            return
        yield message
        after = message.seq or after + 1
