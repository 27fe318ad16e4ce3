"""Built images, and processes that run in them: with Docker, or by buildah in a root file system of their own."""

import contextlib
import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import psutil

from deploy.docker.images import Builder, Source, tag

ASK_SECONDS: Final = 60.0
START_SECONDS: Final = 60.0
END_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.1


@dataclass
class Container:
    """A process in an image; `process` is the tool that runs it, and ends with its code."""

    process: subprocess.Popen[bytes]
    log: Path
    name: str
    builder: Builder

    @property
    def output(self) -> str:
        """Return what it has written."""
        return self.log.read_text(errors="replace")

    def wait_for(self, url: str, status: int = 200) -> httpx.Response:
        """Return the answer of an address, once it has this status."""
        deadline = time.monotonic() + START_SECONDS
        answer: httpx.Response | None = None
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.output
            with contextlib.suppress(httpx.TransportError):
                answer = httpx.get(url, timeout=5)
                if answer.status_code == status:
                    return answer
            time.sleep(POLL_SECONDS)
        raise AssertionError(f"{url} says {answer and answer.text}\n{self.output}")

    def wait_until_it_says(self, words: str) -> None:
        """Return once these words are in its output."""
        deadline = time.monotonic() + START_SECONDS
        while words not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(POLL_SECONDS)

    def wait(self) -> int:
        """Return the code with which it ends by itself."""
        return self.process.wait(timeout=END_SECONDS)

    def terminate(self) -> int:
        """End it as an orchestrator does, and return its code."""
        if self.builder.timestamp_option is None:
            subprocess.run([*self.builder.command, "stop", "--time", "60", self.name], check=True, timeout=END_SECONDS)
        else:
            # buildah itself would kill at once what it runs: the signal goes to the process that it is.
            self._innermost().terminate()
        return self.wait()

    def _innermost(self) -> psutil.Process:
        found = psutil.Process(self.process.pid)
        while "buildah" in found.name():
            [found] = found.children()
        return found


@dataclass
class Images:
    """The images that one tool has built of one commit; `folder` takes logs."""

    builder: Builder
    source: Source
    folder: Path
    _made: list[str] = field(default_factory=list)

    @property
    def has_docker(self) -> bool:
        """Tell which of the two tools it is."""
        return self.builder.timestamp_option is None

    def config(self, target: str) -> dict[str, Any]:
        """Return what an image says of itself, by the names of Docker."""
        if self.has_docker:
            found: dict[str, Any] = json.loads(self._run("image", "inspect", tag(target)))[0]["Config"]
        else:
            found = json.loads(self._run("inspect", "--type", "image", tag(target)))["Docker"]["config"]
        return found

    def ask(self, target: str, *command: str) -> str:
        """Return what a program in a fresh container of an image prints."""
        if self.has_docker:
            return self._run("run", "--rm", "--entrypoint", command[0], tag(target), *command[1:])
        return self._run("run", "--isolation", "chroot", self._container(target), "--", *command)

    @contextlib.contextmanager
    def running(
        self,
        target: str,
        environment: Mapping[str, str],
        mounts: Mapping[Path, str] | None = None,
        command: Sequence[str] | None = None,
    ) -> Iterator[Container]:
        """Run an image's own command, or `command` behind its entry point, on this machine's network."""
        config = self.config(target)
        words = [*(config.get("Entrypoint") or []), *(command or config["Cmd"])]
        name = f"rag-test-{uuid.uuid4().hex[:12]}"
        options = [part for key, value in environment.items() for part in ("--env", f"{key}={value}")]
        options += [part for place, inside in (mounts or {}).items() for part in ("--volume", f"{place}:{inside}")]
        if self.has_docker:
            options += ["--rm", "--init", "--network", "host", "--read-only", "--tmpfs", "/tmp", "--name", name]
            options += ["--entrypoint", words[0], tag(target), *words[1:]]
        else:
            options += ["--isolation", "chroot", self._container(target), "--", *words]
        log = self.folder / f"{name}-{target}.log"
        with log.open("wb") as output:
            process = subprocess.Popen([*self.builder.command, "run", *options], stdout=output, stderr=output)
        container = Container(process, log, name, self.builder)
        try:
            yield container
        finally:
            if process.poll() is None:
                container.terminate()

    def close(self) -> None:
        """Remove what was made; the images stay."""
        for container in self._made:
            self._run("rm", container)

    def _container(self, target: str) -> str:
        self._made.append(self._run("from", "--pull-never", f"localhost/{tag(target)}").strip())
        return self._made[-1]

    def _run(self, *arguments: str) -> str:
        command = [*self.builder.command, *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=ASK_SECONDS, env=dict(os.environ), check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout
