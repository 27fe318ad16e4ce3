"""Tokens of a real issuer on a real port, with real keys."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from services.gateway.authentication import Unauthenticated
from services.gateway.jwks import Jwks
from services.gateway.jwt_authentication import TokenAuthenticator, TokenRules
from services.gateway.principal import Scope
from shared.errors import Unavailable
from tests.oidc_issuer import Issuer, oidc_issuer


@pytest.fixture(scope="module")
def running() -> Iterator[Issuer]:
    with oidc_issuer() as issuer:
        yield issuer


@pytest.fixture
def issuer(running: Issuer) -> Iterator[Issuer]:
    before = (dict(running.private), dict(running.published))
    running.fetches, running.down, running.claims_issuer = 0, False, None
    yield running
    running.private, running.published = before


def rules(issuer: Issuer) -> TokenRules:
    return TokenRules(
        issuer=issuer.url,
        audience="rag",
        algorithms=("RS256", "ES256"),
        tenant_claim="tenant",
        scope_claim="scope",
        scope_prefix="",
        leeway_seconds=5,
    )


@asynccontextmanager
async def authenticator(issuer: Issuer, **given: Any) -> AsyncIterator[TokenAuthenticator]:
    patience = {"keep_seconds": 300.0, "stale_seconds": 600.0, "pause_seconds": 0.0}
    patience |= {name: given.pop(name) for name in patience if name in given}
    jwks = Jwks(httpx.AsyncClient(), issuer.url, None, **patience)
    try:
        yield TokenAuthenticator(replace(rules(issuer), **given), jwks.key)
    finally:
        await jwks.close()


async def refused(issuer: Issuer, token: str, **given: Any) -> str:
    async with authenticator(issuer, **given) as who:
        with pytest.raises(Unauthenticated) as caught:
            await who.authenticate(token)
        return caught.value.reason


@pytest.mark.parametrize(("kid", "algorithm"), [("ec-1", "ES256"), ("rsa-1", "RS256")])
async def test_a_token_says_whose_it_is_and_what_it_may_do(issuer: Issuer, kid: str, algorithm: str) -> None:
    async with authenticator(issuer) as who:
        principal = await who.authenticate(issuer.token(kid, algorithm=algorithm))
    assert (principal.tenant, sorted(principal.scopes)) == ("acme", [Scope.INGEST, Scope.QUERY])
    assert principal.key_id is not None
    assert principal.key_id.startswith("jwt:")
    assert "ada" not in principal.key_id


async def test_claims_may_lie_deeper_and_scopes_may_be_a_list_with_a_prefix(issuer: Issuer) -> None:
    claims: dict[str, Any] = {"https://rag.example/roles": ["rag:admin", "ingest", 7], "org": {"name": "globex"}}
    token = issuer.token(**claims)
    names = {"tenant_claim": "org.name", "scope_claim": "https://rag.example/roles", "scope_prefix": "rag:"}
    async with authenticator(issuer, **names) as who:
        principal = await who.authenticate(token)
    assert (principal.tenant, sorted(principal.scopes)) == ("globex", [Scope.ADMIN])


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": timedelta(seconds=-60)}, "expired"),
        ({"nbf": timedelta(seconds=600)}, "not_yet_valid"),
        ({"aud": "another"}, "wrong_audience"),
        ({"iss": "https://another.example"}, "wrong_issuer"),
        ({"aud": None}, "missing_claim"),
        ({"exp": None}, "missing_claim"),
        ({"sub": None}, "missing_claim"),
        ({"tenant": None}, "no_tenant"),
        ({"tenant": "acme.>"}, "no_tenant"),
        ({"tenant": ["acme"]}, "no_tenant"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
async def test_a_token_with_a_wrong_claim_is_refused(issuer: Issuer, claims: dict[str, Any], reason: str) -> None:
    # Times are those of the test: a run of the whole suite collects it many minutes before.
    given: dict[str, Any] = {
        name: int(time.time() + value.total_seconds()) if isinstance(value, timedelta) else value
        for name, value in claims.items()
    }
    assert await refused(issuer, issuer.token(**given)) == reason


async def test_clocks_may_differ_by_the_leeway(issuer: Issuer) -> None:
    async with authenticator(issuer) as who:
        assert (await who.authenticate(issuer.token(exp=int(time.time()) - 2))).tenant == "acme"


async def test_a_token_without_signature_is_refused(issuer: Issuer) -> None:
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    unsigned = jwt.encode(claims, "", algorithm="none", headers={"kid": "rsa-1"})
    assert await refused(issuer, unsigned) == "wrong_algorithm"


async def test_a_public_key_is_never_taken_for_a_shared_secret(issuer: Issuer) -> None:
    """Whoever knows the public key, and everybody does, could else sign with it."""
    public = issuer.private["rsa-1"].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    token = by_hand(
        {"alg": "HS256", "kid": "rsa-1"}, jwt.decode(issuer.token(), options={"verify_signature": False}), pem
    )
    assert await refused(issuer, token) == "wrong_algorithm"
    assert await refused(issuer, token, algorithms=("RS256", "HS256")) == "invalid"


def by_hand(header: dict[str, str], claims: dict[str, Any], secret: bytes) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    signature = hmac.new(secret, b".".join(parts), hashlib.sha256).digest()
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


async def test_a_changed_token_is_refused(issuer: Issuer) -> None:
    head, _, signature = issuer.token().split(".")
    _, body, _ = issuer.token(tenant="globex").split(".")
    assert await refused(issuer, f"{head}.{body}.{signature}") == "wrong_signature"


async def test_a_token_of_a_key_for_another_algorithm_is_refused(issuer: Issuer) -> None:
    issuer.published["rsa-1"]["alg"] = "PS256"
    assert await refused(issuer, issuer.token()) == "unknown_key"
    del issuer.published["rsa-1"]["alg"]


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c", "rag_x", "x" * 20_000], ids=len)
async def test_what_is_no_token_is_refused_before_anybody_is_asked(issuer: Issuer, text: str) -> None:
    assert await refused(issuer, text) == "malformed"
    assert issuer.fetches == 0


async def test_keys_are_fetched_once_for_many_tokens(issuer: Issuer) -> None:
    async with authenticator(issuer) as who:
        for _ in range(5):
            await who.authenticate(issuer.token())
    assert issuer.fetches == 1


async def test_a_new_key_of_the_issuer_is_found(issuer: Issuer) -> None:
    async with authenticator(issuer) as who:
        await who.authenticate(issuer.token())
        issuer.add_rsa("rsa-2")
        assert (await who.authenticate(issuer.token("rsa-2"))).tenant == "acme"
    assert issuer.fetches == 2


async def test_a_key_that_the_issuer_took_back_opens_nothing_once_the_keys_are_old(issuer: Issuer) -> None:
    async with authenticator(issuer, keep_seconds=1e-9) as who:
        await who.authenticate(issuer.token())
        del issuer.published["rsa-1"]
        with pytest.raises(Unauthenticated):
            await who.authenticate(issuer.token())


async def test_made_up_keys_do_not_make_us_flood_the_issuer(issuer: Issuer) -> None:
    async with authenticator(issuer, pause_seconds=60.0) as who:
        for number in range(20):
            issuer.private[f"made-up-{number}"] = issuer.private["rsa-1"]
            with pytest.raises(Unauthenticated):
                await who.authenticate(issuer.token(f"made-up-{number}"))
    assert issuer.fetches == 1


async def test_known_keys_hold_while_the_issuer_is_away_and_then_nothing_is_guessed(issuer: Issuer) -> None:
    async with authenticator(issuer, keep_seconds=1e-9) as who:
        await who.authenticate(issuer.token())
        issuer.down = True
        assert (await who.authenticate(issuer.token())).tenant == "acme"
    async with authenticator(issuer) as who:
        with pytest.raises(Unavailable) as caught:
            await who.authenticate(issuer.token())
    assert caught.value.error_code == "issuer_unavailable"


async def test_a_configuration_of_another_issuer_is_not_taken(issuer: Issuer) -> None:
    issuer.claims_issuer = "https://another.example"
    async with authenticator(issuer) as who:
        with pytest.raises(Unavailable):
            await who.authenticate(issuer.token())
    assert issuer.fetches == 0
