"""Extractors that do what a document's exploit or a parser's bug would; run in sandboxed children only."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from services.parser.document import Block, Extracted, Section, Source
from services.parser.errors import ExtractionError

PARAGRAPH = "The pump starts when the pressure in the second vessel falls below four bar. " * 5


def _extracted(blocks: Iterator[Block]) -> Extracted:
    return Extracted(None, blocks)


def spin(source: Source) -> Extracted:
    """Never return, busily, whatever signal says to."""
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    while True:
        pass


def burn(source: Source) -> Extracted:
    """Never return, busily."""
    while True:
        pass


def sleep(source: Source) -> Extracted:
    """Never return, idly."""
    time.sleep(3600)
    raise AssertionError


def eat_memory(source: Source) -> Extracted:
    """Take memory in Python objects until there is none."""
    eaten = []
    while True:
        eaten.append(bytearray(1 << 20))


def eat_native_memory(source: Source) -> Extracted:
    """Map memory behind Python's back until there is none, then end as C++ does."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    while libc.malloc(ctypes.c_size_t(1 << 24)):
        pass
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
    os.abort()


def segfault(source: Source) -> Extracted:
    """Touch memory that is not there."""
    ctypes.string_at(1)
    raise AssertionError


def leave(source: Source) -> Extracted:
    """End the process as if all were well."""
    os._exit(0)


def fail(source: Source) -> Extracted:
    """Meet content that nobody thought of."""
    raise KeyError("xref table")


def fail_late(source: Source) -> Extracted:
    """Meet it after some pages were good."""

    def blocks() -> Iterator[Block]:
        yield from (Section(PARAGRAPH) for _ in range(50))
        raise KeyError("page 51")

    return _extracted(blocks())


def refuse(source: Source) -> Extracted:
    """Say properly that the document cannot be read."""
    raise ExtractionError("encrypted", "The document needs a password.")


def flood(source: Source) -> Extracted:
    """Yield text without end."""

    def blocks() -> Iterator[Block]:
        while True:
            yield Section(PARAGRAPH)

    return _extracted(blocks())


def stall(source: Source) -> Extracted:
    """Yield some text and then nothing any more."""

    def blocks() -> Iterator[Block]:
        yield from (Section(PARAGRAPH) for _ in range(50))
        time.sleep(3600)

    return _extracted(blocks())


def write_to_every_pipe(source: Source) -> Extracted:
    """Break the protocol."""
    for descriptor in range(1, 64):
        with contextlib.suppress(OSError):
            os.write(descriptor, b"\x00\x00\x00\x05trash" * 3)
    time.sleep(3600)
    raise AssertionError


def chatter(source: Source) -> Extracted:
    """Print like a careless library, and more than a pipe holds."""
    print("warning: stray object " * 20_000)  # noqa: T201
    os.write(1, b"more of it")
    return _extracted(iter([Section("quiet text")]))


def spy(source: Source) -> Extracted:
    """Report everything the process can find out and get at; each line is `name: result`."""
    parent = os.getppid()
    attempts: dict[str, Callable[[], object]] = {
        "environment": lambda: sorted(os.environ.items()),
        "parent environment": lambda: Path(f"/proc/{parent}/environ").read_bytes(),
        "password file": lambda: Path("/etc/passwd").read_bytes(),
        "listing": lambda: os.listdir("/"),
        "writing": lambda: Path("written").write_text("x"),
        "program": lambda: subprocess.run(["true"], check=True),
        "fork": os.fork,
        "killing the parent": lambda: os.kill(parent, 0),
        "files": lambda: sorted(os.listdir(".")),
        "TCP": lambda: socket.create_connection(("127.0.0.1", int(source.content)), timeout=1),
        "UDP": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 53)),
        "IPv6": lambda: socket.socket(socket.AF_INET6, socket.SOCK_STREAM),
        "UNIX socket": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
        "raw socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "name": lambda: socket.getaddrinfo("localhost.example", 80),
    }
    return _extracted(Section(f"{name}: {_result(attempt)}") for name, attempt in attempts.items())


def _result(attempt: Callable[[], object]) -> str:
    try:
        return f"got {attempt()!r}"
    except OSError as error:
        return f"refused ({type(error).__name__})"
