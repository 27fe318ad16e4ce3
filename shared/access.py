"""The ways in that `RAG_AUTH` opens, and when a platform without any may run."""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

OFF: Final = "off"
KEYS: Final = "keys"
JWT: Final = "jwt"


def auth_modes(text: str) -> frozenset[str]:
    """Return the ways in of `RAG_AUTH`, none for `off`; ValueError for anything else."""
    names = [name.strip() for name in text.split(",")]
    if names == [OFF]:
        return frozenset()
    if not set(names) <= {KEYS, JWT}:
        raise ValueError(f"is off, keys, jwt or keys,jwt; found {text!r}")
    return frozenset(names)


def refusal_to_start_open(modes: frozenset[str], host: str) -> str | None:
    """Return why a gateway may not listen on an address, None where it may."""
    if modes or is_loopback(host):
        return None
    return (
        f"`off` is for the loopback interface only, and RAG_HOST is {host!r}, which other machines reach; "
        "set RAG_AUTH=keys and make the first key with `rag keys create --data DIR`, or RAG_AUTH=jwt, "
        "or bind to 127.0.0.1"
    )


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine's loopback interface."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_issuer_address(url: str) -> str:
    """Return an address from which keys may be fetched; ValueError for one that others could answer for."""
    parts = urlsplit(url)
    if parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))):
        return url
    raise ValueError(f"{url!r} is not https://…; http:// is for this machine only")
