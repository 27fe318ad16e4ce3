"""The folder under which one platform keeps everything it stores; one `rag up` at a time may use it."""

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from contracts.permissions import PLATFORM, fixed_users
from services.cli.errors import CommandError
from shared.api_keys import new_pepper

MIB: Final = 1024 * 1024
MIN_FREE_BYTES: Final = 1024 * MIB
# The children of a launcher that was killed hold the lock for the moment that they need to die.
LOCK_PATIENCE_SECONDS: Final = 2.0
LOCK_POLL_SECONDS: Final = 0.05
# Counted up when a release can't read what the one before it stored.
LAYOUT: Final = "1"
PASSWORD_BYTES: Final = 32
_PASSWORD_SUFFIX: Final = ".password"


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The places inside the data folder."""

    root: Path

    @property
    def broker(self) -> Path:
        """Return the folder of the broker's configuration and store."""
        return self.root / "nats"

    @property
    def broker_config(self) -> Path:
        """Return the broker's configuration file."""
        return self.broker / "nats.conf"

    @property
    def logs(self) -> Path:
        """Return the folder of the processes' logs."""
        return self.root / "logs"

    @property
    def scrape(self) -> Path:
        """Return the folder of what a Prometheus on this machine has to scrape."""
        return self.root / "scrape"

    @property
    def secrets(self) -> Path:
        """Return the folder of the passwords of the broker's users."""
        return self.root / "secrets"

    def password_file(self, user: str = PLATFORM) -> Path:
        """Return the file that holds the password of one of the broker's users."""
        return self.secrets / f"{user}{_PASSWORD_SUFFIX}"

    @property
    def pepper_file(self) -> Path:
        """Return the file that holds the secret which API keys are hashed with."""
        return self.root / "secrets" / "keys.pepper"

    @property
    def layout_file(self) -> Path:
        """Return the file that says how what is stored is laid out; every data folder has one."""
        return self.root / "layout"

    @property
    def restoring_file(self) -> Path:
        """Return the file that is there while the folder holds a part of a backup only."""
        return self.root / "restoring"

    def begin_restoring(self) -> None:
        """Mark the folder as one that is not whole."""
        self.restoring_file.touch(mode=0o600)

    def end_restoring(self) -> None:
        """Take the mark away."""
        self.restoring_file.unlink(missing_ok=True)

    def check_usable(self) -> None:
        """Raise CommandError for a folder that holds a part of a backup only, or what this release can't read."""
        if self.restoring_file.exists():
            raise CommandError(
                f"the data folder {self.root} holds a part of a backup: `rag restore` is at work or was broken off; "
                "when it was, remove the folder and restore it again"
            )
        found = self.layout_file.read_text(encoding="utf-8").strip() if self.layout_file.exists() else LAYOUT
        if found != LAYOUT:
            raise CommandError(
                f"the data folder {self.root} has layout {found}, this release knows {LAYOUT}; "
                "use the release that made it, or name another folder with --data"
            )

    def create(self) -> None:
        """Make the folder, private to its owner; CommandError when it can't be used."""
        try:
            self.check_usable()
            for folder in (self.root, self.broker, self.logs, self.secrets):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self.layout_file.exists():
                self.layout_file.write_text(LAYOUT + "\n", encoding="utf-8")
        except OSError as error:
            raise CommandError(
                f"the data folder {self.root} cannot be used: {error.strerror}; name another with --data"
            ) from None

    def free_bytes(self) -> int:
        """Return the bytes that may still be written to the folder's file system."""
        return shutil.disk_usage(self.root).free

    def require_space(self, free_bytes: Callable[[], int] | None = None) -> None:
        """Raise CommandError when the disk is nearly full."""
        free = (free_bytes or self.free_bytes)()
        if free < MIN_FREE_BYTES:
            raise CommandError(
                f"the disk of the data folder {self.root} has {free // MIB} MiB free, {MIN_FREE_BYTES // MIB} MiB are "
                "needed; free some or name another folder with --data"
            )

    def password(self, user: str = PLATFORM) -> str:
        """Return the password of one of the broker's users, made on first use and readable by the owner only."""
        path = self.password_file(user)
        if not path.exists():
            write_private(path, secrets.token_urlsafe(PASSWORD_BYTES) + "\n")
        return path.read_text(encoding="utf-8").strip()

    def passwords(self) -> dict[str, str]:
        """Return the passwords of all users: those that every platform has, and those that were added to this one."""
        users = [PLATFORM, *fixed_users()]
        names = (path.name.removesuffix(_PASSWORD_SUFFIX) for path in self.secrets.glob(f"*{_PASSWORD_SUFFIX}"))
        added = sorted(name for name in names if name.startswith(("producer-", "tool-")))
        return {user: self.password(user) for user in [*users, *added]}

    def pepper(self) -> str:
        """Return the secret which API keys are hashed with, made on first use and readable by the owner only.

        Whoever comes second, `rag up` or `rag keys create`, gets what the first one made.
        """
        if not self.pepper_file.exists():
            with suppress(FileExistsError):
                make_private(self.pepper_file, new_pepper() + "\n")
        return self.pepper_file.read_text(encoding="utf-8").strip()

    @contextmanager
    def locked(self, patience_seconds: float = LOCK_PATIENCE_SECONDS) -> Iterator[int]:
        """Keep every other `rag up` out for the block; yields the descriptor, for children to hold the lock too."""
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._acquire(descriptor, time.monotonic() + patience_seconds)
            yield descriptor
        finally:
            os.close(descriptor)

    def _acquire(self, descriptor: int, deadline: float) -> None:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise CommandError(
                        f"another `rag up` uses the data folder {self.root}, or `rag backup` does; stop it or name "
                        "another folder with --data"
                    ) from None
            time.sleep(LOCK_POLL_SECONDS)


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step by one that only its owner may read."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    draft.replace(path)


def make_private(path: Path, text: str) -> None:
    """Make a file that only its owner may read, whole or not at all; FileExistsError when there is one."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    try:
        os.link(draft, path)
    finally:
        draft.unlink()
