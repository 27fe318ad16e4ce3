"""`rag up`: run everything on this machine."""

import time
from pathlib import Path
from typing import Annotated

import typer

from services.cli.options import DEFAULT_PORT, Json

PORT = {"min": 0, "max": 65_535, "metavar": "N"}


def up(
    scale: Annotated[
        list[str] | None, typer.Option(metavar="SERVICE=N", help="Run N processes of a service; may be repeated.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of everything that is stored (or RAG_DATA_DIR).")
    ] = None,
    port: Annotated[int, typer.Option(**PORT, help="Port of the gateway; 0 = any free one, for all.")] = DEFAULT_PORT,
    nats_port: Annotated[int | None, typer.Option(**PORT, help="Port of the broker [4222].")] = None,
    nats_monitor_port: Annotated[int | None, typer.Option(**PORT, help="Port of its monitoring [8222].")] = None,
    health_ports: Annotated[
        int | None, typer.Option(**PORT, help="First port of the services' health and metrics [8101].")
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address of the gateway; beyond loopback with RAG_AUTH.")
    ] = "127.0.0.1",
    as_json: Json = False,
) -> None:
    """Run everything on this machine until Ctrl-C."""
    started = time.monotonic()
    # Imports the HTTP client and the settings, which takes half a second that `rag --help` shall not.
    from services.cli.ports import PortOptions
    from services.cli.start import StartOptions, start

    ports = PortOptions(port, nats_port, nats_monitor_port, health_ports)
    raise typer.Exit(start(StartOptions(scale or [], data, host, ports, as_json, started)))
