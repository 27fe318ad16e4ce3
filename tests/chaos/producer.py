"""Sends the plan through the gateway and straight onto NATS, again and again until each write is acknowledged."""

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Final

import httpx
import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import APIError

from contracts import subjects
from tests.chaos.ledger import Ledger
from tests.chaos.plan import Channel, Plan, Write

# A gateway that is frozen answers once it goes on: giving up earlier would leave it open which write came last.
HTTP_SECONDS: Final = 120.0
# As long as anything that waits for this acknowledgement inside a frozen broker.
NATS_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = (0.2, 1.0)
RECONNECT_SECONDS: Final = 0.5
CONCURRENT: Final = 64
TENANT: Final = "default"


class Producer:
    """Sends every history of a plan but its opening; `ledger` holds what was acknowledged."""

    def __init__(self, plan: Plan, url: str, nats_url: str, ledger: Ledger) -> None:
        self._plan = plan
        self._url = url
        self._nats_url = nats_url
        self._ledger = ledger
        self._slots = asyncio.Semaphore(CONCURRENT)

    async def run(self, started: float) -> None:
        """Return when all is acknowledged or refused; `started` is the monotonic time that the plan counts from."""
        limits = httpx.Limits(max_connections=CONCURRENT)
        async with httpx.AsyncClient(base_url=self._url, timeout=HTTP_SECONDS, limits=limits) as http:
            client = await nats.connect(
                self._nats_url, max_reconnect_attempts=-1, reconnect_time_wait=RECONNECT_SECONDS, error_cb=_expect_loss
            )
            try:
                histories = self._plan.histories.values()
                await asyncio.gather(*(self._send(history, started, http, client) for history in histories))
            finally:
                await client.close()

    async def _send(self, history: Sequence[Write], started: float, http: httpx.AsyncClient, client: Client) -> None:
        """Send one document's writes in their order."""
        for write in history:
            if write is self._plan.opening:
                continue
            await asyncio.sleep(max(0.0, started + write.at - time.monotonic()))
            async with self._slots:
                await self._send_one(write, http, client)

    async def _send_one(self, write: Write, http: httpx.AsyncClient, client: Client) -> None:
        attempts = 0
        while True:
            attempts += 1
            try:
                if write.channel is Channel.HTTP:
                    revision = await _over_http(write, http)
                else:
                    revision = await _over_nats(write, client)
            except NotYet as reason:
                self._ledger.retry(str(reason))
                await asyncio.sleep(max(reason.seconds, random.uniform(*PAUSE_SECONDS)))
            except Refused as reason:
                self._ledger.refuse(write, str(reason))
                return
            else:
                self._ledger.accept(write, revision, attempts)
                return


async def _expect_loss(_error: Exception) -> None:
    """The broker is killed on purpose; what that does to a write is noted with the write."""


class NotYet(Exception):
    """The write was not acknowledged; the same one may be sent again after `seconds`."""

    def __init__(self, why: str, seconds: float = 0.0) -> None:
        super().__init__(why)
        self.seconds = seconds


class Refused(Exception):
    """The platform will not take the write."""


async def _over_http(write: Write, http: httpx.AsyncClient) -> int:
    """Return the revision; NotYet when it was not acknowledged, Refused when it never will be."""
    try:
        if write.deletes:
            reply = await http.delete(f"/v1/documents/{write.document_id}")
        else:
            headers = {"Idempotency-Key": write.key}
            reply = await http.post("/v1/documents", json={"documents": [dict(write.fields)]}, headers=headers)
    except httpx.TransportError as error:
        raise NotYet(f"http {type(error).__name__}") from error
    if reply.status_code == 202:
        body = reply.json()
        return int(body["revision"] if write.deletes else body["documents"][0]["revision"])
    if reply.status_code == 503:
        raise NotYet(f"http 503 {_code(reply)}", float(reply.headers.get("Retry-After", 0)))
    if write.deletes and reply.status_code == 404:
        # The document is accepted, but neither is it recorded nor does this gateway remember it.
        raise NotYet("http 404 for a document that is accepted")
    raise Refused(f"{reply.status_code} {reply.text[:300]}")


def _code(reply: httpx.Response) -> str:
    try:
        return str(reply.json()["code"])
    except (ValueError, KeyError):
        return "without a code"


async def _over_nats(write: Write, client: Client) -> int:
    """Return the sequence that the broker acknowledged."""
    headers = {subjects.HEADER_MESSAGE_ID: write.key}
    try:
        stored = await client.jetstream(timeout=NATS_SECONDS).publish(
            subjects.ingest(TENANT), write.message, headers=headers
        )
    except (NatsError, APIError, TimeoutError) as error:
        raise NotYet(f"nats {type(error).__name__}") from error
    return stored.seq
