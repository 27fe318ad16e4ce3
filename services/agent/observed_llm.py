"""A language model whose every request leaves a span and its figures.

Names are those of OpenTelemetry's semantic conventions for generative AI.
"""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from opentelemetry.trace import Span, SpanKind, Tracer, use_span

from services.agent.llm import ChatRequest, Completion, LanguageModel
from services.agent.metrics import AgentMetrics
from shared import semantics
from shared.errors import PlatformError
from shared.telemetry import detached_span


class ObservedLanguageModel:
    """A `LanguageModel` that tells what it costs; the content of messages is never recorded."""

    def __init__(self, model: LanguageModel, tracer: Tracer, metrics: AgentMetrics) -> None:
        self._model, self._tracer, self._metrics = model, tracer, metrics

    @property
    def name(self) -> str:
        """Return the model's name."""
        return self._model.name

    @property
    def window_tokens(self) -> int:
        """Return the size of the model's window."""
        return self._model.window_tokens

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text takes up."""
        return self._model.count_tokens(text)

    async def close(self) -> None:
        """Close the connections."""
        await self._model.close()

    async def stream(self, request: ChatRequest, *, deadline: float | None = None) -> AsyncGenerator[str | Completion]:
        """Yield pieces of text as they come and the completion last; see `LanguageModel`."""
        started, first, outcome = time.perf_counter(), True, "abandoned"
        attributes = _attributes(self.name, request)
        with detached_span(self._tracer, semantics.chat(self.name), SpanKind.CLIENT, attributes=attributes) as span:
            try:
                async with aclosing(self._model.stream(request, deadline=deadline)) as pieces:
                    async for piece in _waited_for_inside(span, pieces):
                        if first:
                            self._metrics.first_token.record(time.perf_counter() - started)
                            first = False
                        if isinstance(piece, Completion):
                            outcome = "ok"
                            self._record(piece, span)
                        yield piece
            except PlatformError as error:
                outcome = error.error_code
                raise
            finally:
                self._metrics.requests.add(1, {"outcome": outcome})

    def _record(self, completion: Completion, span: Span) -> None:
        usage = completion.usage
        self._metrics.tokens.add(usage.input_tokens, {"direction": "input"})
        self._metrics.tokens.add(usage.output_tokens, {"direction": "output"})
        self._metrics.cost.add(usage.cost)
        span.set_attribute(semantics.GEN_AI_INPUT_TOKENS, usage.input_tokens)
        span.set_attribute(semantics.GEN_AI_OUTPUT_TOKENS, usage.output_tokens)
        span.set_attribute(semantics.GEN_AI_FINISH, [completion.finish])


async def _waited_for_inside(span: Span, pieces: AsyncGenerator[str | Completion]) -> AsyncGenerator[str | Completion]:
    """Yield pieces; what is done to get each of them is part of the span."""
    while True:
        with use_span(span, record_exception=False, set_status_on_exception=False):
            piece = await anext(pieces, None)
        if piece is None:
            return
        yield piece


def _attributes(model: str, request: ChatRequest) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        semantics.GEN_AI_OPERATION: "chat",
        semantics.GEN_AI_PROVIDER: "openai",
        semantics.GEN_AI_MODEL: model,
        semantics.GEN_AI_MAX_TOKENS: request.max_output_tokens,
        semantics.GEN_AI_TEMPERATURE: request.temperature,
    }
    if request.prompt_version:
        attributes[semantics.PROMPT_VERSION] = request.prompt_version
    return attributes
