"""What every route demands of its caller, and who may come in at all."""

from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import ValidationError

from services.gateway.audit_rules import kind_of
from services.gateway.authentication import ByForm, Unauthenticated, bearer_of, is_open
from services.gateway.openapi import complete_openapi
from services.gateway.principal import ANYBODY, Principal, Scope, needed_by, principal_of
from services.gateway.problems import RequestProblem
from services.gateway.routes import ROUTERS
from services.gateway.settings import GatewaySettings

PEPPER = "p" * 32
ROUTES: dict[str, Any] = {
    f"{method} {route.path}": route for router in ROUTERS for route in router.routes for method in sorted(route.methods)
}
BY_SCOPE = {
    "DELETE /v1/collections/{name}": "ingest",
    "DELETE /v1/conversations/{conversation_id}": "query",
    "DELETE /v1/documents/{document_id:path}": "ingest",
    "GET /v1/collections": "query",
    "GET /v1/documents": "query",
    "GET /v1/documents/{document_id:path}": "ingest query",
    "GET /v1/documents/{document_id:path}/events": "ingest query",
    "GET /v1/models": "query",
    "GET /v1/traces": "query",
    "POST /mcp": "query ingest",
    "POST /v1/chat/completions": "query",
    "POST /v1/documents": "ingest",
    "POST /v1/embeddings": "query",
    "POST /v1/feedback": "query",
    "POST /v1/query": "query",
    "POST /v1/search": "query",
}


@pytest.mark.parametrize("name", sorted(ROUTES))
def test_every_route_is_open_or_says_which_scope_it_needs(name: str) -> None:
    path = name.partition(" ")[2]
    assert bool(needed_by(ROUTES[name])) != is_open(path)


@pytest.mark.parametrize("name", sorted(BY_SCOPE))
def test_routes_need_the_scope_of_what_they_do(name: str) -> None:
    assert " ".join(needed_by(ROUTES[name])) == BY_SCOPE[name]


@pytest.mark.parametrize("name", sorted(name for name in ROUTES if "/v1/admin/" in name))
def test_what_is_for_admins_is_for_nobody_else_and_in_the_audit(name: str) -> None:
    assert needed_by(ROUTES[name]) == (Scope.ADMIN,)
    method = name.partition(" ")[0]
    # What persistence itself stores with the change is not told a second time.
    stored_with_change = "/admin/keys" in name and method in ("POST", "DELETE")
    assert (kind_of(method, ROUTES[name], 200) is None) == stored_with_change
    assert kind_of(method, ROUTES[name], 403) is not None


@pytest.mark.parametrize("name", sorted(name for name in ROUTES if name.startswith("DELETE") and "admin" not in name))
def test_deletes_are_in_the_audit(name: str) -> None:
    kind = kind_of("DELETE", ROUTES[name], 202)
    assert kind is not None
    assert kind.__name__ == "Deleted"


@pytest.mark.parametrize("name", sorted(name for name in BY_SCOPE if not name.startswith("DELETE")))
def test_daily_work_is_not_in_the_audit(name: str) -> None:
    assert kind_of(name.partition(" ")[0], ROUTES[name], 200) is None


def test_the_openapi_document_says_which_operations_need_a_key() -> None:
    app = FastAPI()
    for router in ROUTERS:
        app.include_router(router)
    complete_openapi(app)
    operations = {
        path: operation["security"] for path, found in app.openapi()["paths"].items() for operation in found.values()
    }
    assert {path for path, security in operations.items() if not security} == {"/health", "/health/detailed"}
    assert operations["/v1/search"] == [{"bearer": []}]


def test_a_missing_scope_is_named() -> None:
    with pytest.raises(RequestProblem, match="admin") as caught:
        Principal("acme", frozenset({Scope.QUERY}), "k").require(Scope.ADMIN)
    assert (caught.value.status, caught.value.error_code) == (403, "forbidden")
    assert caught.value.extra == {"missing_scope": "admin"}


def test_an_admin_of_another_tenant_does_not_run_the_platform() -> None:
    admin = frozenset({Scope.ADMIN})
    assert Principal("default", admin, "k").operates("default")
    assert not Principal("acme", admin, "k").operates("default")
    assert not Principal("default", frozenset({Scope.QUERY}), "k").operates("default")
    assert ANYBODY.operates("another")


def test_a_request_that_nobody_authenticated_has_no_principal() -> None:
    with pytest.raises(RuntimeError, match="/v1/search"):
        principal_of({"type": "http", "path": "/v1/search"})


@pytest.mark.parametrize(
    ("header", "credential"),
    [(b"Bearer abc", "abc"), (b"bearer  abc ", "abc"), (b"Basic abc", ""), (b"abc", ""), (None, None)],
)
def test_the_credential_is_what_follows_bearer(header: bytes | None, credential: str | None) -> None:
    headers = [] if header is None else [(b"authorization", header)]
    assert bearer_of({"type": "http", "headers": headers}) == credential


class _Named:
    def __init__(self, name: str) -> None:
        self.name = name

    async def authenticate(self, _credential: str) -> Principal:
        return Principal(self.name, frozenset())


@pytest.mark.parametrize(
    ("credential", "keys", "tokens", "way"),
    [
        ("rag_a", True, True, "keys"),
        ("eyJ.b.c", True, True, "tokens"),
        ("eyJ.b.c", True, False, "keys"),
        ("rag_a", False, True, "tokens"),
    ],
)
async def test_a_credential_goes_the_way_that_it_has_the_form_of(
    credential: str, keys: bool, tokens: bool, way: str
) -> None:
    both = ByForm(_Named("keys") if keys else None, _Named("tokens") if tokens else None)
    assert (await both.authenticate(credential)).tenant == way


@pytest.mark.parametrize(("credential", "reason"), [(None, "missing"), ("", "malformed")])
async def test_without_a_credential_nobody_is_known(credential: str | None, reason: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await ByForm(_Named("keys"), None).authenticate(credential)
    assert caught.value.reason == reason


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "example.org"])
def test_with_authentication_every_interface_is_allowed(host: str) -> None:
    settings = GatewaySettings(host=host, auth="keys", key_pepper=PEPPER)
    assert settings.auth_modes == {"keys"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"auth": "keys"}, "RAG_KEY_PEPPER"),
        ({"auth": "keys", "key_pepper": "short"}, "32 characters"),
        ({"auth": "jwt"}, "RAG_JWT_ISSUER, RAG_JWT_AUDIENCE"),
        ({"auth": "keys,off", "key_pepper": PEPPER}, "off, keys, jwt"),
        ({"auth": ""}, "off, keys, jwt"),
        ({"auth": "jwt", "jwt_issuer": "http://issuer.example", "jwt_audience": "rag"}, "https"),
        ({"jwt_algorithms": "RS256,HS256"}, "HS256"),
        ({"jwt_algorithms": "none"}, "none"),
    ],
    ids=str,
)
def test_settings_that_would_let_in_the_wrong_ones_are_refused(values: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        GatewaySettings.model_validate(values)


def test_both_ways_in_may_be_open() -> None:
    values = {"auth": "keys, jwt", "key_pepper": PEPPER, "jwt_issuer": "https://i.example", "jwt_audience": "rag"}
    assert GatewaySettings.model_validate(values).auth_modes == {"keys", "jwt"}


def test_a_refusal_to_start_says_what_to_do() -> None:
    with pytest.raises(ValidationError, match=r"RAG_AUTH=keys.*rag keys create --data"):
        GatewaySettings(host="0.0.0.0")
