"""The declared topology against a broker."""

import asyncio

from services.cli.broker_access import BrokerLogin, jetstream
from services.cli.errors import EXIT_FAILURE
from services.cli.settings import load
from services.cli.terminal import print_json, show
from shared.messaging.broker import without_credentials
from shared.messaging.provisioning import drift, provision
from shared.settings import PlatformSettings


def apply_topology(nats_url: str | None, *, as_json: bool) -> int:
    """Make the broker as declared and print what was changed; returns the exit code."""
    settings = load(PlatformSettings)
    login = BrokerLogin.of(settings, nats_url or settings.nats_url)

    async def run() -> list[str]:
        async with jetstream(login, connect_seconds=settings.nats_connect_seconds) as js:
            return await provision(js, replicas=settings.nats_replicas)

    changes = asyncio.run(run())
    if as_json:
        print_json({"nats_url": without_credentials(login.url), "changes": changes})
    else:
        _print_lines(changes or [f"{without_credentials(login.url)} is as declared; nothing changed"])
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


def _print_lines(lines: list[str]) -> None:
    for line in lines:
        show(line, soft_wrap=True)
