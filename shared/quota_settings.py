"""Settings of the services that keep tenants within their quotas: the gateway, and the parser behind it."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, field_validator
from pydantic_settings import NoDecode

from contracts.subjects import TENANT_PATTERN
from shared.quotas import Quota
from shared.settings import PlatformSettings


class TenantQuota(BaseModel):
    """What one tenant may have instead of the others' quota; what is left out is as for everybody."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    documents: int | None = Field(default=None, ge=0)
    bytes: int | None = Field(default=None, ge=0)


_BY_TENANT: TypeAdapter[dict[str, TenantQuota]] = TypeAdapter(dict[str, TenantQuota])


def _read(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return _BY_TENANT.validate_json(value or "{}")
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, problem["loc"]))
        example = '{"acme": {"documents": 1000, "bytes": 1073741824}}'
        raise ValueError(f"{where}: {problem['msg']}; it looks like {example}".removeprefix(": ")) from None


class QuotaSettings(PlatformSettings):
    """How much a tenant may keep."""

    quota_documents: int = Field(default=0, ge=0, description="Documents that a tenant may have (0 = any number).")
    quota_bytes: int = Field(
        default=0, ge=0, description="Bytes that a tenant's documents may have, as they were sent (0 = any)."
    )
    quotas: Annotated[dict[str, TenantQuota], NoDecode, BeforeValidator(_read)] = Field(
        default={},
        description='Quotas of single tenants, as JSON: `{"acme": {"documents": 1000, "bytes": 0}}`.',
    )
    quota_fresh_seconds: float = Field(
        default=5.0, ge=0, le=60, description="How long what others added may stay unknown while there is room."
    )
    quota_settle_seconds: float = Field(
        default=2.0, gt=0, le=10, description="Patience to be certain of what is used before a document is refused."
    )

    def quota_of(self, tenant: str) -> Quota:
        """Return what a tenant may have."""
        own = self.quotas.get(tenant, TenantQuota())
        documents = self.quota_documents if own.documents is None else own.documents
        size_bytes = self.quota_bytes if own.bytes is None else own.bytes
        return Quota(documents=documents or None, size_bytes=size_bytes or None)

    @field_validator("quotas")
    @classmethod
    def _of_tenants(cls, value: dict[str, TenantQuota]) -> dict[str, TenantQuota]:
        for tenant in value:
            if not TENANT_PATTERN.match(tenant):
                raise ValueError(f"{tenant!r} is no tenant; a tenant is of the form {TENANT_PATTERN.pattern}")
        return value
