"""The platform's processes by name, whichever runs at present, and how to see that one is back at work."""

from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final, Literal

import httpx
import psutil

from services.cli.plan import LANES, QUERY_EMBEDDER, service_of
from tests.platform_process import RunningPlatform

BROKER: Final = "nats-server"
_CONSUMERS: Final = {
    "parser": ("parser",),
    "embedder": ("embedder",),
    "retriever": ("retriever", "retriever-cleanup"),
    "agent": ("agent",),
    "persistence": (
        "persistence-intake",
        "persistence",
        "persistence-dead",
        "persistence-advisories",
        "persistence-turns",
    ),
}
_LOOK_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Consumption:
    """How far a durable consumer has come.

    `taken` grows with every delivery, `floor` once everything before it is settled; `left` waits, is in work, or waits
    for its next try.
    """

    taken: int
    floor: int
    left: int


class Processes:
    """Looks at a running platform from outside."""

    def __init__(self, platform: RunningPlatform, http: httpx.AsyncClient) -> None:
        self._launcher = psutil.Process(platform.process.pid)
        self._health = {**platform.ready["health"], BROKER: platform.ready["nats_monitor_url"]}
        self._monitor = platform.ready["nats_monitor_url"]
        self._http = http

    def find(self, name: str) -> psutil.Process | None:
        """Return the process that runs a service now; None while there is none."""
        for process in self._launcher.children():
            try:
                if _is(process, name):
                    return process
            except psutil.Error:
                continue
        return None

    async def is_ready(self, name: str) -> bool:
        """Tell whether a process says that it takes work."""
        path = "/healthz" if name == BROKER else "/ready"
        try:
            reply = await self._http.get(f"{self._health[name]}{path}", timeout=_LOOK_SECONDS)
        except httpx.HTTPError:
            return False
        return reply.status_code == 200

    async def consumption(self) -> dict[str, Consumption]:
        """Return how far every durable consumer is; empty while the broker does not tell."""
        try:
            reply = await self._http.get(f"{self._monitor}/jsz", params={"consumers": "true"}, timeout=_LOOK_SECONDS)
            account = reply.json()["account_details"][0]
        except (httpx.HTTPError, ValueError, KeyError, IndexError):
            return {}
        streams = account.get("stream_detail", [])
        consumers = [each for stream in streams for each in stream.get("consumer_detail") or []]
        return {each["name"]: _consumption(each) for each in consumers}

    async def stored(self, what: Literal["messages", "bytes"]) -> dict[str, int]:
        """Return how much each stream holds."""
        reply = await self._http.get(f"{self._monitor}/jsz", params={"streams": "true"}, timeout=_LOOK_SECONDS)
        streams = reply.json()["account_details"][0]["stream_detail"]
        return {each["name"]: each["state"][what] for each in streams}


def consumers_of(name: str) -> tuple[str, ...]:
    """Return the durable consumers of a service, none for those that only answer."""
    return _CONSUMERS.get(name, ())


def _is(process: psutil.Process, name: str) -> bool:
    command = process.cmdline()
    if name == BROKER:
        return bool(command) and PurePath(command[0]).name == BROKER
    # Before it becomes the service, a new process ties itself to the launcher: it has the same last arguments.
    if f"services.{service_of(name)}.app" not in command or "die_with_parent.py" in " ".join(command):
        return False
    return bool(process.environ().get(LANES) == "interactive") == (name == QUERY_EMBEDDER)


def _consumption(detail: dict[str, Any]) -> Consumption:
    delivered, floor = detail["delivered"]["consumer_seq"], detail["ack_floor"]["consumer_seq"]
    return Consumption(delivered, floor, detail["num_pending"] + detail["num_ack_pending"])
