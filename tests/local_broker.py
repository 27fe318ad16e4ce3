"""A broker in a data folder, with the launcher's configuration, as `rag up` leaves it running."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client

from services.cli.broker_config import BrokerOptions, broker_config, server_binary
from services.cli.data_folder import DataFolder, write_private
from tests.servers import START_TIMEOUT_SECONDS, free_port, wait_for_port


@dataclass
class LocalBroker:
    """A running broker and the folder that holds its passwords."""

    data: DataFolder
    url: str

    async def connect(self, user: str, **options: Any) -> Client:
        """Connect as a user."""
        return await nats.connect(self.url, user=user, password=self.data.password(user), **options)


@contextmanager
def local_broker(folder: Path) -> Iterator[LocalBroker]:
    """Run a broker until the block ends; it has no streams yet."""
    data = DataFolder(folder)
    data.create()
    port = free_port()
    options = BrokerOptions(port, free_port(), data.broker, data.passwords())
    write_private(data.broker_config, broker_config(options))
    process = subprocess.Popen([str(server_binary()), "--config", str(data.broker_config)], stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port, process)
        yield LocalBroker(data, f"nats://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(START_TIMEOUT_SECONDS)
