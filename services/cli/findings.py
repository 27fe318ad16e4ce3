"""What a check of `rag doctor` says."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a check found."""

    GOOD = "good"
    BAD = "bad"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: what was seen, and for a bad one what to do."""

    check: str
    verdict: Verdict
    message: str


def good(check: str, message: str) -> Finding:
    """Return a finding of something that is right."""
    return Finding(check, Verdict.GOOD, message)


def bad(check: str, message: str) -> Finding:
    """Return a finding of something that is wrong; the message says what to do."""
    return Finding(check, Verdict.BAD, message)


def skipped(check: str, message: str) -> Finding:
    """Return a finding of something that could not be looked at."""
    return Finding(check, Verdict.SKIPPED, message)
