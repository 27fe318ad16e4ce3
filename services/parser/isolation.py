"""What a sandboxed process gives up before it touches a document.

No measure is enough alone and none is available everywhere (containers forbid user namespaces, old kernels lack
Landlock), so each is tried and the report says which ones hold.
"""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from services.parser.landlock import restrict_files
from services.parser.seccomp import install_filter

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_CLONE_NEWIPC: Final = 0x08000000
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_OPEN_FILES: Final = 64
_MEBIBYTE: Final = 1 << 20
# Shared libraries and reserved but unused memory of the allocator take address space, not memory.
_ADDRESS_SPACE_HEADROOM_BYTES: Final = 2048 * _MEBIBYTE

IsolationReport = dict[str, bool]


def isolate(parent_pid: int, readable: Iterable[Path]) -> IsolationReport:
    """Drop network, files, privileges and other processes; must run before the process has threads.

    Exits at once when the parent has already gone.
    """
    limit_files()
    if sys.platform != "linux":
        return {}
    libc = ctypes.CDLL(None, use_errno=True)
    # The order matters: a change of credentials clears the death signal, Landlock and seccomp need no_new_privileges,
    # and the seccomp filter refuses unshare.
    report = {"namespaces": _leave_namespaces(libc)}
    report["parent_death_signal"] = libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0
    if os.getppid() != parent_pid:
        sys.exit("the parent process has gone")
    report["no_new_privileges"] = libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    report["landlock"] = restrict_files(libc, readable)
    report["seccomp"] = install_filter(libc)
    if not report["seccomp"]:
        _lower(resource.RLIMIT_NPROC, 0)
    return report


def limit_files() -> None:
    """Forbid core dumps, growing files and more than a few open ones."""
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_NOFILE, _OPEN_FILES)


def limit_job(cpu_seconds: float, memory_bytes: int) -> None:
    """Bound the processor time from now on and the memory in all; only soft limits, so that the next job sets its own.

    Beyond the first the kernel ends the process with SIGXCPU, beyond the second allocations fail.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    _soften(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + cpu_seconds) + 1)
    _soften(resource.RLIMIT_DATA, memory_bytes)
    _soften(resource.RLIMIT_AS, memory_bytes + _ADDRESS_SPACE_HEADROOM_BYTES)


def _leave_namespaces(libc: ctypes.CDLL) -> bool:
    """Enter an empty network; a user namespace of its own allows that to everybody and drops root's powers."""
    alternatives = (_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC, _CLONE_NEWNET | _CLONE_NEWIPC)
    return any(libc.unshare(flags) == 0 for flags in alternatives)


def _lower(limit: int, value: int) -> None:
    resource.setrlimit(limit, (value, value))


def _soften(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
