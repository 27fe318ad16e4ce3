"""Landlock: from some point on, a process reads below given paths only and writes nowhere.

It also keeps the process away from what others of the same user have in /proc, their environment first of all.
Numbers and structures from linux/landlock.h; each ABI version adds rights, and handling one that the kernel does not
know is an error.
"""

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_QUESTION: Final = 1
_RULE_PATH_BENEATH: Final = 1
_READ_FILE: Final = 1 << 2
_READ_DIRECTORY: Final = 1 << 3
_FILE_RIGHTS_OF_VERSION: Final = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_NETWORK_RIGHTS_OF_VERSION: Final = {4: 0b11}
# Abstract UNIX sockets and signals stay within the sandbox.
_SCOPES_OF_VERSION: Final = {6: 0b11}


def restrict_files(libc: ctypes.CDLL, readable: Iterable[Path]) -> bool:
    """Allow reading below `readable` and nothing else; False where the kernel has no Landlock."""
    version: int = libc.syscall(_CREATE_RULESET, None, 0, _VERSION_QUESTION)
    if version < 1:
        return False
    attributes = _ruleset(version)
    ruleset: int = libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return False
    try:
        for path in readable:
            _allow_reading(libc, ruleset, path)
        restricted: int = libc.syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return restricted == 0


def _ruleset(version: int) -> bytes:
    rights = [
        sum(bits for since, bits in table.items() if since <= version)
        for table in (_FILE_RIGHTS_OF_VERSION, _NETWORK_RIGHTS_OF_VERSION, _SCOPES_OF_VERSION)
    ]
    known_fields = 1 if version < 4 else 2 if version < 6 else 3
    return struct.pack(f"={known_fields}Q", *rights[:known_fields])


def _allow_reading(libc: ctypes.CDLL, ruleset: int, path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    rights = _READ_FILE | _READ_DIRECTORY if path.is_dir() else _READ_FILE
    libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
    os.close(descriptor)
