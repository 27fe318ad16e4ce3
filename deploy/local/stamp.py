"""What `.venv` was made from, so that set-up knows in a moment whether there is anything to do."""

import hashlib
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from deploy.local.filesystem import write_atomically


@dataclass(frozen=True, slots=True)
class Stamp:
    """What `.venv` was made from; `locks` maps "runtime" and "dev" to the sha256 of the lock that is installed."""

    python: str
    root: str
    locks: dict[str, str]

    @classmethod
    def wanted(cls, root: Path, levels: tuple[str, ...]) -> Self:
        """What the running Python and the lock files in `root` ask for."""
        locks = {level: hashlib.sha256(lock_file(root, level).read_bytes()).hexdigest() for level in levels}
        return cls(python=f"{sys.version_info[0]}.{sys.version_info[1]} {sys.base_prefix}", root=str(root), locks=locks)

    @classmethod
    def read(cls, venv: Path) -> Self | None:
        """What a finished set-up left in `venv`; None when there was none or its interpreter is gone."""
        try:
            stored = cls(**json.loads((venv / "setup.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return stored if (venv / "bin" / "python").exists() and (venv / "bin" / "rag").exists() else None

    def write(self, venv: Path) -> None:
        """Marks `venv` as finished."""
        write_atomically(venv / "setup.json", json.dumps(asdict(self), indent=2) + "\n")

    def agrees(self, wanted: Self) -> bool:
        """Whether what is installed can stay: nothing in it differs from what is wanted, though some may be missing."""
        same_place = (self.python, self.root) == (wanted.python, wanted.root)
        return same_place and all(self.locks.get(level, sha256) == sha256 for level, sha256 in wanted.locks.items())

    def missing(self, wanted: Self) -> list[str]:
        """The wanted locks that are not installed yet."""
        return [level for level in wanted.locks if level not in self.locks]


def lock_file(root: Path, level: str) -> Path:
    """The lock file of "runtime", of "dev" (which holds all of runtime too), or of the installer of both."""
    return root / "requirements" / f"{level}.txt"
