"""The Model Context Protocol: the tools of the platform for assistants and agents of others."""

from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from services.gateway.bodies import JSON, media_type_of, unsupported
from services.gateway.direct_route import DirectRoute
from services.gateway.gateway import Gateway, GatewayOf
from services.gateway.principal import Caller, Principal, Scope, needs

if TYPE_CHECKING:
    from services.gateway.mcp.server import McpServer

# The protocol describes itself to its clients; OpenAPI has no words for it.
router = APIRouter(route_class=DirectRoute, include_in_schema=False, dependencies=[needs(Scope.QUERY, Scope.INGEST)])


class McpResponse(Response):
    """What the protocol's server answers, once it is sent."""

    def __init__(self, server: "McpServer", caller: Principal, gateway: Gateway) -> None:
        super().__init__()
        self._server = server
        self._caller = (caller, gateway)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Serve the request."""
        await self._server.serve(self._caller, scope, receive, send)


@router.post("/mcp")
@router.post("/mcp/")
async def serve_mcp(request: Request, caller: Caller, gateway: GatewayOf) -> Response:
    """Serve one message of the protocol; there are no sessions, so that GET and DELETE have nothing to do here."""
    if media_type_of(request) != JSON:
        raise unsupported(request, JSON)
    server = await gateway.mcp.server()
    await server.check_origin(request)
    return McpResponse(server, caller, gateway)
