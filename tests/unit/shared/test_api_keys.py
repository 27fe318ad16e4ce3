from datetime import UTC, datetime, timedelta

import pytest

from shared.api_keys import NewKey, digest_of, expiry, is_key, key_id_of, new_key, new_pepper, prefix_of

PEPPER = "p" * 32
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def test_a_key_is_known_by_its_keyed_hash_alone() -> None:
    key = new_key(PEPPER)
    assert is_key(PEPPER, key.text, key.digest)
    assert not is_key("q" * 32, key.text, key.digest)
    assert not is_key(PEPPER, key.text[:-1] + ("A" if key.text[-1] != "A" else "B"), key.digest)
    assert key.text not in key.digest


def test_keys_tell_their_id_and_differ() -> None:
    keys = [new_key(PEPPER) for _ in range(100)]
    assert [key_id_of(key.text) for key in keys] == [key.id for key in keys]
    assert all(key.text.startswith(key.prefix) and key.prefix == prefix_of(key.id) for key in keys)
    assert len({key.id for key in keys} | {key.text for key in keys}) == 200


def test_a_key_does_not_show_itself_in_logs() -> None:
    key = NewKey("rag_secret", "id", "digest")
    assert "secret" not in repr(key)
    assert "digest" not in repr(key)


@pytest.mark.parametrize(
    "text",
    ["", "rag_", "rag_abcdefghijkl_", "rag_ABCDEFGHIJKL_" + "a" * 43, "rag_abcdefghijkl_" + "a" * 44, "eyJ.a.b"],
)
def test_what_does_not_look_like_a_key_has_no_id(text: str) -> None:
    assert key_id_of(text) is None


def test_a_pepper_is_long_enough_and_new_every_time() -> None:
    assert len(new_pepper()) >= 32
    assert new_pepper() != new_pepper()
    assert digest_of(new_pepper(), "rag_a") != digest_of(new_pepper(), "rag_a")


@pytest.mark.parametrize(
    ("text", "lives"),
    [
        ("90d", timedelta(days=90)),
        ("12h", timedelta(hours=12)),
        ("30m", timedelta(minutes=30)),
        ("1s", timedelta(0, 1)),
    ],
)
def test_a_key_lives_as_long_as_was_said(text: str, lives: timedelta) -> None:
    assert expiry(text, NOW) == NOW + lives
    assert expiry("never", NOW) is None


@pytest.mark.parametrize("text", ["", "90", "d", "0d", "-1d", "1.5h", "90 d", "999999d", "90d\n"])
def test_another_time_is_refused_with_what_is_taken(text: str) -> None:
    with pytest.raises(ValueError, match="90d, 12h or 30m, or never"):
        expiry(text, NOW)
