"""Which ports the processes of `rag up` get."""

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from services.cli.errors import CommandError
from services.cli.ports import PortOptions, choose_ports

LOOPBACK = "127.0.0.1"


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


def test_free_ports_are_all_different() -> None:
    ports = choose_ports(PortOptions(gateway=0), LOOPBACK, 8)
    chosen = [ports.gateway, ports.broker, ports.monitor, *ports.health]
    assert len(set(chosen)) == 11
    assert 0 not in chosen


def test_a_port_that_was_named_stays_when_the_others_are_free_ones() -> None:
    named = choose_ports(PortOptions(gateway=0), LOOPBACK, 0).broker
    assert choose_ports(PortOptions(gateway=0, broker=named), LOOPBACK, 1).broker == named


@pytest.mark.parametrize(
    ("field", "option"),
    [
        ("gateway", "--port"),
        ("broker", "--nats-port"),
        ("monitor", "--nats-monitor-port"),
        ("health", "--health-ports"),
    ],
)
def test_a_taken_port_is_named_with_the_option_that_changes_it(taken: int, field: str, option: str) -> None:
    options = PortOptions(**{"gateway": 0, field: taken})
    with pytest.raises(CommandError, match=f"port {taken} on {LOOPBACK} is taken; choose another with {option}"):
        choose_ports(options, LOOPBACK, 2)


def test_health_ports_are_a_row_and_the_taken_one_is_named(taken: int) -> None:
    with pytest.raises(CommandError, match=f"port {taken} on"):
        choose_ports(PortOptions(gateway=0, health=taken - 1), LOOPBACK, 2)


def test_a_row_that_leaves_the_range_of_ports_is_refused() -> None:
    with pytest.raises(CommandError, match="--health-ports 65534 leaves no room for 3 ports"):
        choose_ports(PortOptions(gateway=0, health=65534), LOOPBACK, 3)


def test_connections_that_wait_to_expire_do_not_count_as_taken() -> None:
    server = socket.create_server((LOOPBACK, 0))
    port = server.getsockname()[1]
    with closing(server), socket.create_connection((LOOPBACK, port)) as client:
        accepted, _ = server.accept()
        accepted.close()
        client.recv(1)
    assert choose_ports(PortOptions(gateway=port, broker=0, monitor=0, health=0), LOOPBACK, 1).gateway == port
