"""How the OpenAI client sends: its own HTTP client, whose every request leaves a span and carries the trace on."""

import ssl
from typing import Any

import httpx2
import openai
from opentelemetry.trace import Tracer

from shared import semantics
from shared.client_spans import client_span
from shared.telemetry import inject_context


class TracedHttpClient(openai.DefaultAsyncHttpxClient):
    """The span ends with the head of the answer; of the address only host and port are in it."""

    tracer: Tracer | None = None

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send a request."""
        attributes = {
            semantics.HTTP_METHOD: request.method,
            semantics.SERVER_ADDRESS: request.url.host,
            semantics.SERVER_PORT: request.url.port or (443 if request.url.scheme == "https" else 80),
        }
        with client_span(self.tracer, request.method, attributes) as current:
            carried: dict[str, str] = {}
            inject_context(carried)
            request.headers.update(carried)
            response = await super().send(request, **options)
            current.set_attribute(semantics.HTTP_STATUS, response.status_code)
        return response


def traced_http(tracer: Tracer | None, trust: ssl.SSLContext | None = None) -> TracedHttpClient:
    """Return a client that makes its spans with this tracer, none without one; `trust` None = public authorities."""
    client = TracedHttpClient() if trust is None else TracedHttpClient(verify=trust)
    client.tracer = tracer
    return client
