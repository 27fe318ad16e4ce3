"""Which settings are secrets, and keeping their values out of what people and programs read.

Nothing of ours writes a secret anywhere. Libraries quote addresses with passwords, and an endpoint may quote the key
that it was given: what leaves the process as a log line, an error report or a health report is searched for them.
"""

import json
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

HIDDEN: Final = "***"
# A shorter value is found inside ordinary words, and replacing it would show more than it hides.
SHORTEST: Final = 5


def is_secret(name: str, field: FieldInfo) -> bool:
    """Tell whether a setting is declared to hold a secret: a SecretStr, or left out of the settings' own repr."""
    return not field.repr or SecretStr.__name__ in str(field.annotation)


class Secrets:
    """The secret values of a process: those of secret settings, and passwords in any address."""

    def __init__(self, settings: BaseSettings | None = None) -> None:
        found = set(_values(settings)) if settings is not None else set()
        known = {form for value in found if len(value) >= SHORTEST for form in _forms(value)}
        # The longest first: one may be a part of another.
        self._known = sorted(known, key=lambda value: (-len(value), value))

    def hidden_in(self, text: str) -> str:
        """Return a text with every secret replaced."""
        for value in self._known:
            if value in text:
                text = text.replace(value, HIDDEN)
        return text

    def hidden_in_all(self, value: Any) -> Any:
        """Return JSON-like data with every secret in its texts replaced."""
        if isinstance(value, str):
            return self.hidden_in(value)
        if isinstance(value, dict):
            return {self.hidden_in(str(key)): self.hidden_in_all(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.hidden_in_all(each) for each in value]
        return value


def _values(settings: BaseSettings) -> Iterator[str]:
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if not isinstance(text, str):
            continue
        hidden = isinstance(value, SecretStr)
        # In an address that is a secret as a whole, as Sentry's, a key may stand where others have the user.
        yield from _credentials(text, with_user=hidden)
        # Of any other address the rest may be told.
        if hidden or (is_secret(name, field) and not _is_address(text)):
            yield text


def _credentials(text: str, *, with_user: bool) -> Iterator[str]:
    for address in text.split(","):
        if not _is_address(address):
            continue
        try:
            parts = urlsplit(address.strip())
        except ValueError:
            continue
        for found in (parts.password, parts.username if with_user else None):
            if found:
                yield found
                yield unquote(found)


def _is_address(text: str) -> bool:
    return "://" in text


def _forms(value: str) -> Iterator[str]:
    """Yield a value as it is, in a JSON string, in a Python literal and in an address."""
    yield value
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield repr(value)[1:-1]
    yield quote(value, safe="")
