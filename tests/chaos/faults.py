"""Which process is killed or frozen when: drawn from the seed, the moments spread over the whole run at random."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

TARGETS: Final = (
    "gateway",
    "parser",
    "embedder",
    "embedder.queries",
    "retriever",
    "agent",
    "persistence",
    "nats-server",
)
# Between the end of one fault and the next one of the same process, at least.
BREATH_SECONDS: Final = 1.0


class Kind(StrEnum):
    """What happens to a process."""

    KILL = "kill"
    FREEZE = "freeze"


@dataclass(frozen=True, slots=True)
class Fault:
    """A process gets SIGKILL, or SIGSTOP and after `seconds` SIGCONT; `at` is seconds after the start."""

    target: str
    kind: Kind
    at: float
    seconds: float = 0.0


def draw_faults(
    seed: int, seconds: float, *, kills: int, freezes: int, freeze_seconds: Mapping[str, float]
) -> dict[str, Sequence[Fault]]:
    """Return each target's faults in their order, all begun and ended within `seconds`.

    Every target is killed `kills` times; those with `freeze_seconds` are frozen `freezes` times for so long. Faults of
    different processes know nothing of each other: they overlap as chance has it. ValueError when those of one process
    do not fit into the time.
    """
    chance = random.Random(f"faults {seed}")
    return {
        target: _of_one(
            chance, target, seconds, kills, freezes if target in freeze_seconds else 0, freeze_seconds.get(target, 0.0)
        )
        for target in TARGETS
    }


def _of_one(
    chance: random.Random, target: str, seconds: float, kills: int, freezes: int, freeze_seconds: float
) -> Sequence[Fault]:
    kinds = [Kind.KILL] * kills + [Kind.FREEZE] * freezes
    chance.shuffle(kinds)
    lasting = [freeze_seconds if kind is Kind.FREEZE else 0.0 for kind in kinds]
    spare = seconds - sum(lasting) - BREATH_SECONDS * len(kinds)
    if spare < 0:
        raise ValueError(f"{kills} kills and {freezes} freezes of {freeze_seconds:g} s do not fit into {seconds:g} s")
    # Sorted cuts of the spare time make every arrangement equally likely.
    starts = sorted(chance.uniform(0, spare) for _ in kinds)
    faults, used = [], 0.0
    for kind, start, length in zip(kinds, starts, lasting, strict=True):
        faults.append(Fault(target, kind, start + used, length))
        used += length + BREATH_SECONDS
    return faults
