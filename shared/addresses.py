"""Addresses as one may show them."""

from urllib.parse import urlsplit


def host_of(url: str) -> str:
    """Return host and port of an address, and nothing of what may be a secret: no user, no path, no query."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "not an address"
    host = parts.hostname or "not an address"
    return f"[{host}]{port}" if ":" in host else f"{host}{port}"
