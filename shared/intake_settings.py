"""Settings of the services that let documents in: the gateway, and the parser for those that come past it."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from contracts.subjects import TENANT_PATTERN
from shared.settings import PlatformSettings

_PATTERN: Final = TENANT_PATTERN.pattern


class Quota(BaseModel):
    """What a tenant may keep; 0 stands for any number."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    documents: int = Field(default=0, ge=0)
    bytes: int = Field(default=0, ge=0)

    @property
    def unlimited(self) -> bool:
        """Tell whether nothing is bounded."""
        return not self.documents and not self.bytes


class IntakeSettings(PlatformSettings):
    """What documents may come in."""

    fetch_urls: Literal["off", "on"] = Field(
        default="off", description="Whether a document may be an https `uri` without content, which the parser fetches."
    )
    quota_documents: int = Field(default=0, ge=0, description="Documents that a tenant may keep (0 = any number).")
    quota_bytes: int = Field(
        default=0, ge=0, description="Bytes of documents, as they were sent, that a tenant may keep (0 = any number)."
    )
    tenant_quotas: dict[Annotated[str, StringConstraints(pattern=_PATTERN)], Quota] = Field(
        default_factory=dict,
        description='Tenants with quotas of their own, as JSON: {"acme": {"documents": 1000, "bytes": 0}}.',
    )
    quota_refresh_seconds: float = Field(
        default=5.0, gt=0, le=300, description="How old the count of what a tenant keeps may be."
    )

    def quota_of(self, tenant: str) -> Quota:
        """Return what a tenant may keep."""
        own = self.tenant_quotas.get(tenant)
        return own if own is not None else Quota(documents=self.quota_documents, bytes=self.quota_bytes)
