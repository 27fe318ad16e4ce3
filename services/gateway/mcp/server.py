"""The tools in the Model Context Protocol over streamable HTTP; the one module that knows the protocol's library.

Without sessions: every request stands alone, so any replica serves any of them. A client of the revision 2026-07-28
gets JSON, or a stream when it asked for progress; one of an earlier revision gets a stream of one answer.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    ToolAnnotations,
)
from mcp_types import Tool as ListedTool
from opentelemetry.trace import Span, Status, StatusCode, Tracer
from pydantic.json_schema import GenerateJsonSchema
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from services.gateway.gateway import Gateway
from services.gateway.mcp.texts import failure_text
from services.gateway.mcp.tool import Call, Outcome, Tool
from services.gateway.principal import Principal
from services.gateway.problems import RequestProblem
from shared import semantics
from shared.errors import PlatformError, RemoteFault
from shared.logs import get_logger
from shared.telemetry import current_trace_id, span
from shared.version import VERSION

log = get_logger(__name__)

INSTRUCTIONS: Final = (
    "Documents that were collected for this user. `ask` answers a question and cites its sources, `search` returns the "
    "passages themselves, `get_document` tells where a document stands, `ingest_text` keeps a text."
)
# The tools change with a release only.
_LIST_FRESH_MS: Final = 300_000
_CALLER: Final = "rag.mcp.caller"


class McpServer:
    """Serves the tools while `run` runs; `hosts` are the names under which it may be called."""

    def __init__(self, tools: Sequence[Tool], tracer: Tracer, *, hosts: Sequence[str], max_body_bytes: int) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._listed = [_listed(tool) for tool in tools]
        self._tracer = tracer
        schemas = {tool.name: tool.input_schema for tool in self._listed}
        server: Server[Any] = Server(
            "rag",
            version=VERSION,
            title="RAG platform",
            instructions=INSTRUCTIONS,
            cache_hints={"tools/list": CacheHint(ttl_ms=_LIST_FRESH_MS, scope="public")},
            get_tool_input_schema=schemas.get,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
        )
        # Its spans would go to a provider that does not exist here; ours are children of the request's.
        server.middleware.clear()
        security = _security(hosts)
        self._security = TransportSecurityMiddleware(security)
        self._sessions = StreamableHTTPSessionManager(
            server, stateless=True, security_settings=security, max_request_body_size=max_body_bytes
        )
        self._running = asyncio.Event()

    async def run(self) -> None:
        """Hold what serves requests until cancelled; may run once."""
        async with self._sessions.run():
            self._running.set()
            await asyncio.Event().wait()

    async def wait_until_running(self) -> None:
        """Return once requests can be served."""
        await self._running.wait()

    async def check_origin(self, request: Request) -> None:
        """Raise RequestProblem when a request names a host or an origin that is not ours.

        A web page can have its own name lead to this machine, and would then read what only this machine may.
        """
        refusal = await self._security.validate_request(request)
        if refusal is None:
            return
        header, code = ("Host", "host_not_allowed") if refusal.status_code == 421 else ("Origin", "origin_not_allowed")
        given = request.headers.get(header, "")[:200]
        raise RequestProblem(
            refusal.status_code,
            code,
            f"the {header} {given!r} is not one of those in RAG_GATEWAY_MCP_HOSTS",
            field=header,
        )

    async def serve(self, caller: tuple[Principal, Gateway], scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request of a caller."""
        scope[_CALLER] = caller
        await self._sessions.handle_request(scope, receive, send)

    async def _list_tools(
        self, _context: ServerRequestContext[Any, Request], _params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        return ListToolsResult(tools=self._listed)

    async def _call_tool(
        self, context: ServerRequestContext[Any, Request], params: CallToolRequestParams
    ) -> CallToolResult:
        tool = self._tools.get(params.name)
        if tool is None:
            raise MCPError(INVALID_PARAMS, f"there is no tool {params.name!r}; there are {', '.join(self._tools)}")
        attributes = {semantics.GEN_AI_OPERATION: "execute_tool", semantics.GEN_AI_TOOL: tool.name}
        with span(self._tracer, semantics.tool(tool.name), attributes=attributes) as current:
            try:
                call = _call_in(context)
                call.caller.require(tool.scope)
                outcome = await tool.run(call, tool.read(params.arguments or {}))
            except PlatformError as error:
                return _failed(error, current)
            except Exception as error:  # The boundary: nothing behind it may reach the caller as a traceback.
                log.error("tool_fault", tool=tool.name, exc_info=error)
                return _failed(RemoteFault("the gateway failed; its log has the details"), current)
        return _succeeded(outcome)


def _call_in(context: ServerRequestContext[Any, Request]) -> Call:
    if context.request is None:
        raise RuntimeError("a call came without its HTTP request")
    caller, gateway = context.request.scope[_CALLER]
    told = 0

    async def tell(message: str) -> None:
        nonlocal told
        told += 1
        await context.session.report_progress(told, message=message)

    meta = (context.params or {}).get("_meta") or {}
    return Call(caller, gateway, tell, hears_progress=meta.get("progressToken") is not None)


def _succeeded(outcome: Outcome) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=outcome.text)], structured_content=outcome.data)


def _failed(error: PlatformError, current: Span) -> CallToolResult:
    current.set_attribute(semantics.ERROR_TYPE, error.error_code)
    current.set_status(Status(StatusCode.ERROR))
    return CallToolResult(content=[TextContent(text=failure_text(error, current_trace_id()))], is_error=True)


def _listed(tool: Tool) -> ListedTool:
    return ListedTool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.arguments.model_json_schema(schema_generator=_Untitled),
        output_schema=tool.result.model_json_schema(schema_generator=_Untitled, mode="serialization"),
        annotations=ToolAnnotations(
            read_only_hint=tool.read_only,
            destructive_hint=tool.destructive,
            idempotent_hint=tool.idempotent,
            open_world_hint=False,
        ),
    )


class _Untitled(GenerateJsonSchema):
    """Leaves out the titles that only repeat the names of fields: a model reads every word of a schema."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _security(hosts: Sequence[str]) -> TransportSecuritySettings:
    return TransportSecuritySettings(
        allowed_hosts=[name for host in hosts for name in (host, f"{host}:*")],
        allowed_origins=[
            f"{scheme}://{name}" for host in hosts for name in (host, f"{host}:*") for scheme in ("http", "https")
        ],
    )
