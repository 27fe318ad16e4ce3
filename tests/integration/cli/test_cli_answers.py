"""`rag search`, `rag ask` and `rag documents`."""

import pytest

from tests.integration.cli.fake_gateway import FakeGateway, Rag
from tests.integration.cli.fake_letters import TRACE_ID


def test_hits_are_shown_with_their_place_and_their_words(rag: Rag, gateway: FakeGateway) -> None:
    told = rag("search", "broker messages", "-c", "default", "-k", "3", "--mode", "dense", "--filter", '{"year":2026}')
    assert told.code == 0
    assert "0.877" in told.out
    assert "The guide p. 3" in told.out
    assert "\x1b" not in told.out
    assert gateway.bodies["search"] == {
        "query": "broker messages",
        "collection": "default",
        "top_k": 3,
        "mode": "dense",
        "filter": {"year": 2026},
    }


def test_a_search_that_had_no_time_to_rerank_says_so(rag: Rag, gateway: FakeGateway) -> None:
    told = rag("search", "broker messages", "--rerank")
    assert gateway.bodies["search"]["rerank"] is True
    assert "Not reranked: its time was spent before it had an order." in told.out


def test_a_search_without_hits_says_so(rag: Rag) -> None:
    told = rag("search", "nothing")
    assert (told.code, told.out) == (0, "Nothing found.\n")


def test_a_problem_is_one_line_with_its_code_and_its_trace(rag: Rag) -> None:
    told = rag("search", "slow")
    assert (told.code, told.out) == (1, "")
    assert told.err == f"rag: nobody answers rag.v1.retrieve [dependency_unavailable, trace {TRACE_ID}]\n"


def test_an_answer_comes_with_its_sources(rag: Rag) -> None:
    told = rag("ask", "what do brokers do?")
    assert told.code == 0
    assert told.out.splitlines() == [
        "Brokers keep messages [1].",
        "",
        "Sources",
        "[1] The guide  file:guide/a.md",
        "    “A broker keeps messages.”",
    ]


def test_no_answer_is_said_in_words(rag: Rag) -> None:
    assert rag("ask", "unknown").out == "No answer found in the documents.\n"


def test_the_steps_are_shown_when_asked_for(rag: Rag) -> None:
    told = rag("ask", "what?", "--verbose")
    assert '1. retrieve {"hits": 3}' in told.out
    assert TRACE_ID in told.out


@pytest.mark.parametrize("command", [("search", "x"), ("ask", "x"), ("documents",), ("documents", "a"), ("status",)])
def test_every_command_speaks_json(rag: Rag, command: tuple[str, ...]) -> None:
    told = rag(*command, "--json")
    assert told.code == 0
    assert isinstance(told.json, dict)
    assert told.err == ""


def test_documents_are_listed_across_pages_up_to_the_limit(rag: Rag, gateway: FakeGateway) -> None:
    told = rag("documents", "--json", "--limit", "5", "--status", "indexed", "-c", "default")
    assert [item["id"] for item in told.json["items"]] == ["d0", "d1", "d2", "d3", "d4"]
    assert told.json["next_cursor"] == "5"
    assert gateway.bodies["list"] == {"limit": "2", "cursor": "3", "status": "indexed", "collection": "default"}
    assert "d6" in rag("documents").out


def test_a_document_is_found_by_an_id_with_slashes_and_spaces(rag: Rag, gateway: FakeGateway) -> None:
    told = rag("documents", "guide/in tro?.md")
    assert told.code == 0
    assert "guide/in tro?.md" in told.out
    assert gateway.looks == {"guide/in tro?.md": 1}


def test_an_unknown_document_is_a_failure(rag: Rag) -> None:
    told = rag("documents", "unknown-1")
    assert told.code == 1
    assert "there is no document unknown-1 [not_found" in told.err


@pytest.mark.parametrize(
    "broken", [[5], [-5], [4, 1, 1], [6]], ids=["between", "within an event", "often", "at the end"]
)
def test_a_broken_connection_is_gone_on_with_by_itself(
    rag: Rag, gateway: FakeGateway, broken: list[int | None]
) -> None:
    gateway.answers.breaks = list(broken)
    told = rag("ask", "what do brokers do?")
    assert (told.code, told.err) == (0, "")
    assert told.out.splitlines()[0] == "Brokers keep messages [1]."
    assert len(gateway.answers.resumed) == len(broken)
    assert gateway.answers.resumed[0] == str(abs(broken[0] or 0))


def test_a_gateway_that_starts_again_is_waited_for(rag: Rag, gateway: FakeGateway) -> None:
    gateway.answers.breaks, gateway.answers.refusals = [3], [503, 503]
    assert rag("ask", "what do brokers do?").out.splitlines()[0] == "Brokers keep messages [1]."
    assert gateway.answers.resumed == ["3", "3", "3"]


def test_an_answer_that_is_not_kept_any_more_is_a_failure(rag: Rag, gateway: FakeGateway) -> None:
    gateway.answers.breaks, gateway.answers.refusals = [4], [404]
    told = rag("ask", "what do brokers do?")
    assert told.code == 1
    assert told.out == "Brokers keep\n"
    assert "query_not_found" in told.err


def test_a_connection_that_breaks_without_end_is_given_up(
    rag: Rag, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.cli.answer_stream.FIRST_PAUSE_SECONDS", 0.001)
    gateway.answers.breaks = [3, *[0] * 20]
    told = rag("ask", "what do brokers do?")
    assert told.code == 1
    assert "broke" in told.err
    assert len(gateway.answers.resumed) < 10


def test_a_question_whose_connection_breaks_before_it_was_accepted_is_not_asked_twice(
    rag: Rag, gateway: FakeGateway
) -> None:
    gateway.answers.breaks = [0]
    assert rag("ask", "what do brokers do?").code == 1
    assert gateway.answers.resumed == []


def test_text_that_does_not_count_any_more_is_said_to_be_void(rag: Rag, gateway: FakeGateway) -> None:
    answer = {"answer": "Right \u2028 text.", "answered": True, "citations": []}
    gateway.answers.events = [
        ("delta", {"text": "Wrong "}),
        ("step", {"kind": "restarted"}),
        ("delta", {"text": "Right \u2028 text."}),
        ("done", answer),
    ]
    told = rag("ask", "what?")
    assert told.out == "Wrong \nRight \u2028 text.\n"
    assert told.err == "(the answer begins again)\n"


def test_an_answer_of_which_nothing_was_written_before_its_end_is_printed_whole(rag: Rag, gateway: FakeGateway) -> None:
    gateway.answers.events = [("done", {"answer": "From \x1b[2Jthe cache.", "answered": True, "citations": []})]
    assert rag("ask", "what?").out == "From \N{REPLACEMENT CHARACTER}[2Jthe cache.\n"


def test_an_error_in_the_middle_ends_the_line_and_says_why(rag: Rag, gateway: FakeGateway) -> None:
    error = {"status": 503, "code": "llm_unavailable", "detail": "the model is away", "trace_id": TRACE_ID}
    gateway.answers.events = [("delta", {"text": "Half a"}), ("error", error)]
    told = rag("ask", "what?")
    assert (told.code, told.out) == (1, "Half a\n")
    assert told.err == f"rag: the model is away [llm_unavailable, trace {TRACE_ID}]\n"
    assert gateway.answers.resumed == []
