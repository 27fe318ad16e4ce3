"""`rag audit`."""

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from contracts.audit import AuditAction, AuditEntry
from services.cli.audit import Action
from tests.integration.cli.fake_audit import BEGAN
from tests.integration.cli.fake_gateway import FakeGateway, Rag


def test_the_audit_is_listed_newest_first_over_every_page(
    rag: Rag, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    told = rag("audit")
    assert told.code == 0
    head, *rows = [line.split() for line in told.out.splitlines()]
    assert head == ["when", "action", "actor", "what", "status", "from"]
    done = [["deleted", "abcdefghijkl", "DELETE", f"/v1/documents/d{number}�[2J", "202"] for number in (5, 4, 3, 2, 1)]
    assert [row[2:-1] for row in rows] == done
    assert "\x1b" not in told.out
    assert len(gateway.audit.asked) == 3


def test_programs_get_one_page_of_so_many_as_the_route_returns_them(rag: Rag, gateway: FakeGateway) -> None:
    page = rag("audit", "--json", "-n", "3").json
    assert [AuditEntry.model_validate(item) for item in page["items"]] == gateway.audit.entries[:3]
    assert page["next_cursor"] is not None
    assert "There are more" in rag("audit", "-n", "3").out
    gateway.audit.entries = []
    assert rag("audit").out == "Nothing happened.\n"


def test_every_filter_of_the_route_is_sent(rag: Rag, gateway: FakeGateway) -> None:
    key = "rag_abcdefghijkl_secretsecretsecret"
    options = ("--action", "deleted", "--actor", key, "--since", "2h", "--until", "2026-11-01T10:00Z", "-n", "7")
    assert rag("audit", *options).code == 0
    asked = gateway.audit.asked[0]
    assert (asked["action"], asked["actor"], asked["limit"]) == ("deleted", "abcdefghijkl", "7")
    assert abs(datetime.now(UTC) - timedelta(hours=2) - datetime.fromisoformat(asked["since"])) < timedelta(minutes=1)
    assert datetime.fromisoformat(asked["until"]) == BEGAN
    assert "secret" not in str(asked)


def test_what_failed_says_why(rag: Rag, gateway: FakeGateway) -> None:
    failed = AuditEntry(id="f", at=BEGAN, action="auth_failed", target={}, reason="expired", address="192.0.2.9")
    gateway.audit.entries = [failed]
    row = rag("audit").out.splitlines()[1].split()
    assert row[2:] == ["auth_failed", "-", "expired", "192.0.2.9"]


def test_a_filter_that_means_nothing_is_a_usage_error(rag: Rag, gateway: FakeGateway) -> None:
    assert "one of 'key_used'" in rag("audit", "--action", "slept").err
    wrong = rag("audit", "--since", "yesterday")
    assert (wrong.code, gateway.audit.asked) == (2, [])
    assert "--since takes a time" in wrong.err


def test_every_action_of_the_audit_can_be_asked_for() -> None:
    assert {action.value for action in Action} == set(get_args(AuditAction))
