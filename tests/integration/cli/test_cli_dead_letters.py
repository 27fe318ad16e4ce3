"""`rag dead-letters`."""

from datetime import UTC, datetime, timedelta

import pytest

from services.cli.main import main
from tests.integration.cli.fake_gateway import FakeGateway, Rag
from tests.integration.cli.fake_letters import TRACE_ID


def test_letters_are_listed_newest_first_with_their_reason(rag: Rag) -> None:
    told = rag("dead-letters", "list")
    assert told.code == 0
    rows = [line.split() for line in told.out.splitlines()]
    assert rows[0] == ["seq", "stage", "code", "document", "reason", "tries", "died"]
    assert [row[:4] for row in rows[1:]] == [[str(n), "parser", "corrupt", f"d{n}"] for n in (5, 4, 3, 2, 1)]
    assert "\x1b" not in told.out


def test_a_list_for_programs_is_one_page_of_so_many(rag: Rag, gateway: FakeGateway) -> None:
    page = rag("dead-letters", "list", "--json", "-n", "3").json
    assert [item["seq"] for item in page["items"]] == [5, 4, 3]
    assert page["next_cursor"] is not None
    assert "There are more" in rag("dead-letters", "list", "-n", "3").out
    gateway.letters.seqs = []
    assert rag("dead-letters", "list").out == "No dead letters.\n"


def test_the_filter_is_sent_with_times_that_have_a_zone(rag: Rag, gateway: FakeGateway) -> None:
    options = ("--consumer", "parser", "--code", "corrupt", "--since", "2h", "--until", "2026-11-01T10:00Z")
    assert rag("dead-letters", "list", *options).code == 0
    asked = gateway.letters.asked[0]
    assert (asked["consumer"], asked["code"]) == ("parser", "corrupt")
    since, until = datetime.fromisoformat(asked["since"]), datetime.fromisoformat(asked["until"])
    assert abs(datetime.now(UTC) - timedelta(hours=2) - since) < timedelta(minutes=1)
    assert until == datetime(2026, 11, 1, 10, tzinfo=UTC)


def test_one_letter_is_shown_with_everything_and_no_control_characters(rag: Rag) -> None:
    told = rag("dead-letters", "show", "3")
    assert told.code == 0
    for part in ("corrupt", "d3, revision 3", "rag.v1.ingest.default", TRACE_ID, "My-Header: kept", '"id": "d"'):
        assert part in told.out
    assert "\x1b" not in told.out
    assert rag("dead-letters", "show", "3", "--json").json["payload"]["value"] == {"id": "d"}


def test_a_payload_that_is_gone_or_is_no_json_is_shown_as_what_it_is(rag: Rag, gateway: FakeGateway) -> None:
    gateway.letters.payload = {"encoding": "base64", "value": "AP8=", "truncated": False, "missing": False}
    assert "AP8=" in rag("dead-letters", "show", "3").out
    gateway.letters.payload["missing"] = True
    assert "no longer in the object store" in rag("dead-letters", "show", "3").out


def test_letters_are_replayed_by_number_and_each_is_told_of(rag: Rag, gateway: FakeGateway) -> None:
    told = rag("dead-letters", "replay", "1", "2", "9", "3")
    assert told.code == 1
    assert told.out.splitlines() == [
        f"1: sent again, document d1 revision 9 (trace {TRACE_ID})",
        f"3: sent again, document d3 revision 9 (trace {TRACE_ID})",
    ]
    assert "2: document 'd2' has revision 8 [newer_revision" in told.err
    assert "9: there is no dead letter 9" in told.err
    assert gateway.letters.seqs == [2, 4, 5]


def test_a_replay_for_programs_lists_what_was_done_and_what_was_not(rag: Rag) -> None:
    told = rag("dead-letters", "replay", "1", "2", "--json")
    assert told.code == 1
    assert [receipt["seq"] for receipt in told.json["done"]] == [1]
    assert [(failure["seq"], failure["code"]) for failure in told.json["failed"]] == [(2, "newer_revision")]


def test_all_that_match_are_replayed_over_every_page(rag: Rag, gateway: FakeGateway) -> None:
    told = rag("dead-letters", "replay", "--all", "--code", "corrupt")
    assert told.code == 1
    assert told.out.splitlines() == ["4 of 5 sent again.", "1 refused: newer_revision"]
    assert gateway.letters.seqs == [2]
    assert {asked["code"] for asked in gateway.letters.asked} == {"corrupt"}
    gateway.letters.seqs = []
    assert rag("dead-letters", "replay", "--all", "--json").json["matched"] == 0


def test_a_replay_that_was_stopped_says_why(rag: Rag, gateway: FakeGateway) -> None:
    gateway.letters.stopped = {"code": "overloaded", "message": "the queue is full"}
    told = rag("dead-letters", "replay", "--all")
    assert (told.code, "Stopped: the queue is full [overloaded]" in told.out) == (1, True)


def test_letters_are_discarded_by_number(rag: Rag, gateway: FakeGateway) -> None:
    told = rag("dead-letters", "discard", "1", "2")
    assert (told.code, told.out) == (0, "1: discarded\n2: discarded\n")
    assert gateway.letters.seqs == [3, 4, 5]
    assert rag("dead-letters", "discard", "1").code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["replay"],
        ["replay", "1", "--all"],
        ["replay", "1", "--code", "corrupt"],
        ["replay", "0"],
        ["list", "--since", "yesterday"],
        ["show"],
        ["discard"],
        ["burn"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_refused_before_anything_is_sent(
    rag: Rag, gateway: FakeGateway, arguments: list[str]
) -> None:
    assert rag("dead-letters", *arguments).code == 2
    assert gateway.letters.asked == []
    assert gateway.letters.seqs == [1, 2, 3, 4, 5]


def test_the_address_and_json_may_stand_before_the_command(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--url", gateway.url, "--json", "dead-letters", "discard", "5"]) == 0
    assert '"discarded"' in capsys.readouterr().out
