"""`rag ingest`: everything gets in once, and what does not is named."""

from pathlib import Path

from tests.integration.cli.fake_gateway import FakeGateway, Rag, corpus


def test_a_folder_is_loaded_and_counted(rag: Rag, gateway: FakeGateway, tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.md").write_text(f"text {number}")
    told = rag("ingest", str(tmp_path), "--batch", "2")
    assert told.code == 0
    assert told.out.startswith("5 indexed, 0 failed in ")
    assert sorted(gateway.received) == [f"{number}.md" for number in range(5)]
    assert [request["wait_s"] for request in gateway.requests] == ["10"] * 3
    assert len({request["key"] for request in gateway.requests}) == 3


def test_a_document_that_fails_is_listed_and_the_command_fails(rag: Rag, tmp_path: Path) -> None:
    told = rag("ingest", corpus(tmp_path, "good", "fail-1", "also-good"))
    assert told.code == 1
    assert "2 indexed, 1 failed" in told.out
    assert "fail-1" in told.out
    assert "unreadable" in told.out
    assert "\x1b" not in told.out


def test_a_broken_line_fails_by_its_number_and_the_others_get_in(
    rag: Rag, gateway: FakeGateway, tmp_path: Path
) -> None:
    path = Path(corpus(tmp_path, "a", "b"))
    path.write_text(path.read_text() + "oops\n")
    told = rag("ingest", str(path), "--json")
    assert told.code == 1
    failed = [event for event in told.events if event.get("status") == "failed"]
    assert [(event["id"], event["error"]["code"]) for event in failed] == [(f"{path}:3", "invalid_line")]
    assert gateway.received == ["a", "b"]
    assert told.events[-1]["event"] == "summary"
    assert told.events[-1]["indexed"] == 2


def test_documents_that_take_longer_are_followed_to_their_own_revision(
    rag: Rag, gateway: FakeGateway, tmp_path: Path
) -> None:
    told = rag("ingest", corpus(tmp_path, "slow-1", "quick", "slow-2"), "--wait-s", "0")
    assert told.code == 0
    assert "3 indexed" in told.out
    assert gateway.looks == {"slow-1": 3, "slow-2": 3}


def test_a_document_that_never_moves_is_given_up_on(rag: Rag, tmp_path: Path) -> None:
    told = rag("ingest", corpus(tmp_path, "lost-1", "fine"), "--timeout", "1")
    assert told.code == 1
    assert "1 indexed, 1 failed" in told.out
    assert "still_processing" in told.out


def test_a_full_queue_is_waited_for(rag: Rag, gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.busy_for = 2
    told = rag("ingest", corpus(tmp_path, "a"))
    assert told.code == 0
    assert len({request["key"] for request in gateway.requests}) == 1
    assert len(gateway.requests) == 3


def test_a_reply_that_got_lost_does_not_send_a_document_twice(rag: Rag, gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.break_after_storing = 1
    told = rag("ingest", corpus(tmp_path, "a", "b"))
    assert told.code == 0
    assert gateway.received == ["a", "b"]


def test_one_refused_document_does_not_take_its_batch_with_it(rag: Rag, gateway: FakeGateway, tmp_path: Path) -> None:
    told = rag("ingest", corpus(tmp_path, "a", "b", "refused-1", "c", "d"), "--json")
    assert told.code == 1
    assert sorted(gateway.received) == ["a", "b", "c", "d"]
    [failed] = [event for event in told.events if event.get("status") == "failed"]
    assert failed["id"] == "refused-1"
    assert "refused" in failed["error"]["message"]


def test_no_more_than_so_many_requests_are_on_their_way(rag: Rag, gateway: FakeGateway, tmp_path: Path) -> None:
    ids = [f"d{number}" for number in range(40)]
    told = rag("ingest", corpus(tmp_path, *ids), "--batch", "2", "--concurrency", "3")
    assert told.code == 0
    assert sorted(gateway.received) == sorted(ids)
    assert gateway.most_in_work <= 3


def test_without_waiting_the_command_ends_when_all_is_accepted(rag: Rag, gateway: FakeGateway, tmp_path: Path) -> None:
    told = rag("ingest", corpus(tmp_path, "slow-1", "slow-2"), "--no-wait")
    assert told.code == 0
    assert told.out.startswith("2 accepted, 0 failed")
    assert gateway.looks == {}
    assert "wait_s" not in gateway.requests[0]


def test_nothing_to_load_is_said(rag: Rag, tmp_path: Path) -> None:
    told = rag("ingest", str(tmp_path))
    assert (told.code, told.out) == (1, "")
    assert told.err.startswith(f"rag: nothing to ingest in {tmp_path}")
