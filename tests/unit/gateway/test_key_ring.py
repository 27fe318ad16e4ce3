from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.keys import KeyCheck
from services.gateway.key_ring import KeyRefused, KeyRing
from shared.api_keys import NewKey, new_key

PEPPER = "p" * 32
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def check(key: NewKey, version: int = 1, **fields: Any) -> KeyCheck:
    values = {"id": key.id, "tenant": "acme", "scopes": ["query"], "digest": key.digest, "version": version}
    return KeyCheck.model_validate({**values, **fields})


def ring_of(*checks: KeyCheck, max_keys: int = 100) -> KeyRing:
    ring = KeyRing(PEPPER, max_keys=max_keys)
    ring.take_in_order(checks)
    return ring


def reason(ring: KeyRing, text: str, now: datetime = NOW) -> str:
    with pytest.raises(KeyRefused) as caught:
        ring.open(text, now)
    return caught.value.reason


def test_a_key_opens_what_it_was_made_for() -> None:
    key, other = new_key(PEPPER), new_key(PEPPER)
    ring = ring_of(check(key), check(other, 2, tenant="globex"))
    assert ring.open(key.text, NOW).tenant == "acme"
    assert ring.open(other.text, NOW).tenant == "globex"


def test_a_key_that_nobody_made_opens_nothing() -> None:
    key = new_key(PEPPER)
    assert reason(ring_of(check(key)), new_key(PEPPER).text) == "unknown_key"
    assert reason(ring_of(check(key)), "no key") == "unknown_key"


def test_a_known_id_with_another_secret_opens_nothing_and_tells_nothing_of_the_key() -> None:
    key = new_key(PEPPER)
    ring = ring_of(check(key, revoked_at=NOW))
    forged = key.text[:-4] + ("AAAA" if not key.text.endswith("AAAA") else "BBBB")
    assert reason(ring, forged) == "wrong_secret"


def test_a_key_hashed_with_another_pepper_opens_nothing() -> None:
    key = new_key("q" * 32)
    assert reason(ring_of(check(key)), key.text) == "wrong_secret"


def test_a_revoked_key_opens_nothing_whatever_comes_late() -> None:
    key = new_key(PEPPER)
    ring = ring_of(check(key))
    ring.take(check(key, 2, revoked_at=NOW))
    ring.take(check(key, 1))
    assert reason(ring, key.text) == "revoked"


def test_a_key_opens_until_the_moment_it_expires() -> None:
    key = new_key(PEPPER)
    ring = ring_of(check(key, expires_at=NOW))
    assert ring.open(key.text, NOW - timedelta(seconds=1)).id == key.id
    assert reason(ring, key.text, NOW) == "expired"


def test_what_is_told_out_of_order_does_not_hide_what_comes_between() -> None:
    first, second = new_key(PEPPER), new_key(PEPPER)
    ring = ring_of(check(first))
    ring.take(check(second, 3))
    assert ring.version == 1
    ring.take_in_order([check(first, 2, revoked_at=NOW), check(second, 3)])
    assert ring.version == 3
    assert reason(ring, first.text) == "revoked"


def test_a_full_ring_goes_on_with_the_keys_that_it_has_and_hears_of_their_end() -> None:
    key, late = new_key(PEPPER), new_key(PEPPER)
    ring = ring_of(check(key), check(late, 2), max_keys=1)
    assert (len(ring), ring.overflown) == (1, True)
    assert not ring.knows(late.id)
    ring.take(check(key, 3, revoked_at=NOW))
    assert reason(ring, key.text) == "revoked"
