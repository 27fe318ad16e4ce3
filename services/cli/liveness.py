"""Ends processes that are there but do not live: a service that says so, or that does not even answer.

What a liveness probe does in Kubernetes, the launcher does on one machine. Counted is the time of failed probes, never
the clock: while the machine sleeps, or the launcher itself is stopped, nobody fails.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Final

import httpx

from services.cli.supervisor import SupervisedProcess

PROBE_SECONDS: Final = 2.0
ANSWER_TIMEOUT_SECONDS: Final = 2.0
_LONGEST_PROBE_SECONDS: Final = PROBE_SECONDS + ANSWER_TIMEOUT_SECONDS + 1.0


async def keep_alive(
    processes: Iterable[SupervisedProcess],
    bound_seconds: float,
    say: Callable[[str], None],
    *,
    probe_seconds: float = PROBE_SECONDS,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Watch processes until cancelled; one whose probes fail for `bound_seconds` is killed and so started again.

    A process counts from its first good answer on: how long a start may take is not decided here.
    `tls` is how those are spoken to whose address begins with https.
    """
    async with httpx.AsyncClient(timeout=ANSWER_TIMEOUT_SECONDS, trust_env=False, verify=tls or True) as http:
        await asyncio.gather(*(_watch(http, one, bound_seconds, say, probe_seconds) for one in processes))


async def _watch(
    http: httpx.AsyncClient,
    process: SupervisedProcess,
    bound_seconds: float,
    say: Callable[[str], None],
    probe_seconds: float,
) -> None:
    pid, lived, failed_seconds = process.pid, False, 0.0
    while True:
        began = time.monotonic()
        await asyncio.sleep(probe_seconds)
        trouble = await _trouble(http, process.spec.live_url)
        if process.pid != pid:
            pid, lived, failed_seconds = process.pid, False, 0.0
        elif trouble is None:
            lived, failed_seconds = True, 0.0
        elif lived:
            failed_seconds += min(time.monotonic() - began, _LONGEST_PROBE_SECONDS)
            if failed_seconds >= bound_seconds:
                say(f"{process.spec.name} {trouble} for {failed_seconds:.0f} s and is killed")
                process.kill_and_restart()
                lived = False


async def _trouble(http: httpx.AsyncClient, url: str) -> str | None:
    """Return None when the process lives, else what is wrong with it."""
    try:
        response = await http.get(url)
    except httpx.HTTPError:
        return "did not answer"
    return None if response.is_success else "was not live"
