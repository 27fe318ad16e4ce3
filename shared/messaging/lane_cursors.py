"""Where the fair lane is in each tenant's messages, and where it need not look."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

# A tenant with nothing left is asked about again when its number of messages changes. A message that came while another
# one went does not change it: so many tenants are asked about in turn all the same, at every look.
ASKED_ANYWAY: Final = 16
MAX_TRIES: Final = 3


@dataclass(slots=True)
class _Cursor:
    after: int = 0
    messages: int = 0
    exhausted: bool = False
    not_before: float = 0.0
    failures: dict[int, int] = field(default_factory=dict)


class LaneCursors:
    """One cursor for each tenant that has messages in the stream."""

    def __init__(self) -> None:
        self._cursors: dict[str, _Cursor] = {}
        self._delivered = 0

    def see(self, delivered: int, messages: Mapping[str, int]) -> None:
        """Take note of how far the durable is, and of how many messages each tenant has in the stream."""
        self._delivered = delivered
        # Who was asked about longest ago stands first, newcomers last.
        known = {tenant: cursor for tenant, cursor in self._cursors.items() if tenant in messages}
        self._cursors = known | {tenant: _Cursor() for tenant in messages if tenant not in known}
        asked_anyway = ASKED_ANYWAY
        for tenant, cursor in self._cursors.items():
            changed = cursor.messages != messages[tenant]
            cursor.messages = messages[tenant]
            if cursor.exhausted and (changed or asked_anyway):
                asked_anyway -= not changed
                cursor.exhausted = False

    def waiting(self, now: float) -> list[str]:
        """Return the tenants that may have a message to take."""
        return [tenant for tenant, cursor in self._cursors.items() if not cursor.exhausted and cursor.not_before <= now]

    def after(self, tenant: str) -> int:
        """Return the sequence after which a tenant's next message is to be looked for."""
        return max(self._cursors[tenant].after, self._delivered)

    def took(self, tenant: str, sequence: int) -> None:
        """Go on behind a message."""
        self._cursors[tenant].after = sequence

    def failed(self, tenant: str, sequence: int, again_at: float) -> None:
        """Go back to a message at a time, some tries long."""
        if (cursor := self._cursors.get(tenant)) is None:
            return
        cursor.failures[sequence] = tries = cursor.failures.get(sequence, 0) + 1
        if tries < MAX_TRIES:
            cursor.after, cursor.not_before, cursor.exhausted = min(cursor.after, sequence - 1), again_at, False
        cursor.failures = {number: count for number, count in cursor.failures.items() if number > self._delivered}

    def nothing_left(self, tenant: str) -> None:
        """Take note that a tenant has no message after its cursor."""
        cursor = self._cursors.pop(tenant)
        cursor.exhausted = True
        self._cursors[tenant] = cursor
