"""Whether this process is being served by the broker, consumer by consumer.

A socket says little, and a durable that other replicas are served from says nothing of this process: what counts is
when this process's own request was last answered, or that it has work in hand.
"""

from collections.abc import Mapping

from shared.health import Health
from shared.logs import get_logger
from shared.messaging.keeping import KeptPull

log = get_logger(__name__)
HINT = "run `rag provision`"


class Consumption:
    """Looks at the pulls of a process and tells its health what they say."""

    def __init__(self, pulls: Mapping[str, KeptPull], health: Health) -> None:
        self._pulls = pulls
        self._health = health
        for name in pulls:
            health.fetched(name)

    def look(self) -> None:
        """Record when each consumer was last served, and which ones the broker refuses."""
        for name, pull in self._pulls.items():
            if pull.holds_work:
                self._health.fetched(name)
            elif pull.served_at:
                self._health.fetched(name, pull.served_at)
            self._note_refusal(name, pull.refusal)

    def renew(self) -> None:
        """Begin anew with a broker that was away: every pull asks again, and each gets its full time to be served."""
        for name, pull in self._pulls.items():
            pull.renew()
            self._health.fetched(name)

    def _note_refusal(self, name: str, refusal: str | None) -> None:
        before = self._health.refusals.get(name)
        if refusal is None:
            if self._health.refusals.pop(name, None) is not None:
                log.info("consumer_served_again", consumer=name)
            return
        self._health.refusals[name] = f"the broker refuses consumer {name} ({refusal}): {HINT}"
        if before is None:
            log.error("consumer_refused", consumer=name, reason=refusal, hint=HINT)
