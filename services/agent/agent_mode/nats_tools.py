"""Tools that anybody serves on the broker: NATS micro services with an endpoint on rag.v1.tools.<name>.

A service says in the metadata of its endpoint, or else of itself, what it takes (`schema`: a JSON Schema of an object)
and what it is for (`description`). Only names on the allow list are ever offered or called. Instances of one name share
its calls, so a name whose instances disagree about the schema is not offered until they agree again: a call would reach
any of them.
"""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.micro.request import ERROR_HEADER

from contracts import subjects
from services.agent.agent_mode.loop import ToolResult
from services.agent.agent_mode.tool import CallContext, ToolFailed, check_schema, until
from services.agent.llm import Tool
from shared.errors import Unavailable
from shared.logs import get_logger
from shared.telemetry import inject_context

log = get_logger(__name__)

INFO_SUBJECT: Final = "$SRV.INFO"
SCHEMA_KEY: Final = "schema"
DESCRIPTION_KEY: Final = "description"
MAX_SERVICES: Final = 256
MAX_INFO_BYTES: Final = 65_536
MAX_SCHEMA_BYTES: Final = 8_192
MAX_DESCRIPTION_CHARACTERS: Final = 1_000
MAX_SUMMARY_CHARACTERS: Final = 120
# What was seen so long ago is looked for again before it is offered; until then looking goes on in the background.
STALE_SECONDS: Final = 60.0
_SUBJECT_PREFIX: Final = subjects.tool("")


@dataclass(frozen=True, slots=True)
class ToolCallLimits:
    """Seconds that one call may take, and bytes that its reply may hold and the model is shown."""

    seconds: float
    max_reply_bytes: int
    max_shown_bytes: int


class NatsTool:
    """One discovered tool; see `AgentTool`."""

    def __init__(self, client: Client, told: Tool, limits: ToolCallLimits) -> None:
        self.told = told
        self._client, self._limits = client, limits

    async def __call__(self, arguments: Mapping[str, Any], context: CallContext) -> ToolResult:
        """Return what the service replied, cut to what the model is shown; raises what `run` tells the model of."""
        context = until(context, self._limits.seconds)
        reply = await self._request(json.dumps(arguments, ensure_ascii=False).encode(), context)
        if reply.headers and (problem := reply.headers.get(ERROR_HEADER)) is not None:
            # Words of a stranger are data, also those of an error.
            return ToolResult(text=f"The call was refused: {_line(problem)}", summary=_line(problem), failed=True)
        if len(reply.data) > self._limits.max_reply_bytes:
            raise ToolFailed(f"{self.told.name} answered more than can be read. Ask it for less.")
        try:
            text = reply.data.decode()
        except UnicodeDecodeError:
            raise ToolFailed(f"{self.told.name} answered nothing that can be read. Go on without it.") from None
        shown = text.encode()[: self._limits.max_shown_bytes].decode(errors="ignore")
        return ToolResult(text=shown, summary=_line(shown), evidence="fact")

    async def _request(self, payload: bytes, context: CallContext) -> Msg:
        headers = {
            subjects.HEADER_TENANT: context.question.tenant,
            subjects.HEADER_DEADLINE: str(int(context.deadline * 1000)),
            subjects.HEADER_CORRELATION_ID: context.correlation_id,
            subjects.HEADER_CONTENT_TYPE: subjects.CONTENT_TYPE_JSON,
        }
        inject_context(headers)
        left = max(0.001, context.deadline - time.time())
        try:
            subject = subjects.tool(self.told.name)
            return await self._client.request(subject, payload, timeout=left, headers=headers)
        except NoRespondersError:
            raise Unavailable(f"nobody serves the tool {self.told.name}") from None
        except NatsError as error:
            if isinstance(error, TimeoutError):
                raise TimeoutError from None
            raise Unavailable(f"the broker does not answer: {type(error).__name__}") from error


class NatsTools:
    """Finds the tools whose names are `allowed`; what was found is offered for `cache_seconds` before it is renewed."""

    def __init__(
        self,
        client: Client,
        *,
        allowed: Collection[str],
        limits: ToolCallLimits,
        discovery_seconds: float,
        cache_seconds: float,
    ) -> None:
        self._client, self._allowed, self._limits = client, frozenset(allowed), limits
        self._discovery_seconds, self._cache_seconds = discovery_seconds, cache_seconds
        self._found: dict[str, NatsTool] = {}
        self._found_at = float("-inf")
        self._looking: asyncio.Task[None] | None = None

    async def offered(self) -> Mapping[str, NatsTool]:
        """Return the tools by name; while the broker does not answer, those that were found last."""
        if not self._allowed:
            return {}
        age = time.monotonic() - self._found_at
        if age > self._cache_seconds and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look())
        if age > STALE_SECONDS and self._looking is not None:
            await asyncio.shield(self._looking)
        return self._found

    async def close(self) -> None:
        """Stop looking."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    async def _look(self) -> None:
        try:
            infos = await self._collect()
        except (NatsError, TimeoutError) as error:
            log.warning("tools_not_found", reason=type(error).__name__)
            return
        self._found = {tool.name: NatsTool(self._client, tool, self._limits) for tool in agreed(infos, self._allowed)}
        self._found_at = time.monotonic()

    async def _collect(self) -> list[bytes]:
        """Return what services say of themselves within the time for it."""
        infos: list[bytes] = []
        inbox = self._client.new_inbox()
        subscription = await self._client.subscribe(inbox, max_msgs=MAX_SERVICES)
        try:
            await self._client.publish(INFO_SUBJECT, b"", reply=inbox)
            async with asyncio.timeout(self._discovery_seconds):
                while len(infos) < MAX_SERVICES:
                    infos.append((await subscription.next_msg(timeout=self._discovery_seconds)).data)
        except TimeoutError:
            pass  # The usual end: nobody says how many services there are.
        finally:
            # One that was full is closed already.
            with suppress(NatsError):
                await subscription.unsubscribe()
        return infos


def agreed(infos: Collection[bytes], allowed: Collection[str]) -> list[Tool]:
    """Return the allowed tools that services tell of; those whose instances disagree are left out, and logged."""
    told: defaultdict[str, list[Tool]] = defaultdict(list)
    for info in infos:
        for tool in _tools_in(info, allowed):
            told[tool.name].append(tool)
    tools: list[Tool] = []
    for name, versions in sorted(told.items()):
        if any(version.parameters != versions[0].parameters for version in versions):
            log.warning("tool_disagrees", tool=name, hint="its services tell different schemas; it is not offered")
        else:
            # Words may differ; every agent has to choose the same ones.
            tools.append(min(versions, key=lambda tool: tool.description))
    return tools


def _tools_in(info: bytes, allowed: Collection[str]) -> Iterator[Tool]:
    """Yield the tools of one service; whatever else a stranger says is passed over."""
    if len(info) > MAX_INFO_BYTES:
        log.warning("tool_service_ignored", reason=f"it says more than {MAX_INFO_BYTES} bytes of itself")
        return
    try:
        service = json.loads(info)
        endpoints = [(each["subject"], each.get("metadata") or {}) for each in service["endpoints"]]
        about = service.get("metadata") or {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
    for subject, metadata in endpoints:
        if not isinstance(subject, str) or not isinstance(metadata, dict) or not isinstance(about, dict):
            continue
        name = subject.removeprefix(_SUBJECT_PREFIX)
        if name == subject or name not in allowed:
            continue
        said = {**about, **metadata}
        description = str(said.get(DESCRIPTION_KEY) or service.get("description") or name)
        try:
            yield Tool(name, _line(description, MAX_DESCRIPTION_CHARACTERS), _schema(said.get(SCHEMA_KEY)))
        except ValueError as error:
            log.warning("tool_not_usable", tool=name, metadata=SCHEMA_KEY, reason=error)


def _schema(text: Any) -> Mapping[str, Any]:
    if not isinstance(text, str) or len(text.encode()) > MAX_SCHEMA_BYTES:
        raise ValueError(f"it has to be a JSON Schema of at most {MAX_SCHEMA_BYTES} bytes")
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    return check_schema(schema)


def _line(text: str, characters: int = MAX_SUMMARY_CHARACTERS) -> str:
    return " ".join(text.split())[:characters]
