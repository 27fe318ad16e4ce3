"""Tool calls of the endpoint's own, and replies by schema where it has none."""

import pytest

from services.agent.llm import LlmRefused
from tests.unit.agent.agent_mode.fakes import (
    SEARCH,
    PlayedModel,
    Stand,
    calls,
    reply_by_schema,
    says,
)

WRITTEN = "The harbour of Lindby opened in 1887 [1]."


async def test_by_schema_calls_are_read_and_the_answer_is_shown_while_it_comes() -> None:
    stand = Stand(PlayedModel(reply_by_schema(SEARCH), reply_by_schema(answer=WRITTEN)), dialect="json_schema")
    answer = await stand.ask()
    assert (answer.answered, answer.answer, stand.told_text) == (True, WRITTEN, WRITTEN)
    assert len([kind for kind, _ in stand.events if kind == "delta"]) > 1
    first = stand.model.requests[0]
    assert first.tools == ()
    assert first.response_schema is not None
    assert '"tool": "search_documents"' in first.messages[0].content


async def test_auto_falls_back_when_the_endpoint_refuses_tools_and_remembers() -> None:
    refused = LlmRefused("the language model's endpoint refused the request: tools are not supported")
    stand = Stand(PlayedModel(refused, reply_by_schema(SEARCH), reply_by_schema(answer=WRITTEN)), dialect="auto")
    assert (await stand.ask()).answered
    stand.model.script = [reply_by_schema(SEARCH), reply_by_schema(answer=WRITTEN)]
    assert (await stand.ask(query_id="q2")).answered
    assert [bool(request.tools) for request in stand.model.requests] == [True, False, False, False, False]
    with pytest.raises(LlmRefused):
        await Stand(PlayedModel(refused)).ask()


async def test_auto_falls_back_when_the_endpoint_never_calls() -> None:
    written = '```json\n{"name": "search_documents", "arguments": {}}\n```'
    stand = Stand(PlayedModel(says(written), reply_by_schema(SEARCH), reply_by_schema(answer=WRITTEN)), dialect="auto")
    answer = await stand.ask()
    assert (answer.answered, stand.told_text) == (True, WRITTEN)
    assert answer.usage["llm_calls"] == 3
    assert "asked again" in answer.steps[0]["result"]
    stand.model.script = [reply_by_schema(SEARCH), reply_by_schema(answer=WRITTEN)]
    await stand.ask(query_id="q2")
    assert stand.model.requests[3].response_schema is not None


async def test_an_endpoint_that_has_called_once_is_believed_when_it_calls_nothing() -> None:
    stand = Stand(PlayedModel(calls(SEARCH), says(WRITTEN)), dialect="auto")
    await stand.ask()
    stand.model.script = [says("NO_ANSWER")]
    assert not (await stand.ask(query_id="q2")).answered
    assert len(stand.model.requests) == 3
