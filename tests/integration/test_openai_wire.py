"""OpenAI's wire format as its official client speaks it: a real broker, a gateway on a port, the agent itself."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from structlog.testing import capture_logs

from contracts.queries import Answer, AnswerEvent
from services.gateway.authentication import Unauthenticated
from services.gateway.principal import Principal
from services.gateway.problems import RequestProblem
from shared.errors import Unavailable
from tests.integration.gateway_stand import Agent
from tests.integration.openai_stand import Stand, real_agent, running_stand, scripted_agent
from tests.running import eventually
from tests.scripted_llm import Reply, scripted_llm
from tests.servers import NatsServer

QUESTION: Any = [{"role": "user", "content": "When did the harbour of Lindby open?"}]
ANSWER = Answer(answer="In 1887.", answered=True)


@pytest.fixture
async def stand(nats_broker: NatsServer) -> AsyncIterator[Stand]:
    async with running_stand(nats_broker, gateway_query_timeout_seconds=5) as running:
        yield running


@pytest.fixture
async def agent(stand: Stand) -> AsyncIterator[Agent]:
    """Have every question answered with ANSWER."""
    async with scripted_agent(stand) as running:
        running.events = [AnswerEvent(query_id="", sequence=1, type="done", data=ANSWER.model_dump())]
        yield running


async def refusal(stand: Stand, **request: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as caught:
        await stand.client.chat.completions.create(**{"model": "rag", "messages": QUESTION, **request})
    return caught.value


async def test_a_chat_is_answered_with_sources_in_a_field_and_below_the_text(
    stand: Stand, nats_broker: NatsServer
) -> None:
    async with real_agent(nats_broker):
        completion = await stand.client.chat.completions.create(model="rag", messages=QUESTION)
    (choice,) = completion.choices
    message: Any = choice.message
    assert completion.id.startswith("chatcmpl-")
    assert (completion.model, choice.finish_reason, message.role) == ("rag", "stop", "assistant")
    assert message.answered is True
    first = message.citations[0]
    assert (first["n"], first["document_id"], first["quote"]) == (
        1,
        "harbour",
        "The harbour of Lindby opened in 1887.",
    )
    text, _, notes = message.content.partition("\n\n")
    assert text.startswith("The harbour of Lindby opened in 1887. [1]")
    assert notes.splitlines()[0] == "[1] Harbour — https://lindby.example/harbour"
    assert len(notes.splitlines()) == len(message.citations)


async def test_what_the_documents_do_not_answer_is_said_to_be_unanswered(stand: Stand, nats_broker: NatsServer) -> None:
    unknown: Any = [{"role": "user", "content": "Which enzyme unwinds DNA during replication?"}]
    async with real_agent(nats_broker):
        completion = await stand.client.chat.completions.create(model="rag", messages=unknown)
    message: Any = completion.choices[0].message
    assert (message.answered, message.citations) == (False, [])
    assert "\n" not in message.content


async def test_usage_is_what_the_language_model_read_and_wrote(stand: Stand, nats_broker: NatsServer) -> None:
    with scripted_llm() as endpoint:
        endpoint.script.append(Reply(text="The harbour of Lindby opened in 1887 [1].", usage=(321, 12)))
        async with real_agent(nats_broker, llm_base_url=endpoint.url):
            completion = await stand.client.chat.completions.create(model="rag", messages=QUESTION)
    usage = completion.usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (321, 12, 333)
    assert completion.choices[0].message.content == (
        "The harbour of Lindby opened in 1887 [1].\n\n[1] Harbour — https://lindby.example/harbour"
    )


async def test_answers_without_a_language_model_use_none_of_its_tokens(stand: Stand, agent: Agent) -> None:
    completion = await stand.client.chat.completions.create(model="rag", messages=QUESTION)
    assert completion.usage is not None
    assert completion.usage.total_tokens == 0


async def test_the_model_says_how_and_from_where(stand: Stand, agent: Agent) -> None:
    models = {"rag": ("rag", None), "agent": ("agent", None), "rag:handbook": ("rag", "handbook")}
    for model, chosen in {**models, "agent:a.b": ("agent", "a.b")}.items():
        completion = await stand.client.chat.completions.create(model=model, messages=QUESTION)
        asked, _ = agent.questions[-1]
        assert ((asked.mode, asked.collection), completion.model) == (chosen, model)
        assert completion.id == f"chatcmpl-{asked.query_id}"


async def test_a_chat_is_a_question_with_its_history(stand: Stand, agent: Agent) -> None:
    messages: Any = [
        {"role": "system", "content": "Talk like a pirate."},
        {"role": "user", "content": "Where is the harbour?"},
        {"role": "assistant", "content": "In Lindby [1].\n\n[1] Harbour — https://lindby.example/harbour"},
        {"role": "user", "content": [{"type": "text", "text": "When did"}, {"type": "text", "text": "it open?"}]},
    ]
    more = {"top_k": 3, "filter": {"year": {"gte": 2020}}}
    await stand.client.chat.completions.create(model="rag", messages=messages, extra_body=more)
    [(asked, _)] = agent.questions
    assert asked.question == "When did\nit open?"
    assert [(turn.question, turn.answer) for turn in asked.history] == [("Where is the harbour?", "In Lindby [1].")]
    assert (asked.top_k, asked.filter, asked.conversation_id) == (3, {"year": {"gte": 2020}}, None)


async def test_a_stored_conversation_has_its_own_history(stand: Stand, agent: Agent) -> None:
    messages: Any = [*QUESTION, {"role": "assistant", "content": "In 1887."}, {"role": "user", "content": "And who?"}]
    completion: Any = await stand.client.chat.completions.create(
        model="rag", messages=messages, extra_body={"conversation_id": "c-1"}
    )
    [(asked, _)] = agent.questions
    assert (asked.conversation_id, asked.history, completion.conversation_id) == ("c-1", [], "c-1")


async def test_footnotes_can_be_left_out(stand: Stand, nats_broker: NatsServer) -> None:
    async with real_agent(nats_broker):
        completion = await stand.client.chat.completions.create(
            model="rag", messages=QUESTION, extra_body={"footnotes": False}
        )
    message: Any = completion.choices[0].message
    assert message.citations
    assert "\n\n" not in message.content


async def test_parameters_that_only_steer_a_model_are_accepted(stand: Stand, agent: Agent) -> None:
    completion = await stand.client.chat.completions.create(
        model="rag",
        messages=QUESTION,
        temperature=0.2,
        top_p=0.9,
        max_tokens=100,
        max_completion_tokens=100,
        seed=7,
        user="u",
        metadata={"a": "b"},
        store=False,
        n=1,
        tools=[],
        response_format={"type": "text"},
        presence_penalty=None,
        logprobs=False,
    )
    assert completion.choices[0].message.content == "In 1887."


async def test_parameters_that_would_change_the_answer_are_refused(stand: Stand, agent: Agent) -> None:
    refused = {
        "n": 2,
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "functions": [{"name": "f"}],
        "tool_choice": "required",
        "logprobs": True,
        "top_logprobs": 3,
        "response_format": {"type": "json_object"},
        "audio": {"voice": "alloy", "format": "wav"},
        "modalities": ["text", "audio"],
        "prediction": {"type": "content", "content": "x"},
        "web_search_options": {},
        "logit_bias": {"1": 5},
        "stop": "\n",
    }
    for parameter, value in refused.items():
        error = await refusal(stand, **{parameter: value})
        assert isinstance(error, openai.BadRequestError)
        assert (error.param, error.code, error.type) == (parameter, "unsupported_parameter", "invalid_request_error")
        assert parameter in error.message
    assert agent.questions == []


async def test_a_wrong_input_is_a_bad_request_that_names_it(stand: Stand, agent: Agent) -> None:
    user, image = {"role": "user", "content": "x"}, {"type": "image_url", "image_url": {"url": "data:,"}}
    tool = {"role": "tool", "content": "x", "tool_call_id": "1"}
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({"messages": []}, "messages", "invalid_request"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages", "invalid_message"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role", "invalid_request"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages[0].content", "invalid_message"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content", "invalid_request"),
        ({"messages": [{"role": "user", "content": "x" * 8001}]}, "messages[0].content", "invalid_message"),
        ({"messages": [user, {"role": "assistant", "content": "In"}]}, "messages[1].role", "invalid_message"),
        ({"messages": [tool, user]}, "messages[0].role", "unsupported_parameter"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, image]}]},
            "messages[0].content[1]",
            "unsupported_content",
        ),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_message"),
        ({"model": ""}, "model", "invalid_request"),
        ({"extra_body": {"top_k": 0}}, "top_k", "invalid_request"),
        ({"extra_body": {"filtr": {}}}, "filtr", "unknown_parameter"),
        ({"extra_body": {"conversation_id": "a b"}}, "conversation_id", "invalid_request"),
    ]
    for fields, param, code in wrong:
        error = await refusal(stand, **fields)
        assert isinstance(error, openai.BadRequestError)
        assert (error.param, error.code, error.type) == (param, code, "invalid_request_error")
    assert agent.questions == []


async def test_a_model_that_does_not_exist_is_not_found(stand: Stand, agent: Agent) -> None:
    agent.events = [AnswerEvent(query_id="", sequence=1, type="done", data={"answer": "No.", "answered": False})]
    for model in ("gpt-4o", "rag:", "rag:a b", "search", "RAG", "rag:nowhere"):
        error = await refusal(stand, model=model)
        assert isinstance(error, openai.NotFoundError), model
        assert (error.param, error.code) == ("model", "model_not_found")
    completion: Any = await stand.client.chat.completions.create(model="rag:handbook", messages=QUESTION)
    assert completion.choices[0].message.answered is False


async def test_an_error_of_the_agent_is_one_of_the_client_s(stand: Stand, agent: Agent) -> None:
    errors = [
        ("retryable", "llm_unavailable", None, 503, None),
        ("rejected", "invalid_filter", "filter", 400, "filter"),
        ("rejected", "not_available", "mode", 400, "model"),
        ("expired", "deadline_expired", None, 504, None),
        ("fault", "internal_error", None, 500, None),
    ]
    for kind, code, field, status, param in errors:
        data = {"kind": kind, "code": code, "message": "because", "field": field}
        agent.events = [AnswerEvent(query_id="", sequence=1, type="error", data=data)]
        with capture_logs():
            error = await refusal(stand)
        assert (error.status_code, error.code, error.param) == (status, code, param)
        assert ("retry-after" in error.response.headers) == (status == 503)
        assert error.response.headers["content-type"] == "application/json"


async def test_a_refusal_before_the_route_has_the_client_s_form(stand: Stand) -> None:
    refusals: list[tuple[RequestProblem, type[openai.APIStatusError], str]] = [
        (Unauthenticated("missing", "you may not"), openai.AuthenticationError, "invalid_api_key"),
        (RequestProblem(429, "rate_limited", "you may not"), openai.RateLimitError, "rate_limit_exceeded"),
    ]
    for refused, kind, code in refusals:
        stand.app.state.access.authenticator = Refusing(refused)
        for call in (
            stand.client.chat.completions.create(model="rag", messages=QUESTION),
            stand.client.embeddings.create(model="default", input="x"),
            stand.client.models.retrieve("rag"),
        ):
            with pytest.raises(kind) as caught:
                await call
            assert (caught.value.code, caught.value.param) == (code, None)
            assert "you may not" in caught.value.message
            challenged = caught.value.response.headers.get("www-authenticate", "")
            assert challenged.startswith("Bearer") == isinstance(refused, Unauthenticated)


class Refusing:
    """Knows nobody."""

    def __init__(self, refused: RequestProblem) -> None:
        self._refused = refused

    async def authenticate(self, _credential: str | None) -> Principal:
        """Refuse whoever it is."""
        raise self._refused


async def test_no_refusal_on_these_paths_is_a_problem_document(stand: Stand) -> None:
    refused = [
        ("POST", "/v1/chat/completions", b"{", 400, "invalid_json"),
        ("POST", "/v1/embeddings", b"x" * 2_000_000, 413, "too_large"),
        ("GET", "/v1/chat/completions", b"", 405, "method_not_allowed"),
        ("POST", "/v1/responses", b"{}", 404, "not_found"),
        ("DELETE", "/v1/models/rag", b"", 405, "method_not_allowed"),
    ]
    for method, path, content, status, code in refused:
        response = await stand.http.request(method, path, content=content, headers={"Content-Type": "application/json"})
        error = response.json()["error"]
        assert (response.status_code, response.headers["content-type"]) == (status, "application/json")
        assert error.keys() == {"message", "type", "param", "code"}
        assert error["code"] == code
        assert ("allow" in response.headers) == (status == 405)


async def test_a_fault_of_the_gateway_tells_the_client_nothing(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_question: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(stand.app.state.gateway.questions, "ask", fail)
    with capture_logs():
        error = await refusal(stand)
    assert (error.status_code, error.code, error.type) == (500, "internal_error", "server_error")
    assert "secret" not in error.response.text


async def test_too_many_requests_in_work_are_told_to_come_back(nats_broker: NatsServer) -> None:
    async with running_stand(nats_broker, gateway_max_requests=1, gateway_query_timeout_seconds=1) as stand:
        waiting = asyncio.create_task(refusal(stand))
        await eventually(lambda: stand.app.state.gateway.waiting_seats.free == 999, "a question waits")
        error = await refusal(stand)
        assert (error.status_code, error.code) == (503, "overloaded")
        assert int(error.response.headers["retry-after"]) >= 1
        assert (await waiting).code == "query_timeout"


async def test_every_collection_is_a_pair_of_models(stand: Stand) -> None:
    found = [model.id async for model in stand.client.models.list()]
    pairs = ["rag:handbook", "agent:handbook", "rag:minutes", "agent:minutes"]
    assert found == ["rag", "agent", *pairs, "default", "words-in-buckets"]


async def test_the_list_of_models_has_a_bound(nats_broker: NatsServer) -> None:
    async with running_stand(nats_broker, gateway_max_listed_collections=2) as stand:
        stand.collections = {f"c{number}" for number in range(9)}
        found = [model.id async for model in stand.client.models.list()]
    assert found[2:6] == ["rag:c0", "agent:c0", "rag:c1", "agent:c1"]
    assert len(found) == 8


async def test_without_an_embedder_models_are_listed_all_the_same(stand: Stand) -> None:
    stand.embedder_failure = Unavailable("it restarts")
    with capture_logs():
        found = [model.id async for model in stand.client.models.list()]
    assert found[-1] == "default"
    assert "rag:handbook" in found


async def test_without_persistence_the_list_of_models_is_to_be_asked_for_again(stand: Stand) -> None:
    stand.persistence_failure = Unavailable("it restarts")
    with pytest.raises(openai.InternalServerError) as caught:
        await stand.client.models.list()
    assert (caught.value.status_code, caught.value.type) == (503, "server_error")


async def test_a_model_that_is_listed_can_be_looked_at(stand: Stand) -> None:
    async for listed in stand.client.models.list():
        assert await stand.client.models.retrieve(listed.id) == listed
        assert (listed.object, listed.owned_by) == ("model", "rag")
    for name in ("rag:nowhere", "rag:", "gpt-4o", "BAAI/bge-m3", "agents"):
        with pytest.raises(openai.NotFoundError) as caught:
            await stand.client.models.retrieve(name)
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
