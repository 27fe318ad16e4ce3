"""Waits until processes say that they are ready."""

import asyncio
import ssl
from collections.abc import Iterable
from typing import Final

import httpx

from services.cli.errors import CommandError
from services.cli.supervisor import SupervisedProcess
from services.cli.terminal import one_line

POLL_SECONDS: Final = 0.1
ANSWER_TIMEOUT_SECONDS: Final = 2.0


async def wait_until_ready(
    processes: Iterable[SupervisedProcess], timeout_seconds: float, tls: ssl.SSLContext | None = None
) -> None:
    """Return once every process is ready; CommandError names those that are not when the time is up.

    `tls` is how those are spoken to whose address begins with https.
    """
    missing: dict[str, str] = {}
    # The processes are on this machine's loopback interface, which no proxy can reach.
    async with httpx.AsyncClient(timeout=ANSWER_TIMEOUT_SECONDS, trust_env=False, verify=tls or True) as http:
        try:
            async with asyncio.timeout(timeout_seconds):
                await asyncio.gather(*(_wait_for(http, process, missing) for process in processes))
        except TimeoutError:
            states = "; ".join(f"{name}: {state}" for name, state in sorted(missing.items()))
            raise CommandError(f"not ready after {timeout_seconds:g} s: {states}") from None


async def _wait_for(http: httpx.AsyncClient, process: SupervisedProcess, missing: dict[str, str]) -> None:
    name = process.spec.name
    while (state := await _state(http, process.spec.ready_url)) is not None:
        missing[name] = state
        await asyncio.sleep(POLL_SECONDS)
    process.was_ready = True
    missing.pop(name, None)


async def _state(http: httpx.AsyncClient, url: str) -> str | None:
    """Return None when the process is ready, else what it waits for."""
    try:
        response = await http.get(url)
    except httpx.HTTPError:
        return "does not answer yet"
    return None if response.is_success else one_line(response.text)
