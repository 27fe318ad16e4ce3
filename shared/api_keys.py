"""API keys: how they look, and the keyed hash by which they are known. `rag_<id>_<secret>`; the id is no secret."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_ID_CHARACTERS: Final = 12
_SECRET_BYTES: Final = 32
_FORM: Final = re.compile(r"rag_([a-z0-9]{12})_[A-Za-z0-9_-]{43}")
KEY_MARK: Final = "rag_"
NEVER: Final = "never"
DEFAULT_EXPIRES: Final = "90d"
EXPIRES_PATTERN: Final = r"^(never|[1-9][0-9]{0,4}[smhd])$"
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
# As long as what the hash takes in at once; a shorter one could be guessed beside a stolen table.
MIN_PEPPER_CHARACTERS: Final = 32


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made: `text` is shown once and kept nowhere, `digest` is what is kept."""

    text: str = field(repr=False)
    id: str
    digest: str = field(repr=False)

    @property
    def prefix(self) -> str:
        """Return how the key begins, for people to tell their keys apart."""
        return prefix_of(self.id)


def new_key(pepper: str) -> NewKey:
    """Return a key with 256 random bits."""
    key_id = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_CHARACTERS))
    text = f"{prefix_of(key_id)}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    return NewKey(text, key_id, digest_of(pepper, text))


def new_pepper() -> str:
    """Return a secret for `digest_of`."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def prefix_of(key_id: str) -> str:
    """Return how a key of this id begins."""
    return f"{KEY_MARK}{key_id}"


def key_id_of(text: str) -> str | None:
    """Return the id of what looks like a key, None for anything else."""
    found = _FORM.fullmatch(text)
    return found[1] if found else None


def digest_of(pepper: str, text: str) -> str:
    """Return the keyed hash of a key in hexadecimal; the key has 256 random bits, so that a slow hash adds nothing."""
    return hmac.new(pepper.encode(), text.encode(), hashlib.sha256).hexdigest()


def is_key(pepper: str, text: str, digest: str) -> bool:
    """Tell whether a key has this hash, in a time that does not depend on where they differ."""
    return hmac.compare_digest(digest_of(pepper, text), digest)


def expiry(text: str, now: datetime) -> datetime | None:
    """Return when a key ends that is to live so long, as 90d, 12h, 30m or 60s; None for `never`. Else ValueError."""
    if not re.fullmatch(EXPIRES_PATTERN, text):
        raise ValueError(f"takes a time such as 90d, 12h or 30m, or never; found {text!r}")
    return None if text == NEVER else now + timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
