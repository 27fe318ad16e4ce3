"""The keys as a gateway knows them, in memory: which one is meant, and whether it opens anything now."""

import hmac
from collections.abc import Iterable
from datetime import datetime

from contracts.keys import KeyCheck
from shared.api_keys import digest_of, key_id_of


class KeyRefused(Exception):
    """A key opens nothing; `reason` is for counting, `check` is the key that was meant where its holder proved it."""

    def __init__(self, reason: str, message: str, check: KeyCheck | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.check = check


class KeyRing:
    """Holds at most `max_keys` keys, revoked ones too: who tries one of those is told what became of it.

    `version` is that of the last change in order; `overflown` tells that a key was left out.
    """

    def __init__(self, pepper: str, *, max_keys: int) -> None:
        self._pepper = pepper
        self._max_keys = max_keys
        self._checks: dict[str, KeyCheck] = {}
        self.version = 0
        self.overflown = False

    def __len__(self) -> int:
        return len(self._checks)

    def forget(self) -> None:
        """Know nothing, as at the beginning."""
        self._checks.clear()
        self.version, self.overflown = 0, False

    def take_in_order(self, changes: Iterable[KeyCheck]) -> None:
        """Learn the next changes."""
        for check in changes:
            self.take(check)
            self.version = max(self.version, check.version)

    def take(self, check: KeyCheck) -> None:
        """Learn a change out of order; an older one than what is known is nothing new."""
        known = self._checks.get(check.id)
        if known is not None and known.version >= check.version:
            return
        if known is None and len(self._checks) >= self._max_keys:
            self.overflown = True
            return
        self._checks[check.id] = check

    def knows(self, key_id: str) -> bool:
        """Tell whether a key of this id was ever told of."""
        return key_id in self._checks

    def open(self, text: str, now: datetime) -> KeyCheck:
        """Return the key that a credential is; KeyRefused for one that opens nothing."""
        check = self._checks.get(key_id_of(text) or "")
        # The same work for an id that nobody knows, whose answer must not come sooner.
        right = hmac.compare_digest(digest_of(self._pepper, text), check.digest if check else "")
        if check is None or not right:
            raise KeyRefused("unknown_key" if check is None else "wrong_secret", "the key is not known")
        if check.revoked_at is not None:
            raise KeyRefused("revoked", "the key was revoked; use another one", check)
        if check.expires_at is not None and check.expires_at <= now:
            raise KeyRefused("expired", f"the key has expired at {check.expires_at.isoformat()}; use another", check)
        return check
