"""What the broker's wildcards cover, written a second time, for tests of permissions."""

from collections.abc import Iterable


def covers(pattern: str, subject: str) -> bool:
    """Tell whether every subject that `subject` stands for, which may have wildcards itself, fits the pattern."""
    wanted, asked = pattern.split("."), subject.split(".")
    for place, token in enumerate(wanted):
        if token == ">":
            return len(asked) > place
        if place >= len(asked) or asked[place] == ">" or token not in ("*", asked[place]):
            return False
    return len(wanted) == len(asked)


def allowed(patterns: Iterable[str], subject: str) -> bool:
    """Tell whether one of the patterns covers a subject."""
    return any(covers(pattern, subject) for pattern in patterns)
