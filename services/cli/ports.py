"""Which TCP ports the processes of one machine get."""

import contextlib
import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.cli.errors import CommandError

LOOPBACK: Final = "127.0.0.1"
ANY_FREE: Final = 0
MAX_PORT: Final = 65_535
DEFAULT_GATEWAY_PORT: Final = 8000
DEFAULT_BROKER_PORT: Final = 4222
DEFAULT_MONITOR_PORT: Final = 8222
DEFAULT_FIRST_HEALTH_PORT: Final = 8101


@dataclass(frozen=True, slots=True)
class PortOptions:
    """What was asked for: 0 is any free port, None was not named; `health` is the first of a row."""

    gateway: int = DEFAULT_GATEWAY_PORT
    broker: int | None = None
    monitor: int | None = None
    health: int | None = None


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports to use; `health` has one for each process that is not a gateway."""

    gateway: int
    broker: int
    monitor: int
    health: tuple[int, ...]


def choose_ports(options: PortOptions, host: str, health_count: int) -> Ports:
    """Return ports that nobody listens on now; CommandError names a taken one and the option that changes it."""
    first = _resolved(options.health, options, DEFAULT_FIRST_HEALTH_PORT)
    if first + health_count - 1 > MAX_PORT:
        raise CommandError(f"--health-ports {first} leaves no room for {health_count} ports below {MAX_PORT}")
    health = [first + place if first else ANY_FREE for place in range(health_count)]
    with contextlib.ExitStack() as held:
        # All are held at the same time, so that no two of the free ones are the same.
        return Ports(
            gateway=_hold(held, host, options.gateway, "--port"),
            broker=_hold(held, LOOPBACK, _resolved(options.broker, options, DEFAULT_BROKER_PORT), "--nats-port"),
            monitor=_hold(
                held, LOOPBACK, _resolved(options.monitor, options, DEFAULT_MONITOR_PORT), "--nats-monitor-port"
            ),
            health=tuple(_hold(held, LOOPBACK, port, "--health-ports") for port in health),
        )


def _resolved(asked: int | None, options: PortOptions, default: int) -> int:
    if asked is not None:
        return asked
    return ANY_FREE if options.gateway == ANY_FREE else default


def _hold(held: contextlib.ExitStack, host: str, port: int, option: str) -> int:
    family, address = _address(host, port)
    probe = held.enter_context(socket.socket(family, socket.SOCK_STREAM))
    # Connections of the run before that wait to expire do not count as taken; the servers set the same option.
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(address)
        probe.listen(1)
    except OSError as error:
        raise CommandError(_refusal(error, host, port, option)) from None
    chosen: int = probe.getsockname()[1]
    return chosen


def _address(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    found: Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int]]]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)  # type: ignore[assignment]
    return found[0][0], found[0][4]


def _refusal(error: OSError, host: str, port: int, option: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken; choose another with {option} (0 = any free one)"
    return f"cannot listen on port {port} of {host}: {error.strerror}; choose another with {option}"
