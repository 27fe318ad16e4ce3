"""Drives a reindexing: passes over all chunks until one finds nothing to copy, the switch, and one pass after it."""

import asyncio
import time
from typing import Any, Final

from contracts.retrieval import REINDEX_STEP_SECONDS
from services.cli.client import Gateway, GatewayUnreachable, Problem
from services.cli.errors import CommandError
from services.cli.reindex_progress import PassView, say
from services.cli.terminal import one_line, print_json
from shared.settings import model_variables

PATH: Final = "/v1/admin/reindex"
MAX_PASSES: Final = 50
RETRY_PAUSE_SECONDS: Final = 1.0
# Replicas follow the switch within a second.
FOLLOW_SECONDS: Final = 2.0
INCOMPLETE: Final = "reindex_incomplete"
ALREADY_ACTIVE: Final = "already_active"


def run_reindexing(url: str, *, stall_seconds: float, as_json: bool) -> None:
    """Do it all; CommandError says why it cannot be done, or what to wait for."""
    asyncio.run(_run(url, stall_seconds, as_json=as_json))


async def _run(url: str, stall_seconds: float, *, as_json: bool) -> None:
    async with Gateway(url, timeout_seconds=REINDEX_STEP_SECONDS + 10) as gateway:
        await gateway.get("/live")
        reindexing = Reindexing(gateway, stall_seconds=stall_seconds, as_json=as_json)
        await reindexing.run()


class Reindexing:
    """One `rag reindex`; a step that fails for a while is tried again until `stall_seconds` have passed."""

    def __init__(self, gateway: Gateway, *, stall_seconds: float, as_json: bool) -> None:
        self._gateway = gateway
        self._stall_seconds = stall_seconds
        self._as_json = as_json
        self._passes = 0

    async def run(self) -> None:
        """Copy, catch up, switch, and say what to configure from then on."""
        state = await self._step("look")
        before, model = require_next(state)
        self._say(f"From {before} ({state['chunks']} chunks) to {model}; until the switch searches use the former.")
        await self._copy_until_complete()
        self._say(f"Searches use {model} now.", event="switched", model=model)
        await asyncio.sleep(FOLLOW_SECONDS)
        await self._look_once_more()
        for line in closing_lines(before, model):
            say(line, as_json=self._as_json)
        if self._as_json:
            print_json({"event": "done", "model": model, "before": before, "configure": model_variables(model)})

    async def _copy_until_complete(self) -> None:
        for _ in range(MAX_PASSES):
            if not await self._pass() and await self._activate():
                return
        raise CommandError(
            f"something was missing after each of {MAX_PASSES} passes: see the log of the embedder, then run it again"
        )

    async def _activate(self) -> bool:
        try:
            await self._step("activate")
        except Problem as problem:
            if problem.code != INCOMPLETE:
                raise
            self._say(f"Not yet: {problem.detail}.", event="incomplete", reason=problem.detail)
            await asyncio.sleep(RETRY_PAUSE_SECONDS)
            return False
        return True

    async def _look_once_more(self) -> None:
        """A replica that had not yet heard of the switch may have stored something in the former index alone."""
        try:
            await self._pass()
        except Problem as problem:
            # It was started again since, and only has the new index open.
            if problem.code != ALREADY_ACTIVE:
                raise

    async def _pass(self) -> int:
        self._passes += 1
        looked_at = copied = 0
        cursor: str | None = None
        with PassView(self._passes, as_json=self._as_json) as view:
            while True:
                reply = await self._step("copy", cursor)
                looked_at, copied = looked_at + reply["looked_at"], copied + reply["copied"]
                view.show(looked_at, copied, total=reply["chunks"])
                cursor = reply["cursor"]
                if cursor is None:
                    break
        self._say(
            f"Pass {self._passes}: looked at {looked_at} chunks, copied {copied}.",
            event="pass",
            number=self._passes,
            looked_at=looked_at,
            copied=copied,
        )
        return int(copied)

    async def _step(self, step: str, cursor: str | None = None) -> dict[str, Any]:
        """Return the reply; steps may be repeated, so what fails for a while is simply tried again."""
        until = time.monotonic() + self._stall_seconds
        while True:
            try:
                reply: dict[str, Any] = await self._gateway.post(PATH, {"step": step, "cursor": cursor})
                return reply
            except (GatewayUnreachable, Problem) as error:
                if time.monotonic() > until or (isinstance(error, Problem) and not error.temporary):
                    raise
            await asyncio.sleep(RETRY_PAUSE_SECONDS)

    def _say(self, text: str, **event: Any) -> None:
        say(text, as_json=self._as_json)
        if self._as_json and event:
            print_json(event)


def require_next(state: dict[str, Any]) -> tuple[str, str]:
    """Return the active and the next model; CommandError when there is nothing to switch to."""
    active, wanted = one_line(state["active"]), state.get("next_model")
    if wanted is None:
        raise CommandError(
            f"no next model is configured, the index holds {active}: set RAG_NEXT_EMBEDDING_MODEL (and _DIMENSION,"
            " _URL) for embedder, parser and retriever, start them again, then run `rag reindex`"
        )
    if wanted == state["active"]:
        raise CommandError(
            f"{active} is active already: set {model_variables(active)}, unset RAG_NEXT_EMBEDDING_MODEL, and start"
            " embedder, parser and retriever again"
        )
    return active, one_line(wanted)


def closing_lines(before: str, model: str) -> list[str]:
    """Return what is left to do for people."""
    return [
        "",
        "From now on configure for embedder, parser and retriever, with no RAG_NEXT_EMBEDDING_… beside it:",
        f"  {model_variables(model)}",
        f"and start them again. The embedded index of {before} is removed then; a collection on a Qdrant server stays",
        "until you delete it.",
    ]
