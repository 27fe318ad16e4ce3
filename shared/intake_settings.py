"""Settings of the services that let documents in: the gateway, and the parser for those that come past it."""

from typing import Literal

from pydantic import Field

from shared.quota_settings import QuotaSettings


class IntakeSettings(QuotaSettings):
    """What documents may come in, and how many."""

    fetch_urls: Literal["off", "on"] = Field(
        default="off", description="Whether a document may be an https `uri` without content, which the parser fetches."
    )
