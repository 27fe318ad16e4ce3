"""The parent's end of one sandboxed process."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, Self

from services.parser import frames
from services.parser.errors import ExtractionError, SandboxUnavailable
from services.parser.jobs import ChildConfig

_ROOT: Final = Path(__file__).resolve().parents[2]
_PIPE_BYTES: Final = 256 << 10
_KEPT_ERROR_BYTES: Final = 16 << 10
_HELLO_BYTES: Final = 4096
_EXIT_SECONDS: Final = 2.0
_FRAME: Final = re.compile(r'^ +File "([^"\n]+)", line (\d+),? in (\S+)', re.MULTILINE)
_ERROR_CLASS: Final = re.compile(r"([A-Za-z_][\w.]*(?:Error|Exception))(?::|$)")
_KEPT_FRAMES: Final = 10
# Rust, C++ and Python each end in their own way when an allocation fails.
_OUT_OF_MEMORY: Final = (b"memory allocation of", b"bad_alloc", b"MemoryError")
# PDFium aborts without a word where an allocation fails; whatever else aborts says why first.
_SILENT_ABORT: Final = b"Fatal Python error: Aborted"


def place_in(errors: str) -> dict[str, Any]:
    """Return where a child failed, of all that it wrote: frames and the error's class, which quote no document."""
    frames = [f"{Path(path).name}:{line} {function}" for path, line, function in _FRAME.findall(errors)]
    named = _ERROR_CLASS.match(errors.rpartition("\n")[2])
    return {"child_frames": frames[-_KEPT_FRAMES:], **({"child_error": named.group(1)} if named else {})}


class ChildProcess:
    """A running child; it dies with its parent and never outlives `kill`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._errors = bytearray()
        self._error_reader = asyncio.create_task(self._collect_errors())
        self.isolation: dict[str, bool] = {}
        self.jobs = 0

    @classmethod
    async def start(cls, config: ChildConfig, directory: str, timeout_seconds: float) -> Self:
        """Start a child and wait until it is ready; raises SandboxUnavailable with what it wrote to standard error."""
        child = cls(await _spawn(config, directory))
        try:
            async with asyncio.timeout(timeout_seconds):
                hello, _ = await child.receive(_HELLO_BYTES)
        except BaseException as error:
            child.kill()
            await child.wait()
            if isinstance(error, TimeoutError | frames.FrameError | asyncio.IncompleteReadError):
                raise SandboxUnavailable(f"The parser process did not start: {child.errors or repr(error)}") from error
            raise
        child.isolation = dict(hello.get("isolation", {}))
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    @property
    def errors(self) -> str:
        """The end of what the child wrote to standard error."""
        return self._errors.decode("utf-8", "replace").strip()

    async def send(self, message: dict[str, Any], content: bytes | Path) -> None:
        """Send a job and its content; raises ConnectionError when the child is gone."""
        stream = self._process.stdin
        assert stream is not None
        self._errors.clear()
        self.jobs += 1
        stream.write(frames.encode(message))
        async for part in _parts(content):
            stream.write(part)
            await stream.drain()

    async def receive(self, max_bytes: int) -> tuple[dict[str, Any], int]:
        """Return the next message and its size; raises FrameError, and IncompleteReadError when the child is gone."""
        assert self._process.stdout is not None
        return await frames.read(self._process.stdout, max_bytes)

    def kill(self) -> None:
        """End the child and everything in its process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    async def wait(self) -> int:
        """Return the exit status once the child has ended and its last words are read."""
        status, _, _ = await asyncio.gather(self._process.wait(), self._discard_output(), self._error_reader)
        return status

    async def cause_of_death(self) -> ExtractionError:
        """Say in words why the child ended in the middle of a job."""
        try:
            async with asyncio.timeout(_EXIT_SECONDS):
                status = await self.wait()
        except TimeoutError:
            return ExtractionError("crashed", "The parser closed its output in the middle of the document.")
        if status == -signal.SIGXCPU:
            return ExtractionError("timeout", "The document needs more processor time than one document may use.")
        if self._ran_out_of_memory(status):
            return ExtractionError("out_of_memory", "The document needs more memory than one document may use.")
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return ExtractionError("crashed", f"The parser crashed on this document ({how}). The file may be damaged.")

    def _ran_out_of_memory(self, status: int) -> bool:
        # Without a reason of ours, SIGKILL is the kernel's way out of a lack of memory.
        silent = status == -signal.SIGABRT and self._errors.startswith(_SILENT_ABORT)
        return status == -signal.SIGKILL or silent or any(mark in self._errors for mark in _OUT_OF_MEMORY)

    async def _discard_output(self) -> None:
        """Read the pipe to its end: only there does asyncio close it, and a reader that lagged never got there."""
        assert self._process.stdout is not None
        # Somebody else may be reading, and then gets to the end.
        with contextlib.suppress(RuntimeError):
            while await self._process.stdout.read(_PIPE_BYTES):
                pass

    async def _collect_errors(self) -> None:
        assert self._process.stderr is not None
        while part := await self._process.stderr.read(4096):
            self._errors += part
            del self._errors[:-_KEPT_ERROR_BYTES]


async def _spawn(config: ChildConfig, directory: str) -> asyncio.subprocess.Process:
    # -P: the working directory is no place to import from; -B: nothing may be written anyway.
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-B", "-P", "-s", "-X", "faulthandler", "-m", "services.parser.sandbox_child"),
        config.to_argument(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_PIPE_BYTES,
        cwd=directory,
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONPATH": str(_ROOT)},
        close_fds=True,
        start_new_session=True,
    )


async def _parts(content: bytes | Path) -> AsyncIterator[bytes | memoryview]:
    if isinstance(content, bytes):
        for start in range(0, len(content), _PIPE_BYTES):
            yield memoryview(content)[start : start + _PIPE_BYTES]
        return
    file = await asyncio.to_thread(content.open, "rb")
    with file:
        while part := await asyncio.to_thread(file.read, _PIPE_BYTES):
            yield part
