"""TLS between the commands and a gateway, and between `rag up` and the gateway that it runs."""

import ssl
from typing import Final

from services.cli.errors import CommandError
from services.cli.settings import ClientSettings, LauncherSettings, load
from shared.errors import Misconfigured
from shared.tls import client_context, context_of

SETTINGS: Final = "RAG_TLS"


def gateway_trust(url: str) -> ssl.SSLContext | bool:
    """Return whom a command trusts to be the gateway at an address; CommandError when that does not fit together."""
    try:
        return context_of(load(ClientSettings), "tls", "url", url=url) or True
    except Misconfigured as error:
        raise CommandError(error.message) from None


def probe_context(settings: LauncherSettings) -> ssl.SSLContext | None:
    """Return how `rag up` asks its own gateway whether it is ready, None where that speaks HTTP.

    CommandError when it would not be let in.
    """
    if settings.gateway_tls_cert is None and settings.gateway_tls_key is None:
        return None
    if settings.gateway_tls_client_ca is not None and settings.tls_cert is None:
        raise CommandError(
            "RAG_GATEWAY_TLS_CLIENT_CA lets in only who has a certificate; name one for `rag up` itself, which asks "
            "whether the gateway is ready, with RAG_TLS_CERT and RAG_TLS_KEY"
        )
    try:
        context = client_context(SETTINGS, None, settings.tls_cert, settings.tls_key)
    except Misconfigured as error:
        raise CommandError(error.message) from None
    # The certificate names what the world calls the gateway, not 127.0.0.1. Asked is a process of our own, on a port
    # that it holds, and nothing secret is sent to it.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
