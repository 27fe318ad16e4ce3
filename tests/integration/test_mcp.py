"""The tools of `/mcp`, called with the official client over real connections; the services behind are stand-ins."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from mcp import Client
from mcp.shared.exceptions import MCPError
from structlog.testing import capture_logs

from contracts.queries import Answer, AnswerEvent, AnswerEventType, Citation
from services.gateway.mcp.arguments import MAX_TEXT_CHARACTERS
from services.gateway.principal import ANYBODY
from shared.errors import Overloaded, Rejected, Unavailable
from tests.integration.gateway_stand import chunk
from tests.integration.mcp_stand import McpStand, running_mcp, running_replica, taking_turns, text_of
from tests.running import eventually
from tests.servers import NatsServer

MODERN, EARLIER = "2026-07-28", "legacy"
CITATION = Citation(n=1, document_id="water", chunk_id="w-0", title="Water", quote="Water boils at 100 degrees.")
ANSWER = Answer(answer="At 100 degrees [1].", answered=True, citations=[CITATION], usage={"tokens": 7.0})
QUESTION = {"question": "When does water boil?"}


@pytest.fixture(params=["auto", EARLIER])
def mode(request: pytest.FixtureRequest) -> str:
    """The revisions of the protocol: the one without a handshake, and those before it."""
    return str(request.param)


@pytest.fixture
async def stand(nats_broker: NatsServer) -> AsyncIterator[McpStand]:
    async with running_mcp(nats_broker, gateway_query_timeout_seconds=5, gateway_recheck_seconds=0.1) as running:
        yield running


@pytest.fixture
async def client(stand: McpStand, mode: str) -> AsyncIterator[Client]:
    # A task of its own: the library's client must be left in the task that entered it, and a fixture is not.
    connected: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    leave = asyncio.Event()

    async def hold() -> None:
        async with Client(f"{stand.url}/mcp", mode=mode) as entered:
            connected.set_result(entered)
            await leave.wait()

    holding = asyncio.create_task(hold())
    await asyncio.wait({connected, holding}, return_when=asyncio.FIRST_COMPLETED)
    yield connected.result()
    leave.set()
    await holding


def event(sequence: int, kind: AnswerEventType, data: dict[str, Any] | None = None) -> AnswerEvent:
    return AnswerEvent(query_id="", sequence=sequence, type=kind, data=data or {})


def done(answer: Answer) -> AnswerEvent:
    return event(1, "done", answer.model_dump(mode="json"))


async def test_the_tools_say_what_they_take_and_return(client: Client) -> None:
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(tools) == ["search", "ask", "get_document", "ingest_text"]
    for tool in tools.values():
        Draft202012Validator.check_schema(tool.input_schema)
        Draft202012Validator.check_schema(tool.output_schema or {})
        assert all(argument["description"] for argument in tool.input_schema["properties"].values())
        assert tool.input_schema["additionalProperties"] is False
        assert tool.description
    assert list(tools["search"].input_schema["properties"]) == ["query", "collection", "top_k", "filter"]
    assert tools["ingest_text"].input_schema["required"] == ["text"]
    assert client.instructions
    hints = {name: tool.annotations for name, tool in tools.items() if tool.annotations}
    assert {name: hint.read_only_hint for name, hint in hints.items()} == {
        "search": True,
        "ask": True,
        "get_document": True,
        "ingest_text": False,
    }
    assert (hints["ingest_text"].destructive_hint, hints["ingest_text"].idempotent_hint) == (True, True)


async def test_a_search_returns_passages_for_programs_and_for_readers(stand: McpStand, client: Client) -> None:
    stand.retriever.hits = [chunk(title="Water", uri="https://x/y", metadata={"year": 2026}, page=3), chunk("b")]
    arguments = {"query": "boiling", "collection": "c", "top_k": 5, "filter": {"year": {"gte": 2020}}}
    found = await client.call_tool("search", arguments)
    assert not found.is_error
    first, second = found.structured_content["hits"]
    assert (first["document_id"], first["page"], first["metadata"]) == ("a", 3, {"year": 2026})
    assert (second["document_id"], second["title"], "page" in second) == ("b", None, False)
    assert "Water (document 'a', collection 'default', page 3, https://x/y)" in text_of(found)
    assert "Water boils at 100 degrees." in text_of(found)
    [asked] = stand.retriever.requests
    assert (asked.tenant, asked.query, asked.collection, asked.top_k) == ("default", "boiling", "c", 5)
    assert asked.filter == {"year": {"gte": 2020}}


async def test_a_search_that_finds_nothing_says_so(client: Client) -> None:
    found = await client.call_tool("search", {"query": "boiling"})
    assert (found.is_error, found.structured_content["hits"]) == (False, [])
    assert "No passage fits" in text_of(found)


async def test_an_answer_comes_with_its_sources(stand: McpStand, client: Client) -> None:
    stand.agent.events = [done(ANSWER)]
    answer = await client.call_tool("ask", {**QUESTION, "collection": None, "conversation_id": "c-1"})
    assert answer.structured_content["answered"] is True
    assert answer.structured_content["citations"][0]["quote"] == CITATION.quote
    assert text_of(answer).startswith("At 100 degrees [1].")
    assert "[1] Water (document 'water'): \"Water boils at 100 degrees.\"" in text_of(answer)
    assert "conversation_id: c-1" in text_of(answer)
    [(asked, headers)] = stand.agent.questions
    assert (asked.tenant, asked.question, asked.conversation_id) == ("default", QUESTION["question"], "c-1")
    assert answer.structured_content["trace_id"] == headers["traceparent"].split("-")[1]


async def test_a_new_conversation_gets_an_id_that_the_answer_names(stand: McpStand, client: Client) -> None:
    stand.agent.events = [done(ANSWER)]
    answer = await client.call_tool("ask", {**QUESTION, "conversation_id": "new"})
    [(asked, _)] = stand.agent.questions
    assert asked.conversation_id not in (None, "new")
    assert answer.structured_content["conversation_id"] == asked.conversation_id
    assert f"conversation_id: {asked.conversation_id}" in text_of(answer)


async def test_a_text_can_be_searched_when_the_tool_returns(stand: McpStand, client: Client) -> None:
    ingesting = asyncio.create_task(
        client.call_tool(
            "ingest_text",
            {"text": "Water boils.", "id": "w", "title": "Water", "collection": "c", "metadata": {"year": 2026}},
        )
    )
    await eventually(lambda: "w" in stand.persistence.documents, "the text is recorded")
    assert not ingesting.done()
    revision = stand.persistence.documents["w"].revision
    stand.persistence.put("w", revision, "indexed")
    kept = await ingesting
    assert kept.structured_content == {
        "id": "w",
        "collection": "c",
        "revision": revision,
        "status": "indexed",
        "duplicate": False,
    }
    assert "it can be searched now" in text_of(kept)
    [message] = stand.persistence.messages
    assert (message.text, message.title, message.metadata) == ("Water boils.", "Water", {"year": 2026})
    seen = await client.call_tool("get_document", {"id": "w"})
    assert (seen.structured_content["status"], seen.structured_content["revision"]) == ("indexed", revision)
    assert "Document 'w': indexed" in text_of(seen)


async def test_a_long_text_is_read_in_parts(stand: McpStand, client: Client) -> None:
    stand.persistence.put("w", 7, "indexed")
    stand.retriever.texts["w"] = [chunk("w", text, ordinal=n) for n, text in enumerate(("Water boils.", "Ice melts."))]
    first = await client.call_tool("get_document", {"id": "w"})
    second = await client.call_tool("get_document", {"id": "w", "first_chunk": first.structured_content["next_chunk"]})
    state = await client.call_tool("get_document", {"id": "w", "with_text": False})
    assert [passage["text"] for passage in first.structured_content["passages"]] == ["Water boils."]
    assert "Water boils.\n\n(The text goes on: get_document with first_chunk 1.)" in text_of(first)
    assert [passage["ordinal"] for passage in second.structured_content["passages"]] == [1]
    assert (second.structured_content["next_chunk"], text_of(second).endswith("Ice melts.")) == (None, True)
    assert state.structured_content["passages"] == []
    assert [(reading.tenant, reading.first_ordinal) for reading in stand.retriever.readings] == [
        ("default", 0),
        ("default", 1),
    ]


async def test_a_text_that_nobody_waits_for_is_stored(stand: McpStand, client: Client) -> None:
    first, second = [
        (await client.call_tool("ingest_text", {"text": "Water boils.", "wait_s": 0})).structured_content
        for _ in range(2)
    ]
    assert (first["status"], first["id"]) == ("accepted", second["id"])
    assert second["revision"] > first["revision"]


async def test_the_longest_text_of_any_script_is_taken(stand: McpStand, client: Client) -> None:
    text = "\N{SNOWMAN}" * MAX_TEXT_CHARACTERS
    kept = await client.call_tool("ingest_text", {"text": text, "wait_s": 0})
    assert kept.structured_content["status"] == "accepted"
    await eventually(lambda: stand.persistence.messages, "the text is recorded")


WRONG_ARGUMENTS: list[tuple[str, dict[str, Any], str]] = [
    ("search", {}, "`query`"),
    ("search", {"query": " "}, "`query`"),
    ("search", {"query": "x", "top_k": 51}, "`top_k`"),
    ("search", {"query": "x", "filters": {}}, "`filters`"),
    ("search", {"query": "x", "filter": []}, "`filter`"),
    ("search", {"top_k": 0, "collection": "../x"}, "`collection`"),
    ("ask", {"question": ""}, "`question`"),
    ("ask", {**QUESTION, "conversation_id": "a b"}, "`conversation_id`"),
    ("ask", {**QUESTION, "mode": "magic"}, "`mode`"),
    ("get_document", {"id": ""}, "`id`"),
    ("ingest_text", {"text": ""}, "`text`"),
    ("ingest_text", {"text": "x" * (MAX_TEXT_CHARACTERS + 1)}, "`text`"),
    ("ingest_text", {"text": "x", "metadata": {"a": {}}}, "`metadata.a`"),
    ("ingest_text", {"text": "x", "metadata": {"a.b": 1}}, "`metadata`"),
    ("ingest_text", {"text": "x", "uri": "a\nb"}, "`uri`"),
    ("ingest_text", {"text": "x", "wait_s": 601}, "`wait_s`"),
]


async def test_a_wrong_argument_is_named(stand: McpStand) -> None:
    async with Client(f"{stand.url}/mcp") as client:
        for tool, arguments, said in WRONG_ARGUMENTS:
            refused = await client.call_tool(tool, arguments)
            assert refused.is_error
            assert text_of(refused).startswith("Error invalid_request: ")
            assert said in text_of(refused), arguments
    assert stand.retriever.requests == []
    assert stand.persistence.messages == []


FAILURES: list[tuple[Exception, str]] = [
    (
        Rejected("`year` takes numbers", code="invalid_filter", field="filter.year"),
        "Error invalid_filter: `filter.year`: `year` takes numbers.",
    ),
    (Unavailable("the index is away"), "Error dependency_unavailable: the index is away. Try again in 2 s."),
    (Overloaded("too many requests"), "Error overloaded: too many requests. Try again in 1 s."),
    (KeyError("secret"), "Error internal_error: "),
]


async def test_a_failure_tells_a_model_what_to_do(stand: McpStand, client: Client) -> None:
    for failure, said in FAILURES:
        stand.retriever.failure = failure
        with capture_logs():
            failed = await client.call_tool("search", {"query": "x"})
        assert failed.is_error
        assert text_of(failed).startswith(said)
        assert "secret" not in text_of(failed)


async def test_a_fault_of_the_gateway_itself_stays_in_its_log(
    stand: McpStand, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(type(stand.replica.gateway.reads), "document", broken)
    with capture_logs() as logs:
        failed = await client.call_tool("get_document", {"id": "a"})
    assert text_of(failed).startswith("Error internal_error: the gateway failed; its log has the details. (trace ")
    assert [entry["tool"] for entry in logs if entry["event"] == "tool_fault"] == ["get_document"]


async def test_what_does_not_exist_is_an_error_of_the_tool(stand: McpStand, client: Client) -> None:
    document = await client.call_tool("get_document", {"id": "nowhere"})
    collection = await client.call_tool("search", {"query": "x", "collection": "nowhere"})
    assert (document.is_error, collection.is_error) == (True, True)
    assert "Error document_not_found" in text_of(document)
    assert "Error collection_not_found" in text_of(collection)
    with pytest.raises(MCPError, match="there is no tool 'drop'; there are search, ask, get_document, ingest_text"):
        await client.call_tool("drop", {})


async def test_every_tool_works_for_the_tenant_of_the_request(
    stand: McpStand, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INVARIANT: a tenant sees only its own; the tenant comes from where the routes have it from."""
    monkeypatch.setattr("services.gateway.authentication.ANYBODY", replace(ANYBODY, tenant="acme"))
    asked: list[str] = []

    async def document(_self: object, of: str, document_id: str) -> None:
        asked.append(of)
        raise Rejected("enough seen")

    stand.agent.events = [done(ANSWER)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(stand.replica.gateway.reads), "document", document)
        await client.call_tool("get_document", {"id": "a"})
    await client.call_tool("search", {"query": "x"})
    await client.call_tool("ask", QUESTION)
    await client.call_tool("ingest_text", {"text": "x", "wait_s": 0})
    jetstream = stand.agent.client.jetstream()
    stored = await jetstream.get_last_msg("INGEST", "rag.v1.ingest.acme")
    assert stored.data is not None
    assert asked == ["acme"]
    assert [request.tenant for request in stand.retriever.requests] == ["acme"]
    assert [question.tenant for question, _ in stand.agent.questions] == ["acme"]


async def test_any_replica_serves_any_request(stand: McpStand, mode: str) -> None:
    """INVARIANT: no session is held anywhere: the replicas of a gateway take turns within one client's calls."""
    async with (
        running_replica(stand.broker) as other,
        taking_turns([stand.url, other.url], mode) as (client, turns),
    ):
        for _ in range(4):
            assert not (await client.call_tool("search", {"query": "boiling"})).is_error
    assert len(set(turns.ports)) == 2
    assert len(stand.retriever.requests) == 4


async def test_who_asked_for_progress_gets_it(nats_broker: NatsServer, mode: str) -> None:
    async with running_mcp(nats_broker, gateway_heartbeat_seconds=0.05) as stand:
        stand.agent.events = [event(1, "accepted"), event(2, "retrieval", {"hits": [{}, {}]}), event(3, "delta")]
        told: list[tuple[float, str | None]] = []

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            told.append((progress, message))
            if len(told) == 6:
                await answer_now(stand, sequence=4)

        async with Client(f"{stand.url}/mcp", mode=mode) as client:
            answer = await client.call_tool("ask", QUESTION, progress_callback=on_progress)
    assert answer.structured_content["answered"] is True
    assert [progress for progress, _ in told] == list(range(1, len(told) + 1))
    messages = [message for _, message in told]
    expected = ["the question is accepted", "2 passages found", "the answer is being written"]
    assert [message for message in messages if message in expected] == expected
    assert "still working on the answer" in messages


async def test_who_listens_to_progress_is_sent_elsewhere_when_the_gateway_ends(stand: McpStand) -> None:
    stand.agent.events = [event(1, "accepted")]
    heard = asyncio.Event()

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        heard.set()

    async with Client(f"{stand.url}/mcp") as client:
        asking = asyncio.create_task(client.call_tool("ask", QUESTION, progress_callback=on_progress))
        await heard.wait()
        stand.replica.service.begin_shutdown()
        failed = await asking
    assert text_of(failed).startswith("Error dependency_unavailable: the gateway is about to end; ask again")


async def test_an_error_of_the_agent_reaches_who_listens_to_progress(stand: McpStand) -> None:
    data = {"kind": "retryable", "code": "llm_unavailable", "message": "it is away", "retry_after_seconds": 3.0}
    stand.agent.events = [event(1, "accepted"), event(2, "error", data)]

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        pass

    async with Client(f"{stand.url}/mcp") as client:
        failed = await client.call_tool("ask", QUESTION, progress_callback=on_progress)
    assert failed.is_error
    assert text_of(failed).startswith("Error llm_unavailable: it is away. Try again in 3 s.")


async def answer_now(stand: McpStand, sequence: int = 1) -> None:
    """Publish the answer of the question that the agent has already taken."""
    [(question, _)] = stand.agent.questions
    answer = event(sequence, "done", ANSWER.model_dump(mode="json"))
    await stand.agent.tell(question.query_id, answer)


async def test_who_leaves_gives_back_its_place(stand: McpStand, mode: str) -> None:
    seats = stand.replica.gateway.waiting_seats
    free = seats.free

    async def ask() -> None:
        async with Client(f"{stand.url}/mcp", mode=mode) as client:
            await client.call_tool("ask", QUESTION)

    asking = asyncio.create_task(ask())
    await eventually(lambda: seats.free < free, "the question is waited for")
    asking.cancel()
    await eventually(lambda: seats.free == free, "the place is free again", 2)


async def test_a_call_in_work_is_finished_before_the_gateway_ends(stand: McpStand, mode: str) -> None:
    async with Client(f"{stand.url}/mcp", mode=mode) as client:
        await client.list_tools()  # The client would ask for their schemas after the call.
        asking = asyncio.create_task(client.call_tool("ask", QUESTION))
        await eventually(lambda: stand.agent.questions, "the agent has the question")
        stand.replica.server.should_exit = True
        await answer_now(stand)
        assert (await asking).structured_content["answered"] is True
