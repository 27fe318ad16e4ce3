"""The configuration of the nats-server that `rag up` starts: loopback only, a user for each service, bounded stores."""

import json
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from contracts.broker_users import user_entry
from contracts.permissions import ANONYMOUS, PLATFORM, anonymous, permissions_of
from contracts.topology import GIB, MIB, STREAMS, UPLOADS, Storage
from services.cli.ports import LOOPBACK

# Sizes of messages are agreed on with this limit in mind; the server's own default is the same, but may change.
MAX_PAYLOAD_BYTES: Final = MIB
MAX_MEMORY_BYTES: Final = 512 * MIB
PID_FILE: Final = "nats.pid"
# Room for streams that a later release declares, before its operator has changed anything.
FILE_RESERVE_BYTES: Final = 2 * GIB
# What a machine that loses its power may forget; the server's default is two minutes.
SYNC_INTERVAL: Final = "1s"


@dataclass(frozen=True, slots=True)
class BrokerTLS:
    """The broker's own certificate and key, and with `clients` the authority whose clients alone are let in."""

    cert: Path
    key: Path
    clients: Path | None = None


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """What differs from one broker to the next; `store` is where its messages lie, `passwords` are by user.

    `open_to_producers`: a connection without credentials may publish documents of the tenant `default`.
    """

    port: int
    monitor_port: int
    store: Path
    passwords: Mapping[str, str] = field(repr=False)
    tls: BrokerTLS | None = None
    open_to_producers: bool = True


def broker_config(options: BrokerOptions) -> str:
    """Return the configuration file; it holds passwords."""
    # JSON is a subset of the server's format, and the one in which a path can hold any character.
    return json.dumps(_settings(options), indent=2, ensure_ascii=False) + "\n"


def server_binary() -> Path:
    """Return where the package of the broker puts its program."""
    return Path(sys.executable).parent / "nats-server"


def max_file_bytes() -> int:
    """Return what the declared streams and the bucket may take on disk, and a reserve."""
    declared = sum(stream.max_bytes for stream in STREAMS if stream.storage is Storage.FILE)
    return declared + UPLOADS.max_bytes + FILE_RESERVE_BYTES


def _settings(options: BrokerOptions) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "server_name": "rag-local",
        "listen": f"{LOOPBACK}:{options.port}",
        "http": f"{LOOPBACK}:{options.monitor_port}",
        "max_payload": MAX_PAYLOAD_BYTES,
        "pid_file": str(options.store / PID_FILE),
        "jetstream": {
            "store_dir": str(options.store),
            "max_memory_store": MAX_MEMORY_BYTES,
            "max_file_store": max_file_bytes(),
            "sync_interval": SYNC_INTERVAL,
        },
        "authorization": {"users": _users(options)},
    }
    if options.open_to_producers:
        settings["no_auth_user"] = ANONYMOUS
    if options.tls is not None:
        settings["tls"] = _tls(options.tls)
    return settings


def _users(options: BrokerOptions) -> list[dict[str, Any]]:
    users = [
        # Of the machine's owner, who could read the store as well; no process of ours uses it.
        {"user": user, "password": password} if user == PLATFORM else user_entry(user, password, permissions_of(user))
        for user, password in options.passwords.items()
    ]
    if options.open_to_producers:
        # Nobody needs to know the password: this user is given to connections without credentials.
        users.append(user_entry(ANONYMOUS, secrets.token_urlsafe(32), anonymous()))
    return users


def _tls(tls: BrokerTLS) -> dict[str, Any]:
    # Before the broker says anything, so that nobody in between can say that it takes no TLS.
    settings: dict[str, Any] = {"cert_file": str(tls.cert), "key_file": str(tls.key), "handshake_first": True}
    if tls.clients is not None:
        settings |= {"ca_file": str(tls.clients), "verify": True}
    return settings
