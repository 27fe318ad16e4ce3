"""The configuration of the nats-server that `rag up` starts: loopback only, two users, bounded stores."""

import json
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from contracts import subjects
from contracts.topology import GIB, MIB, STREAMS, UPLOADS, Storage
from services.cli.ports import LOOPBACK

PLATFORM_USER: Final = "platform"
PRODUCER_USER: Final = "producer"
DEFAULT_TENANT: Final = "default"
# Sizes of messages are agreed on with this limit in mind; the server's own default is the same, but may change.
MAX_PAYLOAD_BYTES: Final = MIB
MAX_MEMORY_BYTES: Final = 512 * MIB
# Room for streams that a later release declares, before its operator has changed anything.
FILE_RESERVE_BYTES: Final = 2 * GIB
# What a machine that loses its power may forget; the server's default is two minutes.
SYNC_INTERVAL: Final = "1s"


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """What differs from one broker to the next; `store` is where its messages lie."""

    port: int
    monitor_port: int
    store: Path
    platform_password: str


def broker_config(options: BrokerOptions) -> str:
    """Return the configuration file; it holds a password."""
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
    return {
        "server_name": "rag-local",
        "listen": f"{LOOPBACK}:{options.port}",
        "http": f"{LOOPBACK}:{options.monitor_port}",
        "max_payload": MAX_PAYLOAD_BYTES,
        "jetstream": {
            "store_dir": str(options.store),
            "max_memory_store": MAX_MEMORY_BYTES,
            "max_file_store": max_file_bytes(),
            "sync_interval": SYNC_INTERVAL,
        },
        "authorization": {"users": [_platform(options.platform_password), _producer()]},
        "no_auth_user": PRODUCER_USER,
    }


def _platform(password: str) -> dict[str, Any]:
    return {"user": PLATFORM_USER, "password": password}


def _producer() -> dict[str, Any]:
    """Whoever connects without credentials: may publish documents and read facts and its own acknowledgements."""
    return {
        "user": PRODUCER_USER,
        # Nobody needs to know it: this user is given to connections without credentials.
        "password": secrets.token_urlsafe(32),
        "permissions": {
            "publish": {"allow": [subjects.ingest(DEFAULT_TENANT)]},
            "subscribe": {"allow": [subjects.FACTS_ALL, "_INBOX.>"]},
        },
    }
