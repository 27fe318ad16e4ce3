"""Tokens of an OpenID Connect issuer as a way in."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt

from contracts.subjects import TENANT_PATTERN
from services.gateway.authentication import Unauthenticated
from services.gateway.principal import Principal, Scope

MAX_TOKEN_CHARACTERS: Final = 16_384
_REQUIRED: Final = ["exp", "iss", "aud", "sub"]
_REASONS: Final[tuple[tuple[type[jwt.PyJWTError], str, str], ...]] = (
    (jwt.ExpiredSignatureError, "expired", "the token has expired; get another one"),
    (jwt.ImmatureSignatureError, "not_yet_valid", "the token is not valid yet"),
    (jwt.InvalidAudienceError, "wrong_audience", "the token is for another audience"),
    (jwt.InvalidIssuerError, "wrong_issuer", "the token is of another issuer"),
    (jwt.MissingRequiredClaimError, "missing_claim", "the token lacks one of the claims exp, iss, aud, sub"),
    (jwt.InvalidSignatureError, "wrong_signature", "the token's signature is wrong"),
)


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must be, and where it says whose it is; a claim's name may be a path such as `realm.roles`."""

    issuer: str
    audience: str
    algorithms: Sequence[str]
    tenant_claim: str
    scope_claim: str
    scope_prefix: str
    leeway_seconds: float


class TokenAuthenticator:
    """Knows callers by their tokens; `key` finds a key of the issuer by its `kid`."""

    def __init__(self, rules: TokenRules, key: Callable[[str], Awaitable[Mapping[str, Any] | None]]) -> None:
        self._rules = rules
        self._key = key

    async def authenticate(self, credential: str) -> Principal:
        """Return who holds a token; Unauthenticated for nobody, Unavailable while the issuer's keys can't be had."""
        kid, algorithm = self._header_of(credential)
        found = await self._key(kid)
        if found is None or found.get("alg", algorithm) != algorithm:
            raise Unauthenticated("unknown_key", "the token is signed with a key that its issuer does not have")
        return self._principal_of(self._claims_of(credential, found, algorithm))

    def _header_of(self, token: str) -> tuple[str, str]:
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise Unauthenticated("malformed", f"the token is longer than {MAX_TOKEN_CHARACTERS} characters")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise Unauthenticated("malformed", "this is no token of the issuer, nor a key of this platform") from None
        algorithm = str(header.get("alg"))
        if algorithm not in self._rules.algorithms:
            allowed = ", ".join(self._rules.algorithms)
            raise Unauthenticated("wrong_algorithm", f"the token is not signed with one of {allowed}")
        return str(header.get("kid", "")), algorithm

    def _claims_of(self, token: str, key: Mapping[str, Any], algorithm: str) -> dict[str, Any]:
        rules = self._rules
        try:
            return jwt.decode(
                token,
                jwt.PyJWK(dict(key), algorithm),
                algorithms=[algorithm],
                audience=rules.audience,
                issuer=rules.issuer,
                leeway=rules.leeway_seconds,
                options={"require": _REQUIRED},
            )
        except jwt.PyJWTError as error:
            for kind, reason, message in _REASONS:
                if isinstance(error, kind):
                    raise Unauthenticated(reason, message) from None
            raise Unauthenticated("invalid", "the token is not valid") from None

    def _principal_of(self, claims: Mapping[str, Any]) -> Principal:
        tenant = _claim(claims, self._rules.tenant_claim)
        if not isinstance(tenant, str) or not TENANT_PATTERN.fullmatch(tenant):
            raise Unauthenticated("no_tenant", f"the token's claim {self._rules.tenant_claim!r} names no valid tenant")
        granted = _words(_claim(claims, self._rules.scope_claim))
        scopes = frozenset(scope for scope in Scope if f"{self._rules.scope_prefix}{scope}" in granted)
        return Principal(tenant, scopes, _subject_id(claims))


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """Return a claim; one whose own name holds dots, as a URL does, comes before a path."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _words(value: Any) -> frozenset[str]:
    if isinstance(value, str):
        return frozenset(value.split())
    return frozenset(word for word in value if isinstance(word, str)) if isinstance(value, list) else frozenset()


def _subject_id(claims: Mapping[str, Any]) -> str:
    """Return what stands for the subject in logs and in the audit; the subject itself may be a person's address."""
    return "jwt:" + hashlib.sha256(f"{claims['iss']}\0{claims['sub']}".encode()).hexdigest()[:16]
