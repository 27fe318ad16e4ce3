"""Sends dead letters again, or discards them, and says what became of each."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

from services.cli.client import REPLY_TIMEOUT_SECONDS, Gateway, Problem
from services.cli.dead_letter_views import PATH
from services.cli.errors import EXIT_FAILURE
from services.cli.terminal import err, one_line, print_json, show

# The gateway sends them one after the other.
BATCH: Final = 100
BATCH_TIMEOUT_SECONDS: Final = 5 * REPLY_TIMEOUT_SECONDS


def replay_these(url: str, seqs: list[int], *, as_json: bool) -> int:
    """Send letters again and return the exit code."""

    async def one(gateway: Gateway, seq: int) -> dict[str, Any]:
        receipt: dict[str, Any] = await gateway.post(f"{PATH}/{seq}/replay", {})
        return receipt

    return asyncio.run(_each(url, seqs, one, _replayed, as_json=as_json))


def discard_these(url: str, seqs: list[int], *, as_json: bool) -> int:
    """Discard letters and return the exit code."""

    async def one(gateway: Gateway, seq: int) -> dict[str, Any]:
        receipt: dict[str, Any] = await gateway.delete(f"{PATH}/{seq}")
        return receipt

    return asyncio.run(_each(url, seqs, one, lambda receipt: f"{receipt['seq']}: discarded", as_json=as_json))


def replay_matching(url: str, wanted: dict[str, Any], *, as_json: bool) -> int:
    """Send every letter again that matches, oldest first, and return the exit code."""
    total = asyncio.run(_all_pages(url, wanted))
    if as_json:
        print_json(total)
    else:
        show(_summary(total))
    return EXIT_FAILURE if total["refused"] or total["stopped"] else 0


async def _each(
    url: str,
    seqs: list[int],
    act: Callable[[Gateway, int], Awaitable[dict[str, Any]]],
    say: Callable[[dict[str, Any]], str],
    *,
    as_json: bool,
) -> int:
    done: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    async with Gateway(url) as gateway:
        for seq in seqs:
            try:
                done.append(await act(gateway, seq))
            except Problem as problem:
                failed.append({"seq": seq, "code": problem.code, "message": problem.detail})
                if not as_json:
                    err().print(f"{seq}: {problem}", soft_wrap=True)
            else:
                if not as_json:
                    show(say(done[-1]), soft_wrap=True)
    if as_json:
        print_json({"done": done, "failed": failed})
    return EXIT_FAILURE if failed else 0


async def _all_pages(url: str, wanted: dict[str, Any]) -> dict[str, Any]:
    matched = replayed = 0
    refused: Counter[str] = Counter()
    body = {**wanted, "limit": BATCH}
    async with Gateway(url) as gateway:
        while True:
            counts = await gateway.post(f"{PATH}/replay", body, timeout_seconds=BATCH_TIMEOUT_SECONDS)
            matched, replayed = matched + counts["matched"], replayed + counts["replayed"]
            refused.update(counts["refused"])
            if counts["next_cursor"] is None:
                return {
                    "matched": matched,
                    "replayed": replayed,
                    "refused": dict(refused),
                    "stopped": counts["stopped"],
                }
            body["cursor"] = counts["next_cursor"]


def _replayed(receipt: dict[str, Any]) -> str:
    document = receipt.get("document_id")
    about = f", document {one_line(document)} revision {receipt['revision']}" if document else ""
    return f"{receipt['seq']}: sent again{about} (trace {one_line(receipt['trace_id'])})"


def _summary(total: dict[str, Any]) -> str:
    lines = [f"{total['replayed']} of {total['matched']} sent again."]
    lines += [f"{count} refused: {one_line(code)}" for code, count in total["refused"].items()]
    if total["stopped"]:
        lines.append(f"Stopped: {one_line(total['stopped']['message'], 500)} [{one_line(total['stopped']['code'])}]")
    return "\n".join(lines)
