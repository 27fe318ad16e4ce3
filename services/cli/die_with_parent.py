"""Becomes another program that the kernel kills as soon as the process that started it is gone.

Run as `python -I -S die_with_parent.py PARENT_PID PROGRAM [ARGUMENT…]`. A launcher that is killed can't stop its
children, and a broker that outlives it would keep the ports and the store. Done after the fork by exec, not by a
function between fork and exec, which may deadlock in a launcher that has threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main(arguments: list[str]) -> None:
    """Tie this process to its parent and become the program; never returns."""
    parent, command = int(arguments[0]), arguments[1:]
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the process that started this one is gone")
    try:
        os.execv(command[0], command)  # nosec B606: the command is its own arguments
    except OSError as error:
        sys.exit(f"{command[0]} cannot be started: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
