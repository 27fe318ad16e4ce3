"""Which requests go into the audit, and as what."""

from typing import Any, Final

from contracts.audit import AdminCalled, AuditFact, Deleted, LetterDiscarded, LettersReplayed
from services.gateway.principal import Scope, needed_by

_READING: Final = frozenset({"GET", "HEAD"})
_KEYS: Final = "/v1/admin/keys"
_OF_ROUTE: Final[dict[tuple[str, str], type[AuditFact] | None]] = {
    # Persistence stores these with the change itself, so that there is never one without the other.
    ("POST", _KEYS): None,
    ("DELETE", f"{_KEYS}/{{key_id}}"): None,
    ("POST", "/v1/admin/dead-letters/replay"): LettersReplayed,
    ("POST", "/v1/admin/dead-letters/{seq}/replay"): LettersReplayed,
    ("DELETE", "/v1/admin/dead-letters/{seq}"): LetterDiscarded,
}


def kind_of(method: str, route: Any, status: int) -> type[AuditFact] | None:
    """Return as what a request that was answered goes into the audit, None for one that does not."""
    path = str(getattr(route, "path", ""))
    if (method, path) in _OF_ROUTE and (status < 400 or _OF_ROUTE[method, path] is not None):
        return _OF_ROUTE[method, path]
    if Scope.ADMIN in needed_by(route):
        return AdminCalled
    return Deleted if method == "DELETE" else None


def only_looks(method: str) -> bool:
    """Tell whether a request changes nothing, so that one a minute stands for all that are alike."""
    return method in _READING
