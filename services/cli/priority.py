"""Which processes step back when the processor is short."""

from contextlib import suppress
from pathlib import Path


def step_back(pid: int, niceness: int) -> None:
    """Have a session leader, and all of its session, step back behind other sessions; 0 changes nothing.

    Linux shares the processor among sessions first (autogroup), where a process's own niceness counts only within its
    session. Where that is switched off, or not to be had, the process's niceness would count, and nothing is done.
    """
    if niceness:
        with suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text(str(niceness), encoding="ascii")
