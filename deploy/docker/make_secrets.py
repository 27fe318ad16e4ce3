"""The secrets of a Compose deployment, made on its first start: `python3 -m deploy.docker.make_secrets FOLDER`.

Each consumer has a folder, a volume that it alone mounts: whoever takes over one container finds no secret of another.
What is there stays as it is, so the job may run at every start.
"""

import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from contracts.permissions import PROVISIONER, fixed_users
from contracts.traffic import SERVICES
from shared.api_keys import new_pepper

BYTES: Final = 32
READABLE: Final = 0o444
# Who asks which store; the addresses are those of docker-compose.yml.
DATABASE_URL: Final = "postgresql://rag:{password}@postgres:5432/rag"
REDIS_URL: Final = "redis://:{password}@redis:6379/0"


def password() -> str:
    """Return a new password: letters and digits that nats-server, a URL and a shell all read as they are."""
    # nats-server takes a bare value that begins with a digit for a number.
    return f"p{secrets.token_hex(BYTES)}"


class SecretFolder:
    """The folders of all consumers; `kept` holds what has to stay the same, and is mounted by nobody else."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def keep(self, name: str, made: str) -> str:
        """Return the secret of a name: the one that is kept, else `made`, which is kept from now on."""
        path = self._root / "kept" / name
        if not path.exists():
            self.give("kept", name, made)
        return path.read_text(encoding="utf-8").strip()

    def give(self, consumer: str, name: str, text: str) -> None:
        """Put a file in a consumer's folder, in one step; its user there may be anybody, so all may read it."""
        folder = self._root / consumer
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{name}.new"
        draft.unlink(missing_ok=True)
        draft.write_text(f"{text}\n", encoding="utf-8")
        draft.chmod(READABLE)
        draft.replace(folder / name)


def make_secrets(root: Path) -> None:
    """Leave every consumer's folder complete."""
    folder = SecretFolder(root)
    users = {user: folder.keep(f"nats-{user}", password()) for user in fixed_users()}
    for user in (*SERVICES, PROVISIONER):
        folder.give(user, "nats.password", users[user])
    folder.give("nats", "nats.env", _variables({f"NATS_PASSWORD_{user.upper()}": word for user, word in users.items()}))
    pepper = folder.keep("key-pepper", new_pepper())
    for consumer in ("gateway", "keys"):
        folder.give(consumer, "key.pepper", pepper)
    _give_stores(folder)


def _give_stores(folder: SecretFolder) -> None:
    sql, cache, index = (folder.keep(name, password()) for name in ("postgres", "redis", "qdrant"))
    folder.give("postgres", "postgres.password", sql)
    for consumer in ("persistence", "keys"):
        folder.give(consumer, "database.url", DATABASE_URL.format(password=sql))
    folder.give("redis", "redis.conf", f"requirepass {cache}")
    for consumer in ("gateway", "agent", "retriever"):
        folder.give(consumer, "redis.url", REDIS_URL.format(password=cache))
    folder.give("qdrant", "qdrant.env", _variables({"QDRANT__SERVICE__API_KEY": index}))
    folder.give("retriever", "qdrant.key", index)
    folder.give("grafana", "grafana.password", folder.keep("grafana", password()))


def _variables(values: Mapping[str, str]) -> str:
    return "\n".join(f"{name}={value}" for name, value in values.items())


if __name__ == "__main__":
    make_secrets(Path(sys.argv[1]))
