"""What a tool is, and what it works with."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from contracts.messages import Message
from services.gateway.gateway import Gateway
from services.gateway.mcp.arguments import Arguments
from services.gateway.principal import Principal, Scope
from services.gateway.problems import invalid_body


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a tool found: `data` fits the tool's result schema, `text` says the same to a reader."""

    data: dict[str, Any]
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls; `tell` reports progress to a caller who `hears_progress`, and does nothing for others."""

    caller: Principal
    gateway: Gateway
    tell: Callable[[str], Awaitable[None]]
    hears_progress: bool = False

    @property
    def tenant(self) -> str:
        """Return whose call it is."""
        return self.caller.tenant


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as clients see it; `run` raises PlatformError when it cannot be done."""

    name: str
    title: str
    description: str
    arguments: type[Arguments]
    result: type[Message]
    run: Callable[[Call, Any], Awaitable[Outcome]]
    scope: Scope = Scope.QUERY
    read_only: bool = True
    # A write that replaces something is destructive; one that changes nothing the second time is idempotent.
    destructive: bool = False
    idempotent: bool = True

    def read(self, given: Mapping[str, Any]) -> Arguments:
        """Return the arguments; RequestProblem 422 names those that are wrong."""
        try:
            return self.arguments.model_validate(given)
        except ValidationError as error:
            raise invalid_body(error) from None
