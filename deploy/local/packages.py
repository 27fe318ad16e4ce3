"""Runs pip with its own configuration (mirrors, proxies, certificates) and says in one line why it failed."""

import os
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local.errors import SetupError

POLL_SECONDS = 0.2
NETWORK = re.compile(
    r"name resolution|Name or service not known|NameResolutionError|NewConnectionError|Connection refused|"
    r"ConnectTimeout|ReadTimeout|Read timed out|Network is unreachable|No route to host|ProxyError|SSLError|"
    r"CERTIFICATE_VERIFY_FAILED|ConnectionResetError|Could not fetch URL"
)
MISMATCH = re.compile(
    r"DO NOT MATCH THE HASHES.*?\n\s+(?P<package>\S+) .*?Expected sha256 (?P<expected>\w+).*?Got\s+(?P<got>\w+)", re.S
)
NO_WHEEL = re.compile(r"No matching distribution found for (?P<package>\S+)")


@dataclass(frozen=True, slots=True)
class Pip:
    """A pip that works for one virtual environment: the command line up to pip's own subcommand."""

    command: tuple[str, ...]
    log: Path

    def run(self, arguments: Sequence[str], scratch: Path, tick: Callable[[], None]) -> None:
        """Runs one pip command to its end, calling `tick` some times a second; `scratch` takes pip's temporary files.

        Raises SetupError with pip's reason in one line; everything pip printed is in `log`.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as output:
            process = subprocess.Popen(
                [*self.command, *arguments, "--no-input", "--disable-pip-version-check"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A `user = true` in somebody's pip.conf cannot work in a virtual environment.
                env={**os.environ, "PIP_USER": "0", "TMPDIR": str(scratch)},
            )
            code = _wait(process, tick)
        if code != 0:
            raise SetupError(f"{reason(self.output())} (all of pip's output: {self.log})")

    def output(self) -> str:
        """What pip has printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")


def _wait(process: subprocess.Popen[bytes], tick: Callable[[], None]) -> int:
    try:
        while True:
            try:
                return process.wait(timeout=POLL_SECONDS)
            except subprocess.TimeoutExpired:
                tick()
    except BaseException:
        process.terminate()
        process.wait()
        raise


def reason(output: str) -> str:
    """Why pip failed and what to do, from what it printed."""
    if "No space left on device" in output or "Disk quota exceeded" in output:
        return "the disk is full: free some space and run the command again"
    if mismatch := MISMATCH.search(output):
        return (
            f"{mismatch['package']} from the package index is not the pinned file (sha256 {mismatch['got'][:12]} "
            f"instead of {mismatch['expected'][:12]}): use another index or mirror"
        )
    if network := NETWORK.search(output):
        return f"the package index cannot be reached ({network[0]}): check the network, proxy or pip's index settings"
    if missing := NO_WHEEL.search(output):
        return (
            f"the package index has no wheel of {missing['package']} for this Python and machine: "
            "use Linux on x86_64 or aarch64 with glibc, or an index that has it"
        )
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR: ") and line != "ERROR: Exception:"]
    return f"pip failed: {(errors or lines or ['it gave no reason'])[-1]}"
