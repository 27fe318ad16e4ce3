"""API keys as a way in."""

from datetime import UTC, datetime

from services.gateway.authentication import Unauthenticated
from services.gateway.key_ring import KeyRefused, KeyRing
from services.gateway.nats_keys import KeyFeed
from services.gateway.principal import Principal, Scope
from shared.api_keys import key_id_of


class KeyAuthenticator:
    """Knows callers by their keys."""

    def __init__(self, ring: KeyRing, feed: KeyFeed) -> None:
        self._ring = ring
        self._feed = feed

    async def authenticate(self, credential: str) -> Principal:
        """Return who holds a key; Unauthenticated for nobody, Unavailable while nothing is known."""
        key_id = key_id_of(credential)
        if key_id is None:
            raise Unauthenticated("malformed", "this is not a key of this platform: one begins with rag_")
        if self._feed.is_stale or not self._ring.knows(key_id):
            # Made a moment ago, perhaps through another gateway.
            await self._feed.catch_up()
        try:
            check = self._ring.open(credential, datetime.now(UTC))
        except KeyRefused as refused:
            tenant = refused.check.tenant if refused.check else None
            raise Unauthenticated(refused.reason, refused.message, key_id=key_id, tenant=tenant) from None
        return Principal(check.tenant, frozenset(Scope(scope) for scope in check.scopes), check.id)
