"""The state of the platform in a terminal."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from services.cli.client import Gateway
from services.cli.errors import CommandError
from services.cli.terminal import one_line, out, print_json, show


def show_status(url: str, *, as_json: bool) -> None:
    """Print the state once."""
    state = asyncio.run(_read(url))
    if as_json:
        print_json(state)
    else:
        show(_render(state))


def watch_status(url: str, *, interval_seconds: float, as_json: bool) -> None:
    """Print the state again and again until Ctrl-C; CommandError when there is no gateway to begin with."""
    asyncio.run(_watch(url, interval_seconds, as_json=as_json))


async def read_status(gateway: Gateway) -> dict[str, Any]:
    """Return services, stages, collections and what is used, and the broker's address as `nats_url`."""
    health, pipeline, collections, usage = await asyncio.gather(
        gateway.get_health(),
        gateway.get("/v1/admin/pipeline"),
        gateway.get("/v1/collections"),
        gateway.get("/v1/usage"),
    )
    return {
        "status": health.get("status"),
        "version": health.get("version"),
        "problems": health.get("problems") or [],
        "url": gateway.url,
        "nats_url": (health.get("broker") or {}).get("url"),
        "services": health.get("services") or {},
        "pipeline": pipeline,
        "collections": collections.get("items") or [],
        "usage": usage,
    }


async def _read(url: str) -> dict[str, Any]:
    async with Gateway(url) as gateway:
        return await read_status(gateway)


async def _watch(url: str, interval_seconds: float, *, as_json: bool) -> None:
    async with Gateway(url) as gateway:
        state: dict[str, Any] = await read_status(gateway)
        with _screen(interval_seconds, as_json=as_json) as print_state:
            while True:
                print_state(state)
                await asyncio.sleep(interval_seconds)
                try:
                    state = await read_status(gateway)
                except CommandError as error:
                    # It was there, and may be back: watching a restart is what this is for.
                    state = {"error": str(error)}


@contextmanager
def _screen(interval_seconds: float, *, as_json: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield what shows a state: in place on a terminal, one after the other elsewhere."""
    console = out()
    if as_json:
        yield print_json
    elif not console.is_terminal:
        yield lambda state: show(_render(state))
    else:
        foot = f"every {interval_seconds:g} s, Ctrl-C ends"
        with Live(console=console, auto_refresh=False) as live:
            yield lambda state: live.update(_watched(state, foot), refresh=True)


def _watched(state: dict[str, Any], foot: str) -> RenderableType:
    return Group(_render(state), "", Text(f"{datetime.now():%H:%M:%S}, {foot}", style="dim"))


def _render(state: dict[str, Any]) -> RenderableType:
    if "error" in state:
        return Text(state["error"], style="red")
    head = Text.assemble(
        "gateway ", one_line(state["url"]), "  ", _state(state["status"] or "unknown", good=state["status"] == "ok")
    )
    broker = f"broker  {one_line(state['nats_url'] or 'unknown')}"
    problems = [Text(one_line(problem), style="red") for problem in state.get("problems") or []]
    parts: list[RenderableType] = [
        head,
        *problems,
        broker,
        *_models(state["services"]),
        _usage(state["usage"]),
        "",
        _services(state["services"]),
    ]
    stages = state["pipeline"].get("stages") or []
    if stages:
        parts += ["", _stages(stages)]
    if state["collections"]:
        parts += ["", _collections(state["collections"])]
    return Group(*parts)


def _models(services: dict[str, Any]) -> list[str]:
    """Return the line of the model that searches use, and of the one that `rag reindex` will switch to."""
    for replica in (services.get("retriever") or {}).get("replicas") or []:
        index = (replica.get("details") or {}).get("index") or {}
        if index.get("model"):
            upcoming = index.get("next") or {}
            after = f", next {one_line(upcoming['model'])} ({upcoming['chunks']} chunks)" if upcoming else ""
            return [f"model   {one_line(index['model'])}{after}"]
    return []


def _usage(usage: dict[str, Any]) -> str:
    """Return the line of what the caller's tenant has, and may have where that is bounded."""
    limits = usage.get("limits") or {}
    parts = []
    for name in ("documents", "bytes"):
        of = f" of {limits[name]:,}" if limits.get(name) is not None else ""
        parts.append(f"{usage.get(name, 0):,}{of} {name}")
    return f"usage   {', '.join(parts)}"


def _services(services: dict[str, Any]) -> Table:
    table = _table("service", "ready", "live", "instances", numbers=("ready", "live"))
    for name, service in services.items():
        replicas = service.get("replicas") or []
        count = len(replicas)
        ready = int(service.get("ready", 0))
        instances = ", ".join(one_line(replica.get("instance", "?"), 60) for replica in replicas)
        good = count > 0 and ready == count
        live = f"{service.get('live', 0)}/{count}"
        table.add_row(one_line(name), _state(f"{ready}/{count}", good=good), live, instances or "none")
    return table


def _stages(stages: list[dict[str, Any]]) -> Table:
    """Return a table of 80 columns at most: what is idle stands back, what waits or has failed stands out."""
    columns = ("backlog", "in flight", "redelivered", "dead", "per s", "readers")
    table = _table("stage", *columns, numbers=columns)
    for stage in stages:
        backlog, working = int(stage.get("backlog", 0)), int(stage.get("in_flight", 0))
        rate, dead = stage.get("rate_per_s"), stage.get("dead_letters")
        table.add_row(
            one_line(stage.get("stage", "?")),
            Text(str(backlog), style="yellow" if backlog else ""),
            str(working),
            str(stage.get("redelivered", 0)),
            Text("-" if dead is None else str(dead), style="red" if dead else ""),
            f"{rate:.1f}" if isinstance(rate, int | float) else "-",
            str(stage.get("consumers_seen", "-")),
            style="" if backlog or working or rate or dead else "dim",
        )
    return table


def _collections(collections: list[dict[str, Any]]) -> Table:
    table = _table("collection", "documents", "chunks", "by status", numbers=("documents", "chunks"))
    for item in collections:
        states = ", ".join(
            f"{count} {one_line(name)}" for name, count in (item.get("by_status") or {}).items() if count
        )
        table.add_row(
            one_line(item.get("name", "?")), str(item.get("documents", 0)), str(item.get("chunks", 0)), states
        )
    return table


def _table(*columns: str, numbers: tuple[str, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    return table


def _state(text: str, *, good: bool) -> Text:
    return Text(text, style="green" if good else "red")
