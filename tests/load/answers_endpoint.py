"""A language model that takes no time, in a process of its own: the scripted endpoint with answers for measurements.

    python -m tests.load.answers_endpoint --document ID

It answers with the beginning of the first passage and cites it. Given tools, it first asks for `search_documents`,
`calculate` and `read_document`, one at a time. Prints its base URL; each line on its standard input is answered with
one line, a JSON object of what was asked since the line before: `seconds` (its own time for each request) and
`cpu_seconds`.
"""

import argparse
import asyncio
import json
import re
import sys
import time
from typing import Any, Final

import uvloop

from tests.scripted_llm import Reply, Request, ScriptedLlm

ANSWER_WORDS: Final = 20
# The first passage of a prompt, or of what a tool found: the text behind its heading.
FIRST_PASSAGE: Final = re.compile(r"passage 1\b[^\n]*>>\n(?:#[^\n]*\n)*(.{20,400})", re.S)


def reply_to(request: Request, document_id: str) -> Reply:
    """Return the next step of an agent, or the answer."""
    steps: list[tuple[str, dict[str, Any]]] = [
        ("search_documents", {"query": _question(request)}),
        ("calculate", {"expression": "(1887 + 113) * 2"}),
        ("read_document", {"document_id": document_id}),
    ]
    done = sum(message["role"] == "tool" for message in request["messages"])
    if request.get("tools") and done < len(steps):
        return Reply(tool_calls=(steps[done],))
    return Reply(text=_answer(request))


def _question(request: Request) -> str:
    said = [message["content"] for message in request["messages"] if message["role"] == "user"]
    return str(said[-1]).rpartition("Question: ")[2][:300]


def _answer(request: Request) -> str:
    for message in request["messages"]:
        if message["role"] != "system" and (found := FIRST_PASSAGE.search(str(message["content"]))):
            words = found[1].split()[:ANSWER_WORDS]
            return f"{' '.join(words).rstrip('.')} [1]."
    return "It is so [1]."


async def serve(document_id: str) -> None:
    """Answer until standard input ends."""
    endpoint = ScriptedLlm()
    endpoint.default = lambda request: reply_to(request, document_id)
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0, backlog=256)
    _say(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    used = time.process_time()
    while await asyncio.to_thread(sys.stdin.readline):
        now = time.process_time()
        _say(json.dumps({"seconds": endpoint.seconds, "cpu_seconds": now - used}))
        used = now
        endpoint.seconds, endpoint.requests, endpoint.keys = [], [], []


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--document", required=True, help="what `read_document` is asked for")
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.document))


if __name__ == "__main__":
    main()
