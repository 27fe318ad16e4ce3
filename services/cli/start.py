"""Checks that everything can run here, runs it, and says how to use it."""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from services.cli.broker_config import server_binary
from services.cli.data_folder import DataFolder
from services.cli.errors import CommandError, UsageProblem
from services.cli.gateway_tls import probe_context
from services.cli.local import STOP_TIMEOUT_SECONDS, Launcher, Ready, caller_environment
from services.cli.plan import Command, Plan, members, service_command
from services.cli.ports import PortOptions, choose_ports
from services.cli.process_logs import LineWriter
from services.cli.ready_block import ready_fields, ready_lines
from services.cli.scaling import check_scale, parse_scale
from services.cli.scrape_targets import write_scrape_targets
from services.cli.settings import LauncherSettings, load
from services.cli.terminal import err, has_colours, out, print_json
from shared import models
from shared.access import auth_modes, refusal_to_start_open


@dataclass(frozen=True, slots=True)
class StartOptions:
    """What the command line of `rag up` says; `started` is the monotonic time at which it was read."""

    scale: list[str]
    data: Path | None
    host: str
    ports: PortOptions
    as_json: bool
    started: float


def start(
    options: StartOptions,
    command: Command = service_command,
    stop_timeout_seconds: float = STOP_TIMEOUT_SECONDS,
) -> int:
    """Run everything until a signal comes; returns the exit code, raises CommandError when it can't start.

    `command` gives the command line of a service by its name.
    """
    settings = load(LauncherSettings)
    replicas = parse_scale(options.scale)
    check_scale(replicas, settings)
    require_protection(settings.auth, options.host)
    require_programs(settings)
    data = DataFolder((options.data or settings.data_dir).absolute())
    data.create()
    data.require_space()
    with data.locked() as lock:
        ports = choose_ports(options.ports, options.host, len(members(replicas)) - replicas["gateway"])
        environment = caller_environment()
        plan = Plan(
            options.host,
            ports,
            data,
            replicas,
            environment,
            settings.models_dir.absolute(),
            settings.up_unresponsive_seconds,
            command,
            settings.broker_tls,
            open_to_producers=settings.auth == "off",
            gateway_probe=probe_context(settings),
        )
        return launch(plan, lock, options, stop_timeout_seconds)


def launch(plan: Plan, lock: int, options: StartOptions, stop_timeout_seconds: float) -> int:
    """Run a plan; with JSON the ready block alone is on standard output and the logs are on standard error."""
    terminal = LineWriter(sys.stderr if options.as_json else sys.stdout)

    def announce(ready: Ready) -> None:
        if options.as_json:
            print_json(ready_fields(plan, ready))
            return
        for line in ready_lines(plan, ready):
            terminal.write(line)

    write_scrape_targets(plan)

    async def run() -> int:
        coloured = has_colours(err() if options.as_json else out())
        launcher = Launcher(plan, terminal, coloured, announce, lock, stop_timeout_seconds, options.started)
        return await launcher.run()

    try:
        return asyncio.run(run())
    finally:
        terminal.close()


def require_protection(auth: str, host: str) -> None:
    """Raise UsageProblem when the gateway would be open to other machines, whose callers it can't tell apart."""
    if refusal_to_start_open(auth_modes(auth), host) is not None:
        raise UsageProblem(
            f"--host {host} would open the platform to other machines without authentication (RAG_AUTH=off); make a "
            "first key with `rag keys create --data DIR` and set RAG_AUTH=keys, or use a loopback address such as "
            "127.0.0.1"
        )


def require_programs(settings: LauncherSettings) -> None:
    """Raise CommandError when the broker's program or the embedding model is not there."""
    if not server_binary().exists():
        raise CommandError(f"the broker's program {server_binary()} is missing; run `make setup`")
    for model in (settings.embedding, settings.next_embedding):
        if model is None or model.url:
            continue
        try:
            models.locate(model.name, settings.models_dir)
        except models.ModelError as error:
            raise CommandError(str(error)) from None
