"""A gateway that takes keys and tokens, in front of a real persistence, with a real issuer beside it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from services.persistence import key_tool
from services.persistence.settings import PersistenceSettings
from shared.api_keys import new_key
from tests.integration import persistence_service
from tests.integration.gateway_stand import running_gateway
from tests.oidc_issuer import Issuer, oidc_issuer
from tests.running import eventually
from tests.servers import NatsServer

PEPPER = "p" * 32


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with oidc_issuer() as running:
        yield running


@pytest.fixture
async def http(nats_broker: NatsServer, tmp_path: Path, issuer: Issuer) -> AsyncIterator[httpx.AsyncClient]:
    options = {
        "auth": "keys,jwt",
        "key_pepper": PEPPER,
        "jwt_issuer": issuer.url,
        "jwt_audience": "rag",
        "jwt_jwks_pause_seconds": 0.01,
    }
    async with (
        persistence_service.persistence(nats_broker, tmp_path),
        running_gateway(nats_broker, **options) as (_, client, _gateway),
    ):
        yield client


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


async def test_a_token_opens_its_tenant_with_its_scopes_beside_keys(
    http: httpx.AsyncClient, issuer: Issuer, tmp_path: Path
) -> None:
    token, admin = issuer.token(), issuer.token(scope="admin", tenant="globex")
    assert (await http.get("/v1/documents", headers=bearer(token))).status_code == 200
    forbidden = await http.get("/v1/admin/audit", headers=bearer(token))
    assert (forbidden.status_code, forbidden.json()["missing_scope"]) == (403, "admin")
    key = new_key(PEPPER)
    request = {"id": key.id, "prefix": key.prefix, "digest": key.digest, "tenant": "acme", "scopes": ["admin"]}
    key_tool.answer({"do": "create", **request}, PersistenceSettings(data_dir=tmp_path))
    deleted = await http.delete("/v1/documents/nothing", headers=bearer(token))
    assert deleted.status_code == 404

    async def told() -> bool:
        found = await http.get("/v1/admin/audit", headers=bearer(key.text), params={"action": "deleted"})
        return [entry["actor"][:4] for entry in found.json()["items"]] == ["jwt:"]

    await eventually(told, "what a token's holder did is in the audit of the tenant")
    foreign = await http.get("/v1/admin/audit", headers=bearer(admin), params={"action": "deleted"})
    assert foreign.json()["items"] == []


async def test_a_wrong_token_is_told_apart_from_an_issuer_that_is_away(http: httpx.AsyncClient, issuer: Issuer) -> None:
    refused = await http.get("/v1/documents", headers=bearer(issuer.token(aud="another")))
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
    assert "audience" in refused.json()["detail"]
    issuer.add_rsa("rsa-9")
    assert (await http.get("/v1/documents", headers=bearer(issuer.token("rsa-9")))).status_code == 200


async def test_while_nothing_is_known_of_the_issuer_nobody_is_called_wrong(
    http: httpx.AsyncClient, issuer: Issuer
) -> None:
    issuer.down = True
    away = await http.get("/v1/documents", headers=bearer(issuer.token()))
    assert (away.status_code, away.json()["code"]) == (503, "issuer_unavailable")
    assert "retry-after" in away.headers
