"""What the server says of a message that it stopped delivering."""

from pydantic import Field

from contracts.messages import Message
from contracts.topology import ADVISORIES, CONSUMERS, DEAD_LETTERS, Consumer
from shared.messaging.policy import Reason

# A dead letter of a dead letter would come back here for ever.
_BURIED_ALREADY = (DEAD_LETTERS, ADVISORIES)


class MaxDeliveries(Message):
    """The server gave a message to a consumer `deliveries` times and never heard what became of it."""

    stream: str
    consumer: str
    stream_seq: int = Field(ge=1)
    deliveries: int = Field(ge=1)

    def bereaved(self) -> Consumer | None:
        """Return the consumer whose message should become a dead letter, None when it should not."""
        known = (consumer for consumer in CONSUMERS if consumer not in _BURIED_ALREADY)
        return next((one for one in known if (one.stream, one.name) == (self.stream, self.consumer)), None)

    def reason(self) -> Reason:
        """Return why it is dead, as far as anybody can know."""
        words = f"crashed or timed out its consumer {self.deliveries} times"
        return Reason(code="max_deliveries", message=words, error="MaxDeliveries")
