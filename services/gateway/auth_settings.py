"""Settings of who may call."""

from pathlib import Path
from typing import Final, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from shared.access import JWT, KEYS, auth_modes, check_issuer_address, refusal_to_start_open
from shared.api_keys import MIN_PEPPER_CHARACTERS
from shared.settings import PlatformSettings

# A secret that is shared with the issuer, or none at all, is never taken: whoever knows the public key could sign.
ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
HOUR_SECONDS: Final = 3_600.0


class AuthSettings(PlatformSettings):
    """Who may call, and what keys and tokens must be."""

    auth: str = Field(
        default="off",
        validate_default=True,
        description="Who may call: keys, jwt, keys,jwt, or off, which is for the loopback interface only.",
    )
    key_pepper: str | None = Field(
        default=None,
        repr=False,
        description="Secret that API keys are hashed with, 32 characters or more, the same for all gateways.",
    )
    operator_tenant: str = Field(
        default="default",
        pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$",
        description="Tenant whose admins run the platform: keys of all tenants, reindexing, reconciliation.",
    )
    gateway_max_keys: int = Field(
        default=100_000, ge=1, le=10_000_000, description="API keys held in memory, some 1 KB each."
    )
    gateway_keys_refresh_seconds: float = Field(
        default=5.0, gt=0, le=600, description="How often changed keys are asked for, beside being told of them."
    )
    gateway_keys_stale_seconds: float = Field(
        default=300.0, gt=0, le=86_400, description="How long known keys open while persistence is away; then 503."
    )
    jwt_issuer: str | None = Field(default=None, description="Issuer of tokens, as their claim iss spells it.")
    jwt_audience: str | None = Field(default=None, description="What the claim aud of a token must name.")
    jwt_jwks_url: str | None = Field(
        default=None, description="Where the issuer's keys lie; none = where its OpenID configuration says."
    )
    jwt_tls_ca: Path | None = Field(
        default=None, description="PEM file of the authority that signed the issuer's certificate; none = public ones."
    )
    jwt_algorithms: str = Field(
        default="RS256,ES256", description="Signatures that are taken; comma separated, asymmetric ones only."
    )
    jwt_tenant_claim: str = Field(default="tenant", min_length=1, description="Claim that names the tenant.")
    jwt_scope_claim: str = Field(
        default="scope", min_length=1, description="Claim that lists scopes, as words or as a list."
    )
    jwt_scope_prefix: str = Field(default="", description="What stands before ingest, query and admin in that claim.")
    jwt_leeway_seconds: float = Field(
        default=30.0, ge=0, le=300, description="How far the issuer's clock may be from ours."
    )
    jwt_jwks_keep_seconds: float = Field(
        default=300.0, gt=0, le=86_400, description="How long the issuer's keys are used before they are fetched again."
    )
    jwt_jwks_stale_seconds: float = Field(
        default=HOUR_SECONDS, gt=0, le=86_400, description="How long they hold while the issuer does not answer."
    )
    jwt_jwks_pause_seconds: float = Field(
        default=10.0, gt=0, le=600, description="Least time between two fetches, whatever keys tokens name."
    )

    @property
    def auth_modes(self) -> frozenset[str]:
        """Return the ways in, none when everybody may call."""
        return auth_modes(self.auth)

    @property
    def algorithms(self) -> tuple[str, ...]:
        """Return the signatures that are taken."""
        return tuple(name.strip() for name in self.jwt_algorithms.split(","))

    @field_validator("auth")
    @classmethod
    def _only_on_loopback(cls, value: str, info: ValidationInfo) -> str:
        refusal = refusal_to_start_open(auth_modes(value), str(info.data.get("host", "")))
        if refusal is not None:
            raise ValueError(refusal)
        return value

    @field_validator("key_pepper")
    @classmethod
    def _long_enough(cls, value: str | None) -> str | None:
        if value is not None and len(value) < MIN_PEPPER_CHARACTERS:
            raise ValueError(f"must be {MIN_PEPPER_CHARACTERS} characters or more; `openssl rand -base64 32` makes one")
        return value

    @field_validator("jwt_algorithms")
    @classmethod
    def _asymmetric(cls, value: str) -> str:
        names = {name.strip() for name in value.split(",")}
        if not names <= ALGORITHMS:
            raise ValueError(f"takes {', '.join(sorted(ALGORITHMS))}; found {', '.join(sorted(names - ALGORITHMS))}")
        return value

    @field_validator("jwt_issuer", "jwt_jwks_url")
    @classmethod
    def _trustworthy(cls, value: str | None) -> str | None:
        return None if value is None else check_issuer_address(value)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [
            name
            for mode, name in ((KEYS, "key_pepper"), (JWT, "jwt_issuer"), (JWT, "jwt_audience"))
            if mode in self.auth_modes and not getattr(self, name)
        ]
        if missing:
            names = ", ".join(f"RAG_{name.upper()}" for name in missing)
            raise ValueError(f"RAG_AUTH={self.auth} needs {names} as well")
        return self
