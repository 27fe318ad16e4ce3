"""The declared topology against a broker."""

import asyncio
import sys
from typing import Final

from services.cli.broker_access import BrokerLogin, jetstream
from services.cli.errors import EXIT_FAILURE, CommandError
from services.cli.settings import load
from services.cli.terminal import print_json, show
from shared.messaging.broker import without_credentials
from shared.messaging.provisioning import drift, messages_in_ingest, provision, renew_ingest
from shared.settings import PlatformSettings

AGAIN_SECONDS: Final = 1.0


def apply_topology(nats_url: str | None, *, as_json: bool) -> int:
    """Make the broker as declared and print what was changed; returns the exit code."""
    settings = load(PlatformSettings)
    login = BrokerLogin.of(settings, nats_url or settings.nats_url)

    async def run() -> list[str]:
        async with jetstream(login, connect_seconds=settings.nats_connect_seconds) as js:
            return await provision(js, replicas=settings.nats_replicas)

    _print_changes(asyncio.run(run()), login, as_json=as_json)
    return 0


def keep_topology(nats_url: str | None, *, as_json: bool) -> int:
    """Make the broker as declared, and again after each loss of the connection, until a signal ends the process.

    A broker that was started again has lost the streams that it keeps in memory. CommandError when the first try fails.
    """
    settings = load(PlatformSettings)
    login = BrokerLogin.of(settings, nats_url or settings.nats_url)

    async def declare_until_lost() -> None:
        lost = asyncio.Event()
        async with jetstream(login, connect_seconds=settings.nats_connect_seconds, lost=lost) as js:
            _print_changes(await provision(js, replicas=settings.nats_replicas), login, as_json=as_json)
            sys.stdout.flush()
            await lost.wait()

    async def run() -> None:
        await declare_until_lost()
        while True:
            try:
                await declare_until_lost()
            except CommandError as error:
                sys.stderr.write(f"rag: {error}; trying again\n")
                await asyncio.sleep(AGAIN_SECONDS)

    asyncio.run(run())
    return 0


def put_new_ingest(nats_url: str | None, *, force: bool, as_json: bool) -> int:
    """Replace INGEST by a new one and print what was changed; CommandError when messages would be lost unasked."""
    settings = load(PlatformSettings)
    login = BrokerLogin.of(settings, nats_url or settings.nats_url)

    async def run() -> list[str]:
        async with jetstream(login, connect_seconds=settings.nats_connect_seconds) as js:
            held = await messages_in_ingest(js)
            if held and not force:
                raise CommandError(
                    f"INGEST holds {held} messages, which would be lost; stop who publishes, and repeat with --force "
                    "when their documents are sent again afterwards"
                )
            return await renew_ingest(js, replicas=settings.nats_replicas)

    _print_changes(asyncio.run(run()), login, as_json=as_json)
    return 0


def check_topology(nats_url: str | None, *, as_json: bool) -> int:
    """Print where the broker differs from the declaration; returns the exit code."""
    settings = load(PlatformSettings)
    login = BrokerLogin.of(settings, nats_url or settings.nats_url)

    async def run() -> list[str]:
        async with jetstream(login, connect_seconds=settings.nats_connect_seconds) as js:
            return await drift(js, replicas=settings.nats_replicas)

    differences = asyncio.run(run())
    if as_json:
        print_json({"nats_url": without_credentials(login.url), "differences": differences})
    else:
        remark = "run `rag provision` to mend it" if differences else f"{without_credentials(login.url)} is as declared"
        _print_lines([*differences, remark])
    return EXIT_FAILURE if differences else 0


def _print_changes(changes: list[str], login: BrokerLogin, *, as_json: bool) -> None:
    if as_json:
        print_json({"nats_url": without_credentials(login.url), "changes": changes})
    else:
        _print_lines(changes or [f"{without_credentials(login.url)} is as declared; nothing changed"])


def _print_lines(lines: list[str]) -> None:
    for line in lines:
        show(line, soft_wrap=True)
