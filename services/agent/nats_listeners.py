"""What gateways say of readers who listen to an answer."""

from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts import subjects
from services.agent.attendance import Attendance
from shared.messaging.broker import PendingLimits


async def hear_listeners(client: Client, attendance: Attendance, pending: PendingLimits) -> None:
    """Have `attendance` told of every listener, as long as the connection stands."""

    async def take(message: Msg) -> None:
        attendance.heard(subjects.query_of(message.subject))

    await pending.subscribe(client, subjects.LISTENING_ALL, take)
