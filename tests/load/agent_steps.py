"""What the platform adds to each step of an agent: a question with three tool steps, at an endpoint without latency.

`python -m tests.load.agent_steps [questions]` runs a broker, the agent and a scripted endpoint, measures questions, and
takes off what the endpoint and the tools take when they are asked directly.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import openai

from contracts import subjects
from contracts.codec import decode
from contracts.queries import AnswerEvent
from contracts.retrieval import RetrieveReply, RetrieveRequest
from shared.messaging.requests import Requester
from tests.integration.test_agent import TRACER, WRITTEN, agent, end_of, publish, serve
from tests.load.machine import describe_machine
from tests.running import client_of
from tests.scripted_llm import Reply, ScriptedLlm, scripted_llm
from tests.servers import NatsServer, provisioned_nats_server
from tests.unit.agent.library import Library

TOOL_STEPS = 3
QUERY = "When did the harbour of Lindby open?"
SCRIPT = (
    Reply(tool_calls=(("search_documents", {"query": QUERY}),)),
    Reply(tool_calls=(("calculate", {"expression": "1887 + 100"}),)),
    Reply(tool_calls=(("search_documents", {"query": "When does the bakery of Lindby open?"}),)),
    Reply(text=WRITTEN),
)


async def median_ms(action: Callable[[int], Awaitable[object]], times: int) -> float:
    """Return the median duration of an action that is done so many times, one after the other."""
    took = []
    for number in range(times):
        started = time.perf_counter()
        await action(number)
        took.append((time.perf_counter() - started) * 1000)
    return statistics.median(took[times // 5 :])


async def measure(server: NatsServer, endpoint: ScriptedLlm, questions: int) -> list[str]:
    """Return the figures, one line each."""
    async with client_of(server.url) as client, agent(server, llm_base_url=endpoint.url, llm_model="scripted"):
        await serve(client, Library())

        async def ask(number: int) -> None:
            endpoint.script.extend(SCRIPT)
            inbox = await client.subscribe(subjects.answers(f"m{number}"))
            await publish(client, mode="agent", query_id=f"m{number}")
            while not decode(AnswerEvent, (await inbox.next_msg(timeout=10)).data).terminal:
                pass
            await inbox.unsubscribe()

        whole = await median_ms(ask, questions)
        assert (await end_of(client, "m0")).type == "done"
        model = await _endpoint_ms(endpoint, questions)
        requester = Requester(client, TRACER, timeout_seconds=5)
        request = RetrieveRequest(tenant="acme", query=QUERY)
        search = await median_ms(lambda _number: requester.ask(subjects.RETRIEVE, request, RetrieveReply), questions)
    own = whole - model - 2 * search
    return [
        f"{describe_machine()}",
        f"a question with {TOOL_STEPS} tool steps and its answer   {whole:7.1f} ms (median of {questions})",
        f"  four requests to the endpoint, asked directly {model:7.1f} ms",
        f"  two searches, asked directly                  {2 * search:7.1f} ms",
        f"  the platform, per tool step                   {own / TOOL_STEPS:7.1f} ms",
    ]


async def _endpoint_ms(endpoint: ScriptedLlm, times: int) -> float:
    asked = endpoint.requests[-len(SCRIPT) :]
    async with openai.AsyncOpenAI(base_url=endpoint.url, api_key="none", max_retries=0) as direct:

        async def all_four(_number: int) -> None:
            endpoint.script.extend(SCRIPT)
            for request in asked:
                stream: Any = await direct.chat.completions.create(**request)
                async for _ in stream:
                    pass

        return await median_ms(all_four, times)


def main(questions: int) -> None:
    """Measure and print."""
    with provisioned_nats_server() as server, scripted_llm() as endpoint:
        sys.stdout.write("\n".join(asyncio.run(measure(server, endpoint, questions))) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
