"""Who we are to the broker, and how the line to it is protected."""

import re
import ssl
from typing import Final
from urllib.parse import urlsplit

from faststream.nats.security import NatsSecurity, NatsUserPassword

from contracts.permissions import inbox_prefix
from shared.errors import Misconfigured
from shared.settings import PlatformSettings
from shared.tls import client_context

# The inbox of who names no user, on a broker that knows none.
INBOX_PREFIX: Final = "_INBOX_rag"
TLS_SCHEME: Final = "tls"
_PLAIN_NAME: Final = re.compile(r"^[A-Za-z0-9_-]+$")


def inbox_of(user: str | None) -> str:
    """Return the inbox prefix of a user; one whose name is no part of a subject gets that of nobody."""
    return inbox_prefix(user) if user and _PLAIN_NAME.match(user) else INBOX_PREFIX


def inbox_prefix_of(settings: PlatformSettings) -> str:
    """Return where this process reads replies: as the settings say, else under the name of its user."""
    return settings.nats_inbox_prefix or inbox_of(
        settings.nats_user or urlsplit(settings.nats_url.partition(",")[0]).username
    )


def security_of(settings: PlatformSettings) -> NatsSecurity | None:
    """Return user, password and TLS as the broker's client takes them; Misconfigured when they do not fit together."""
    tls = tls_context(settings)
    first = tls is not None and settings.nats_tls_first
    if settings.nats_user:
        return NatsUserPassword(
            settings.nats_user, settings.nats_password or "", ssl_context=tls, tls_handshake_first=first
        )
    return NatsSecurity(ssl_context=tls, tls_handshake_first=first) if tls is not None else None


def tls_context(settings: PlatformSettings, url: str | None = None) -> ssl.SSLContext | None:
    """Return what TLS needs where the address says `tls://`, else None.

    Misconfigured when files are named for an address without TLS, or can't be used.
    """
    schemes = {urlsplit(part).scheme for part in (url or settings.nats_url).split(",")}
    named = [name for name in ("nats_tls_ca", "nats_tls_cert", "nats_tls_key") if getattr(settings, name) is not None]
    if TLS_SCHEME not in schemes:
        if named:
            raise Misconfigured(f"RAG_{named[0].upper()} is set, but RAG_NATS_URL does not begin with tls://")
        return None
    if schemes != {TLS_SCHEME}:
        raise Misconfigured("RAG_NATS_URL mixes tls:// with addresses without TLS; write tls:// for all of them")
    return client_context("RAG_NATS_TLS", settings.nats_tls_ca, settings.nats_tls_cert, settings.nats_tls_key)
