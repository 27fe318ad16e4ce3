"""One llama.cpp server for all tests that ask a real model."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider

from services.agent.llm import LanguageModel
from services.agent.metrics import AgentMetrics
from services.agent.models import language_model
from services.agent.settings import AgentSettings
from tests.llm.llama import LlamaServer, llama_server

# Small, so that a request can be longer than it, and reading the longest one takes seconds; llama.cpp rounds up to 256.
WINDOW_TOKENS = 768
# Two busy cores read some thirty tokens a second.
PATIENCE_SECONDS = 120.0


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaServer]:
    """A server that tests share."""
    log: Path = tmp_path_factory.mktemp("llama") / "llama.log"
    with llama_server(log, model="qwen-tiny", window_tokens=WINDOW_TOKENS) as running:
        yield running


@pytest.fixture
async def model(llama: LlamaServer) -> AsyncIterator[LanguageModel]:
    """The model as the agent makes it from its settings."""
    settings = AgentSettings(
        llm_base_url=llama.base_url,
        llm_model=llama.model,
        llm_window_tokens=llama.window_tokens,
        llm_first_token_seconds=PATIENCE_SECONDS,
        llm_timeout_seconds=PATIENCE_SECONDS,
        llm_input_price=2.0,
        llm_output_price=8.0,
    )
    tracer, meter = NoOpTracerProvider().get_tracer("test"), NoOpMeterProvider().get_meter("test")
    made = language_model(settings, tracer, AgentMetrics(meter))
    assert made is not None
    yield made
    await made.close()
