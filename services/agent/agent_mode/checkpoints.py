"""What an agent has done for a question, kept for the one that goes on when it dies."""

from typing import Protocol

from services.agent.agent_mode.loop import Loop


class Checkpoint(Protocol):
    """The record of one question, of which this agent is the only writer; `loop` is what was there when it was opened.

    Writing may be impossible; then the question goes on without, and an agent that takes over does more again.
    """

    loop: Loop | None

    async def save(self, loop: Loop) -> None:
        """Keep the loop; TakenOver when another agent has opened the record since."""
        ...

    async def drop(self) -> None:
        """Forget the question, whose answer is told."""
        ...


class Checkpoints(Protocol):
    """Opens the records of questions."""

    async def open(self, query_id: str, tenant: str) -> Checkpoint:
        """Return the record; from then on whoever opened it before can write no more."""
        ...
