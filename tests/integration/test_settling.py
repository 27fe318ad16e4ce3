"""What a client has sent is with the broker once it has settled, subscriptions included."""

import nats

from shared.messaging.broker import settle
from tests.servers import NatsServer

# With `flush` alone one in twenty subscriptions came too late for a message that another client sent afterwards.
TIMES = 60


async def test_a_subscription_is_there_before_anything_that_is_sent_afterwards(bare_nats: NatsServer) -> None:
    sender = await nats.connect(bare_nats.url)
    for number in range(TIMES):
        listener = await nats.connect(bare_nats.url)
        heard = await listener.subscribe("news")
        await settle(listener)
        await sender.publish("news", str(number).encode())
        assert (await heard.next_msg(timeout=5)).data == str(number).encode()
        await listener.close()
    await sender.close()
