"""The gateway process: the HTTP API in front of the queue."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from fastapi import FastAPI

from services.gateway.access import Access, add_authentication
from services.gateway.admission import Admission
from services.gateway.background import running
from services.gateway.body_limit import BodyLimit
from services.gateway.edge import Edge, request_duration
from services.gateway.gateway import build_gateway
from services.gateway.hardening import add_cors
from services.gateway.mcp.refusals import McpRefusals
from services.gateway.openapi import complete_openapi
from services.gateway.problems import install_problems
from services.gateway.rate_limiting import add_rate_limits, rate_limit_hits
from services.gateway.route_table import RouteTable
from services.gateway.routes import ROUTERS, contracts
from services.gateway.server_tls import ServerTLS, server_tls
from services.gateway.settings import GatewaySettings
from shared.error_reports import configure_error_reports
from shared.health import health_routes
from shared.logs import configure_logging
from shared.service import Service, or_end, service_lifespan
from shared.serving import serve
from shared.settings import load
from shared.version import VERSION

# What a supervisor or a scraper asks of this process alone; `/health` here covers the whole platform.
OWN_HEALTH: Final = ("/live", "/ready", "/metrics")


def build_app(service: Service, settings: GatewaySettings, tls: ServerTLS | None = None) -> FastAPI:
    """Return the ASGI app; its lifespan connects the service and closes it."""

    @asynccontextmanager
    async def lifespan(service: Service) -> AsyncIterator[None]:
        app.state.gateway = gateway = build_gateway(service, settings)
        app.state.access = access = Access(service, settings)
        access.start()
        works = [
            gateway.pipeline.keep_sampling(),
            gateway.notices.end_with(service.shutting_down),
            gateway.answer_streams.end_with(service.shutting_down),
            *([tls.keep_renewed()] if tls is not None else []),
        ]
        async with running(*works):
            yield
        await gateway.mcp.close()
        await gateway.notices.close()
        await app.state.counts.close()
        await access.close()

    app = FastAPI(
        title="RAG platform",
        version=VERSION,
        description="Send documents, search them, ask questions. Errors are RFC 9457 problems with a `code`.",
        lifespan=service_lifespan(service, lifespan),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # The edge records each request once, under the platform's own names.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    _add_routes(app, service)
    _add_layers(app, service, settings)
    return app


def _add_routes(app: FastAPI, service: Service) -> None:
    own = [route for route in health_routes(service.health) if route.path in OWN_HEALTH]
    routes = [*(route for router in ROUTERS for route in router.routes), *own, contracts.docs_assets()]
    # As they are: a router that is included has each of its routes tried twice.
    app.router.routes.extend([RouteTable(routes), *routes])
    complete_openapi(app)


def _add_layers(app: FastAPI, service: Service, settings: GatewaySettings) -> None:
    """Add what is around every route; the last one is the outermost."""
    install_problems(app)
    hits = rate_limit_hits(service.telemetry.meter)
    app.state.counts = add_rate_limits(app, settings, hits)
    add_authentication(app, settings, service.telemetry.meter, hits)
    app.add_middleware(
        Admission,
        max_requests=settings.gateway_max_requests,
        send_seconds=settings.gateway_send_seconds,
        exempt=OWN_HEALTH,
    )
    app.add_middleware(
        BodyLimit,
        max_documents_bytes=settings.gateway_max_request_bytes,
        max_mcp_bytes=settings.gateway_mcp_max_body_bytes,
        max_body_bytes=settings.gateway_max_body_bytes,
        max_held_bytes=settings.gateway_max_held_bytes,
        idle_seconds=settings.gateway_body_idle_seconds,
        linger_seconds=settings.gateway_linger_seconds,
    )
    app.add_middleware(McpRefusals)
    add_cors(app, settings.cors_origins)
    app.add_middleware(Edge, tracer=service.telemetry.tracer, duration=request_duration(service.telemetry.meter))


def main() -> None:
    """Serve the HTTP API until a signal comes."""
    settings = load(GatewaySettings)
    configure_logging(settings, "gateway")
    configure_error_reports(settings, "gateway")
    service = Service("gateway", settings)
    tls = or_end(partial(server_tls, settings))
    serve(or_end(partial(build_app, service, settings, tls)), service, tls.context if tls else None)


if __name__ == "__main__":
    main()
