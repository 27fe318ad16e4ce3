"""`rag conversations`, and `rag ask` that goes on with one."""

from tests.integration.cli.fake_gateway import FakeGateway, Rag


def test_a_question_goes_on_with_its_conversation_and_says_how(rag: Rag, gateway: FakeGateway) -> None:
    told = rag("ask", "what do brokers do?", "--conversation", "new")
    assert gateway.bodies["query"]["conversation_id"] == "new"
    assert told.out.splitlines()[-1] == "Go on with --conversation c1"


def test_conversations_are_listed_page_by_page(rag: Rag) -> None:
    told = rag("conversations", "list", "--limit", "250")
    lines = told.out.splitlines()
    assert lines[0].split() == ["id", "turns", "last", "used", "first", "question"]
    assert [line.split()[0] for line in lines[1:251]] == [f"c{number}" for number in range(250)]
    assert lines[251] == "There are more; --limit shows them."
    assert "\x1b" not in told.out


def test_a_conversation_is_shown_turn_by_turn(rag: Rag) -> None:
    told = rag("conversations", "show", "c1")
    assert "What is a broker?\n  It keeps messages. [1]" in told.out
    assert "And how long?\n  read as: How long does a broker keep messages?" in told.out
    assert told.out.count("It keeps messages. [1]") == 150


def test_one_that_is_not_there_is_one_line(rag: Rag) -> None:
    told = rag("conversations", "show", "c9")
    assert (told.code, told.out) == (1, "")
    assert told.err.startswith("rag: there is no conversation 'c9' [conversation_not_found")


def test_a_delete_says_what_went(rag: Rag) -> None:
    assert rag("conversations", "delete", "c1").out == "Deleted c1 with 150 turns.\n"


def test_json_is_the_gateway_s_own(rag: Rag) -> None:
    assert rag("conversations", "delete", "c1", "--json").json == {"id": "c1", "turn_count": 150, "status": "deleted"}
    assert len(rag("conversations", "show", "c1", "--json").json["turns"]) == 150
