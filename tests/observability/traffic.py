"""Everything that dashboards show, made to happen on a small platform: traffic, and what goes wrong."""

import signal
from collections.abc import Callable
from typing import Any

import httpx
import psutil

from tests.platform_process import RunningPlatform, wait_until
from tests.prometheus_server import Prometheus
from tests.redis_server import RedisServer
from tests.scripted_llm import Reply, ScriptedLlm

FACTS = [f"The lighthouse of Lindby number {n} was built in {1800 + n} by Greta Holm." for n in range(8)]
BROKEN = {"id": "broken", "content": "AAAA", "media_type": "application/pdf"}


class Traffic:
    """What people and mishaps do to a platform, one method each; all return when its effect can be scraped."""

    def __init__(self, platform: RunningPlatform, prometheus: Prometheus, llm: ScriptedLlm, redis: RedisServer) -> None:
        self._platform, self._prometheus, self._llm, self._redis = platform, prometheus, llm, redis
        self._api = httpx.Client(base_url=platform.url, timeout=90)

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def round(self, number: int) -> None:
        """Load, search and ask once, in every mode, and have one document fail."""
        documents = [{"id": f"fact-{number}-{n}", "text": f"{text} ({number})"} for n, text in enumerate(FACTS)]
        self._load(*documents, BROKEN)
        for mode in ("hybrid", "dense", "sparse"):
            self._post("/v1/search", query="lighthouse of Lindby", mode=mode)
        self._post("/v1/search", query="who built the lighthouse", rerank=True)
        assert self._api.post("/v1/search", json={"query": ""}).status_code == 422
        self._llm.default = lambda _request: Reply(text="Greta Holm built it [1]. So they say [99].")
        for _ in range(2):
            self._post("/v1/query", question="Who built the lighthouse of Lindby number 3?")
        self._api.post("/v1/query", json={"question": f"Who built number {number}?", "stream": True}).raise_for_status()
        self._ask_the_agent(number)
        self._fail_to_ask(number)

    def lose_the_cache(self) -> None:
        """Kill Redis, and have somebody miss it."""
        self._redis.kill()
        for number in range(3):
            self._post("/v1/search", query=f"what nobody asked before, {number}")
        self._until("sum(rag_cache_failures_total) > 0", "calls of Redis have failed")

    def restart_a_stage_in_the_middle(self) -> None:
        """End the parser while it works, so that what it had fetched comes again."""

        def came_again() -> bool:
            many = [{"id": f"many-{n}", "text": f"{n} {FACTS[0]} " * 40} for n in range(60)]
            self._load(*many, wait_s=0)
            self._process("parser").send_signal(signal.SIGTERM)
            return self._seen("sum(rag_messages_redelivered_total) > 0", seconds=20)

        wait_until(came_again, "a message was delivered again", 60)

    def _process(self, name: str) -> psutil.Process:
        command = f"services.{name}.app"
        return next(one for one in self._platform.processes() if command in one.cmdline())

    def _load(self, *documents: dict[str, Any], wait_s: int = 60) -> None:
        reply = self._api.post("/v1/documents", params={"wait_s": wait_s}, json={"documents": list(documents)})
        assert reply.status_code == 202, reply.text

    def _post(self, path: str, **body: Any) -> None:
        reply = self._api.post(path, json=body)
        assert reply.status_code == 200, reply.text

    def _ask_the_agent(self, number: int) -> None:
        calls = (("search_documents", {"query": "lighthouse"}),)
        self._llm.script.append(Reply(tool_calls=(*calls, ("read_document", {"document_id": "nothing"}))))
        self._llm.script.append(Reply(text="Greta Holm built it [1]."))
        self._post("/v1/query", question=f"Who built lighthouse {number}, and when?", mode="agent")

    def _fail_to_ask(self, number: int) -> None:
        self._llm.default = lambda _request: Reply(status=500)
        reply = self._api.post("/v1/query", json={"question": f"Which is number {number} of Lindby's lighthouses?"})
        assert reply.status_code >= 500, reply.text

    def _until(self, expression: str, claim: str) -> None:
        wait_until(lambda: self._prometheus.query(expression), claim, 60)

    def _seen(self, expression: str, seconds: float) -> bool:
        found: Callable[[], Any] = lambda: self._prometheus.query(expression)  # noqa: E731
        try:
            wait_until(found, expression, seconds)
        except AssertionError:
            return False
        return True
