"""Builds the images, with Docker or where there is none with buildah: `python -m deploy.docker.images [TARGET ...]`.

Read from the environment: BASE, SOURCE_DATE_EPOCH, STORAGE_DRIVER (buildah's), and pip's own settings for the packages:
PIP_INDEX_URL, PIP_EXTRA_INDEX_URL and PIP_TRUSTED_HOST as build arguments, the files of PIP_CONFIG_FILE and PIP_CERT as
build secrets. None of them is kept in an image.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from deploy.local.errors import SetupError
from shared.version import VERSION

ROOT: Final = Path(__file__).resolve().parents[2]
DOCKERFILE: Final = Path("deploy/docker/Dockerfile")
# Values stay out of the command line: both tools take them from the environment.
PASSED_ON: Final = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
)
SECRET_FILES: Final = {"PIP_CONFIG_FILE": "pip.conf", "PIP_CERT": "ca.crt"}
ASK_SECONDS: Final = 30.0
MB: Final = 1_000_000
_TARGET: Final = re.compile(r'^FROM \S+ AS (\S+)\nLABEL org\.opencontainers\.image\.title="rag-\1"$', re.MULTILINE)


def targets(dockerfile: str) -> list[str]:
    """Return the images that a Dockerfile makes, in its order; the stages between have no title."""
    return _TARGET.findall(dockerfile)


def tag(target: str) -> str:
    """Return the name of a target's image."""
    return f"rag-{target}:{VERSION}"


@dataclass(frozen=True, slots=True)
class Source:
    """What the code is made of: the commit, and its time in seconds since 1970."""

    revision: str
    epoch: int

    @property
    def created(self) -> str:
        """Return the time as the label of an image has it."""
        return datetime.fromtimestamp(self.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    @classmethod
    def of(cls, root: Path, environment: Mapping[str, str]) -> "Source":
        """Read the commit; outside of a repository the revision is unknown and the time 1970."""
        done = subprocess.run(  # nosec B607: the git of whoever builds
            ["git", "log", "-1", "--format=%H %ct"], cwd=root, capture_output=True, text=True, check=False
        )
        revision, _, seconds = (done.stdout.strip() or "unknown 0").partition(" ")
        return cls(revision, int(environment.get("SOURCE_DATE_EPOCH") or seconds))


@dataclass(frozen=True, slots=True)
class Builder:
    """One of the two tools, by its command with global options and the options that only it has for a build."""

    command: tuple[str, ...]
    build_options: tuple[str, ...] = ()
    timestamp_option: str | None = None

    def build(self, target: str, source: Source, environment: Mapping[str, str]) -> list[str]:
        """Return the command that builds one target from the checkout."""
        when = ("--build-arg", f"SOURCE_DATE_EPOCH={source.epoch}")
        if self.timestamp_option is not None:
            when = (self.timestamp_option, str(source.epoch))
        command = [*self.command, "build", *self.build_options, *when]
        arguments = {"REVISION": source.revision, "CREATED": source.created}
        if base := environment.get("BASE"):
            arguments["BASE"] = base
        command += [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
        command += [part for name in PASSED_ON if environment.get(name) for part in ("--build-arg", name)]
        command += [
            part
            for name, secret in SECRET_FILES.items()
            if environment.get(name)
            for part in ("--secret", f"id={secret},src={environment[name]}")
        ]
        return [*command, "--file", str(DOCKERFILE), "--target", target, "--tag", tag(target), "."]

    def size_bytes(self, target: str) -> int:
        """Return the size of a built image, its base included."""
        if self.timestamp_option is None:
            return int(self._asked("image", "inspect", "--format", "{{.Size}}", tag(target)))
        return _bytes_of(json.loads(self._asked("images", "--json", tag(target)))[0]["size"])

    def _asked(self, *arguments: str) -> str:
        command = [*self.command, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=ASK_SECONDS).stdout


def _bytes_of(text: str) -> int:
    """Return the bytes of a size as buildah prints it, such as `173 MB`."""
    number, _, unit = text.partition(" ")
    return round(float(number) * {"B": 1, "KB": 1_000, "MB": MB, "GB": 1_000 * MB}[unit.upper()])


def docker() -> Builder:
    """Return Docker, which builds with BuildKit."""
    return Builder(("docker",))


def buildah(environment: Mapping[str, str]) -> Builder:
    """Return buildah without a daemon, namespaces or an overlay, so that it works inside a container as well.

    An image has to be in Docker's format to have a health check.
    """
    driver = environment.get("STORAGE_DRIVER") or "vfs"
    options = ("--isolation", "chroot", "--format", "docker", "--layers")
    return Builder(("buildah", "--storage-driver", driver), options, "--timestamp")


def find_builder(environment: Mapping[str, str]) -> Builder:
    """Return Docker where its daemon answers, else buildah; SetupError when there is neither."""
    if shutil.which("docker") is not None:
        command = ["docker", "info"]
        asked = subprocess.run(command, capture_output=True, timeout=ASK_SECONDS, check=False)  # nosec B607: theirs
        if asked.returncode == 0:
            return docker()
    if shutil.which("buildah") is not None:
        return buildah(environment)
    raise SetupError(
        "no Docker answers and buildah is not installed: start Docker, or install buildah "
        "(Debian and Ubuntu, as root: apt install buildah) and run the command again"
    )


def build(wanted: Sequence[str], builder: Builder, source: Source, environment: Mapping[str, str]) -> None:
    """Build targets one after the other, showing what the tool says; SetupError when one fails."""
    for target in wanted:
        done = subprocess.run(
            builder.build(target, source, environment),
            cwd=ROOT,
            env={**environment, "DOCKER_BUILDKIT": "1"},
            stdout=sys.stderr,
            check=False,
        )
        if done.returncode != 0:
            raise SetupError(f"{tag(target)} was not built: {builder.command[0]} ended with {done.returncode}")


def main(arguments: Sequence[str]) -> int:
    """Build the named targets, or all, and say how large they are; returns 1 after a line that says what is wrong."""
    known = targets((ROOT / DOCKERFILE).read_text(encoding="utf-8"))
    wanted = list(arguments) or known
    try:
        if unknown := [name for name in wanted if name not in known]:
            raise SetupError(f"there is no image {unknown[0]!r}; there are {', '.join(known)}")
        builder = find_builder(os.environ)
        build(wanted, builder, Source.of(ROOT, os.environ), os.environ)
    except SetupError as error:
        sys.stderr.write(f"images: {error}\n")
        return 1
    for target in wanted:
        sys.stdout.write(f"{tag(target):28} {builder.size_bytes(target) / MB:6.0f} MB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
