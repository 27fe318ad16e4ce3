import pytest

from contracts.reads import IdempotencyRecord
from services.gateway.idempotency import IdempotencyKey, check_same, read_key
from services.gateway.problems import RequestProblem


@pytest.mark.parametrize("value", ["k", "order 7/~!", "x" * 255])
def test_printable_ascii_is_a_key(value: str) -> None:
    assert read_key("default", {"Idempotency-Key": value}) == IdempotencyKey("default", value)


@pytest.mark.parametrize("value", ["", "x" * 256, "kéy", "a\tb", "a\x7f"])
def test_anything_else_is_refused(value: str) -> None:
    with pytest.raises(RequestProblem) as caught:
        read_key("default", {"Idempotency-Key": value})
    assert (caught.value.status, caught.value.field) == (422, "Idempotency-Key")


def test_a_request_needs_no_key() -> None:
    assert read_key("default", {}) is None


def test_every_tenant_key_and_place_has_a_key_of_its_own() -> None:
    keys = [IdempotencyKey(*pair).of(index) for pair in (("a", "k"), ("b", "k"), ("a", "l")) for index in range(3)]
    assert len(set(keys)) == 9
    assert IdempotencyKey("a", "k").of(0) == keys[0]
    assert all(len(key) == 64 for key in keys)


def test_a_key_that_was_used_for_something_else_is_refused() -> None:
    record = IdempotencyRecord(key="k", document_id="a", collection="c", revision=1, digest="d")
    check_same(record, "d")
    with pytest.raises(RequestProblem) as caught:
        check_same(record, "e")
    assert (caught.value.status, caught.value.error_code) == (422, "idempotency_key_reused")
