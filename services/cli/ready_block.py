"""What `rag up` says once everything runs."""

from textwrap import wrap
from typing import Any, Final

from services.cli.local import Ready
from services.cli.options import DEFAULT_URL
from services.cli.plan import Plan
from shared.access import KEYS, OFF, auth_modes

WIDTH: Final = 79
INDENT: Final = " " * 12


def ready_fields(plan: Plan, ready: Ready) -> dict[str, Any]:
    """Return the ready block for programs."""
    return {
        "ready": True,
        "url": plan.url,
        "docs": f"{plan.url}/docs",
        "nats_url": plan.broker_url,
        "nats_monitor_url": plan.monitor_url,
        "health": {spec.name: spec.ready_url.removesuffix("/ready") for spec in plan.services()},
        "pids": ready.pids,
        "data": str(plan.data.root),
        "seconds": round(ready.seconds, 2),
    }


def ready_lines(plan: Plan, ready: Ready) -> list[str]:
    """Return the ready block for people."""
    url = "" if plan.url == DEFAULT_URL else f" --url {plan.url}"
    # A name and its port stay on one line.
    ports = ", ".join(f"{spec.name}\N{NO-BREAK SPACE}{_port(spec.ready_url)}" for spec in plan.services())
    health = wrap(f"/ready and /metrics on ports: {ports}", WIDTH, initial_indent=INDENT, subsequent_indent=INDENT)
    return [
        "",
        f"rag is ready: {len(ready.pids) - 1} service processes and a broker in {ready.seconds:.1f} s",
        "",
        f"  console   {plan.url}/",
        f"  gateway   {plan.url}",
        f"  API docs  {plan.url}/docs",
        f"  broker    {plan.broker_url}",
        f"  data      {plan.data.root}",
        f"  health    {plan.url}/health/detailed",
        *(line.replace("\N{NO-BREAK SPACE}", " ") for line in health),
        *_keys_line(plan),
        "",
        f"  Try       rag ingest{url} README.md",
        f'            rag ask{url} "What is this?"',
        "  Stop      Ctrl-C",
        "",
    ]


def _keys_line(plan: Plan) -> list[str]:
    """Say how to get a key, where one is needed."""
    needed = KEYS in auth_modes(plan.environment.get("RAG_AUTH", OFF))
    return [f"  keys      rag keys create --data {plan.data.root}"] if needed else []


def _port(ready_url: str) -> str:
    return ready_url.removesuffix("/ready").rpartition(":")[2]
