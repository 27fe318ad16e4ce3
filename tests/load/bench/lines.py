"""How servers of the bench speak to who started them: a line at a time."""

import sys


def say(line: str) -> None:
    """Write a line that is read at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
