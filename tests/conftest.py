"""Fixtures that every layer of tests may use."""

from collections.abc import Iterator

import pytest

from tests.servers import NatsServer, nats_server, provisioned_nats_server


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
