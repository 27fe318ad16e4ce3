"""The parts of an answer called in process: what no platform around them can be quicker than."""

import asyncio
import time
from collections.abc import Iterator, Sequence

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider

from contracts.retrieval import RetrievedChunk
from services.agent.llm import ChatRequest, LanguageModel
from services.agent.metrics import AgentMetrics
from services.agent.models import language_model
from services.agent.prompts import boundary_mark, instructions, question_message
from services.agent.settings import AgentSettings
from services.retriever.index import Hit
from tests.load.reference import Reference

MAX_OUTPUT_TOKENS = 200


def times_to_first_piece(reference: Reference, llm_url: str, texts: Sequence[str], users: int) -> list[float]:
    """Return milliseconds for each question: query embedding, index look-up and the model's first piece of text.

    As many at a time as there are users, each asking one question after the other.
    """
    return reference.run(_ask_all(reference, llm_url, texts, users))


async def _ask_all(reference: Reference, llm_url: str, texts: Sequence[str], users: int) -> list[float]:
    settings = AgentSettings(llm_base_url=llm_url, llm_model="scripted")
    tracer, meter = NoOpTracerProvider().get_tracer("parts"), NoOpMeterProvider().get_meter("parts")
    model = language_model(settings, tracer, AgentMetrics(meter))
    assert model is not None
    waiting, found = iter(texts), list[float]()
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(users):
                group.create_task(_ask_on(reference, model, waiting, found))
    finally:
        await model.close()
    return found


async def _ask_on(reference: Reference, model: LanguageModel, waiting: Iterator[str], found: list[float]) -> None:
    for text in waiting:
        started = time.perf_counter()
        passages = [_passage(hit) for hit in await reference.find(text)]
        mark = boundary_mark(text)
        messages = (instructions(mark), question_message(text, passages, mark))
        first = None
        async for _ in model.stream(ChatRequest(messages, max_output_tokens=MAX_OUTPUT_TOKENS)):
            first = first or time.perf_counter()
        assert first is not None
        found.append(round((first - started) * 1000, 3))


def _passage(hit: Hit) -> RetrievedChunk:
    fields = {name: getattr(hit, name) for name in RetrievedChunk.model_fields}
    return RetrievedChunk.model_validate(fields)
