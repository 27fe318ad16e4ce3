"""Fixtures that every layer of tests may use."""

import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.servers import NatsServer, nats_server, provisioned_nats_server

if TYPE_CHECKING:
    from tests.scheduling import PlatformScheduling


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> "PlatformScheduling | None":
    """Keep files together, and tests that start whole platforms one after the other (`--dist loadfile`)."""
    if config.getvalue("dist") != "loadfile":
        return None
    from tests.scheduling import PlatformScheduling

    return PlatformScheduling(config, log)


def pytest_configure() -> None:
    """Let Ctrl-C reach the programs under test: a shell starts what runs in the background with it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def bare_nats() -> Iterator[NatsServer]:
    """A nats-server of this test's own, with nothing in it."""
    with nats_server() as server:
        yield server


@pytest.fixture
def nats_broker() -> Iterator[NatsServer]:
    """A nats-server of this test's own, with the declared topology."""
    with provisioned_nats_server() as server:
        yield server


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their parameter: made anew they may differ, and every worker must find the same tests."""
    return argname if isinstance(val, bytes) else None
