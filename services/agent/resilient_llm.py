"""The one layer that asks a language model again, and that stops asking one which fails.

An answer of which a piece was passed on is never asked for again: the caller has read it already.
"""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_random_exponential

from services.agent.llm import ChatRequest, Completion, LanguageModel, LlmRateLimited, LlmUnavailable
from shared.circuit import Circuit

# Full jitter: callers who failed together do not come back together.
_BACKOFF: Final = wait_random_exponential(multiplier=0.5, max=8.0)


@dataclass(frozen=True, slots=True)
class _Begun:
    first: str | Completion
    rest: AsyncGenerator[str | Completion]


class ResilientLanguageModel:
    """A `LanguageModel` that tries up to `attempts` times within the deadline.

    After `failures` failed requests in a row nothing is asked for `open_seconds`; then one request probes.
    """

    def __init__(self, model: LanguageModel, *, attempts: int, failures: int, open_seconds: float) -> None:
        self._model = model
        self._attempts = attempts
        self._circuit = Circuit("language-model", failures=failures, open_seconds=open_seconds, counts=_is_failure)

    @property
    def name(self) -> str:
        """Return the model's name."""
        return self._model.name

    @property
    def window_tokens(self) -> int:
        """Return the size of the model's window."""
        return self._model.window_tokens

    @property
    def away(self) -> bool:
        """Tell whether so many requests in a row failed that nothing is asked at the moment."""
        return not self._circuit.closed

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text takes up."""
        return self._model.count_tokens(text)

    async def close(self) -> None:
        """Close the connections."""
        await self._model.close()

    async def stream(self, request: ChatRequest, *, deadline: float | None = None) -> AsyncGenerator[str | Completion]:
        """Yield pieces of text as they come and the completion last; see `LanguageModel`."""
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._attempts),
            wait=_wait,
            retry=retry_if_exception(lambda error: _may_heal(error, deadline)),
            reraise=True,
        )
        begun: _Begun = await retrying(self._begin, request, deadline)
        async with aclosing(begun.rest) as rest:
            yield begun.first
            async for piece in rest:
                yield piece

    async def _begin(self, request: ChatRequest, deadline: float | None) -> "_Begun":
        pieces = self._guarded(request, deadline)
        try:
            return _Begun(await anext(pieces), pieces)
        except BaseException:
            await pieces.aclose()
            raise

    async def _guarded(self, request: ChatRequest, deadline: float | None) -> AsyncGenerator[str | Completion]:
        if not self._circuit.admits():
            message = "the language model failed several times in a row and is left alone for a while"
            wait = max(1.0, self._circuit.seconds_left)
            raise LlmUnavailable(message, retry_after_seconds=wait, transient=False)
        with self._circuit.watching():
            async with aclosing(self._model.stream(request, deadline=deadline)) as pieces:
                async for piece in pieces:
                    yield piece


def _is_failure(error: Exception) -> bool:
    """Tell whether an error says something of the endpoint's health."""
    return isinstance(error, LlmUnavailable)


def _may_heal(error: BaseException, deadline: float | None) -> bool:
    heals = error.transient if isinstance(error, LlmUnavailable) else isinstance(error, LlmRateLimited)
    return heals and (deadline is None or time.time() + _asked_for(error) < deadline)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return max(_asked_for(error), _BACKOFF(state))


def _asked_for(error: BaseException | None) -> float:
    return error.asked_for_seconds if isinstance(error, LlmUnavailable | LlmRateLimited) else 0.0
